//! Why a step or a run did not succeed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something did not succeed: a kind for programs, a message for people and,
/// where one is known, what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it was; retry policies and hooks choose by it.
    pub kind: FailureKind,
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kinds that the engine itself knows; a workflow adds its own as [`FailureKind::Other`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum FailureKind {
    /// A process ended with a code other than 0.
    Exit,
    /// A process was ended by a signal that the engine did not send.
    Signal,
    /// The limit of wall-clock time was reached.
    Timeout,
    /// The limit of time without output was reached.
    IdleTimeout,
    /// A stream of output reached its limit.
    OutputLimit,
    /// A program could not be found or started.
    Spawn,
    /// Somebody asked the run to end.
    Canceled,
    /// Somebody ended the run at once.
    Killed,
    /// The process of a step was lost: a reboot, or a kill of its shim.
    Interrupted,
    /// A replay did not do what the stored steps say was done.
    Diverged,
    /// The workflow's code panicked.
    Panic,
    /// The spec, or something that it names, makes no sense.
    Invalid,
    /// A run that this one was to follow ended otherwise than wanted.
    Dependency,
    /// Spindle itself could not do what it should: disk full, permission denied.
    Internal,
    /// A kind of a workflow's own.
    Other(String),
}

impl FailureKind {
    const NAMED: [(&'static str, Self); 14] = [
        ("exit", Self::Exit),
        ("signal", Self::Signal),
        ("timeout", Self::Timeout),
        ("idle-timeout", Self::IdleTimeout),
        ("output-limit", Self::OutputLimit),
        ("spawn", Self::Spawn),
        ("canceled", Self::Canceled),
        ("killed", Self::Killed),
        ("interrupted", Self::Interrupted),
        ("diverged", Self::Diverged),
        ("panic", Self::Panic),
        ("invalid", Self::Invalid),
        ("dependency", Self::Dependency),
        ("internal", Self::Internal),
    ];

    /// The word that stands for it in the store, in the API and on the command line.
    pub fn as_str(&self) -> &str {
        if let Self::Other(word) = self {
            return word;
        }
        Self::NAMED.iter().find(|(_, kind)| kind == self).map_or("internal", |(word, _)| word)
    }

    /// Whether another attempt could end differently, as far as the kind tells.
    pub fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Spawn | Self::Diverged | Self::Invalid | Self::Canceled | Self::Killed | Self::Dependency
        )
    }
}

impl From<String> for FailureKind {
    fn from(word: String) -> Self {
        match Self::NAMED.into_iter().find(|(name, _)| *name == word) {
            Some((_, kind)) => kind,
            None => Self::Other(word),
        }
    }
}

impl From<FailureKind> for String {
    fn from(kind: FailureKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    /// The longest message and the longest hint that are stored, in bytes of JSON.
    pub const LONGEST: usize = 600;

    /// Cuts message and hint to a length, so that every record fits its row.
    pub(crate) fn shorten(&mut self, bytes: usize) {
        for text in std::iter::once(&mut self.message).chain(self.hint.as_mut()) {
            cut(text, bytes);
        }
        if let FailureKind::Other(word) = &mut self.kind {
            cut(word, 60);
        }
    }

    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Something that Spindle itself could not do.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(FailureKind::Internal, message.to_string())
    }

    /// The same failure with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Cuts a text to a number of bytes as JSON has it, where a control character takes six.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    let mut length = 0;
    for (place, char) in text.char_indices() {
        length += match char {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            char if char.is_ascii_control() => 6,
            char => char.len_utf8(),
        };
        if length > bytes {
            text.truncate(place);
            text.push('…');
            return;
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.kind)
    }
}

impl std::error::Error for Failure {}
