//! What the loop does with git: it commits the work documents, and it tells whether an iteration
//! changed anything.
//!
//! The `git` program is used, never a shell: the user's configuration, hooks and signing keys then
//! apply as they would by hand. It gets no terminal, may not ask for anything, and has a time limit.

mod fingerprint;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Key of the trailer that marks a commit as that of one iteration.
pub const TRAILER: &str = "Spindle-Run";

/// How many commits are searched for the one that an iteration has made already. Nobody works in the
/// repository between a crash and the replay but a person in a hurry.
const SEARCHED_COMMITS: &str = "50";

/// Variables that would point git at another repository than the one it is at work in.
pub const REPOSITORY_VARIABLES: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];

/// The git program, at work in one repository.
#[derive(Debug, Clone)]
pub struct Git {
    root: PathBuf,
    env: Option<Vec<(OsString, OsString)>>,
    time_limit: Duration,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// A commit was made.
    Committed {
        /// Its name.
        commit: String,
    },
    /// This iteration had made its commit before (a replay after a crash).
    AlreadyCommitted {
        /// Its name.
        commit: String,
    },
    /// There was nothing to commit.
    NothingToCommit {
        /// Documents that git ignores, which may be why.
        ignored: Vec<PathBuf>,
    },
}

/// What went wrong with git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program could not be started, or the repository not be read.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted, on what.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// git said no.
    #[error("`git {command}` failed ({status}): {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        message: String,
    },
    /// git took too long (a hook, or a passphrase that nobody types) and was killed.
    #[error(
        "`git {command}` took longer than {limit:?} and was stopped; does a hook or a signing key wait for input?"
    )]
    TimedOut {
        /// The subcommand.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// A document lies outside of the repository and cannot be committed to it.
    #[error("{document} lies outside of the repository {root}; git.auto_commit cannot work with it")]
    DocumentOutside {
        /// The document.
        document: PathBuf,
        /// The repository.
        root: PathBuf,
    },
}

struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Git {
    /// git in the repository with this root (a real path).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), env: None, time_limit: Duration::from_mins(2) }
    }

    /// Uses this environment instead of that of the process: a daemon's is not that of the person
    /// whose name, keys and hooks a commit needs.
    #[must_use]
    pub fn with_env(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.env = Some(env.into_iter().collect());
        self
    }

    /// Sets the time limit of each git command (two minutes by default).
    #[must_use]
    pub fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Makes the directory a repository.
    pub fn init(&self) -> Result<(), GitError> {
        self.succeed(&["init", "--quiet"]).map(drop)
    }

    /// Adds the documents that exist and commits. What the agent has staged itself goes into the
    /// commit, too; its other changes do not.
    ///
    /// `token` names the iteration; it stands in a trailer, by which a second call finds the commit
    /// of the first.
    pub fn commit_documents(
        &self,
        message: &str,
        token: &str,
        documents: &[PathBuf],
    ) -> Result<CommitOutcome, GitError> {
        let trailer = format!("{TRAILER}: {}", token.replace(['\r', '\n'], " "));
        if let Some(commit) = self.find_commit(&trailer)? {
            return Ok(CommitOutcome::AlreadyCommitted { commit });
        }
        let (ignored, wanted) = self.split_ignored(self.inside(documents)?)?;
        if !wanted.is_empty() {
            // A path is a path, whatever characters it has.
            self.succeed_with(&["--literal-pathspecs", "add", "--"], &wanted)?;
        }
        if self.run(&["diff", "--cached", "--quiet"], &[])?.status.success() {
            return Ok(CommitOutcome::NothingToCommit { ignored });
        }
        self.succeed(&["commit", "--quiet", "-m", message, "-m", &trailer])?;
        Ok(CommitOutcome::Committed { commit: self.head()?.unwrap_or_default() })
    }

    /// The name of the current commit; `None` before the first one.
    fn head(&self) -> Result<Option<String>, GitError> {
        let output = self.run(&["rev-parse", "--quiet", "--verify", "HEAD^{commit}"], &[])?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok((output.status.success() && !name.is_empty()).then_some(name))
    }

    fn find_commit(&self, trailer: &str) -> Result<Option<String>, GitError> {
        if self.head()?.is_none() {
            return Ok(None);
        }
        let log = self.succeed(&["log", "-n", SEARCHED_COMMITS, "--format=%H%n%B%x00"])?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.split('\0').find_map(|entry| {
            let (commit, message) = entry.trim_start().split_once('\n')?;
            message.lines().any(|line| line == trailer).then(|| commit.to_owned())
        }))
    }

    /// The documents that exist, relative to the root.
    fn inside(&self, documents: &[PathBuf]) -> Result<Vec<PathBuf>, GitError> {
        let mut found = Vec::new();
        for document in documents {
            let Ok(real) = self.root.join(document).canonicalize() else {
                continue;
            };
            match real.strip_prefix(&self.root) {
                Ok(relative) => found.push(relative.to_path_buf()),
                Err(_) => {
                    return Err(GitError::DocumentOutside {
                        document: document.clone(),
                        root: self.root.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Parts paths into those that git ignores and the others. (`git add` fails as a whole when one
    /// of its paths is ignored.)
    fn split_ignored(&self, paths: Vec<PathBuf>) -> Result<(Vec<PathBuf>, Vec<PathBuf>), GitError> {
        let (mut ignored, mut wanted) = (Vec::new(), Vec::new());
        for path in paths {
            if self.answers_yes(&["check-ignore", "--quiet", "--"], slice::from_ref(&path))? {
                ignored.push(path);
            } else {
                wanted.push(path);
            }
        }
        Ok((ignored, wanted))
    }

    /// Runs a command that answers by its exit code: 0 is yes, 1 is no, all else a failure.
    fn answers_yes(&self, args: &[&str], paths: &[PathBuf]) -> Result<bool, GitError> {
        let output = self.run(args, paths)?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failed(subcommand(args), output)),
        }
    }

    fn succeed(&self, args: &[&str]) -> Result<Vec<u8>, GitError> {
        self.succeed_with(args, &[])
    }

    fn succeed_with(&self, args: &[&str], paths: &[PathBuf]) -> Result<Vec<u8>, GitError> {
        let output = self.run(args, paths)?;
        if output.status.success() { Ok(output.stdout) } else { Err(failed(subcommand(args), output)) }
    }

    fn run(&self, args: &[&str], paths: &[PathBuf]) -> Result<Output, GitError> {
        let name = subcommand(args).to_owned();
        let mut command = self.command();
        command.args(args).args(paths);
        let io_error =
            |source| GitError::Io { action: format!("run `git {name}` in {}", self.root.display()), source };
        let mut child = command.spawn().map_err(io_error)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // Both pipes are drained while we wait: a full one would stop git.
        let finished = thread::scope(|scope| {
            let stdout = scope.spawn(|| drain(stdout));
            let stderr = scope.spawn(|| drain(stderr));
            let status = wait_or_kill(&mut child, self.time_limit);
            let lost = || io::Error::other("a reader ended unexpectedly");
            Ok(status?.zip(Some((stdout.join().map_err(|_| lost())??, stderr.join().map_err(|_| lost())??))))
        });
        match finished.map_err(io_error)? {
            Some((status, (stdout, stderr))) => Ok(Output { status, stdout, stderr }),
            None => Err(GitError::TimedOut { command: name, limit: self.time_limit }),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        if let Some(env) = &self.env {
            command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
        }
        for name in REPOSITORY_VARIABLES {
            command.env_remove(name);
        }
        command
            .current_dir(&self.root)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// The word that names the command, for messages: the first that is no option.
fn subcommand<'a>(args: &[&'a str]) -> &'a str {
    args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default()
}

fn drain(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Waits for the child; past the limit its whole process group is killed and the answer is `None`.
fn wait_or_kill(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            if let Ok(group) = i32::try_from(child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn failed(command: &str, output: Output) -> GitError {
    let Output { status, stdout, stderr } = output;
    // Some refusals ("nothing to commit", a hook) are told on standard output.
    let message = if stderr.trim_ascii().is_empty() { stdout } else { stderr };
    GitError::Failed {
        command: command.to_owned(),
        status,
        message: String::from_utf8_lossy(message.trim_ascii()).into_owned(),
    }
}

/// Whether a path of the repository (as git prints it) lies at or below one of these.
fn is_below(path: &[u8], any_of: &[PathBuf]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(OsStr::from_bytes(path));
    any_of.iter().any(|excluded| path.starts_with(excluded))
}

#[cfg(test)]
mod tests;
