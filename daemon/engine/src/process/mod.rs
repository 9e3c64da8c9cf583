//! Child programs, each kept by a shim that outlives the daemon.
//!
//! A **shim** is a small process, a hidden subcommand of the daemon's own program. It is the parent of one child,
//! captures its output into files, enforces its limits, stops it when asked, and writes down how it ended. All that
//! a daemon and a shim tell each other is in the attempt's directory ([`record`]) and in two signals: SIGTERM asks
//! the shim to stop its child, SIGQUIT to kill it at once. So a daemon may die, be upgraded and come back while the
//! child goes on: [`Supervisor::adopt`] finds out what became of it.

mod launch;
pub(crate) mod platform;
pub mod record;
pub mod shim;
pub(crate) mod supervisor;
mod sweep;

pub use launch::{
    AtOutputLimit, FirstSignal, Launch, Leftovers, Limits, OsText, OutputLimit, Stdin, StopLadder,
};
pub use record::{Cause, Exit, ExitStatus, Fate, ProcessId, StreamTotals, Survivor, UnixNanos, Usage};
pub use supervisor::{
    Adoption, Ended, Heartbeat, Lost, Process, ProcessError, ShimCommand, Supervisor, raise_open_files,
};

pub(crate) use platform::is_locked;
