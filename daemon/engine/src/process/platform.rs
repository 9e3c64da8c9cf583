//! Everything that is asked of the operating system beyond the standard library, and the only module with `unsafe`.
//!
//! What every Unix offers is here; what only Linux has is in `linux`, and `portable` beside it offers the same names
//! with the best that other systems can do.

#![expect(unsafe_code, reason = "fork, signal dispositions and raw descriptors have no safe face")]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow};
use nix::unistd::ForkResult;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::record::Usage;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::*;

/// The signals that a shim blocks and reads from a descriptor; SIGHUP and SIGINT are blocked and never read.
pub(crate) const HEARD: [nix::sys::signal::Signal; 3] =
    [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGQUIT, nix::sys::signal::Signal::SIGCHLD];

/// Blocks every signal that could end the shim before it has told how the child ended.
pub(crate) fn block_signals() -> io::Result<()> {
    let mut set = SigSet::from_iter(HEARD);
    set.add(nix::sys::signal::Signal::SIGHUP);
    set.add(nix::sys::signal::Signal::SIGINT);
    // A limit of file sizes is met like a full disk.
    set.add(nix::sys::signal::Signal::SIGXFSZ);
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(())
}

/// Gives a forked child the signal state that a program expects: nothing blocked, nothing ignored.
pub(crate) fn reset_signals() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in nix::sys::signal::Signal::iterator() {
        // SAFETY: the default action runs no code of this program.
        // SIGKILL and SIGSTOP refuse, and they are at their default already.
        let _ = unsafe { nix::sys::signal::sigaction(signal, &default) };
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// In which of the two processes a [`fork`] has returned.
pub(crate) enum Fork {
    /// In the new process.
    Child,
    /// In the old one.
    Parent(Pid),
}

/// Forks the shim. It has only its main thread, so the child may do anything that the parent could.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: no other thread exists that could hold a lock (of the allocator, for example) across the fork.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Fork::Child),
        ForkResult::Parent { child } => {
            Pid::from_raw(child.as_raw()).map(Fork::Parent).ok_or_else(|| io::ErrorKind::Other.into())
        }
    }
}

/// Ends a forked child at once, without running what the parent has registered for its own end.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and does not return.
    unsafe { nix::libc::_exit(code) }
}

/// Replaces this process by a program looked up in `PATH`; returns only when that failed.
pub(crate) fn exec(program: &CString, argv: &[CString]) -> io::Error {
    match nix::unistd::execvp(program, argv) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// A child that has ended, if one has; `Err` with `ECHILD` when there is none at all.
pub(crate) fn reap() -> rustix::io::Result<Option<(Pid, WaitStatus)>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}

/// What all children that were waited for have used.
pub(crate) fn usage_of_children() -> Usage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Usage::default() };
    let duration = |time: nix::sys::time::TimeVal| {
        let micros = i128::from(time.tv_sec()) * 1_000_000 + i128::from(time.tv_usec());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Usage {
        user: duration(usage.user_time()),
        system: duration(usage.system_time()),
        max_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * RSS_UNIT,
    }
}

/// Takes the exclusive flock of a file, waiting for a reader that is just probing it.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::LockExclusive)?)
}

/// Whether someone holds the exclusive flock of a file. A file that does not exist is not held.
///
/// The probe asks for a shared lock, so that two probes never take each other for a holder.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Raises the soft limit of open files to the hard one; returns the soft limit that was in force.
pub(crate) fn raise_nofile() -> io::Result<Option<u64>> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    Ok(limit.current)
}

/// Puts a soft limit of open files back.
pub(crate) fn put_back_nofile(soft: u64) -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let soft = limit.maximum.map_or(soft, |hard| hard.min(soft));
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: limit.maximum })?)
}

/// Sends a signal to a process group; a group that has gone is no error.
pub(crate) fn signal_group(pgid: Pid, signal: Signal) {
    // The only other failure is EPERM: every member has changed its user. They are found later as survivors.
    let _ = rustix::process::kill_process_group(pgid, signal);
}

/// Reserves disk space where the system has no call for it.
fn reserve_by_writing(file: &File, bytes: u64) -> io::Result<()> {
    let mut file = file;
    io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
    io::Seek::rewind(&mut file)
}
