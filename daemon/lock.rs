//! One daemon per state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A daemon that was killed while it started a process leaves its claim to that process, for the moment until it
/// becomes its program. So long such a moment may last at most, and so often it is looked whether it is over.
const INHERITED: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The claim on a state directory, for as long as it lives. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

/// Why a state directory could not be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by {}; one state directory has one daemon",
        directory.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("a daemon, process {pid}")),
    )]
    Held {
        /// The state directory.
        directory: PathBuf,
        /// The process that wrote its id into the lock file.
        holder: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {cause}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl StateLock {
    /// Claims the directory, which must be there. Waits a little for what is left of a dead holder.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, LockError> {
        Self::acquire_with(directory, sleep)
    }

    fn acquire_with(directory: &Path, mut pause: impl FnMut(Duration)) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let failed = |cause| LockError::Io { path: path.clone(), cause };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
            let holder = holder_in(&mut file);
            if waited >= INHERITED || holder.is_none_or(lives) {
                return Err(LockError::Held { directory: directory.to_owned(), holder });
            }
            pause(LOOK);
            waited += LOOK;
        }
        // For messages only: on a full disk the lock must work nevertheless.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(%error, "the lock file does not name this process");
        }
        Ok(Self { _file: file })
    }
}

/// Who wrote its id into the lock file last.
fn holder_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut text)).ok()?;
    text.trim().parse().ok()
}

fn lives(pid: u32) -> bool {
    // One that may not be signalled lives, too.
    let Ok(pid) = i32::try_from(pid) else { return false };
    kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_claim_is_refused_and_names_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let first = StateLock::acquire(directory.path()).unwrap();
        let message = StateLock::acquire(directory.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");

        drop(first);
        StateLock::acquire(directory.path()).unwrap();
    }

    /// A process that has ended.
    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_a_dead_holder_has_left_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let mut left = Some(StateLock::acquire(directory.path()).unwrap());
        std::fs::write(directory.path().join("lock"), dead().to_string()).unwrap();
        StateLock::acquire_with(directory.path(), |_| drop(left.take())).unwrap();
        assert!(left.is_none(), "it was not waited for");
    }

    #[test]
    fn what_a_dead_holder_has_left_is_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let _left = StateLock::acquire(directory.path()).unwrap();
        std::fs::write(directory.path().join("lock"), dead().to_string()).unwrap();
        let mut waited = Duration::ZERO;
        let error = StateLock::acquire_with(directory.path(), |pause| waited += pause).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        assert_eq!(waited, INHERITED);
    }
}
