//! The keeper: a tiny process that owns the lock file of one loop, for as long as the loop lives.
//!
//! Other tools take the pid in `lock` for the loop and end it with SIGTERM. That pid must not be the
//! daemon's (which owns many loops) nor Codex's (which lives for one iteration only). So the engine
//! starts `spindled keeper REPO RUN_ID DIR` as a supervised process of the run: a shim keeps it, so it
//! outlives the daemon as the loop does.
//!
//! | signal | from | meaning |
//! | --- | --- | --- |
//! | SIGTERM, SIGINT, SIGHUP | another tool, a person | ask the loop to stop: a file `stop-requested` is written into DIR, and the keeper lives on |
//! | SIGUSR1 ([`END_SIGNAL`]) | the engine, by way of the shim | the loop has ended: the lock is removed, exit 0 |
//! | SIGKILL | anyone | nothing can be done: the lock stays with a dead pid, which everyone reads as stale |
//!
//! The engine must therefore launch the keeper with SIGUSR1 as the first signal of its stop ladder. Whatever is
//! written into DIR is followed by a line on the keeper's output, which the loop follows.
//!
//! Some releases of the earlier tool delete a lock that is not theirs (a refused `run` does). On Linux the
//! keeper notices and puts its lock back; if somebody else took the loop over meanwhile (`run --force`),
//! it asks its own loop to stop.
//!
//! Plain blocking code, no runtime: it sleeps in one system call.

mod sleep;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};

use self::sleep::{Sleeper, Wake};
use crate::lock::{LockError, LockRecord, OwnedLock, Presence, Released};
use crate::repo::Layout;
use crate::{atomic, format_time};

/// By which signal the shim ends a keeper whose loop has ended.
pub const END_SIGNAL: Signal = Signal::SIGUSR1;

/// Exit code of a keeper that was refused because somebody else owns the loop.
pub const EXIT_REFUSED: u8 = 5;

/// Exit code of a keeper that was called wrongly.
pub const EXIT_USAGE: u8 = 2;

/// The directory through which a keeper and its loop talk. It belongs to the run, not to an attempt:
/// a stop that was asked for before a crash still counts after it.
#[derive(Debug, Clone)]
pub struct Mailbox {
    dir: PathBuf,
}

/// What the keeper last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum KeeperStatus {
    /// It owns the lock.
    Holding {
        /// The process, which is also `runner_pid` of the state.
        pid: u32,
    },
    /// Somebody else owns the loop, or the file could not be written.
    Refused {
        /// Who or what, as a sentence for people.
        message: String,
    },
    /// The loop has ended and the lock was given back.
    Released,
}

/// A wish to end the loop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// Who asked, for example `SIGTERM to the keeper`.
    pub by: String,
    /// When (UTC, whole seconds).
    pub at: String,
}

impl Mailbox {
    /// The mailbox in `dir`, which must exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the keeper says how it stands.
    pub fn status_path(&self) -> PathBuf {
        self.dir.join("keeper.json")
    }

    /// Where a wish to stop is left; worth watching.
    pub fn stop_path(&self) -> PathBuf {
        self.dir.join("stop-requested")
    }

    /// How the keeper stands; `None` until it has said something.
    pub fn status(&self) -> io::Result<Option<KeeperStatus>> {
        read_json(&self.status_path())
    }

    /// The wish to stop, if there is one. A file of any other content counts, too: that it exists is
    /// what matters.
    pub fn stop_request(&self) -> io::Result<Option<StopRequest>> {
        let path = self.stop_path();
        match read_json(&path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Some(StopRequest { by: format!("the file {}", path.display()), at: String::new() }))
            }
            other => other,
        }
    }

    /// Asks the loop to stop. The first one who asks is remembered.
    pub fn request_stop(&self, by: &str, now: Timestamp) -> io::Result<()> {
        if self.stop_path().exists() {
            return Ok(());
        }
        let request = StopRequest { by: by.to_owned(), at: format_time(now) };
        write_json(&self.stop_path(), &request)
    }

    fn report(&self, status: &KeeperStatus) -> io::Result<()> {
        write_json(&self.status_path(), status)
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    atomic::replace(path, &bytes)
}

/// Why a keeper ended without having kept the lock to the end.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("usage: spindled keeper REPO RUN_ID DIR")]
    Usage,
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot wait for signals: {0}")]
    Signals(nix::errno::Errno),
    #[error("cannot write into {dir}: {source}")]
    Mailbox { dir: PathBuf, source: io::Error },
}

/// What the command line says: the repository root, the run (for `ps`), and the mailbox.
struct Arguments {
    layout: Layout,
    run: String,
    mailbox: Mailbox,
}

