//! The engine: durable, supervised runs.
//!
//! A [`Workflow`] is code over a [`RunContext`]; the [`Engine`] runs it, and runs it anew after a
//! crash, when finished steps return what they stored. Rooms: `run` (what is asked for and
//! recorded, and the state machine), `core` (the memory of active runs and its transactions),
//! `context` (the face towards workflows), `process` (shims and their children), `logs`, `store`
//! (sled), `schedule`, `event`, `clock`.

mod approval;
pub mod clock;
mod context;
mod control;
mod core;
mod drive;
mod engine;
mod environment;
mod event;
mod failure;
mod files;
mod limits;
pub mod logs;
pub mod process;
mod query;
mod recover;
mod retention;
mod run;
pub mod schedule;
mod settings;
pub mod store;
mod timetable;
mod unreadable;
mod workflow;

pub use approval::{Approval, Decision, Verdict};
pub use context::{Background, ChildEnd, ProcessEnd, ProcessSpec, ProcessView, RunContext, Slept};
pub use control::RunError;
pub use core::StartError;
pub use engine::{Engine, OnEnd};
pub use event::{Event, EventStream, InvalidToken, NewEvent, Token, WatchError};
pub use failure::{Failure, FailureKind};
pub use query::{Filter, Heartbeat, LeaseView, Page, RunDetail};
pub use recover::{Setup, TABLES};
pub use run::*;
pub use settings::Settings;
pub use timetable::SCHEDULE_LABEL;
pub use workflow::{Registry, Workflow};
