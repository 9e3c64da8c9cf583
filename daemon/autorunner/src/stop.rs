//! When the loop ends. Pure functions: clock, files and git are read by the caller.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::todo;

/// The limits of one invocation, from `config.yml` and the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// End after this many iterations of this invocation. (The earlier tool compared with the
    /// repository's absolute run number, so that a 3 meant "three" only in a fresh repository.)
    pub stop_after_runs: Option<u64>,
    /// End between iterations once this much time has passed since the loop began.
    pub max_wallclock: Option<Duration>,
    /// End after this many iterations in a row that changed nothing; 0 turns the rule off.
    pub no_progress_threshold: u32,
    /// End after this many failed iterations in a row; at least 1.
    pub stop_after_failures: u32,
}

/// What the loop knows when it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// Who asked for a stop, if anyone did, for example `spindle auto stop`.
    pub stop_requested: Option<String>,
    /// Time since the loop began.
    pub elapsed: Duration,
    /// Open items of the TODO document, read just now.
    pub open_items: usize,
    /// Iterations finished by this invocation.
    pub iterations: u64,
    /// Failed iterations in a row, up to now.
    pub failures_in_a_row: u32,
    /// Exit code of the iteration that just ended.
    pub last_exit_code: i32,
    /// Iterations in a row without a change, up to now.
    pub unchanged_in_a_row: u32,
}

/// Whether to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Run the next iteration.
    Continue,
    /// End the loop.
    Stop(StopReason),
}

/// Why the loop ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum StopReason {
    /// Somebody asked for it.
    StopRequested {
        /// Who.
        by: String,
    },
    /// The time for the whole loop is used up.
    WallClock {
        /// The limit in seconds.
        limit_seconds: u64,
    },
    /// No open item is left in the TODO document.
    NothingOpen,
    /// Too many iterations failed in a row.
    Failed {
        /// Exit code of the last one.
        exit_code: i32,
        /// How many failed in a row.
        in_a_row: u32,
    },
    /// The wanted number of iterations has run.
    CountReached {
        /// That number.
        runs: u64,
    },
    /// Several iterations changed neither the TODO counts nor the repository.
    NoProgress {
        /// How many.
        iterations: u32,
    },
}

impl StopReason {
    /// Whether the loop did what it was asked to do. Only a failed iteration and a loop that turns
    /// on the spot are failures.
    pub fn is_success(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::NoProgress { .. })
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopRequested { by } => write!(out, "a stop was requested by {by}"),
            Self::WallClock { limit_seconds } => {
                write!(out, "the time limit of {limit_seconds} s for the whole loop has passed")
            }
            Self::NothingOpen => write!(out, "no open TODO item is left"),
            Self::Failed { exit_code, in_a_row: 1 } => {
                write!(out, "the iteration failed with code {exit_code}")
            }
            Self::Failed { exit_code, in_a_row } => {
                write!(out, "{in_a_row} iterations failed in a row, the last with code {exit_code}")
            }
            Self::CountReached { runs: 1 } => write!(out, "1 iteration has run, as asked for"),
            Self::CountReached { runs } => write!(out, "{runs} iterations have run, as asked for"),
            Self::NoProgress { iterations: 1 } => {
                write!(out, "1 iteration changed neither the TODO counts nor the repository")
            }
            Self::NoProgress { iterations } => write!(
                out,
                "{iterations} iterations in a row changed neither the TODO counts nor the repository"
            ),
        }
    }
}

/// Decides before an iteration starts, in the format's order: stop request, wall clock, open items.
/// A count of 0 is checked here too: it means that nothing runs.
pub fn before_iteration(limits: &Limits, now: &Situation) -> Decision {
    if let Some(by) = &now.stop_requested {
        return Decision::Stop(StopReason::StopRequested { by: by.clone() });
    }
    if let Some(limit) = limits.max_wallclock.filter(|limit| now.elapsed > *limit) {
        return Decision::Stop(StopReason::WallClock { limit_seconds: limit.as_secs() });
    }
    if now.open_items == 0 {
        return Decision::Stop(StopReason::NothingOpen);
    }
    count_reached(limits, now).map_or(Decision::Continue, Decision::Stop)
}

