//! Schedules: triggers, and the runs that they start.
//!
//! A [`Schedule`] is a [`Trigger`] (the calendar, an interval, a single time, or an event) with what
//! it starts. The [`Scheduler`] task owns all of them; a [`SchedulerHandle`] adds, lists and changes
//! them. Both reach the rest of the engine through one trait, [`Host`], so that this module knows
//! nothing of the store or of runs. What is due when is decided by pure functions
//! ([`Trigger::next_after`], [`policy`]).
//!
//! No occurrence is lost and none starts two runs, whatever happens between: a start and the advance
//! of its schedule are one durable batch, and each start carries a request id made from the schedule
//! and the occurrence.

mod entry;
mod event;
mod handle;
mod host;
pub mod policy;
mod record;
mod service;
#[cfg(test)]
mod tests;
mod trigger;

pub use entry::{Counts, InvalidName, NewSchedule, Schedule, Start};
pub use event::{EventTrigger, EventTriggers, EventView, RunFacts, RunFinished, RunOutcome};
pub use handle::{Listing, ScheduleError, SchedulerHandle, Unreadable, Upcoming};
pub use host::{ActiveRun, Cause, EventBatch, Firing, Host, HostError, Notice};
pub use policy::{Missed, Overlap};
pub use record::{RecordError, ScheduleRecord};
pub use service::{Scheduler, Stored};
pub use trigger::{Cron, Every, SHORTEST_INTERVAL, Trigger, TriggerError, parse_duration};
