#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A repository with its own identity and nobody's configuration.
struct Repo {
    _dir: tempfile::TempDir,
    root: PathBuf,
    git: Git,
}

impl Repo {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("repo");
        fs::create_dir_all(root.join(".codex-autorunner")).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let variable = |name: &str, value: &str| (name.into(), value.into());
        let git = Git::new(&root).with_env([
            ("PATH".into(), path),
            variable("GIT_CONFIG_GLOBAL", "/dev/null"),
            variable("GIT_CONFIG_NOSYSTEM", "1"),
            variable("GIT_AUTHOR_NAME", "Test"),
            variable("GIT_AUTHOR_EMAIL", "test@example.org"),
            variable("GIT_COMMITTER_NAME", "Test"),
            variable("GIT_COMMITTER_EMAIL", "test@example.org"),
        ]);
        git.init().unwrap();
        Self { _dir: dir, root, git }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        String::from_utf8(self.git.succeed(args).unwrap()).unwrap()
    }

    fn commit_all(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "all"]);
    }

    fn commit_todo(&self, token: &str) -> CommitOutcome {
        self.git.commit_documents("[codex] run #7", token, &[todo(), missing()]).unwrap()
    }

    fn fingerprint(&self) -> String {
        self.git.fingerprint(&[self.root.join("PLAN.md")]).unwrap()
    }
}

fn todo() -> PathBuf {
    ".codex-autorunner/TODO.md".into()
}

fn missing() -> PathBuf {
    ".codex-autorunner/PROGRESS.md".into()
}

#[test]
fn the_documents_that_exist_are_committed_and_other_changes_are_not() {
    let repo = Repo::new();
    repo.write(".codex-autorunner/TODO.md", "- [ ] a\n");
    repo.write("src.txt", "work of the agent");
    let CommitOutcome::Committed { commit } = repo.commit_todo("run/7") else { panic!() };
    assert_eq!(repo.git(&["log", "-1", "--format=%s"]), "[codex] run #7\n");
    assert!(repo.git(&["log", "-1", "--format=%B"]).contains("Spindle-Run: run/7\n"));
    assert_eq!(repo.git(&["rev-parse", "HEAD"]).trim(), commit);
    assert_eq!(repo.git(&["show", "--name-only", "--format="]), ".codex-autorunner/TODO.md\n");
    assert_eq!(repo.git(&["status", "--porcelain"]), "?? src.txt\n");
}

#[test]
fn a_commit_repeated_after_a_crash_is_found_and_not_made_twice() {
    let repo = Repo::new();
    repo.write(".codex-autorunner/TODO.md", "- [ ] a\n");
    let CommitOutcome::Committed { commit } = repo.commit_todo("run/7") else { panic!() };
    // A person works in between.
    repo.write(".codex-autorunner/TODO.md", "- [x] a\n");
    repo.write("other", "x");
    repo.git(&["add", "other"]);
    repo.git(&["commit", "-q", "-m", "by hand"]);
    assert_eq!(repo.commit_todo("run/7"), CommitOutcome::AlreadyCommitted { commit });
    assert!(matches!(repo.commit_todo("run/8"), CommitOutcome::Committed { .. }));
    assert_eq!(repo.git(&["rev-list", "--count", "HEAD"]).trim(), "3");
}

#[test]
fn nothing_to_commit_is_harmless() {
    let repo = Repo::new();
    let nothing = CommitOutcome::NothingToCommit { ignored: vec![] };
    assert_eq!(repo.commit_todo("run/1"), nothing);
    repo.write(".codex-autorunner/TODO.md", "x");
    repo.commit_all();
    assert_eq!(repo.commit_todo("run/2"), nothing);
}

#[test]
fn documents_that_git_ignores_are_named() {
    let repo = Repo::new();
    repo.write(".codex-autorunner/.gitignore", "*\n");
    repo.write(".codex-autorunner/TODO.md", "x");
    assert_eq!(repo.commit_todo("run/1"), CommitOutcome::NothingToCommit { ignored: vec![todo()] });
}

