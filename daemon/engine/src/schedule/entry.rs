//! A schedule: its definition and where it stands.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{Missed, Overlap, Trigger};

/// The longest name of a schedule, in bytes.
const LONGEST_NAME: usize = 64;

/// A schedule as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    /// Unique among schedules: letters, digits, `.`, `_` and `-`, beginning with a letter or digit,
    /// at most 64 characters.
    pub name: String,
    /// What makes it fire.
    pub trigger: Trigger,
    /// What it starts.
    pub start: Start,
    /// What happens when its runs would overlap.
    pub overlap: Overlap,
    /// What happens to occurrences that were missed.
    pub missed: Missed,
    /// Whether it is to fire from now on, or only once it is enabled.
    pub enabled: bool,
}

/// The run that a schedule starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Start {
    /// The workflow's kind, such as `exec`.
    pub workflow: String,
    /// The workflow's specification.
    pub spec: Value,
    /// Environment, labels, priority, retries and whatever else a start takes, in an encoding that only
    /// the engine's runs know.
    pub options: Vec<u8>,
}

/// A schedule: its definition and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// A UUID of version 7.
    pub id: Uuid,
    /// Unique among schedules.
    pub name: String,
    /// What makes it fire.
    pub trigger: Trigger,
    /// What it starts.
    pub start: Start,
    /// What happens when its runs would overlap.
    pub overlap: Overlap,
    /// What happens to occurrences that were missed.
    pub missed: Missed,
    /// Whether it fires.
    pub enabled: bool,
    /// When it was added.
    pub created_at: Timestamp,
    /// The occurrence that is to come. None for event triggers, when disabled, and when none is left.
    pub next_at: Option<Timestamp>,
    /// An occurrence whose start failed. It is tried again until it succeeds, before any other.
    pub pending: Option<Timestamp>,
    /// The last event that this schedule has answered, or has no interest in.
    pub last_event: u64,
    /// When it last started a run.
    pub last_at: Option<Timestamp>,
    /// The run that it last started.
    pub last_run: Option<Uuid>,
    /// Why the last start failed or was refused; none after one that succeeded.
    pub last_error: Option<String>,
    /// What became of its firings.
    pub counts: Counts,
}

/// What became of a schedule's firings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs started.
    pub fired: u64,
    /// Firings dropped because a run was active.
    pub skipped: u64,
    /// Occurrences that were missed and got no run of their own.
    pub missed: u64,
}

impl Schedule {
    /// A schedule that was just asked for, with its first occurrence after `now`.
    pub(super) fn new(id: Uuid, new: NewSchedule, now: Timestamp, last_event: u64) -> Self {
        let mut schedule = Self {
            id,
            name: new.name,
            trigger: new.trigger,
            start: new.start,
            overlap: new.overlap,
            missed: new.missed,
            enabled: false,
            created_at: now,
            next_at: None,
            pending: None,
            last_event,
            last_at: None,
            last_run: None,
            last_error: None,
            counts: Counts::default(),
        };
        if new.enabled {
            schedule.enable(now, last_event);
        }
        schedule
    }

    /// Lets it fire for what comes after `now` and after the event `last_event`.
    pub(super) fn enable(&mut self, now: Timestamp, last_event: u64) {
        self.enabled = true;
        self.next_at = self.trigger.next_after(self.id, now);
        self.last_event = last_event;
    }

    /// Keeps it from firing. What is pending is given up.
    pub(super) fn disable(&mut self) {
        self.enabled = false;
        self.next_at = None;
        self.pending = None;
    }

    /// The schedule after it has started `run`; what [`Host::fire`](super::Host::fire) stores.
    #[must_use]
    pub fn started(&self, run: Uuid) -> Self {
        Self { last_run: Some(run), ..self.clone() }
    }
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} cannot be the name of a schedule: {LONGEST_NAME} letters, digits, '.', '_' and '-' at most, \
     beginning with a letter or digit"
)]
pub struct InvalidName {
    /// What was given.
    pub name: String,
}

/// Checks the name of a schedule.
pub(super) fn check_name(name: &str) -> Result<(), InvalidName> {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let good = name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(letters);
    if good { Ok(()) } else { Err(InvalidName { name: name.to_owned() }) }
}
