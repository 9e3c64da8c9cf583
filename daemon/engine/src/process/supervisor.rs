//! The daemon's side: starting shims, finding them again, waiting for them, and stopping them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use tokio::sync::watch;
use uuid::Uuid;

use super::launch::Launch;
use super::platform::{self, ShimHandle};
use super::record::{self, Exit, LaunchRecord, ProcessRecord, RecordError, Survivor};
use super::sweep::sweep;

/// Between two looks at a shim that has not yet got to the point where it can be told apart or spoken to.
const STARTING_PAUSE: Duration = Duration::from_millis(1);
/// So long a shim that holds its lock may take to say who it is.
const STARTING_PATIENCE: Duration = Duration::from_secs(30);

/// How a shim is called: the daemon's own program with its hidden subcommand, or a stand-in in a test.
#[derive(Debug, Clone)]
pub struct ShimCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the attempt's directory.
    pub args: Vec<OsString>,
}

impl ShimCommand {
    /// The program that this process runs, with the arguments that make it a shim. An upgrade may replace the file;
    /// on Linux the running version is started all the same.
    pub fn own_program(args: impl IntoIterator<Item = impl Into<OsString>>) -> io::Result<Self> {
        Ok(Self { program: platform::own_program()?, args: args.into_iter().map(Into::into).collect() })
    }
}

/// Raises this process's soft limit of open files to the hard one and returns what it was, for
/// [`Supervisor::new`]; a daemon holds a descriptor or two for each shim and each reader of a log.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    platform::raise_nofile()
}

/// Starts child programs under shims and finds them again after a restart.
#[derive(Debug, Clone)]
pub struct Supervisor {
    shim: Arc<ShimCommand>,
    soft_nofile: Option<u64>,
}

/// Why a process could not be started, found or waited for.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A path has to be absolute, because a daemon has no working directory that means anything.
    #[error("{what} must be an absolute path, not `{path}`")]
    Relative {
        /// What the path is for.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The attempt has a directory already: what ran there must be adopted, never started again.
    #[error("{dir} exists already")]
    Exists {
        /// The attempt's directory.
        dir: PathBuf,
    },
    /// A file of the attempt's directory could not be made or used.
    #[error("cannot {action} {path}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The shim could not be started.
    #[error("cannot start the shim {program}")]
    Spawn {
        /// The shim's program.
        program: PathBuf,
        /// Why it failed; `E2BIG` when the environment is too large.
        source: io::Error,
    },
    /// The shim runs, but the kernel would not let it be watched.
    #[error("cannot watch the shim with pid {pid}")]
    Watch {
        /// The shim's process id.
        pid: i32,
        /// Why it failed.
        source: io::Error,
    },
    /// A record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Someone holds the lock without saying who it is.
    #[error("the lock in {dir} is held, but no living process has put its name there for 30 s")]
    Unidentified {
        /// The attempt's directory.
        dir: PathBuf,
    },
    /// What is left of a lost attempt could not be looked for.
    #[error("cannot look for processes left by the attempt in {dir}")]
    Sweep {
        /// The attempt's directory.
        dir: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The daemon is shutting down and watches no longer; the process itself is not affected.
    #[error("no longer watching {dir}: the daemon is shutting down")]
    Unwatched {
        /// The attempt's directory.
        dir: PathBuf,
    },
    /// Several waited for the same process and share one error.
    #[error(transparent)]
    Shared(Arc<ProcessError>),
}

/// What became of an attempt of an earlier daemon.
#[derive(Debug)]
pub enum Adoption {
    /// The program never began: it may be started, in a new directory.
    NothingRan,
    /// It runs, and is watched again.
    Alive(Process),
    /// It has ended.
    Exited(Exit),
    /// Its shim was killed; what was left of it has been killed too.
    Lost(Lost),
}

/// How a process ended, as far as can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The shim has told it.
    Exited(Exit),
    /// The shim was killed before it could tell.
    Lost(Lost),
    /// The shim was killed, or failed, before the program could begin.
    NothingRan,
}

/// An attempt whose shim is gone without an exit record. The program has begun; how far it came is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What was running.
    pub process: ProcessRecord,
    /// What was still alive and what became of it.
    pub swept: Vec<Survivor>,
}

impl From<Ended> for Adoption {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(exit) => Self::Exited(exit),
            Ended::Lost(lost) => Self::Lost(lost),
            Ended::NothingRan => Self::NothingRan,
        }
    }
}

impl Supervisor {
    /// A supervisor that starts shims by this command. `soft_nofile` is the soft limit of open files to give to
    /// children, when the daemon has raised its own ([`raise_open_files`]).
    pub fn new(shim: ShimCommand, soft_nofile: Option<u64>) -> Self {
        Self { shim: Arc::new(shim), soft_nofile }
    }