#[test]
fn a_document_outside_of_the_repository_is_an_error() {
    let repo = Repo::new();
    let outside = repo.root.parent().unwrap().join("TODO.md");
    fs::write(&outside, "x").unwrap();
    for path in [outside, "../TODO.md".into()] {
        let error = repo.git.commit_documents("m", "t", &[path]).unwrap_err();
        assert!(matches!(error, GitError::DocumentOutside { .. }), "{error}");
    }
}

#[test]
fn what_git_says_is_part_of_the_error() {
    let repo = Repo::new();
    repo.write(".git/hooks/pre-commit", "#!/bin/sh\necho no commits today >&2\nexit 1\n");
    let hook = repo.root.join(".git/hooks/pre-commit");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    repo.write(".codex-autorunner/TODO.md", "x");
    let error = repo.git.commit_documents("m", "t", &[todo()]).unwrap_err().to_string();
    assert!(error.contains("`git commit` failed") && error.contains("no commits today"), "{error}");
}

#[test]
fn a_git_that_waits_for_ever_is_stopped() {
    let repo = Repo::new();
    repo.write(".git/hooks/pre-commit", "#!/bin/sh\nsleep 600\n");
    let hook = repo.root.join(".git/hooks/pre-commit");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    repo.write(".codex-autorunner/TODO.md", "x");
    let git = repo.git.clone().with_time_limit(Duration::from_secs(1));
    let error = git.commit_documents("m", "t", &[todo()]).unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
}

#[test]
fn the_fingerprint_changes_with_staged_unstaged_untracked_and_committed_content() {
    let repo = Repo::new();
    let mut seen = vec![repo.fingerprint()];
    let mut changed = |repo: &Repo, what: &str| {
        let now = repo.fingerprint();
        assert_eq!(now, repo.fingerprint(), "stable after {what}");
        assert!(!seen.contains(&now), "{what} went unnoticed");
        seen.push(now);
    };
    repo.write("a.txt", "1");
    changed(&repo, "an untracked file");
    repo.write("a.txt", "2");
    changed(&repo, "the content of an untracked file");
    repo.git(&["add", "a.txt"]);
    changed(&repo, "staging");
    repo.commit_all();
    changed(&repo, "a commit");
    repo.write("a.txt", "3");
    changed(&repo, "an unstaged change");
    repo.write("a.txt", "4");
    changed(&repo, "another change of a file that was changed already");
    fs::remove_file(repo.root.join("a.txt")).unwrap();
    changed(&repo, "a deletion");
    std::os::unix::fs::symlink("x", repo.root.join("link")).unwrap();
    changed(&repo, "a link");
    repo.write("odd \n\"name\"\t", "1");
    changed(&repo, "a file with an odd name");
}

#[test]
fn the_fingerprint_leaves_out_documents_own_files_and_what_is_ignored() {
    let repo = Repo::new();
    repo.write(".gitignore", "target/\n");
    repo.write("PLAN.md", "a");
    repo.write(".codex-autorunner/TODO.md", "a");
    repo.commit_all();
    let before = repo.fingerprint();
    repo.write("PLAN.md", "b");
    repo.write(".codex-autorunner/TODO.md", "b");
    repo.write(".codex-autorunner/codex-autorunner.log", "b");
    repo.write("target/out", "b");
    assert_eq!(repo.fingerprint(), before);
    repo.commit_all();
    assert_eq!(repo.fingerprint(), before, "a commit of documents alone");
}

#[test]
fn a_change_taken_back_gives_the_old_fingerprint() {
    let repo = Repo::new();
    repo.write("a.txt", "1");
    repo.commit_all();
    let before = repo.fingerprint();
    repo.write("a.txt", "2");
    repo.write("b.txt", "2");
    assert_ne!(repo.fingerprint(), before);
    repo.write("a.txt", "1");
    fs::remove_file(repo.root.join("b.txt")).unwrap();
    assert_eq!(repo.fingerprint(), before);
}
