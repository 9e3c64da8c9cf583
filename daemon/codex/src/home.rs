//! The Codex home, and what Spindle wants in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that makes Codex write a rollout trace bundle for every thread, below the directory that it names.
/// Releases as old as 0.75.0 do not know it.
pub const BUNDLES_VARIABLE: &str = "CODEX_ROLLOUT_TRACE_ROOT";

/// The Codex home of a process with these variables and this working directory: `CODEX_HOME`, else `~/.codex`.
pub fn home_of(variable: impl Fn(&str) -> Option<OsString>, cwd: &Path) -> Option<PathBuf> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("CODEX_HOME").or_else(|| path("HOME").map(|home| home.join(".codex")))?;
    Some(cwd.join(home))
}

/// The directory below a Codex home in which bundles belong, so that they are found.
pub fn bundles_below(home: &Path) -> PathBuf {
    home.join("rollout_trace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codex_home_is_the_variable_or_below_the_home() {
        let home = |variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|known| known.0 == name).map(|known| known.1.into());
            home_of(find, Path::new("/work")).map(|home| home.display().to_string())
        };
        assert_eq!(home(&[("CODEX_HOME", "/c"), ("HOME", "/h")]).as_deref(), Some("/c"));
        assert_eq!(home(&[("CODEX_HOME", "c"), ("HOME", "/h")]).as_deref(), Some("/work/c"));
        assert_eq!(home(&[("CODEX_HOME", ""), ("HOME", "/h")]).as_deref(), Some("/h/.codex"));
        assert_eq!(home(&[]), None);
    }
}
