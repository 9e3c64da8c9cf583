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

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::process_table::{self, ProcessState};
use crate::{atomic, format_time};

/// A lock file is one short line; no more than this is read.
const MAX_BYTES: u64 = 4096;

/// How much later than its lock a process may seem to start and still be its writer. Start times are
/// known to a second, and clocks are adjusted.
const START_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// How often the name may be lost to another tool between judging and taking before we give up.
const ATTEMPTS: usize = 3;

/// The content of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockRecord {
    /// The owner.
    pub pid: u32,
    /// When the lock was taken, unless the file has the bare form.
    pub started_at: Option<Timestamp>,
    /// On which machine, unless the file has the bare form.
    pub host: Option<String>,
}

/// Why a lock file names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRecord {
    Empty,
    Garbage,
}

impl LockRecord {
    /// The record of this process, taken now.
    pub fn of_this_process(now: Timestamp) -> Self {
        Self {
            pid: std::process::id(),
            started_at: Some(now),
            host: own_host(),
        }
    }

    /// The line for the file.
    pub fn to_line(&self) -> String {
        let line = serde_json::json!({
            "pid": self.pid,
            "started_at": self.started_at.map(format_time),
            "host": self.host,
        });
        format!("{line}\n")
    }

    fn parse(content: &[u8]) -> Result<Self, NoRecord> {
        #[derive(Deserialize)]
        struct Line {
            pid: u32,
            #[serde(default)]
            started_at: Option<String>,
            #[serde(default)]
            host: Option<String>,
        }
        let text = String::from_utf8_lossy(content);
        let text = text.trim();
        if text.is_empty() {
            return Err(NoRecord::Empty);
        }
        let record = if let Ok(pid) = text.parse() {
            Self {
                pid,
                started_at: None,
                host: None,
            }
        } else {
            let line: Line = serde_json::from_str(text).map_err(|_| NoRecord::Garbage)?;
            // A time in a form that we do not know must not turn a held lock into garbage.
            let started_at = line.started_at.and_then(|time| time.parse().ok());
            Self {
                pid: line.pid,
                started_at,
                host: line.host.filter(|host| !host.is_empty()),
            }
        };
        if record.pid == 0 {
            Err(NoRecord::Garbage)
        } else {
            Ok(record)
        }
    }
}