/// Decides after an iteration ended, before the pause: failure, count, stop request, nothing open,
/// no progress. Looking at the open items here, too, saves a pause before the end.
pub fn after_iteration(limits: &Limits, now: &Situation) -> Decision {
    if now.failures_in_a_row >= limits.stop_after_failures.max(1) {
        return Decision::Stop(StopReason::Failed {
            exit_code: now.last_exit_code,
            in_a_row: now.failures_in_a_row,
        });
    }
    if let Some(reason) = count_reached(limits, now) {
        return Decision::Stop(reason);
    }
    if let Some(by) = &now.stop_requested {
        return Decision::Stop(StopReason::StopRequested { by: by.clone() });
    }
    if now.open_items == 0 {
        return Decision::Stop(StopReason::NothingOpen);
    }
    if limits.no_progress_threshold > 0 && now.unchanged_in_a_row >= limits.no_progress_threshold {
        return Decision::Stop(StopReason::NoProgress { iterations: now.unchanged_in_a_row });
    }
    Decision::Continue
}

fn count_reached(limits: &Limits, now: &Situation) -> Option<StopReason> {
    limits
        .stop_after_runs
        .filter(|limit| now.iterations >= *limit)
        .map(|_| StopReason::CountReached { runs: now.iterations })
}

/// What an iteration can change: the TODO counts and the content of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Open and done items.
    pub todo: todo::Fingerprint,
    /// Fingerprint of the repository, if it could be taken.
    pub repository: Option<String>,
}

/// Counts iterations in a row that changed nothing. Stored with the checkpoint of the loop.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgressTracker {
    last: Option<Progress>,
    unchanged_in_a_row: u32,
}

impl ProgressTracker {
    /// A tracker that compares the first iteration with the state before it.
    pub fn starting_from(before: Progress) -> Self {
        Self { last: Some(before), unchanged_in_a_row: 0 }
    }

    /// Counts from nothing again, as when a person resumes a loop that had ended for want of progress.
    pub fn forget_idleness(&mut self) {
        self.unchanged_in_a_row = 0;
    }

