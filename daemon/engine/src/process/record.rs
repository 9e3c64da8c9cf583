//! The files of an attempt's directory, through which a shim and any later daemon understand each other.
//!
//! | file | written by | holds |
//! | --- | --- | --- |
//! | `lock` | daemon | nothing; its flock is held from before the shim starts until the shim has gone |
//! | `launch.json` | daemon | [`LaunchRecord`]; appears by rename, whole, once the lock is held |
//! | `process.json` | shim | [`ProcessRecord`], written to its closing newline and synced before the child may run: none means that nothing ran |
//! | `stdout`, `stderr` | shim | the bytes that the child wrote |
//! | `index` | shim | when and in which order they arrived: [`crate::logs::index`] |
//! | `exit.json` | shim | [`Exit`]; appears by rename, whole |
//! | `exit.json.tmp` | shim | space reserved for `exit.json` while the child runs |
//! | `shim.log` | shim | what went wrong inside the shim itself; normally absent |
//! | `stdin` | daemon | optional: what [`super::Stdin::File`] names |
//!
//! Each JSON file carries a `version`. A reader refuses a version newer than its own and reads every older one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::launch::{Launch, OsText};

/// The version of the JSON files that this program writes.
pub const VERSION: u32 = 1;

/// Name of the file whose flock says that a shim lives.
pub const LOCK: &str = "lock";
/// Name of the file that holds the [`LaunchRecord`].
pub const LAUNCH: &str = "launch.json";
/// Name of the file that holds the [`ProcessRecord`].
pub const PROCESS: &str = "process.json";
/// Name of the file that holds the [`Exit`].
pub const EXIT: &str = "exit.json";
/// Name under which space for the [`Exit`] is reserved and it is written before it is renamed.
pub const EXIT_RESERVED: &str = "exit.json.tmp";
/// Name of the file where a shim tells of its own failures.
pub const SHIM_LOG: &str = "shim.log";

/// The environment variable that holds the id of the run; the caller sets it.
pub const RUN_MARKER: &str = "SPINDLE_RUN_ID";
/// The environment variable by which every process of an attempt can be recognised.
pub const ATTEMPT_MARKER: &str = "SPINDLE_ATTEMPT";

/// What the daemon tells the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRecord {
    /// Version of the format.
    pub version: u32,
    /// The unique id of this attempt, which is also in the environment as [`ATTEMPT_MARKER`].
    pub attempt: String,
    /// What to run.
    pub launch: Launch,
    /// The soft limit of open files to put back for the child, where the daemon has raised its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_nofile: Option<u64>,
}

/// Who a process is: a pid alone may be taken by another one at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`); 0 where the system does not tell.
    pub start_ticks: u64,
}

/// Which processes make up an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Version of the format.
    pub version: u32,
    /// The unique id of this attempt.
    pub attempt: String,
    /// The child.
    pub child: ProcessId,
    /// The child's process group.
    pub pgid: i32,
    /// The shim, which is also the leader of the session that the child belongs to.
    pub shim: ProcessId,
    /// The boot in which these ids mean something.
    pub boot_id: String,
    /// When the child was made, in nanoseconds since the epoch.
    pub started_at: UnixNanos,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Version of the format.
    pub version: u32,
    /// What became of the child.
    pub status: ExitStatus,
    /// Why the attempt ended.
    pub cause: Cause,
    /// When the child was made, in nanoseconds since the epoch.
    pub started_at: UnixNanos,
    /// When the child had ended, and with it all that had to be waited for.
    pub finished_at: UnixNanos,
    /// Resources used by the child and by all descendants that were waited for.
    pub usage: Usage,
    /// What was captured from standard output.
    pub stdout: StreamTotals,
    /// What was captured from standard error.
    pub stderr: StreamTotals,
    /// Processes that were still there when the child had ended, and what became of them; at most
    /// [`Exit::MAX_SURVIVORS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Survivor>,
    /// How many more there were than are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub survivors_not_listed: u64,
}

