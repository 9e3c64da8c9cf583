//! What can be set, and changed by a reload.

use std::collections::BTreeMap;
use std::time::Duration;

/// The engine's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Runs at work at the same time.
    pub slots: usize,
    /// Limits of single workflows, by kind.
    pub slots_by_kind: BTreeMap<String, usize>,
    /// How often a run goes on by itself after its process was lost.
    pub max_interruptions: u32,
    /// Ended runs that are kept; the oldest go first.
    pub keep_runs: u64,
    /// How long ended runs are kept.
    pub keep_runs_for: Duration,
    /// Events that are kept.
    pub keep_events: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: std::thread::available_parallelism().map_or(4, |cores| 2 * cores.get()),
            slots_by_kind: BTreeMap::new(),
            max_interruptions: 5,
            keep_runs: 10_000,
            keep_runs_for: Duration::from_hours(720),
            keep_events: 100_000,
        }
    }
}

impl Settings {
    /// The limit of a kind of run, if it has one of its own.
    pub(crate) fn slots_of(&self, kind: &str) -> Option<usize> {
        self.slots_by_kind.get(kind).copied()
    }
}
