//! The id of a session.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The id of a session: that of its Codex thread, as directory names, file names and records give it.
///
/// A UUID in all that Codex writes itself, free text in what other tools make. It has passed the one
/// check that makes it safe as a part of a path: 1 to 128 of `A-Z a-z 0-9 . _ -`, the first no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Arc<str>);

/// The text cannot be the id of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no session id: one has 1 to 128 letters, digits, '.', '_' or '-', and begins with no dot")]
pub struct InvalidSessionId(String);

impl SessionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An id is equal to its text, and has the same order and hash, so that sets of ids can be asked for a text.
impl Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSessionId(text.chars().take(160).collect()))
        }
    }
}

impl TryFrom<String> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(text: String) -> Result<Self, InvalidSessionId> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_id_that_could_leave_its_directory_is_refused() {
        for text in ["", ".", "..", "../x", "a/b", "a\\b", "a b", "a\0b", "é", &"x".repeat(129)] {
            assert!(text.parse::<SessionId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_uuid_and_free_text_without_separators_are_accepted() {
        for text in ["01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11", "test-friction-001", "a", "thread.1_2"] {
            assert_eq!(text.parse::<SessionId>().unwrap().as_str(), text);
        }
    }
}
