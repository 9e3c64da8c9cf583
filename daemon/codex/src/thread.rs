//! The id of a Codex thread.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a Codex thread (Codex also says "session"): a UUID.
///
/// The type admits nothing else, because `codex exec resume` takes every other word for the *name*
/// of a thread and, when there is none of that name, quietly starts a new one with exit code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ThreadId(Uuid);

/// A text that is not the id of a thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Codex thread id (a UUID such as 01a1fafb-4c87-7a22-8307-df19e86425a2)")]
pub struct InvalidThreadId {
    /// The text, cut to a sensible length.
    pub text: String,
}

impl FromStr for ThreadId {
    type Err = InvalidThreadId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `Uuid` also reads the braced, the URN and the bare form; Codex writes hyphens only.
        let hyphenated = text.len() == 36;
        match Uuid::try_parse(text) {
            Ok(uuid) if hyphenated => Ok(Self(uuid)),
            _ => Err(InvalidThreadId { text: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hyphenated_uuid_is_a_thread_id() {
        let id = "01a1fafb-4c87-7a22-8307-df19e86425a2";
        assert_eq!(id.parse::<ThreadId>().map(|id| id.to_string()), Ok(id.to_owned()));
        for wrong in ["", "my-thread-name", "01a1fafb4c877a228307df19e86425a2", "--last", "-", "../x"] {
            assert!(wrong.parse::<ThreadId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn upper_case_ids_name_the_same_thread() {
        let lower: Result<ThreadId, _> = "01a1fafb-4c87-7a22-8307-df19e86425a2".parse();
        let upper = "01A1FAFB-4C87-7A22-8307-DF19E86425A2".parse();
        assert_eq!(lower, upper);
    }
}
