//! Seeding a repository: configuration, state, log and the three work documents.
//!
//! Each file is written only if it is absent. With `force` it is written anew, and what stood there
//! is kept beside it as `<name>.bak-<time>`: a person's notes are never lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::atomic;
use crate::config::{self, Config, ConfigError};
use crate::git::{Git, GitError};
use crate::lock::{self, Assessment, LockError, LockRecord};
use crate::repo::{Layout, RepoError, Repository};
use crate::state::State;

const TODO: &str = "\
# TODO

- [ ] Replace this with the first task
- [ ] Replace this with the second task
- [x] An example of a finished task
";

const PROGRESS: &str = "# Progress\n\n";

const OPINIONS: &str = "\
# Opinions

- Prefer small changes, each with a test.
- Keep the documentation in step with the code.
- Keep dependencies few.
";

/// Keeps what changes with every run out of commits; the documents and the configuration stay in.
const GITIGNORE: &str = "\
# Written by the autorunner while it runs.
/codex-autorunner.log
/lock
/state.json
/state.json.lock
/stop
/runs/
*.tmp
*.bak-*
";

/// How to seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InitOptions {
    /// Write every file anew, with backups.
    pub force: bool,
    /// Make a git repository of the start directory if it is in none.
    pub git_init: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InitReport {
    /// The repository root.
    pub root: PathBuf,
    /// Whether `git init` was run.
    pub made_repository: bool,
    /// Each file, in order.
    pub files: Vec<SeededFile>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeededFile {
    /// Where it is.
    pub path: PathBuf,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: SeedOutcome,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum SeedOutcome {
    /// It was absent and has been written.
    Created,
    /// It was there and has been left alone.
    Kept,
    /// It was there and has been written anew.
    Replaced {
        /// Where the old content is.
        backup: PathBuf,
    },
}

/// Why a repository could not be seeded.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is no repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// `git init` failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The configuration that is there is invalid, so nobody knows where the documents belong.
    #[error("{0}\nRepair it, or use --force to write a new one (the old one is kept as a backup).")]
    Config(ConfigError),
    /// The lock could not be judged.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Everything would be replaced under a running loop.
    #[error("an autorunner is active in this repository ({}); stop it before `init --force`", .holder.as_ref().map_or_else(|| "unknown process".to_owned(), ToString::to_string))]
    LoopActive {
        /// Who.
        holder: Option<LockRecord>,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Seeds the repository that holds `start`.
pub fn init(start: &Path, options: InitOptions, now: Timestamp) -> Result<InitReport, InitError> {
    let (repository, made_repository) = match Repository::discover(start) {
        Err(RepoError::NotInRepository { .. }) if options.git_init => {
            Git::new(start).init()?;
            (Repository::discover(start)?, true)
        }
        other => (other?, false),
    };
    let files = seed(&repository.layout(), options.force, now)?;
    Ok(InitReport { root: repository.root().to_path_buf(), made_repository, files })
}

fn seed(layout: &Layout, force: bool, now: Timestamp) -> Result<Vec<SeededFile>, InitError> {
    if force && let Assessment::Held { holder, .. } = lock::assess(&layout.lock())? {
        return Err(InitError::LoopActive { holder });
    }
    create_dir(&layout.dir())?;
    let config = match config::load(layout) {
        // A new configuration says where the new documents belong.
        _ if force => Config::default(),
        Ok(loaded) => loaded.config,
        Err(ConfigError::Missing { .. }) => Config::default(),
        Err(error) => return Err(InitError::Config(error)),
    };
    let [todo, progress, opinions] = config.docs.resolve(layout.root());
    let state = State::default().to_json();
    let seeds: [(PathBuf, &str); 7] = [
        (layout.config(), config::SEED),
        (layout.gitignore(), GITIGNORE),
        (layout.state(), &state),
        (layout.log(), ""),
        (todo, TODO),
        (progress, PROGRESS),
        (opinions, OPINIONS),
    ];
    seeds.into_iter().map(|(path, content)| seed_file(path, content, force, now)).collect()
}

fn seed_file(path: PathBuf, content: &str, force: bool, now: Timestamp) -> Result<SeededFile, InitError> {
    let failed = |source| InitError::Write { path: path.clone(), source };
    let outcome = match fs::read(&path) {
        Ok(old) if !force || old == content.as_bytes() => SeedOutcome::Kept,
        Ok(old) => {
            let backup = back_up(&path, &old, now).map_err(failed)?;
            atomic::replace(&path, content.as_bytes()).map_err(failed)?;
            SeedOutcome::Replaced { backup }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dir(atomic::parent(&path))?;
            atomic::replace(&path, content.as_bytes()).map_err(failed)?;
            SeedOutcome::Created
        }
        Err(error) => return Err(failed(error)),
    };
    Ok(SeededFile { path, outcome })
}

/// Writes the old content beside the file, under a name that is still free.
fn back_up(path: &Path, content: &[u8], now: Timestamp) -> io::Result<PathBuf> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    for attempt in 0_u32.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".bak-{time}"));
        if attempt > 0 {
            name.push(format!("-{attempt}"));
        }
        let backup = path.with_file_name(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&backup) {
            Ok(mut file) => {
                io::Write::write_all(&mut file, content)?;
                file.sync_all()?;
                return Ok(backup);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free name for a backup"))
}

fn create_dir(path: &Path) -> Result<(), InitError> {
    fs::create_dir_all(path).map_err(|source| InitError::Write { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::lock::OwnedLock;
    use crate::todo::{Fingerprint, TodoList};

    fn now() -> Timestamp {
        "2025-12-09T10:00:01Z".parse().unwrap()
    }

    fn repository() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        (dir, root)
    }

    fn run(start: &Path, force: bool) -> InitReport {
        init(start, InitOptions { force, git_init: false }, now()).unwrap()
    }

    #[test]
    fn a_fresh_repository_gets_every_file_at_its_root() {
        let (_dir, root) = repository();
        fs::create_dir_all(root.join("src/deep")).unwrap();
        let report = run(&root.join("src/deep"), false);
        assert_eq!((report.root.as_path(), report.made_repository), (root.as_path(), false));
        let names: Vec<&str> = report
            .files
            .iter()
            .map(|file| file.path.strip_prefix(root.join(".codex-autorunner")).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "config.yml",
                ".gitignore",
                "state.json",
                "codex-autorunner.log",
                "TODO.md",
                "PROGRESS.md",
                "OPINIONS.md"
            ]
        );
        assert!(report.files.iter().all(|file| file.outcome == SeedOutcome::Created));

        let layout = Layout::of_root(&root);
        assert_eq!(config::load(&layout).unwrap().warnings, []);
        assert_eq!(State::load(&layout.state()).unwrap(), State::default());
        assert_eq!(fs::read(layout.log()).unwrap(), b"");
        let todo = TodoList::parse(&fs::read(layout.dir().join("TODO.md")).unwrap());
        assert_eq!(todo.fingerprint(), Fingerprint { open: 2, done: 1 });
        assert_eq!(fs::read_to_string(layout.dir().join("PROGRESS.md")).unwrap(), "# Progress\n\n");
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let (_dir, root) = repository();
        run(&root, false);
        fs::write(root.join(".codex-autorunner/TODO.md"), "mine").unwrap();
        fs::remove_file(root.join(".codex-autorunner/OPINIONS.md")).unwrap();
        let report = run(&root, false);
        let created: Vec<&SeededFile> =
            report.files.iter().filter(|file| file.outcome != SeedOutcome::Kept).collect();
        assert_eq!(created.len(), 1);
        assert!(created[0].path.ends_with("OPINIONS.md"));
        assert_eq!(fs::read_to_string(root.join(".codex-autorunner/TODO.md")).unwrap(), "mine");
    }

    #[test]
    fn force_keeps_backups_of_all_that_it_replaces() {
        let (_dir, root) = repository();
        run(&root, false);
        let todo = root.join(".codex-autorunner/TODO.md");
        for (text, backup) in
            [("first", "TODO.md.bak-20251209T100001Z"), ("second", "TODO.md.bak-20251209T100001Z-1")]
        {
            fs::write(&todo, text).unwrap();
            let report = run(&root, true);
            let replaced: Vec<&SeededFile> =
                report.files.iter().filter(|file| file.outcome != SeedOutcome::Kept).collect();
            let backup = todo.with_file_name(backup);
            assert_eq!(replaced.len(), 1, "only what differs is replaced");
            assert_eq!(replaced[0].outcome, SeedOutcome::Replaced { backup: backup.clone() });
            assert_eq!(fs::read_to_string(backup).unwrap(), text);
            assert_eq!(fs::read_to_string(&todo).unwrap(), TODO);
        }
    }

    #[test]
    fn documents_are_seeded_where_the_configuration_says() {
        let (_dir, root) = repository();
        fs::create_dir(root.join(".codex-autorunner")).unwrap();
        fs::write(root.join(".codex-autorunner/config.yml"), "docs: {todo: docs/plan/TODO.md}\n").unwrap();
        run(&root, false);
        assert_eq!(fs::read_to_string(root.join("docs/plan/TODO.md")).unwrap(), TODO);
        assert!(!root.join(".codex-autorunner/TODO.md").exists());
    }

    #[test]
    fn an_invalid_configuration_is_explained_and_force_replaces_it() {
        let (_dir, root) = repository();
        fs::create_dir(root.join(".codex-autorunner")).unwrap();
        fs::write(root.join(".codex-autorunner/config.yml"), "docs: 5").unwrap();
        let error = init(&root, InitOptions::default(), now()).unwrap_err().to_string();
        assert!(error.contains("docs: expected a mapping") && error.contains("--force"), "{error}");
        assert!(matches!(run(&root, true).files[0].outcome, SeedOutcome::Replaced { .. }));
    }

    #[test]
    fn force_is_refused_while_a_loop_runs() {
        let (_dir, root) = repository();
        run(&root, false);
        let lock = root.join(".codex-autorunner/lock");
        let _held = OwnedLock::acquire(&lock, &LockRecord::of_this_process(now())).unwrap();
        let forced = init(&root, InitOptions { force: true, git_init: false }, now());
        assert!(matches!(forced, Err(InitError::LoopActive { .. })));
        run(&root, false);
    }

    #[test]
    fn outside_of_a_repository_nothing_is_written() {
        let error = init(Path::new("/"), InitOptions::default(), now()).unwrap_err();
        assert!(error.to_string().starts_with("Could not find .git directory"));
        assert!(!Path::new("/.codex-autorunner").exists());
    }
}
