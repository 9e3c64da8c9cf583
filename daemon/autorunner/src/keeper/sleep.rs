//! What a keeper sleeps on: signals, and changes of its lock file.

use std::path::Path;

use nix::sys::signal::{SigSet, Signal};

/// Why a keeper woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// A signal came, from this process if the system tells.
    Signal(Signal, Option<u32>),
    /// Somebody removed, replaced or rewrote the lock file.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nobody watches there"))]
    LockTouched,
}

/// Signals through a descriptor, so that one poll covers the directory, too.
#[cfg(target_os = "linux")]
pub(super) struct Sleeper {
    signals: nix::sys::signalfd::SignalFd,
    /// `None` if the user's inotify instances are used up: then only signals wake.
    directory: Option<nix::sys::inotify::Inotify>,
    lock_name: std::ffi::OsString,
}

#[cfg(target_os = "linux")]
impl Sleeper {
    /// `signals` must be blocked already.
    pub(super) fn new(signals: &SigSet, lock: &Path) -> nix::Result<Self> {
        use nix::sys::inotify::{AddWatchFlags as On, InitFlags, Inotify};
        use nix::sys::signalfd::{SfdFlags, SignalFd};

        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(signals, flags)?;
        let watch = || {
            let directory = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            let touched = On::IN_DELETE | On::IN_MOVED_FROM | On::IN_MOVED_TO | On::IN_CLOSE_WRITE;
            directory.add_watch(crate::atomic::parent(lock), touched)?;
            nix::Result::Ok(directory)
        };
        let lock_name = lock.file_name().unwrap_or_default().to_owned();
        Ok(Self { signals, directory: watch().ok(), lock_name })
    }

    /// Sleeps until something happens.
    pub(super) fn sleep(&self) -> nix::Result<Wake> {
        use nix::errno::Errno;
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;

        loop {
            if let Some(info) = self.signals.read_signal()? {
                let number = i32::try_from(info.ssi_signo).map_err(|_| Errno::EINVAL)?;
                let sender = Some(info.ssi_pid).filter(|pid| *pid != 0);
                return Ok(Wake::Signal(Signal::try_from(number)?, sender));
            }
            if self.lock_was_touched()? {
                return Ok(Wake::LockTouched);
            }
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if let Some(directory) = &self.directory {
                ready.push(PollFd::new(directory.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn lock_was_touched(&self) -> nix::Result<bool> {
        use nix::errno::Errno;
        use nix::sys::inotify::AddWatchFlags;

        let Some(directory) = &self.directory else {
            return Ok(false);
        };
        match directory.read_events() {
            Ok(events) => Ok(events.iter().any(|event| {
                // After an overflow nobody knows what happened: look.
                event.name.as_ref() == Some(&self.lock_name)
                    || event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
            })),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// Elsewhere only signals wake.
#[cfg(not(target_os = "linux"))]
pub(super) struct Sleeper {
    signals: SigSet,
}

#[cfg(not(target_os = "linux"))]
impl Sleeper {
    pub(super) fn new(signals: &SigSet, _lock: &Path) -> nix::Result<Self> {
        Ok(Self { signals: *signals })
    }

    pub(super) fn sleep(&self) -> nix::Result<Wake> {
        Ok(Wake::Signal(self.signals.wait()?, None))
    }
}