impl Arguments {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let (repo, run, dir) = (args.next()?, args.next()?, args.next()?);
        args.next().is_none().then(|| Self {
            layout: Layout::of_root(repo),
            run: run.to_string_lossy().into_owned(),
            mailbox: Mailbox::new(dir),
        })
    }
}

/// The program. `args` are those behind `spindled keeper`: `REPO RUN_ID DIR`.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match keep(args) {
        Ok(released) => {
            println!("{}", Farewell(released));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keeper: {error}");
            match error {
                KeeperError::Usage => ExitCode::from(EXIT_USAGE),
                KeeperError::Lock(LockError::Held { .. }) => ExitCode::from(EXIT_REFUSED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

struct Farewell(Released);

impl fmt::Display for Farewell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Released::Removed => "lock removed",
            Released::Gone => "the lock had been removed by somebody else",
            Released::NotOurs => "the lock belongs to somebody else by now and was left alone",
        })
    }
}

fn keep(args: impl IntoIterator<Item = OsString>) -> Result<Released, KeeperError> {
    let Arguments { layout, run, mailbox } = Arguments::parse(args).ok_or(KeeperError::Usage)?;
    let report = |status: KeeperStatus| {
        mailbox.report(&status).map_err(|source| KeeperError::Mailbox { dir: mailbox.dir.clone(), source })
    };

    // Before the pid becomes public, so that no signal to it can be lost or deadly.
    let stop_signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let signals: SigSet = stop_signals.into_iter().chain([END_SIGNAL]).collect();
    signals.thread_block().map_err(KeeperError::Signals)?;

    let sleeper = Sleeper::new(&signals, &layout.lock()).map_err(KeeperError::Signals)?;
    let record = LockRecord::of_this_process(Timestamp::now());
    let mut lock = match OwnedLock::acquire(&layout.lock(), &record) {
        Ok(lock) => lock,
        Err(error) => {
            report(KeeperStatus::Refused { message: error.to_string() })?;
            return Err(error.into());
        }
    };
    if let Err(error) = report(KeeperStatus::Holding { pid: record.pid }) {
        // The loop would wait for ever for a keeper that it cannot hear.
        lock.release()?;
        return Err(error);
    }
    println!("process {} holds {} for run {run}", record.pid, layout.lock().display());

    loop {
        let stop_asked_by = match sleeper.sleep().map_err(KeeperError::Signals)? {
            Wake::Signal(END_SIGNAL, _) => break,
            Wake::Signal(signal, Some(sender)) => {
                format!("{signal} from process {sender} to the keeper")
            }
            Wake::Signal(signal, None) => format!("{signal} to the keeper"),
            Wake::LockTouched => match lock.keep_in_place() {
                // Whoever rewrites it closes it, which wakes us again.
                Ok(Presence::InPlace | Presence::BeingRewritten) => continue,
                Ok(Presence::Restored) => {
                    println!("the lock had been removed by somebody else and was put back");
                    continue;
                }
                Ok(Presence::TakenOver(holder)) => {
                    let holder = holder.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
                    format!("another autorunner, which took the lock over ({holder})")
                }
                Err(error) => {
                    eprintln!("keeper: {error}");
                    continue;
                }
            },
        };
        match mailbox.request_stop(&stop_asked_by, Timestamp::now()) {
            Ok(()) => println!("a stop was requested: {stop_asked_by}"),
            // Not a reason to give the lock up: the loop still runs.
            Err(error) => eprintln!("keeper: cannot pass the stop request on: {error}"),
        }
    }
    let released = lock.release()?;
    report(KeeperStatus::Released)?;
    Ok(released)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_first_wish_to_stop_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::new(dir.path());
        assert_eq!(mailbox.stop_request().unwrap(), None);
        mailbox.request_stop("SIGTERM to the keeper", Timestamp::UNIX_EPOCH).unwrap();
        mailbox.request_stop("somebody else", Timestamp::now()).unwrap();
        let request = mailbox.stop_request().unwrap().unwrap();
        assert_eq!(request.by, "SIGTERM to the keeper");
        assert_eq!(request.at, "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_stop_file_made_by_hand_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::new(dir.path());
        fs::write(mailbox.stop_path(), "").unwrap();
        assert!(mailbox.stop_request().unwrap().is_some());
    }

    #[test]
    fn wrong_arguments_are_a_usage_error() {
        for args in [&[][..], &["/r", "1"], &["/r", "1", "/d", "more"]] {
            assert!(Arguments::parse(args.iter().map(Into::into)).is_none());
        }
    }
}
