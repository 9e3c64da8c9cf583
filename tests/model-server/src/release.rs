//! The Codex CLI releases under test.

use std::env;
use std::path::{Path, PathBuf};

/// The pins, shared with `tests/codex/install`.
const VERSIONS: &str = include_str!("../../codex/versions");

/// A release of the Codex CLI that Spindle is tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// The current one.
    Current,
    /// The oldest that is supported.
    Oldest,
}

/// A release that is not installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "Codex CLI {version} is not installed in {}; run tests/codex/install (or set SPINDLE_TEST_CODEX_DIR)",
    cache.display()
)]
pub struct MissingRelease {
    /// The version that was looked for.
    pub version: &'static str,
    /// Where it was looked for.
    pub cache: PathBuf,
}

impl Release {
    /// Every release, newest first.
    pub const ALL: [Self; 2] = [Self::Current, Self::Oldest];

    /// Its version, such as `0.75.0`.
    pub fn version(self) -> &'static str {
        let role = match self {
            Self::Current => "current ",
            Self::Oldest => "oldest ",
        };
        VERSIONS.lines().find_map(|line| line.strip_prefix(role)).unwrap_or_default().trim()
    }

    /// The native binary, with links resolved: the CLI looks for its companions beside itself.
    pub fn binary(self) -> Result<PathBuf, MissingRelease> {
        self.installed("codex")
    }

    /// The Node script that npm puts on PATH, which starts the native binary.
    pub fn launcher(self) -> Result<PathBuf, MissingRelease> {
        self.installed("node_modules/.bin/codex")
    }

    fn installed(self, file: &str) -> Result<PathBuf, MissingRelease> {
        let cache = cache();
        let path = cache.join(self.version()).join(file);
        path.canonicalize().map_err(|_| MissingRelease { version: self.version(), cache })
    }

    /// The native binary, for a test that cannot run without it: prints why it is skipped, except
    /// under `CI=true`, where nothing may be skipped.
    ///
    /// # Panics
    /// Under `CI=true`, when the release is not installed.
    pub fn binary_or_skip(self) -> Option<PathBuf> {
        match self.binary() {
            Ok(binary) => Some(binary),
            Err(missing) => {
                assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
                eprintln!("skipped: {missing}");
                None
            }
        }
    }
}

fn cache() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    env::var_os("SPINDLE_TEST_CODEX_DIR").map_or_else(|| checkout.join("target/codex-cli"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_has_a_pinned_version() {
        for release in Release::ALL {
            assert_eq!(release.version().split('.').count(), 3, "{release:?}");
        }
    }
}
