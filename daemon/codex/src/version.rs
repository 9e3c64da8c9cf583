//! Which Codex it is, and what follows from that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of the Codex CLI, as `codex --version` prints it. A suffix such as `-alpha.3` is
/// dropped: no decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number: the one that counts the releases.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// A text that holds no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version of the Codex CLI")]
pub struct InvalidVersion {
    /// The text, cut to a sensible length.
    pub text: String,
}

impl Version {
    /// The last release known to report tokens per process (and to know none of the newer flags).
    /// What came between this and [`Version::NEWEST_KNOWN`] was never tried, so decisions name one
    /// of the two and treat the gap by what they see.
    pub const OLDEST_KNOWN: Self = Self { major: 0, minor: 75, patch: 0 };

    /// The newest release that this crate was tested against.
    pub const NEWEST_KNOWN: Self = Self { major: 0, minor: 169, patch: 0 };

    /// Finds the version in what `codex --version` printed (`codex-cli 0.169.0`).
    ///
    /// Wrappers may print lines of their own, so the line that starts with `codex` is preferred;
    /// failing that, the output must be a bare version.
    pub fn parse_output(output: &str) -> Result<Self, InvalidVersion> {
        let named = output.lines().filter(|line| line.trim_start().starts_with("codex"));
        let last_word = |line: &str| line.split_whitespace().last().and_then(|word| word.parse().ok());
        named
            .filter_map(last_word)
            .next_back()
            .or_else(|| output.trim().parse().ok())
            .ok_or_else(|| invalid(output))
    }
}

fn invalid(text: &str) -> InvalidVersion {
    InvalidVersion { text: text.trim().chars().take(80).collect() }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let release = text.split(['-', '+']).next().unwrap_or(text);
        let numbers: Vec<u32> =
            release.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| invalid(text))?;
        match numbers[..] {
            [major, minor, patch] => Ok(Self { major, minor, patch }),
            _ => Err(invalid(text)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
