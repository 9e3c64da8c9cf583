//! What is asked for when a run is started.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{RunId, Status};
use crate::failure::{Failure, FailureKind};
use crate::process::OsText;

/// A request to start a run.
#[derive(Debug, Clone)]
pub struct StartRun {
    /// Chosen by the client; makes a retry harmless.
    pub request_id: Option<String>,
    /// The workflow's kind.
    pub kind: String,
    /// The workflow's spec.
    pub spec: Value,
    /// What is common to all workflows.
    pub options: StartOptions,
    /// Where the run comes from.
    pub origin: Origin,
    /// The schedules that led to it, oldest first.
    pub lineage: Vec<Uuid>,
    /// Refuse, instead of queueing, while another run holds one of its leases.
    pub refuse_if_held: bool,
}

/// Where a run comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client's request.
    #[default]
    Client,
    /// A step of another run.
    Parent {
        /// That run.
        run: RunId,
        /// The step that waits for this one.
        step: String,
    },
    /// A schedule.
    Schedule(Uuid),
    /// A hook on the end of another run. Hooks do not run on the end of hooks.
    Hook(RunId),
}

/// What is common to starting any workflow. Stored as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartOptions {
    /// A name for people.
    pub name: String,
    /// Labels to find it by.
    pub labels: BTreeMap<String, String>,
    /// The environment captured from the client.
    pub environment: Vec<Variable>,
    /// Variables set on purpose; they win over the captured ones.
    pub env: Vec<Variable>,
    /// References to secrets, resolved when a process starts; they win over both.
    pub secrets: Vec<Secret>,
    /// Resources to hold besides those that the workflow asks for.
    pub leases: Vec<LeaseKey>,
    /// Higher starts earlier.
    pub priority: i32,
    /// Runs to follow.
    pub after: Vec<After>,
    /// When a failed attempt is followed by another.
    pub retry: RetryPolicy,
    /// What happens when its process is lost; none: as the workflow says.
    pub on_interrupt: Option<OnInterrupt>,
}

/// A variable of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, which need not be UTF-8.
    pub value: OsText,
}

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The variable that the process sees.
    pub name: String,
    /// Where its value comes from.
    pub source: SecretSource,
}

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A variable of the daemon's own environment.
    Env(String),
    /// A file, read whole; one newline at its end is dropped.
    File(String),
    /// A command for `sh -c`; its standard output, without the last newline.
    Cmd(String),
}

/// A resource that one run at a time may hold, such as `repo:/abs/path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseKey(pub String);

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run to follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// That run.
    pub run: RunId,
    /// The outcomes wanted; with any other, this run is canceled.
    pub outcomes: Vec<Status>,
}

/// When a failed attempt is followed by another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Pause before the second attempt; doubled each time.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// The kinds that are retried; empty: all that could end differently.
    pub on: Vec<FailureKind>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 1,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_mins(5),
            on: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// The pause before attempt `number + 1`, if attempt `number` (from 1), which ended with
    /// `failure`, is to be followed by another. `jitter` is between 0 and 1: the pause is spread
    /// over its upper half, so that runs that failed together do not all come back together.
    pub fn pause_after(&self, number: u32, failure: &Failure, jitter: f64) -> Option<Duration> {
        let wanted =
            if self.on.is_empty() { failure.kind.is_retryable() } else { self.on.contains(&failure.kind) };
        if !wanted || number >= self.attempts {
            return None;
        }
        let doublings = number.saturating_sub(1).min(30);
        // Nobody waits longer, and a clock can be that far ahead.
        let longest = self.max_backoff.min(Duration::from_hours(8784));
        let whole = self.backoff.saturating_mul(1 << doublings).min(longest);
        Some(whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
    }
}

/// What happens to a run whose process was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It goes on by itself; bounded, so that what kills the machine does not do so for ever.
    Resume,
    /// It stays interrupted until somebody resumes it.
    Hold,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "it failed")
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let policy =
            RetryPolicy { attempts: 10, max_backoff: Duration::from_secs(5), ..RetryPolicy::default() };
        let pauses: Vec<_> =
            (1..6).map(|n| policy.pause_after(n, &failure(FailureKind::Exit), 1.0)).collect();
        let seconds = [1, 2, 4, 5, 5].map(|s| Some(Duration::from_secs(s)));
        assert_eq!(pauses, seconds);
    }

    #[test]
    fn the_last_attempt_is_followed_by_none() {
        let policy = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
        assert!(policy.pause_after(1, &failure(FailureKind::Exit), 0.0).is_some());
        assert_eq!(policy.pause_after(2, &failure(FailureKind::Exit), 0.0), None);
        assert_eq!(RetryPolicy::default().pause_after(1, &failure(FailureKind::Exit), 0.0), None);
    }

    #[test]
    fn what_cannot_end_differently_is_not_retried_unless_asked_for() {
        let mut policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
        assert_eq!(policy.pause_after(1, &failure(FailureKind::Spawn), 0.0), None);
        policy.on = vec![FailureKind::Spawn];
        assert!(policy.pause_after(1, &failure(FailureKind::Spawn), 0.0).is_some());
        assert_eq!(policy.pause_after(1, &failure(FailureKind::Exit), 0.0), None);
    }
}
