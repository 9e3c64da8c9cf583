//! What can be set.

use std::path::PathBuf;
use std::time::Duration;

/// How traces are watched and what is kept of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The Codex homes that are watched: directories with `trace_spine/` and `sessions/` in them. They may
    /// appear later. Default: none; the daemon's configuration says `$CODEX_HOME`, else `~/.codex`.
    pub homes: Vec<PathBuf>,
    /// How long nothing must be written to a session until it counts as settled. Default: 10 minutes.
    pub settle_after: Duration,
    /// What becomes of derived data when the files are gone. Default: [`Retention::Keep`].
    pub retention: Retention,
    /// How often everything is looked over where the file system cannot tell of changes, and for whatever a
    /// notification missed. Default: 30 seconds.
    pub poll_interval: Duration,
    /// How many threads read. Default: the number of cores, at most 4.
    pub threads: usize,
    /// How old a record may be for what it tells to be news, that is an event that schedules see, when a session
    /// is read for the first time. What is appended while it is watched is always news. Default: 10 minutes.
    pub live_window: Duration,
    /// How many changes of signals the log keeps, for watchers and for triggers that count. Default: 100,000.
    pub keep_changes: u64,
    /// How many findings are kept for each session; all are counted. Default: 100.
    pub keep_findings: u32,
}

/// What becomes of a session's rows and signals when its files are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// They stay for ever.
    Keep,
    /// They go at once.
    Drop,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            homes: Vec::new(),
            settle_after: Duration::from_mins(10),
            retention: Retention::Keep,
            poll_interval: Duration::from_secs(30),
            threads: std::thread::available_parallelism().map_or(2, usize::from).min(4),
            live_window: Duration::from_mins(10),
            keep_changes: 100_000,
            keep_findings: 100,
        }
    }
}