    /// Makes the attempt's directory and starts the program in it under a shim, with exactly this environment
    /// (plus [`record::ATTEMPT_MARKER`]), which never touches the disk.
    ///
    /// An `Ok` means that a shim is there, not that the program could be started: that is told by
    /// [`Process::wait`]. `dir` must not exist, its parent must.
    pub async fn start(
        &self,
        dir: &Path,
        launch: &Launch,
        env: Vec<(OsString, OsString)>,
    ) -> Result<Process, ProcessError> {
        check_paths(dir, launch)?;
        let record = LaunchRecord {
            version: record::VERSION,
            attempt: Uuid::now_v7().to_string(),
            launch: launch.clone(),
            soft_nofile: self.soft_nofile,
        };
        let (shim, dir) = (Arc::clone(&self.shim), dir.to_owned());
        let handle = blocking({
            let dir = dir.clone();
            move || spawn(&shim, &dir, &record, env)
        })
        .await?;
        Ok(Process::watch(dir, handle))
    }

    /// Finds out what became of an attempt that an earlier daemon has started, and takes hold of it when it lives.
    pub async fn adopt(&self, dir: &Path) -> Result<Adoption, ProcessError> {
        let deadline = tokio::time::Instant::now() + STARTING_PATIENCE;
        loop {
            let looked = blocking({
                let dir = dir.to_owned();
                move || look(&dir)
            })
            .await?;
            match looked {
                Looked::Ended(ended) => return Ok(ended.into()),
                Looked::Alive(handle) => return Ok(Adoption::Alive(Process::watch(dir.to_owned(), handle))),
                Looked::Starting if tokio::time::Instant::now() > deadline => {
                    return Err(ProcessError::Unidentified { dir: dir.to_owned() });
                }
                Looked::Starting => tokio::time::sleep(STARTING_PAUSE).await,
            }
        }
    }
}

/// Runs file work off the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being taken down, and with it whoever waits here: that is no outcome of
            // the work, and must not be taken for one.
            Err(_) => std::future::pending().await,
        },
    }
}

fn check_paths(dir: &Path, launch: &Launch) -> Result<(), ProcessError> {
    let check = |what, path: &Path| {
        if path.is_absolute() { Ok(()) } else { Err(ProcessError::Relative { what, path: path.to_owned() }) }
    };
    check("the attempt's directory", dir)?;
    check("the working directory", Path::new(launch.cwd.as_os_str()))
}

fn spawn(
    shim: &ShimCommand,
    dir: &Path,
    record: &LaunchRecord,
    env: Vec<(OsString, OsString)>,
) -> Result<ShimHandle, ProcessError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ProcessError::File { action, path, source }
    };
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ProcessError::Exists { dir: dir.to_owned() });
        }
        result => result.map_err(failed("make the directory", dir))?,
    }
    let lock = locked_file(dir).map_err(failed("lock", &dir.join(record::LOCK)))?;
    let path = dir.join(record::LAUNCH);
    appear(&path, record).map_err(failed("write", &path))?;

    // No `pre_exec`, no change of user: so the standard library takes posix_spawn, which does not copy the daemon.
    let child = Command::new(&shim.program)
        .arg0("spindled")
        .args(&shim.args)
        .arg(dir)
        .env_clear()
        .envs(env)
        .env(record::ATTEMPT_MARKER, &record.attempt)
        .current_dir(dir)
        .stdin(lock)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| ProcessError::Spawn { program: shim.program.clone(), source })?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    ShimHandle::of_child(pid).map_err(|source| ProcessError::Watch { pid, source })
}

/// Writes the launch record, which gets its name only when it is whole: readers of logs look for it, and by then the
/// lock is held.
fn appear(path: &Path, record: &LaunchRecord) -> io::Result<()> {
    let unnamed = path.with_extension("json.tmp");
    let mut file = File::create_new(&unnamed)?;
    record::write(&mut file, record)?;
    std::fs::rename(unnamed, path)
}

/// Makes the lock file. It gets its name only when it is locked: whoever sees it free knows that the shim has gone.
fn locked_file(dir: &Path) -> io::Result<File> {
    let unnamed = dir.join("lock.tmp");
    let file = File::options().read(true).write(true).create_new(true).open(&unnamed)?;
    platform::lock(&file)?;
    std::fs::rename(&unnamed, dir.join(record::LOCK))?;
    Ok(file)
}

enum Looked {
    Ended(Ended),
    Alive(ShimHandle),
    /// The lock is held, but it does not show yet by whom; or it is just being let go.
    Starting,
}