impl fmt::Display for LockRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {}", self.pid)?;
        if let Some(host) = &self.host {
            write!(out, " on {host}")?;
        }
        match self.started_at {
            Some(at) => write!(out, ", since {}", format_time(at)),
            None => Ok(()),
        }
    }
}

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
                    return Err(LockError::Held {
                        path: path.to_path_buf(),
                        holder,
                        evidence,
                    });
                }
            }
            attempt += 1;
            match publish(path, &line) {
                Ok(file) => {
                    return Ok(Self {
                        path: path.to_path_buf(),
                        line,
                        file,
                    });
                }
                // Another tool, which does not know the guard, was faster: judge again.
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => {}
                Err(source) => return Err(failed("create", path, source)),
            }
        }
    }

    /// Looks whether the file is still in its place, and puts it back if somebody removed it.
    pub fn keep_in_place(&mut self) -> Result<Presence, LockError> {
        let _guard = guard(&self.path)?;
        match self
            .is_ours()
            .map_err(|source| failed("read", &self.path, source))?
        {
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
        self.file = publish(&self.path, &self.line)
            .map_err(|source| failed("create", &self.path, source))?;
        Ok(Presence::Restored)
    }

    /// Gives the lock back.
    pub fn release(self) -> Result<Released, LockError> {
        let _guard = guard(&self.path)?;
        match self
            .is_ours()
            .map_err(|source| failed("read", &self.path, source))?
        {
            None => Ok(Released::Gone),
            Some(false) => Ok(Released::NotOurs),
            Some(true) => remove(&self.path).map(|()| Released::Removed),
        }
    }

    /// Whether the file under our name is the one that we wrote, unchanged; `None` if there is none.
    fn is_ours(&self) -> io::Result<Option<bool>> {
        match File::open(&self.path) {
            Ok(found) => Ok(Some(
                identity(&found)? == identity(&self.file)?
                    && content(&found)? == self.line.as_bytes(),
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

/// The name of this machine, as it stands in lock files.
fn own_host() -> Option<String> {
    nix::unistd::gethostname()
        .ok()
        .map(|name| name.to_string_lossy().into_owned())
}

fn judge(path: &Path) -> io::Result<Assessment> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Assessment::Free),
        Err(error) => return Err(error),
    };
    let written = file
        .metadata()?
        .modified()
        .ok()
        .and_then(|at| Timestamp::try_from(at).ok());
    let record = LockRecord::parse(&content(&file)?);
    if is_os_locked(file)? {
        return Ok(Assessment::Held {
            holder: record.ok(),
            evidence: Evidence::OsLock,
        });
    }
    let record = match record {
        Ok(record) => record,
        Err(NoRecord::Empty) => {
            return Ok(Assessment::Stale {
                holder: None,
                reason: StaleReason::Empty,
            });
        }
        Err(NoRecord::Garbage) => {
            return Ok(Assessment::Stale {
                holder: None,
                reason: StaleReason::Garbage,
            });
        }
    };
    if record.host.is_some() && record.host != own_host() {
        return Ok(Assessment::Held {
            holder: Some(record),
            evidence: Evidence::OtherHost,
        });
    }
    Ok(match process_table::look_up(record.pid) {
        ProcessState::Gone => Assessment::Stale {
            holder: Some(record),
            reason: StaleReason::ProcessGone,
        },
        // The bare form has no time of its own; that of the file stands in.
        ProcessState::Alive {
            started: Some(started),
        } if record
            .started_at
            .or(written)
            .is_some_and(|locked| started.duration_since(locked) > START_SLACK) =>
        {
            Assessment::Stale {
                holder: Some(record),
                reason: StaleReason::PidReused,
            }
        }
        ProcessState::Alive { .. } => Assessment::Held {
            holder: Some(record),
            evidence: Evidence::ProcessAlive,
        },
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
    LockError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        (dir, path)
    }

    fn dead_pid() -> u32 {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    fn stale(path: &Path) -> StaleReason {
        match assess(path).unwrap() {
            Assessment::Stale { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    fn held(path: &Path) -> Evidence {
        match assess(path).unwrap() {
            Assessment::Held { evidence, .. } => evidence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_forms_are_read_and_the_json_line_is_written() {
        let bare = LockRecord {
            pid: 123,
            started_at: None,
            host: None,
        };
        assert_eq!(LockRecord::parse(b"123\n"), Ok(bare));
        let record = LockRecord {
            pid: 7,
            started_at: Some("2025-12-09T10:00:01Z".parse().unwrap()),
            host: Some("box".into()),
        };
        let line = record.to_line();
        assert_eq!(
            line,
            "{\"host\":\"box\",\"pid\":7,\"started_at\":\"2025-12-09T10:00:01Z\"}\n"
        );
        assert_eq!(LockRecord::parse(line.as_bytes()), Ok(record));
        let odd =
            LockRecord::parse(b"{\"pid\": 7, \"started_at\": \"yesterday\", \"x\": 1}").unwrap();
        assert_eq!((odd.pid, odd.started_at, odd.host), (7, None, None));
    }

    #[test]
    fn what_names_nobody_is_stale() {
        let (_dir, path) = scratch();
        assert_eq!(assess(&path).unwrap(), Assessment::Free);
        for (content, reason) in [
            ("", StaleReason::Empty),
            (" \n", StaleReason::Empty),
            ("hello", StaleReason::Garbage),
            ("-1", StaleReason::Garbage),
            ("0", StaleReason::Garbage),
            ("{\"host\": \"x\"}", StaleReason::Garbage),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(stale(&path), reason, "{content:?}");
        }
    }

    #[test]
    fn a_dead_process_a_younger_one_and_a_living_one_are_told_apart() {
        let (_dir, path) = scratch();
        fs::write(&path, dead_pid().to_string()).unwrap();
        assert_eq!(stale(&path), StaleReason::ProcessGone);

        fs::write(&path, std::process::id().to_string()).unwrap();
        assert_eq!(held(&path), Evidence::ProcessAlive);

        let mut record = LockRecord::of_this_process(Timestamp::now());
        fs::write(&path, record.to_line()).unwrap();
        assert_eq!(held(&path), Evidence::ProcessAlive);
        record.started_at = Some("2001-01-01T00:00:00Z".parse().unwrap());
        fs::write(&path, record.to_line()).unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(stale(&path), StaleReason::PidReused);
        }
    }

    #[test]
    fn a_lock_of_another_host_is_never_judged_dead() {
        let (_dir, path) = scratch();
        let record = LockRecord {
            pid: dead_pid(),
            started_at: None,
            host: Some("elsewhere".into()),
        };
        fs::write(&path, record.to_line()).unwrap();
        assert_eq!(held(&path), Evidence::OtherHost);
        let error = OwnedLock::acquire(&path, &LockRecord::of_this_process(Timestamp::now()));
        assert!(error.unwrap_err().to_string().contains("on elsewhere"));
        assert!(path.exists());
    }

    #[test]
    fn a_taken_lock_is_refused_to_others_and_gone_after_release() {
        let (dir, path) = scratch();
        let record = LockRecord::of_this_process(Timestamp::now());
        let lock = OwnedLock::acquire(&path, &record).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), record.to_line());
        assert_eq!(held(&path), Evidence::OsLock);
        assert!(matches!(
            OwnedLock::acquire(&path, &record),
            Err(LockError::Held { .. })
        ));
        // A refused starter must not take the owner's lock away.
        assert!(path.exists());
        assert_eq!(remove_stale(&path).unwrap(), assess(&path).unwrap());
        assert!(path.exists());
        assert_eq!(lock.release().unwrap(), Released::Removed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dropped_lock_stays_as_a_crash_would_leave_it() {
        let (_dir, path) = scratch();
        let mut record = LockRecord::of_this_process(Timestamp::now());
        record.pid = dead_pid();
        drop(OwnedLock::acquire(&path, &record).unwrap());
        assert_eq!(stale(&path), StaleReason::ProcessGone);
        let taken = OwnedLock::acquire(&path, &LockRecord::of_this_process(Timestamp::now()));
        assert_eq!(taken.unwrap().release().unwrap(), Released::Removed);
    }

    #[test]
    fn only_our_own_file_is_released() {
        let (_dir, path) = scratch();
        let record = LockRecord::of_this_process(Timestamp::now());
        let lock = OwnedLock::acquire(&path, &record).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, record.to_line()).unwrap();
        assert_eq!(lock.release().unwrap(), Released::NotOurs);
        assert!(path.exists());

        fs::remove_file(&path).unwrap();
        let lock = OwnedLock::acquire(&path, &record).unwrap();
        fs::write(&path, "4711").unwrap();
        assert_eq!(lock.release().unwrap(), Released::NotOurs);

        fs::remove_file(&path).unwrap();
        let lock = OwnedLock::acquire(&path, &record).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(lock.release().unwrap(), Released::Gone);
    }

    #[test]
    fn a_lock_that_somebody_removed_is_put_back_and_one_taken_over_is_not() {
        let (dir, path) = scratch();
        let record = LockRecord::of_this_process(Timestamp::now());
        let mut lock = OwnedLock::acquire(&path, &record).unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), Presence::InPlace);
        fs::remove_file(&path).unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), Presence::Restored);
        assert_eq!(held(&path), Evidence::OsLock);

        let foreign = dir.path().join("foreign");
        fs::write(&foreign, dead_pid().to_string()).unwrap();
        fs::rename(&foreign, &path).unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), Presence::Restored);

        // Rewritten where it stands, then replaced, by a living owner.
        let taken = Presence::TakenOver(Some(LockRecord {
            pid: 1,
            started_at: None,
            host: None,
        }));
        fs::write(&path, "").unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), Presence::BeingRewritten);
        fs::write(&path, "1").unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), taken);
        fs::write(&foreign, "1").unwrap();
        fs::rename(&foreign, &path).unwrap();
        assert_eq!(lock.keep_in_place().unwrap(), taken);
        assert_eq!(lock.release().unwrap(), Released::NotOurs);
    }

    #[test]
    fn of_many_starters_at_a_stale_lock_exactly_one_wins() {
        let (_dir, path) = scratch();
        for _ in 0..20 {
            fs::write(&path, "").unwrap();
            let record = LockRecord::of_this_process(Timestamp::now());
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let starters: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| OwnedLock::acquire(&path, &record)))
                    .collect();
                starters
                    .into_iter()
                    .map(|starter| starter.join().unwrap())
                    .collect()
            });
            let mut winners = outcomes.into_iter().filter_map(Result::ok);
            let winner = winners.next().expect("one wins");
            assert!(winners.next().is_none());
            assert_eq!(winner.release().unwrap(), Released::Removed);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_judged(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = LockRecord::parse(&bytes);
        }

        #[test]
        fn a_record_reads_back(
            pid in 1..u32::MAX,
            seconds in proptest::option::of(0..4_000_000_000_i64),
            host in proptest::option::of("[a-z\"\\\\é.]{1,20}"),
        ) {
            let started_at = seconds.map(|seconds| Timestamp::from_second(seconds).unwrap());
            let record = LockRecord { pid, started_at, host };
            prop_assert_eq!(LockRecord::parse(record.to_line().as_bytes()), Ok(record));
        }
    }
}
