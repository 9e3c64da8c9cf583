//! Systems other than Linux: what they can do, with the same names.
//!
//! There is no subreaper and no parent-death signal here, so a descendant that leaves the child's process group is
//! not found, and a child outlives a shim that is killed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow};
use rustix::process::{Pid, Signal, WaitOptions};

use super::super::launch::OsText;
use super::super::record::ProcessId;

/// `getrusage` counts resident sets in bytes.
pub(super) const RSS_UNIT: u64 = 1;

/// Between two looks at a process that cannot be watched.
const LOOK: Duration = Duration::from_millis(50);

/// The program that this process runs.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Gives memory that is free, but kept for later, back to the system, where that is known to help.
pub(crate) fn give_memory_back() {}

/// There is no call that does it at once.
pub(crate) fn close_inherited() -> io::Result<()> {
    Ok(())
}

/// There is nothing to become.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Ok(())
}

/// There is nobody to ask.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Where the handler writes the numbers of the signals that come.
static SIGNAL_PIPE: OnceLock<OwnedFd> = OnceLock::new();

extern "C" fn tell(number: nix::libc::c_int) {
    if let (Some(pipe), Ok(number)) = (SIGNAL_PIPE.get(), u8::try_from(number)) {
        // The pipe does not block; when it is full, the same signal is in it already.
        let _ = rustix::io::write(pipe, &[number]);
    }
}

/// The signals, as a descriptor to poll.
pub(crate) struct Signals(File);

impl Signals {
    /// Opens the descriptor, and lets in the signals that were blocked until now.
    pub(crate) fn open() -> io::Result<Self> {
        let (out, into) = std::io::pipe()?;
        for end in [out.as_fd(), into.as_fd()] {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        SIGNAL_PIPE.set(into.into()).map_err(|_| io::ErrorKind::AlreadyExists)?;
        let action = SigAction::new(SigHandler::Handler(tell), SaFlags::SA_RESTART, SigSet::empty());
        for signal in super::HEARD {
            // SAFETY: the handler only writes to a pipe.
            unsafe { nix::sys::signal::sigaction(signal, &action) }?;
        }
        let heard = SigSet::from_iter(super::HEARD);
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&heard), None)?;
        Ok(Self(OwnedFd::from(out).into()))
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&mut self) -> Option<Signal> {
        let mut number = [0];
        self.0.read_exact(&mut number).ok()?;
        Signal::from_named_raw(number[0].into())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// There is none that every system tells; pids are told apart by their lock alone.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(String::new())
}

/// What is known of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessInfo {
    /// Who it is.
    pub(crate) id: ProcessId,
    /// Its session.
    pub(crate) session: i32,
    /// Whether it has ended and only waits for its parent to notice.
    pub(crate) zombie: bool,
}

/// Looks a process up; `None` when there is none with this pid.
pub(crate) fn process_info(pid: i32) -> Option<ProcessInfo> {
    let raw = Pid::from_raw(pid)?;
    rustix::process::test_kill_process(raw).ok()?;
    let session = rustix::process::getsid(Some(raw)).map_or(0, |session| session.as_raw_nonzero().get());
    Some(ProcessInfo { id: ProcessId { pid, start_ticks: 0 }, session, zombie: false })
}

/// Who a process is.
pub(crate) fn identify(pid: i32) -> Option<ProcessId> {
    process_info(pid).map(|info| info.id)
}

/// Not known.
pub(crate) fn command_line(_pid: i32) -> Vec<OsText> {
    Vec::new()
}

/// Not known.
pub(crate) fn all_processes() -> io::Result<Vec<ProcessInfo>> {
    Ok(Vec::new())
}

/// Not known.
pub(crate) fn has_in_environment(_pid: i32, _assignment: &str) -> bool {
    false
}

/// Not known.
pub(crate) fn descendants() -> Vec<ProcessInfo> {
    Vec::new()
}

/// Sends a signal to the process with this pid.
pub(crate) fn signal_exactly(id: ProcessId, signal: Signal) -> io::Result<()> {
    let pid = Pid::from_raw(id.pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// A hold on a shim, which may or may not be a child of this process.
#[derive(Debug)]
pub(crate) struct ShimHandle(Pid);

impl ShimHandle {
    /// Takes hold of a child that was just started and has not been waited for.
    pub(crate) fn of_child(pid: i32) -> io::Result<Self> {
        Ok(Self(Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?))
    }

    /// Takes hold of a process that an earlier daemon has started; `ESRCH` when it has gone.
    pub(crate) fn of_stranger(id: ProcessId) -> io::Result<Self> {
        let handle = Self::of_child(id.pid)?;
        rustix::process::test_kill_process(handle.0)?;
        Ok(handle)
    }

    /// The shim's process id.
    pub(crate) fn pid(&self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    /// Waits until the process has ended, and takes its body away if it was a child of this one.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        loop {
            match rustix::process::waitpid(Some(self.0), WaitOptions::NOHANG) {
                Ok(Some(_)) => return Ok(()),
                // Somebody else's child.
                Err(_) if rustix::process::test_kill_process(self.0).is_err() => return Ok(()),
                Ok(None) | Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Sends a signal; one that has ended needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.0, signal);
    }

    /// Whether the shim would notice a signal; assumed.
    pub(crate) fn hears_signals(&self) -> bool {
        true
    }
}

/// Moves up to `len` bytes from a pipe into a file: not without copying, which the caller does better.
pub(crate) fn move_to_file(
    _pipe: BorrowedFd<'_>,
    _file: &File,
    _offset: u64,
    _len: usize,
) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Moves up to `len` bytes from one pipe into another: neither.
pub(crate) fn move_to_pipe(_pipe: BorrowedFd<'_>, _into: BorrowedFd<'_>, _len: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Pipes grow by themselves here.
pub(crate) fn enlarge_pipe(_pipe: BorrowedFd<'_>, _bytes: usize) -> Option<usize> {
    None
}

/// Reserves disk space for the first bytes of a file.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    super::reserve_by_writing(file, bytes)
}

/// Reserves disk space behind the end of a file: not here.
pub(crate) fn reserve_behind(_file: &File, _from: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives back the disk space of a part of a file: not here.
pub(crate) fn punch_hole(_file: &File, _from: u64, _len: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
