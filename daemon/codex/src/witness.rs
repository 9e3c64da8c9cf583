//! Who is told of the threads that Codex works on, while it does.
//!
//! A workflow runs Codex and reads what it prints; what Codex writes elsewhere is for others to follow. The seam is
//! here, between the two, so that neither has to know the other.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use jiff::Timestamp;

use crate::ThreadId;

/// A process of Codex at work on a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The thread.
    pub thread: ThreadId,
    /// The Codex home of the process; see [`home_of`].
    pub home: PathBuf,
    /// Its working directory.
    pub cwd: PathBuf,
    /// When it was started; tells the processes of a thread apart.
    pub started_at: Timestamp,
}

/// Wants to know what Codex works on.
pub trait Witness: fmt::Debug + Send + Sync + 'static {
    /// Codex has begun to work on a thread. Returns at once. The same work is told of again by a daemon that comes
    /// back while it goes on, or after its end but before that was stored.
    fn begun(&self, work: Work) -> Box<dyn Testimony>;
}

/// Is told of the end of what a [`Witness`] was told of. To be dropped without it means that nobody will tell.
pub trait Testimony: Send {
    /// The process has ended, and writes no more. Resolves when all that it has left was taken in, or after a time
    /// that is short beside the time of a turn.
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The Codex home of a process with these variables and this working directory: `CODEX_HOME`, else `~/.codex`.
pub fn home_of(variable: impl Fn(&str) -> Option<OsString>, cwd: &Path) -> Option<PathBuf> {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("CODEX_HOME").or_else(|| path("HOME").map(|home| home.join(".codex")))?;
    Some(cwd.join(home))
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
