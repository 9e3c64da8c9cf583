//! Schedules: triggers, and the runs that they start.

mod trigger;

pub use trigger::{Cron, Every, SHORTEST_INTERVAL, Trigger, TriggerError, parse_duration};
