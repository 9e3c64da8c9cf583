//! What to run: the description of a child program, stored when it first starts and never computed again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece of text that the operating system takes as bytes: a program, an argument, a path.
///
/// It is stored as a JSON string where it is UTF-8, which it nearly always is, and as
/// `{"bytes": "<lower-case hex>"}` where it is not, so that no argument is ever changed by being stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OsText(OsString);

impl OsText {
    /// The text as the operating system takes it.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }

    /// The text as raw bytes, without a closing NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

macro_rules! os_text_from {
    ($($source:ty),*) => {$(
        impl From<$source> for OsText {
            fn from(text: $source) -> Self {
                Self(text.into())
            }
        }
    )*};
}

os_text_from!(OsString, &OsStr, String, &str, PathBuf, &Path);

impl From<OsText> for OsString {
    fn from(text: OsText) -> Self {
        text.0
    }
}

impl From<OsText> for PathBuf {
    fn from(text: OsText) -> Self {
        Self::from(text.0)
    }
}

/// Shows the text for people; what is not UTF-8 is replaced.
impl std::fmt::Display for OsText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_string_lossy())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredText {
    Utf8(String),
    Other { bytes: String },
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => StoredText::Other { bytes: to_hex(self.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match StoredText::deserialize(deserializer)? {
            StoredText::Utf8(text) => Ok(Self(text.into())),
            StoredText::Other { bytes } => from_hex(&bytes)
                .map(|bytes| Self(OsString::from_vec(bytes)))
                .ok_or_else(|| serde::de::Error::custom("`bytes` must be an even number of hex digits")),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

/// A child program and how it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The program. Without a slash it is looked up in the `PATH` of the child's own environment; a relative path
    /// with a slash is taken from [`Launch::cwd`].
    pub program: OsText,
    /// Arguments after the program's name.
    #[serde(default)]
    pub args: Vec<OsText>,
    /// The working directory; an absolute path.
    pub cwd: OsText,
    /// Where standard input comes from.
    #[serde(default)]
    pub stdin: Stdin,
    /// How the child is stopped.
    #[serde(default)]
    pub stop: StopLadder,
    /// What becomes of processes that the child leaves behind.
    #[serde(default)]
    pub leftovers: Leftovers,
    /// Limits after which the child is stopped.
    #[serde(default)]
    pub limits: Limits,
}

impl Launch {
    /// A launch without arguments and limits: standard input empty, leftovers killed.
    pub fn new(program: impl Into<OsText>, cwd: impl Into<OsText>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            cwd: cwd.into(),
            stdin: Stdin::default(),
            stop: StopLadder::default(),
            leftovers: Leftovers::default(),
            limits: Limits::default(),
        }
    }

    /// The same launch with these arguments.
    #[must_use]
    pub fn args<T: Into<OsText>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }
}

/// Where a child's standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`: the child reads end of file at once.
    #[default]
    Null,
    /// A file; a relative path is taken from the attempt's directory.
    File(OsText),
}

/// How a child is stopped: a polite signal to its process group, some time, then SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopLadder {
    /// The signal that asks the child to end.
    pub first_signal: FirstSignal,
    /// How long the child has from the first signal until it is killed.
    pub grace: Duration,
}

impl Default for StopLadder {
    /// SIGTERM and ten seconds.
    fn default() -> Self {
        Self { first_signal: FirstSignal::Term, grace: Duration::from_secs(10) }
    }
}

/// The signal that asks a child to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstSignal {
    /// SIGTERM, what most programs expect.
    Term,
    /// SIGINT, for programs that write their last record only then, as the Codex CLI does.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGUSR1, for programs of our own to which the others mean something else.
    Usr1,
}

/// What becomes of processes that are still there when the child itself has ended.
///
/// A stop, whoever asked for it, always ends in [`Leftovers::Kill`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// They get SIGTERM, the ladder's grace, then SIGKILL.
    #[default]
    Kill,
    /// The attempt lasts until the last of them has ended; limits go on counting.
    Wait,
    /// They are left alone and named in the exit record. Their output is no longer captured.
    Keep,
}

/// Limits of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// The child is stopped when it has run for so long (time in which the machine sleeps does not count).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Duration>,
    /// The child is stopped when it has written nothing for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// A bound for each of its two output streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputLimit>,
}

/// A bound for what is kept of an output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimit {
    /// Bytes of each stream, exactly.
    pub bytes: u64,
    /// What happens at the first byte beyond.
    pub then: AtOutputLimit,
}

/// What happens when a stream passes its [`OutputLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtOutputLimit {
    /// The first bytes are kept and the child is stopped.
    Stop,
    /// The last bytes are kept, at their original offsets, and the child goes on. What is dropped gives its disk space
    /// back where the file system can punch holes; elsewhere it is only hidden from readers.
    DropOldest,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_in_utf8_is_stored_as_a_plain_string() {
        assert_eq!(serde_json::to_string(&OsText::from("grün")).unwrap(), r#""grün""#);
    }

    #[test]
    fn text_that_is_not_utf8_is_stored_as_hex() {
        let text = OsText::from(OsString::from_vec(vec![0x66, 0xff, 0x00]));
        assert_eq!(serde_json::to_string(&text).unwrap(), r#"{"bytes":"66ff00"}"#);
    }

    #[test]
    fn odd_or_foreign_digits_are_refused() {
        assert!(serde_json::from_str::<OsText>(r#"{"bytes":"abc"}"#).is_err());
        assert!(serde_json::from_str::<OsText>(r#"{"bytes":"zz"}"#).is_err());
    }

    #[test]
    fn fields_with_a_default_may_be_missing() {
        let launch: Launch = serde_json::from_str(r#"{"program":"true","cwd":"/"}"#).unwrap();
        assert_eq!(launch, Launch::new("true", "/"));
    }

    proptest! {
        #[test]
        fn any_text_survives_being_stored(bytes: Vec<u8>) {
            let text = OsText::from(OsString::from_vec(bytes));
            let stored = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<OsText>(&stored).unwrap(), text);
        }
    }
}
