//! Which directory is the repository, and where each file of the format lies in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the directory that holds all files of the autorunner.
pub const DIRECTORY: &str = ".codex-autorunner";

/// Why no repository could be found.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// No `.git` here or above. The first sentence is the format's own wording.
    #[error(
        "Could not find .git directory in current or parent paths (searched from {start}). Run this inside a git repository, or make one with `git init`."
    )]
    NotInRepository {
        /// Where the search began.
        start: PathBuf,
    },
    /// The start directory does not exist or cannot be entered.
    #[error("cannot open {start}: {source}")]
    StartUnreadable {
        /// Where the search should have begun.
        start: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A git repository: its root as a real path (no symbolic links, absolute).
///
/// The real path matters: it is the name under which leases are taken, and two spellings of one
/// directory must not give two loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// Finds the nearest directory, from `start` upwards, that has an entry `.git` (a directory, or
    /// a file as in linked worktrees and submodules).
    pub fn discover(start: &Path) -> Result<Self, RepoError> {
        let real = start
            .canonicalize()
            .map_err(|source| RepoError::StartUnreadable { start: start.to_path_buf(), source })?;
        real.ancestors()
            .find(|dir| fs::symlink_metadata(dir.join(".git")).is_ok())
            .map(|dir| Self { root: dir.to_path_buf() })
            .ok_or_else(|| RepoError::NotInRepository { start: start.to_path_buf() })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of the autorunner lie.
    pub fn layout(&self) -> Layout {
        Layout { root: self.root.clone() }
    }
}

/// The paths below `<repo>/.codex-autorunner/`. Names are part of the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of a repository whose root is already known.
    pub fn of_root(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The repository root, against which configured paths are resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.codex-autorunner/` itself.
    pub fn dir(&self) -> PathBuf {
        self.root.join(DIRECTORY)
    }

    /// `config.yml`.
    pub fn config(&self) -> PathBuf {
        self.dir().join("config.yml")
    }

    /// `state.json`.
    pub fn state(&self) -> PathBuf {
        self.dir().join("state.json")
    }

    /// `lock`, present while a loop runs.
    pub fn lock(&self) -> PathBuf {
        self.dir().join("lock")
    }

    /// `codex-autorunner.log`, the text log of all iterations.
    pub fn log(&self) -> PathBuf {
        self.dir().join("codex-autorunner.log")
    }

    /// `stop`: a file by which release 0.1.0 of the earlier tool asks a loop to end after the
    /// current iteration. Its content (a timestamp) does not matter.
    pub fn stop_file(&self) -> PathBuf {
        self.dir().join("stop")
    }

    /// `.gitignore` of the directory, which keeps run-time files out of commits.
    pub fn gitignore(&self) -> PathBuf {
        self.dir().join(".gitignore")
    }

    /// `runs/`, one text log and one event log per iteration.
    pub fn runs(&self) -> PathBuf {
        self.dir().join("runs")
    }

    /// `runs/run-<id>.log`: the block of one iteration.
    pub fn run_log(&self, run_id: u64) -> PathBuf {
        self.runs().join(format!("run-{run_id}.log"))
    }

    /// `runs/run-<id>.jsonl`: the events of one iteration as Codex printed them.
    pub fn run_events(&self, run_id: u64) -> PathBuf {
        self.runs().join(format!("run-{run_id}.jsonl"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_nearest_ancestor_with_a_git_entry_is_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let outer = dir.path().canonicalize().unwrap();
        let inner = outer.join("inner");
        fs::create_dir_all(inner.join("src/deep")).unwrap();
        fs::create_dir(outer.join(".git")).unwrap();
        assert_eq!(Repository::discover(&inner.join("src")).unwrap().root(), outer);

        // A linked worktree has a file.
        fs::write(inner.join(".git"), "gitdir: elsewhere\n").unwrap();
        assert_eq!(Repository::discover(&inner.join("src/deep")).unwrap().root(), inner);
        assert_eq!(Repository::discover(&inner).unwrap().root(), inner);
    }

    #[test]
    fn two_spellings_of_one_directory_are_one_repository() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir_all(real.join(".git")).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("alias")).unwrap();
        assert_eq!(
            Repository::discover(&real).unwrap(),
            Repository::discover(&dir.path().join("alias/../alias")).unwrap()
        );
    }

    #[test]
    fn no_git_entry_is_an_error_that_says_what_to_do() {
        // The only directory that surely has no repository above it.
        let error = Repository::discover(Path::new("/")).unwrap_err().to_string();
        assert!(error.starts_with("Could not find .git directory in current or parent paths"));
        assert!(error.contains("git init"));
        assert!(matches!(
            Repository::discover(Path::new("/nonexistent-directory")),
            Err(RepoError::StartUnreadable { .. })
        ));
    }

    #[test]
    fn names_are_those_of_the_format() {
        let layout = Layout::of_root("/r");
        assert_eq!(layout.config(), Path::new("/r/.codex-autorunner/config.yml"));
        assert_eq!(layout.state(), Path::new("/r/.codex-autorunner/state.json"));
        assert_eq!(layout.lock(), Path::new("/r/.codex-autorunner/lock"));
        assert_eq!(layout.log(), Path::new("/r/.codex-autorunner/codex-autorunner.log"));
        assert_eq!(layout.run_log(7), Path::new("/r/.codex-autorunner/runs/run-7.log"));
        assert_eq!(layout.run_events(7), Path::new("/r/.codex-autorunner/runs/run-7.jsonl"));
    }
}