impl Exit {
    /// So many survivors are listed, so that the record fits into the space reserved for it.
    pub const MAX_SURVIVORS: usize = 32;

    /// Whether the child ended by itself with code 0.
    pub fn success(&self) -> bool {
        self.status == ExitStatus::Code(0) && self.cause == Cause::Ended
    }

    /// Whether a process of this attempt may still be alive.
    pub fn left_alive(&self) -> bool {
        self.survivors.iter().any(|survivor| survivor.fate != Fate::Killed && survivor.fate != Fate::Ended)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What became of the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The program could not be started.
    SpawnFailed {
        /// The system's error number.
        errno: i32,
        /// What failed, on what, and why.
        message: String,
        /// What a shell would return: 127 when the program was not found, else 126.
        code: i32,
    },
    /// The attempt was stopped before the program had begun: nothing ran.
    NotStarted,
    /// The shim could not do its work; `message` says why. The program had not begun.
    ShimFailed {
        /// What failed, on what, and why.
        message: String,
    },
}

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// By itself.
    Ended,
    /// It was asked to stop.
    Stopped,
    /// It was killed at once.
    Killed,
    /// It ran for longer than [`super::Limits::wall`].
    WallLimit,
    /// It wrote nothing for longer than [`super::Limits::idle`].
    IdleLimit,
    /// It wrote more than [`super::Limits::output`] allows.
    OutputLimit,
}

/// Resources used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The largest resident set of any one process, in bytes.
    pub max_rss_bytes: u64,
}

/// What was captured of one stream. Offsets count the bytes of the file, so bytes that never reached it have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamTotals {
    /// The length of the file: one past the last byte that was stored.
    pub bytes: u64,
    /// The first offset that is kept; above 0 only under [`super::AtOutputLimit::DropOldest`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Bytes that the child wrote and that were not stored: beyond a limit, or while the disk was full.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
}

/// A process that was still there when the child had ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Its process id.
    pub pid: i32,
    /// Its command line for people, shortened; empty when it could not be read.
    pub command: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a process that outlived its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It ended by itself, or at the polite signal.
    Ended,
    /// It needed SIGKILL.
    Killed,
    /// It was left alone, as [`super::Leftovers::Keep`] asks.
    Kept,
    /// It could not be killed.
    Unkillable,
}

/// A moment, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The present moment by the wall clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for UnixNanos {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<UnixNanos> for SystemTime {
    fn from(time: UnixNanos) -> Self {
        Self::UNIX_EPOCH + Duration::from_nanos(time.0)
    }
}

/// Why a file of an attempt's directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{path} is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A newer program wrote the file.
    #[error("{path} has version {found}, this program reads up to {VERSION}: use the newer one")]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// The version that it carries.
        found: u32,
    },
}

/// Reads a record; `None` when the file does not exist.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    bytes_of(path)?.map(|bytes| parse(path, &bytes)).transpose()
}

/// Reads the record of an attempt's processes; `None` when it does not exist, or was not written to its end: then
/// the child was never allowed to run. It may be written at this very moment, so it is looked at once.
pub fn read_process(dir: &Path) -> Result<Option<ProcessRecord>, RecordError> {
    let path = dir.join(PROCESS);
    let whole = bytes_of(&path)?.filter(|bytes| bytes.ends_with(b"\n"));
    whole.map(|bytes| parse(&path, &bytes)).transpose()
}

fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, RecordError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Read { path: path.into(), source }),
    }
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |source| RecordError::Damaged { path: path.into(), source };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > VERSION {
        return Err(RecordError::TooNew { path: path.into(), found: version });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// Writes a record at the start of a file, and a newline after it; returns their length. Does not sync.
pub(super) fn write(file: &mut File, record: &impl Serialize) -> io::Result<u64> {
    let mut bytes = serde_json::to_vec(record)?;
    bytes.push(b'\n');
    file.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

/// The command line of a process as people read it.
pub(super) fn shown_command(words: &[OsText]) -> String {
    const LONGEST: usize = 160;
    let line = words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
