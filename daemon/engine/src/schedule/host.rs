//! What the scheduler asks of the rest of the engine.

use jiff::Timestamp;
use uuid::Uuid;

use super::policy::Dropped;
use super::{EventView, Schedule};
use crate::clock::BoxFuture;

/// The engine, as the scheduler sees it.
///
/// Each call that changes something is durable when it returns `Ok`. A call that returns
/// [`HostError::Unavailable`] may have been carried out nevertheless; the scheduler repeats it, which
/// must then be harmless.
pub trait Host: Send + Sync + 'static {
    /// Starts a run for a firing of `advanced`, and in ONE durable batch with it stores the schedule
    /// as [`advanced.started(run)`](Schedule::started) and tells the notices as events.
    ///
    /// Idempotent by [`Firing::request_id`]: when a run with it exists, no other is started and its id is
    /// returned; the schedule is stored all the same. The run keeps [`Firing::lineage`], to be given back in the [`EventView`]s about it.
    fn fire<'a>(
        &'a self,
        advanced: &'a Schedule,
        firing: &'a Firing,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<Uuid, HostError>>;

    /// Stores a schedule and tells the notices as events, in one durable batch.
    fn save<'a>(
        &'a self,
        schedule: &'a Schedule,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Deletes a schedule. One that is not there is no error.
    fn remove(&self, schedule: Uuid) -> BoxFuture<'_, Result<(), HostError>>;

    /// The runs of a schedule that have not ended (queued ones are among them), oldest first.
    fn active_runs_of(&self, schedule: Uuid) -> BoxFuture<'_, Result<Vec<ActiveRun>, HostError>>;

    /// Asks a run to stop; does not wait until it has. One that has ended is no error.
    fn cancel<'a>(&'a self, run: Uuid, reason: &'a str) -> BoxFuture<'a, Result<(), HostError>>;

    /// The events numbered above `after`, in order; waits until there is at least one.
    ///
    /// Dropping the future loses nothing. When events above `after` have been deleted already, the
    /// batch begins with the oldest there is.
    fn next_events(&self, after: u64) -> BoxFuture<'_, Result<EventBatch, HostError>>;

    /// Stores how far the events have been consumed.
    fn save_cursor(&self, event: u64) -> BoxFuture<'_, Result<(), HostError>>;
}

/// Why the engine did not do what the scheduler asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The workflow refuses this start, and would do so again: its kind is unknown, its spec is not
    /// valid, …
    #[error("the start was refused: {0}")]
    Refused(String),
    /// Something is wrong that may pass: the store cannot write, the engine is stopping, …
    #[error("{0}")]
    Unavailable(String),
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRun {
    /// The run's id.
    pub id: Uuid,
    /// The request id that it was started with.
    pub request_id: String,
}

/// A row of events from the ordered log.
#[derive(Debug, Clone, Default)]
pub struct EventBatch {
    /// The events, in order. The host may leave out what no trigger can be interested in.
    pub events: Vec<EventView>,
    /// The number of the last event that the batch covers, left out or not.
    pub up_to: u64,
}

/// One start of a schedule's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// What made the schedule fire.
    pub cause: Cause,
    /// The same for every attempt at this firing, and for no other firing.
    pub request_id: String,
    /// The run must not start before this one has ended, however it ends.
    pub after: Option<Uuid>,
    /// The schedules that led to this run, oldest first; the last is the one that fires. More than
    /// one when runs of other schedules triggered it.
    pub lineage: Vec<Uuid>,
}

impl Firing {
    pub(super) fn new(schedule: Uuid, cause: Cause, mut lineage: Vec<Uuid>) -> Self {
        let request_id = match &cause {
            Cause::Time(occurrence) => format!("schedule/{schedule}/time/{occurrence}"),
            Cause::Event(number) => format!("schedule/{schedule}/event/{number}"),
            Cause::Command(request) => format!("schedule/{schedule}/command/{request}"),
        };
        lineage.push(schedule);
        Self { cause, request_id, after: None, lineage }
    }
}

/// What made a schedule fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// This occurrence of its trigger came.
    Time(Timestamp),
    /// The event of this number matched its trigger.
    Event(u64),
    /// Somebody asked for it, in the request of this id.
    Command(String),
}

/// Something about a schedule that people should be told, as an event.
///
/// Each is told at least once: twice only when the host stored one but answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A firing was dropped because a run of the schedule is active.
    Skipped {
        /// What made the schedule fire.
        cause: Cause,
        /// The run that is in the way.
        active: Uuid,
    },
    /// Occurrences came while the daemon was down or the machine asleep, and get no run of their own.
    Missed(Dropped),
    /// The workflow refused the start. The schedule goes on with its next occurrence.
    Refused {
        /// What made the schedule fire.
        cause: Cause,
        /// Why.
        problem: String,
    },
    /// A start failed and will be tried again. Told when it fails first, and when the reason changes.
    Failed {
        /// What made the schedule fire.
        cause: Cause,
        /// Why.
        problem: String,
    },
}