    /// Takes the state after an iteration; returns how many in a row changed nothing.
    ///
    /// A repository that could not be read counts as changed: to stop a loop that works would be
    /// worse than one more iteration.
    pub fn observe(&mut self, after: Progress) -> u32 {
        let unchanged = after.repository.is_some() && self.last.as_ref() == Some(&after);
        self.unchanged_in_a_row = if unchanged { self.unchanged_in_a_row.saturating_add(1) } else { 0 };
        self.last = Some(after);
        self.unchanged_in_a_row
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn limits() -> Limits {
        Limits {
            stop_after_runs: None,
            max_wallclock: None,
            no_progress_threshold: 3,
            stop_after_failures: 1,
        }
    }

    fn working() -> Situation {
        Situation {
            stop_requested: None,
            elapsed: Duration::from_mins(1),
            open_items: 2,
            iterations: 12,
            failures_in_a_row: 0,
            last_exit_code: 0,
            unchanged_in_a_row: 0,
        }
    }

    #[test]
    fn a_loop_with_work_and_no_limit_goes_on() {
        assert_eq!(before_iteration(&limits(), &working()), Decision::Continue);
        assert_eq!(after_iteration(&limits(), &working()), Decision::Continue);
    }

    #[test]
    fn a_stop_request_comes_first_and_names_who_asked() {
        let now = Situation { stop_requested: Some("signal 15".into()), open_items: 0, ..working() };
        let stop = Decision::Stop(StopReason::StopRequested { by: "signal 15".into() });
        assert_eq!(before_iteration(&limits(), &now), stop);
        assert_eq!(after_iteration(&limits(), &now), stop);
    }

    #[test]
    fn the_wall_clock_ends_the_loop_only_once_it_is_passed() {
        let limits = Limits { max_wallclock: Some(Duration::from_mins(1)), ..limits() };
        assert_eq!(before_iteration(&limits, &working()), Decision::Continue);
        let late = Situation { elapsed: Duration::from_millis(60_001), ..working() };
        assert_eq!(
            before_iteration(&limits, &late),
            Decision::Stop(StopReason::WallClock { limit_seconds: 60 })
        );
    }

    #[test]
    fn an_empty_todo_ends_the_loop_before_and_after() {
        let now = Situation { open_items: 0, ..working() };
        assert_eq!(before_iteration(&limits(), &now), Decision::Stop(StopReason::NothingOpen));
        assert_eq!(after_iteration(&limits(), &now), Decision::Stop(StopReason::NothingOpen));
    }

    #[test]
    fn the_count_is_per_invocation_and_zero_runs_nothing() {
        let three = Limits { stop_after_runs: Some(3), ..limits() };
        let now = |iterations| Situation { iterations, ..working() };
        assert_eq!(after_iteration(&three, &now(2)), Decision::Continue);
        let reached = Decision::Stop(StopReason::CountReached { runs: 3 });
        assert_eq!(after_iteration(&three, &now(3)), reached);
        assert_eq!(before_iteration(&three, &now(3)), reached);
        let zero = Limits { stop_after_runs: Some(0), ..limits() };
        assert_ne!(before_iteration(&zero, &now(0)), Decision::Continue);
    }

    #[test]
    fn a_single_iteration_is_told_of_in_the_singular() {
        let told = [StopReason::CountReached { runs: 1 }, StopReason::NoProgress { iterations: 1 }];
        let told = told.map(|reason| reason.to_string());
        assert!(told.iter().all(|text| text.starts_with("1 iteration ")), "{told:?}");
    }

    #[test]
    fn a_failure_wins_over_a_reached_count_so_that_the_exit_code_tells() {
        let limits = Limits { stop_after_runs: Some(1), ..limits() };
        let now = Situation { iterations: 1, failures_in_a_row: 1, last_exit_code: 3, ..working() };
        let Decision::Stop(reason) = after_iteration(&limits, &now) else { panic!("goes on") };
        assert_eq!(reason, StopReason::Failed { exit_code: 3, in_a_row: 1 });
        assert!(!reason.is_success());
        assert_eq!(reason.to_string(), "the iteration failed with code 3");
    }

    #[test]
    fn several_failures_can_be_allowed() {
        let limits = Limits { stop_after_failures: 2, ..limits() };
        let now = |failures| Situation { failures_in_a_row: failures, last_exit_code: 1, ..working() };
        assert_eq!(after_iteration(&limits, &now(1)), Decision::Continue);
        assert_ne!(after_iteration(&limits, &now(2)), Decision::Continue);
    }

    #[test]
    fn no_progress_ends_the_loop_at_the_threshold_and_zero_turns_it_off() {
        let now = |unchanged| Situation { unchanged_in_a_row: unchanged, ..working() };
        assert_eq!(after_iteration(&limits(), &now(2)), Decision::Continue);
        assert_eq!(
            after_iteration(&limits(), &now(3)),
            Decision::Stop(StopReason::NoProgress { iterations: 3 })
        );
        let off = Limits { no_progress_threshold: 0, ..limits() };
        assert_eq!(after_iteration(&off, &now(1000)), Decision::Continue);
    }

    #[test]
    fn only_a_change_of_counts_or_content_is_progress() {
        let state = |open, content: Option<&str>| Progress {
            todo: todo::Fingerprint { open, done: 0 },
            repository: content.map(str::to_owned),
        };
        let mut tracker = ProgressTracker::starting_from(state(3, Some("a")));
        assert_eq!(tracker.observe(state(3, Some("a"))), 1);
        assert_eq!(tracker.observe(state(3, Some("a"))), 2);
        assert_eq!(tracker.observe(state(2, Some("a"))), 0);
        assert_eq!(tracker.observe(state(2, Some("b"))), 0);
        assert_eq!(tracker.observe(state(2, Some("b"))), 1);
        // An unreadable repository is never held against the loop.
        assert_eq!(tracker.observe(state(2, None)), 0);
        assert_eq!(tracker.observe(state(2, None)), 0);
    }
}
