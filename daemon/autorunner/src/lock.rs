//! The file `lock`: who owns the loop of a repository, told to this tool and to others.
//!
//! Two forms are read: a bare pid, and one JSON line `{"pid": …, "started_at": …, "host": …}`. The
//! second one is written. On top of it the owner holds an OS lock (`flock`) on the file, which proves
//! its life better than any pid.
//!
//! Taking the lock is exclusive: the file appears complete and already locked under its name, or not
//! at all. Judging and removing a stale one is serialised by an OS lock on the directory, so that two
//! starters cannot both remove "the stale one" and the second remove the first one's fresh lock.
//! Only the owner's own file is ever released: same inode, same content.

mod record;

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

pub use record::LockRecord;
use record::{NoRecord, own_host};

use crate::atomic;
use crate::process_table::{self, ProcessState};

/// A lock file is one short line; no more than this is read.
const MAX_BYTES: u64 = 4096;

/// How much later than its lock a process may seem to start and still be its writer. Start times are
/// known to a second, and clocks are adjusted.
const START_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// How often the name may be lost to another tool between judging and taking before we give up.
const ATTEMPTS: usize = 3;

/// What a lock file means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Assessment {
    /// There is none.
    Free,
    /// Somebody owns the loop.
    Held {
        /// Who; unknown if the file is locked but its content names nobody.
        holder: Option<LockRecord>,
        /// How we know.
        evidence: Evidence,
    },
    /// A file was left behind; it may be removed.
    Stale {
        /// Who left it.
        holder: Option<LockRecord>,
        /// How we know.
        reason: StaleReason,
    },
}

/// Why a lock counts as held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A process holds the OS lock of the file.
    OsLock,
    /// Its process lives on this machine.
    ProcessAlive,
    /// It names another machine, where we cannot look. Never judged dead.
    OtherHost,
}

/// Why a lock counts as stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StaleReason {
    /// The process is gone.
    ProcessGone,
    /// The pid belongs to a process that started after the lock was written.
    PidReused,
    /// The file is empty.
    Empty,
    /// The content is neither a pid nor a record.
    Garbage,
}

impl fmt::Display for StaleReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ProcessGone => "its process is gone",
            Self::PidReused => "its pid now belongs to a younger process",
            Self::Empty => "it is empty",
            Self::Garbage => "its content is neither a pid nor a lock record",
        })
    }
}

/// Why the lock could not be taken, judged or released.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else owns the loop.
    #[error(
        "another autorunner is active in this repository ({}); stop it first, or wait for it (lock file {path})",
        .holder.as_ref().map_or_else(|| "unknown process".to_owned(), ToString::to_string)
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who.
        holder: Option<LockRecord>,
        /// How we know.
        evidence: Evidence,
    },
    /// The file system refused.
    #[error("cannot {action} the lock file {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Judges the lock file without changing anything.
pub fn assess(path: &Path) -> Result<Assessment, LockError> {
    judge(path).map_err(|source| failed("read", path, source))
}

/// Removes the lock file if, and only if, it is stale. Returns what was found.
pub fn remove_stale(path: &Path) -> Result<Assessment, LockError> {
    let _guard = guard(path)?;
    let found = assess(path)?;
    if matches!(found, Assessment::Stale { .. }) {
        remove(path)?;
    }
    Ok(found)
}

/// A lock that this process owns. Dropping it leaves the file: only [`release`](Self::release) ends
/// ownership in the eyes of other tools, and a crash must look like one.
#[derive(Debug)]
pub struct OwnedLock {
    path: PathBuf,
    line: String,
    file: Flock<File>,
}

/// What [`OwnedLock::release`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// The file was ours and has been removed.
    Removed,
    /// The file had been removed already, as the earlier tool's `kill` does.
    Gone,
    /// Somebody else's file stands there; it was left alone.
    NotOurs,
}

impl OwnedLock {
    /// Takes the lock, replacing a stale one.
    pub fn acquire(path: &Path, record: &LockRecord) -> Result<Self, LockError> {
        let _guard = guard(path)?;
        let line = record.to_line();
        let mut attempt = 0;
        loop {
            match assess(path)? {
                Assessment::Free => {}
                Assessment::Stale { .. } => remove(path)?,
                Assessment::Held { holder, evidence } => {
                    return Err(LockError::Held { path: path.to_path_buf(), holder, evidence });
                }
            }
            attempt += 1;
            match publish(path, &line) {
                Ok(file) => {
                    return Ok(Self { path: path.to_path_buf(), line, file });
                }
                // Another tool, which does not know the guard, was faster: judge again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
                Err(source) => return Err(failed("create", path, source)),
            }
        }
    }

