//! What git says of a working tree, for a recording.
//!
//! Nothing of the repository is changed, and nobody who works in it is in the way: no lock is taken, and what git
//! would write goes into a scratch directory. Of what the repository configures, only filters run.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use autorunner::git::REPOSITORY_VARIABLES;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use trace::recording::GitState;

/// Longer than this no question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Larger patches are not kept, in bytes.
const LARGEST_PATCH: u64 = 16 << 20;

/// As much of any other answer is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// The state of the working tree that a directory lies in. None where there is none, or no git.
pub(super) async fn state(cwd: &Path) -> Option<GitState> {
    let git = Git { cwd: cwd.to_owned(), env: Vec::new() };
    let root = PathBuf::from(git.line(&["rev-parse", "--show-toplevel"]).await?);
    let git = Git { cwd: root.clone(), env: Vec::new() };
    let commit = git.line(&["rev-parse", "--verify", "--quiet", "HEAD"]).await;
    let base = match &commit {
        Some(commit) => Some(git.base().await.unwrap_or_else(|| commit.clone())),
        None => None,
    };
    let patch = match &base {
        Some(base) => git.patch(base).await,
        None => None,
    };
    Some(GitState {
        root: root.to_string_lossy().into_owned(),
        commit,
        branch: git.line(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await,
        url: git.line(&["config", "--get", "remote.origin.url"]).await,
        base,
        patch,
    })
}

/// Questions to git about one repository.
struct Git {
    cwd: PathBuf,
    env: Vec<(&'static str, OsString)>,
}

impl Git {
    /// What git prints, if it succeeds, and does so within its limits.
    async fn ask<S: AsRef<OsStr>>(&self, arguments: &[S], limit: u64) -> Option<Vec<u8>> {
        let mut command = Command::new("git");
        for name in REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        command
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
            .args(arguments)
            .current_dir(&self.cwd)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let answer = async {
            let mut child = command.spawn().ok()?;
            let mut text = Vec::new();
            child.stdout.take()?.take(limit.saturating_add(1)).read_to_end(&mut text).await.ok()?;
            if text.len() as u64 > limit {
                // To be dropped is to be killed.
                return None;
            }
            child.wait().await.ok()?.success().then_some(text)
        };
        timeout(PATIENCE, answer).await.ok().flatten()
    }

    /// The first line that git prints; none if it is empty.
    async fn line(&self, arguments: &[&str]) -> Option<String> {
        let text = String::from_utf8(self.ask(arguments, LARGEST_ANSWER).await?).ok()?;
        text.lines().next().filter(|line| !line.is_empty()).map(str::to_owned)
    }

    /// The closest commit that a remote knows. None if there is none.
    async fn base(&self) -> Option<String> {
        self.line(&["for-each-ref", "--count=1", "refs/remotes"]).await?;
        let arguments = ["rev-list", "--boundary", "HEAD", "--not", "--remotes"];
        let commits = String::from_utf8(self.ask(&arguments, LARGEST_ANSWER).await?).ok()?;
        let known = commits.lines().find_map(|line| line.strip_prefix('-'));
        known.map(str::to_owned)
    }

    /// The working tree against a commit, with the files that git does not know yet and does not ignore.
    async fn patch(&self, base: &str) -> Option<Vec<u8>> {
        let scratch = TempDir::new().ok()?;
        let index = scratch.path().join("index");
        let known = self.cwd.join(self.line(&["rev-parse", "--git-path", "index"]).await?);
        let objects = self.cwd.join(self.line(&["rev-parse", "--git-path", "objects"]).await?);
        if known.exists() {
            tokio::fs::copy(&known, &index).await.ok()?;
        }
        tokio::fs::create_dir(scratch.path().join("objects")).await.ok()?;
        let aside = Self {
            cwd: self.cwd.clone(),
            env: vec![
                ("GIT_INDEX_FILE", index.into()),
                ("GIT_OBJECT_DIRECTORY", scratch.path().join("objects").into()),
                ("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.into()),
            ],
        };
        // Best effort: without it, new files are missing from the patch.
        let _ = aside.ask(&["add", "--intent-to-add", "--all", "--", "."], LARGEST_ANSWER).await;
        let arguments =
            ["diff", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", base, "--"];
        aside.ask(&arguments, LARGEST_PATCH).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;

    use super::*;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new("git");
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"];
        let output = command.args(identity).args(arguments).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A repository with one commit.
    fn repository() -> TempDir {
        let directory = TempDir::new().unwrap();
        git(directory.path(), &["init", "--quiet", "--initial-branch=main"]);
        fs::write(directory.path().join("known"), "one\n").unwrap();
        fs::write(directory.path().join(".gitignore"), "ignored\n").unwrap();
        git(directory.path(), &["add", "."]);
        git(directory.path(), &["commit", "--quiet", "--message=one"]);
        directory
    }

    /// Every file of a repository's own, by its content.
    fn inside(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut left = vec![directory.join(".git")];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[tokio::test]
    async fn the_patch_makes_the_working_tree_of_the_base_and_the_repository_stays_as_it_is() {
        let directory = repository();
        let at = |name: &str| directory.path().join(name);
        let head = git(directory.path(), &["rev-parse", "HEAD"]);
        fs::write(at("known"), "two\n").unwrap();
        fs::write(at("new"), "new\n").unwrap();
        fs::write(at("staged"), "staged\n").unwrap();
        git(directory.path(), &["add", "staged"]);
        fs::write(at("ignored"), "").unwrap();
        fs::create_dir(at("below")).unwrap();
        let before = inside(directory.path());

        let state = state(&at("below")).await.unwrap();

        assert!(inside(directory.path()) == before, "something in .git has changed");
        assert_eq!((state.commit.as_ref(), state.base.as_ref()), (Some(&head), Some(&head)));
        assert_eq!((state.branch.as_deref(), state.url), (Some("main"), None));
        let other = TempDir::new().unwrap();
        git(other.path(), &["clone", "--quiet", directory.path().to_str().unwrap(), "."]);
        fs::write(other.path().join("patch"), state.patch.unwrap()).unwrap();
        git(other.path(), &["apply", "patch"]);
        let read = |name: &str| fs::read_to_string(other.path().join(name)).ok();
        assert_eq!(
            ["known", "new", "staged"].map(|name| read(name).unwrap()),
            ["two\n", "new\n", "staged\n"]
        );
        assert_eq!(read("ignored"), None);
    }

    #[tokio::test]
    async fn the_base_is_the_closest_commit_that_a_remote_knows() {
        let origin = repository();
        let directory = TempDir::new().unwrap();
        git(directory.path(), &["clone", "--quiet", origin.path().to_str().unwrap(), "."]);
        let known = git(directory.path(), &["rev-parse", "HEAD"]);
        assert_eq!(state(directory.path()).await.unwrap().base.as_ref(), Some(&known));
        for number in ["two", "three"] {
            fs::write(directory.path().join("known"), number).unwrap();
            git(directory.path(), &["commit", "--quiet", "--all", "--message", number]);
        }
        let state = state(directory.path()).await.unwrap();
        assert_eq!((state.base.as_ref(), state.url.as_deref()), (Some(&known), origin.path().to_str()));
        assert!(state.commit != state.base);
        assert!(String::from_utf8(state.patch.unwrap()).unwrap().contains("+three"));
    }

    #[tokio::test]
    async fn where_there_is_no_repository_or_no_commit_there_is_less_to_say() {
        let directory = TempDir::new().unwrap();
        assert_eq!(state(directory.path()).await, None);
        git(directory.path(), &["init", "--quiet"]);
        let state = state(directory.path()).await.unwrap();
        assert_eq!((state.commit, state.base, state.patch), (None, None, None));
    }
}
