//! Linux: pidfds, the subreaper, signalfd, splice, holes in files, and `/proc`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fs::FallocateFlags;
use rustix::pipe::SpliceFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::record::ProcessId;

/// `getrusage` counts resident sets in KiB.
pub(super) const RSS_UNIT: u64 = 1024;

/// The program that this process runs, even after its file was replaced by an upgrade.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to ask")]
pub(crate) fn own_program() -> io::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// Gives memory that is free, but kept for later, back to the system.
pub(crate) fn give_memory_back() {
    // Other C libraries than GNU's do not keep much.
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; it locks each arena as an allocation would.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Closes all descriptors but the standard ones: whoever started the daemon may have left some open, and would wait
/// for their end as long as a shim or its child lives.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: called before this process has opened anything, so no descriptor that is closed has an owner in it.
    let result = unsafe { nix::libc::close_range(3, nix::libc::c_uint::MAX, 0) };
    nix::errno::Errno::result(result)?;
    Ok(())
}

/// Makes this process inherit the orphans among its descendants, and names it for `ps` and `top`.
pub(crate) fn become_subreaper() -> io::Result<()> {
    // The argument is only a yes or no to the kernel.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(rustix::thread::set_name(c"spindle-shim")?)
}

/// Makes the kernel kill this process when its parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// The blocked signals, as a descriptor to poll.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Opens the descriptor; the signals must be blocked already.
    pub(crate) fn open() -> io::Result<Self> {
        let set = SigSet::from_iter(super::HEARD);
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&mut self) -> Option<Signal> {
        let number = self.0.read_signal().ok()??.ssi_signo;
        Signal::from_named_raw(i32::try_from(number).ok()?)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The id of this boot; a pid means nothing in another one.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What is known of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessInfo {
    /// Who it is.
    pub(crate) id: ProcessId,
    /// Its parent.
    pub(crate) parent: i32,
    /// Its session.
    pub(crate) session: i32,
    /// Whether it has ended and only waits for its parent to notice.
    pub(crate) zombie: bool,
}

/// Looks a process up; `None` when there is none with this pid.
pub(crate) fn process_info(pid: i32) -> Option<ProcessInfo> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(ProcessInfo {
        id: ProcessId { pid, start_ticks: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Who a process is, exactly.
pub(crate) fn identify(pid: i32) -> Option<ProcessId> {
    process_info(pid).map(|info| info.id)
}

/// The words of a process's command line; empty when they cannot be read.
pub(crate) fn command_line(pid: i32) -> Vec<super::super::launch::OsText> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| std::ffi::OsString::from_vec(word.to_vec()).into())
        .collect()
}

/// All processes that can be seen.
pub(crate) fn all_processes() -> io::Result<Vec<ProcessInfo>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(pid.and_then(process_info));
    }
    Ok(found)
}

/// Whether a process was started with this variable in its environment. One that may not be read has not.
pub(crate) fn has_in_environment(pid: i32, assignment: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|entry| entry == assignment.as_bytes()))
}

/// The living descendants of this process.
pub(crate) fn descendants() -> Vec<ProcessInfo> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut found = Vec::new();
    let mut open = vec![own];
    while let Some(parent) = open.pop() {
        let Some(children) = children(parent) else { continue };
        open.extend(&children);
        found.extend(children.into_iter().filter_map(process_info));
    }
    if found.is_empty() && !Path::new("/proc/self/task").join(own.to_string()).join("children").exists() {
        return descendants_by_parent(own);
    }
    found
}

/// The children of a process, of whichever of its threads; `None` when it has gone.
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(found)
}

/// The same for kernels that do not list children.
fn descendants_by_parent(root: i32) -> Vec<ProcessInfo> {
    let mut rest = all_processes().unwrap_or_default();
    let mut parents = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        let children: Vec<_> = rest.extract_if(.., |info| info.parent == parent).collect();
        parents.extend(children.iter().map(|info| info.id.pid));
        found.extend(children);
    }
    found
}

/// Sends a signal to exactly this process, never to another one that has taken its pid.
pub(crate) fn signal_exactly(id: ProcessId, signal: Signal) -> io::Result<()> {
    let handle = open_exactly(id)?;
    Ok(rustix::process::pidfd_send_signal(handle, signal)?)
}

fn open_exactly(id: ProcessId) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(id.pid).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    // Opened first, compared second: the pid cannot change hands between the two.
    if identify(id.pid) == Some(id) { Ok(handle) } else { Err(rustix::io::Errno::SRCH.into()) }
}

/// A hold on a shim, which may or may not be a child of this process.
#[derive(Debug)]
pub(crate) struct ShimHandle {
    pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

impl ShimHandle {
    /// Takes hold of a child that was just started and has not been waited for.
    pub(crate) fn of_child(pid: i32) -> io::Result<Self> {
        let raw = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Self::new(pid, rustix::process::pidfd_open(raw, PidfdFlags::empty())?)
    }

    /// Takes hold of a process that an earlier daemon has started; `NotFound` or `ESRCH` when it has gone.
    pub(crate) fn of_stranger(id: ProcessId) -> io::Result<Self> {
        Self::new(id.pid, open_exactly(id)?)
    }

    fn new(pid: i32, pidfd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an owned descriptor stays open, and the same, until it is dropped with its registration.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        Ok(Self { pid, pidfd })
    }

    /// The shim's process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the process has ended, and takes its body away if it was a child of this one.
    pub(crate) async fn ended(&self) -> io::Result<()> {
        // The readiness is never cleared: a pidfd stays readable for good.
        let _ready = self.pidfd.readable().await?;
        // ECHILD: somebody else's child.
        let _ = rustix::process::waitid(
            WaitId::PidFd(self.pidfd.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        Ok(())
    }

    /// Sends a signal; one that has ended needs none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal);
    }

    /// Whether the shim would notice a signal instead of dying from it.
    ///
    /// In the first moments of its life, before it has blocked them, SIGTERM would end it without a record.
    pub(crate) fn hears_signals(&self) -> bool {
        const TERM: u64 = 1 << (nix::libc::SIGTERM - 1);
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.pid)) else { return true };
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let mask = blocked.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        mask.is_none_or(|mask| mask & TERM != 0)
    }
}

/// Moves up to `len` bytes from a pipe into a file without copying them through this process.
///
/// `InvalidInput` where the file system cannot do it.
pub(crate) fn move_to_file(pipe: BorrowedFd<'_>, file: &File, offset: u64, len: usize) -> io::Result<usize> {
    let mut offset = offset;
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(rustix::pipe::splice(pipe, None, file, Some(&mut offset), len, flags)?)
}

/// Moves up to `len` bytes from one pipe into another, without waiting and without copying them at all.
pub(crate) fn move_to_pipe(pipe: BorrowedFd<'_>, into: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    Ok(rustix::pipe::splice(pipe, None, into, None, len, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
}

/// Lets a pipe hold more, so that a busy writer has to wait less; returns what it can hold now.
pub(crate) fn enlarge_pipe(pipe: BorrowedFd<'_>, bytes: usize) -> Option<usize> {
    rustix::pipe::fcntl_setpipe_size(pipe, bytes).ok()
}

/// Reserves disk space for the first bytes of a file.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOSYS) => super::reserve_by_writing(file, bytes),
        result => Ok(result?),
    }
}

/// Reserves disk space behind the end of a file, whose length stays.
pub(crate) fn reserve_behind(file: &File, from: u64, len: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, len)?)
}

/// Gives back the disk space of a part of a file, which then reads as zeros.
pub(crate) fn punch_hole(file: &File, from: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, from, len)?)
}