    /// Looks whether the file is still in its place, and puts it back if somebody removed it.
    pub fn keep_in_place(&mut self) -> Result<Presence, LockError> {
        let _guard = guard(&self.path)?;
        match self.is_ours().map_err(|source| failed("read", &self.path, source))? {
            Some(true) => return Ok(Presence::InPlace),
            // Rewritten where it stands, as `run --force` does: our own OS lock must not be taken
            // for that of the new owner.
            Some(false) if self.is_same_file() => {
                let content = fs::read(&self.path).unwrap_or_default();
                return Ok(match LockRecord::parse(&content) {
                    Ok(holder) => Presence::TakenOver(Some(holder)),
                    // Emptied, and not yet written.
                    Err(_) => Presence::BeingRewritten,
                });
            }
            Some(false) => match assess(&self.path)? {
                Assessment::Held { holder, .. } => return Ok(Presence::TakenOver(holder)),
                Assessment::Stale { .. } => remove(&self.path)?,
                Assessment::Free => {}
            },
            None => {}
        }
        self.file = publish(&self.path, &self.line).map_err(|source| failed("create", &self.path, source))?;
        Ok(Presence::Restored)
    }

    /// Gives the lock back.
    pub fn release(self) -> Result<Released, LockError> {
        let _guard = guard(&self.path)?;
        match self.is_ours().map_err(|source| failed("read", &self.path, source))? {
            None => Ok(Released::Gone),
            Some(false) => Ok(Released::NotOurs),
            Some(true) => remove(&self.path).map(|()| Released::Removed),
        }
    }

    /// Whether the file under our name is the one that we wrote, unchanged; `None` if there is none.
    fn is_ours(&self) -> io::Result<Option<bool>> {
        match File::open(&self.path) {
            Ok(found) => Ok(Some(
                identity(&found)? == identity(&self.file)? && content(&found)? == self.line.as_bytes(),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_same_file(&self) -> bool {
        let found = File::open(&self.path).and_then(|found| identity(&found));
        matches!((found, identity(&self.file)), (Ok(found), Ok(ours)) if found == ours)
    }
}

/// What [`OwnedLock::keep_in_place`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// The file is where it belongs.
    InPlace,
    /// It was gone (or somebody left a stale one in its place), and stands there again.
    Restored,
    /// It stands there without a record: somebody is writing it right now. Look again after that.
    BeingRewritten,
    /// Somebody else owns the loop now.
    TakenOver(Option<LockRecord>),
}

/// Which file this is, whatever its name.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

fn judge(path: &Path) -> io::Result<Assessment> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Assessment::Free),
        Err(error) => return Err(error),
    };
    let written = file.metadata()?.modified().ok().and_then(|at| Timestamp::try_from(at).ok());
    let record = LockRecord::parse(&content(&file)?);
    if is_os_locked(file)? {
        return Ok(Assessment::Held { holder: record.ok(), evidence: Evidence::OsLock });
    }
    let record = match record {
        Ok(record) => record,
        Err(NoRecord::Empty) => {
            return Ok(Assessment::Stale { holder: None, reason: StaleReason::Empty });
        }
        Err(NoRecord::Garbage) => {
            return Ok(Assessment::Stale { holder: None, reason: StaleReason::Garbage });
        }
    };
    if record.host.is_some() && record.host != own_host() {
        return Ok(Assessment::Held { holder: Some(record), evidence: Evidence::OtherHost });
    }
    Ok(match process_table::look_up(record.pid) {
        ProcessState::Gone => Assessment::Stale { holder: Some(record), reason: StaleReason::ProcessGone },
        // The bare form has no time of its own; that of the file stands in.
        ProcessState::Alive { started: Some(started) }
            if record
                .started_at
                .or(written)
                .is_some_and(|locked| started.duration_since(locked) > START_SLACK) =>
        {
            Assessment::Stale { holder: Some(record), reason: StaleReason::PidReused }
        }
        ProcessState::Alive { .. } => {
            Assessment::Held { holder: Some(record), evidence: Evidence::ProcessAlive }
        }
    })
}

fn content(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Read::take(&mut file, MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a process holds the OS lock. The probe is a shared lock, so that two probes do not take
/// each other for an owner.
fn is_os_locked(file: File) -> io::Result<bool> {
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_probe) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        // Some network file systems have no such locks; the record then decides alone.
        Err((_, Errno::ENOTSUP | Errno::ENOLCK | Errno::ENOSYS)) => Ok(false),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Serialises those who judge and change the lock file of one repository.
fn guard(path: &Path) -> Result<Flock<File>, LockError> {
    let dir = File::open(atomic::parent(path)).map_err(|source| failed("reach", path, source))?;
    let mut dir = dir;
    loop {
        match Flock::lock(dir, FlockArg::LockExclusive) {
            Ok(guard) => return Ok(guard),
            Err((same, Errno::EINTR)) => dir = same,
            Err((_, errno)) => return Err(failed("guard", path, errno.into())),
        }
    }
}

/// Makes the file appear under its name: complete, durable, locked, and only if the name is free.
fn publish(path: &Path, line: &str) -> io::Result<Flock<File>> {
    let mut twin = tempfile::Builder::new()
        .prefix("lock.")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(atomic::parent(path))?;
    twin.write_all(line.as_bytes())?;
    twin.as_file().sync_all()?;
    // The OS lock belongs to the open file, which both descriptors share.
    let locked = Flock::lock(twin.as_file().try_clone()?, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| io::Error::from(errno))?;
    twin.persist_noclobber(path)?;
    atomic::sync_dir(atomic::parent(path))?;
    Ok(locked)
}

fn remove(path: &Path) -> Result<(), LockError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> LockError {
    LockError::Io { action, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests;