fn look(dir: &Path) -> Result<Looked, ProcessError> {
    let lock = dir.join(record::LOCK);
    let held = platform::is_locked(&lock).map_err(|source| ProcessError::File {
        action: "probe the lock",
        path: lock,
        source,
    })?;
    if !held {
        return settle(dir).map(Looked::Ended);
    }
    let Some(process) = record::read_process(dir)? else {
        return Ok(Looked::Starting);
    };
    match ShimHandle::of_stranger(process.shim) {
        Ok(handle) => Ok(Looked::Alive(handle)),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(Looked::Starting),
        Err(source) => Err(ProcessError::Watch { pid: process.shim.pid, source }),
    }
}

/// Reads how an attempt ended whose shim is known to be gone, and kills what a lost one has left.
fn settle(dir: &Path) -> Result<Ended, ProcessError> {
    if let Some(exit) = record::read(&dir.join(record::EXIT))? {
        return Ok(Ended::Exited(exit));
    }
    let Some(process) = record::read_process(dir)? else {
        return Ok(Ended::NothingRan);
    };
    let swept = sweep(&process).map_err(|source| ProcessError::Sweep { dir: dir.to_owned(), source })?;
    Ok(Ended::Lost(Lost { process, swept }))
}

/// A running process under its shim. Clones share it; dropping all of them changes nothing for the process.
#[derive(Debug, Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shim: Arc<ShimHandle>,
    ended: watch::Receiver<Option<Result<Ended, Arc<ProcessError>>>>,
}

/// The signs of life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Whether its shim lives.
    pub alive: bool,
    /// Length of the captured standard output.
    pub stdout_bytes: u64,
    /// Length of the captured standard error.
    pub stderr_bytes: u64,
    /// When either last grew; `None` as long as nothing was written.
    pub last_output: Option<SystemTime>,
}

impl Process {
    fn watch(dir: PathBuf, shim: ShimHandle) -> Self {
        let shim = Arc::new(shim);
        let (told, ended) = watch::channel(None);
        tokio::spawn({
            let (shim, dir) = (Arc::clone(&shim), dir.clone());
            async move {
                let outcome = match shim.ended().await {
                    Ok(()) => blocking(move || settle(&dir)).await,
                    Err(source) => Err(ProcessError::Watch { pid: shim.pid(), source }),
                };
                told.send_replace(Some(outcome.map_err(Arc::new)));
            }
        });
        Self { inner: Arc::new(Inner { dir, shim, ended }) }
    }

    /// Waits until the process has ended and says how. Any number may wait; each is told the same.
    pub async fn wait(&self) -> Result<Ended, ProcessError> {
        let mut ended = self.inner.ended.clone();
        let told = ended.wait_for(Option::is_some).await;
        match told.as_deref() {
            Ok(Some(outcome)) => outcome.clone().map_err(ProcessError::Shared),
            Ok(None) | Err(_) => Err(ProcessError::Unwatched { dir: self.inner.dir.clone() }),
        }
    }

    /// Asks the shim to walk the stop ladder. Returns at once; [`Process::wait`] tells when it is done.
    pub fn stop(&self) {
        self.tell_shim(Signal::TERM);
    }

    /// Has the process killed at once, with all its descendants.
    pub fn kill(&self) {
        self.tell_shim(Signal::QUIT);
    }

    fn tell_shim(&self, signal: Signal) {
        if self.inner.shim.hears_signals() {
            self.inner.shim.signal(signal);
            return;
        }
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            while inner.ended.borrow().is_none() && !inner.shim.hears_signals() {
                tokio::time::sleep(STARTING_PAUSE).await;
            }
            inner.shim.signal(signal);
        });
    }

    /// The signs of life, read from the files; cheap enough to be asked every second.
    pub fn heartbeat(&self) -> Heartbeat {
        let stat = |name: &str| std::fs::metadata(self.inner.dir.join(name)).ok();
        let (stdout, stderr) = (stat("stdout"), stat("stderr"));
        let grown = |file: &Option<std::fs::Metadata>| {
            file.as_ref().filter(|file| file.len() > 0).and_then(|file| file.modified().ok())
        };
        Heartbeat {
            alive: self.inner.ended.borrow().is_none(),
            stdout_bytes: stdout.as_ref().map_or(0, std::fs::Metadata::len),
            stderr_bytes: stderr.as_ref().map_or(0, std::fs::Metadata::len),
            last_output: grown(&stdout).max(grown(&stderr)),
        }
    }

    /// The child's process id; `None` in the first moments, before the shim has recorded it.
    pub fn pid(&self) -> Option<i32> {
        let record = record::read_process(&self.inner.dir);
        record.ok().flatten().map(|process| process.child.pid)
    }

    /// The shim's process id.
    pub fn shim_pid(&self) -> i32 {
        self.inner.shim.pid()
    }

    /// The attempt's directory.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }
}
