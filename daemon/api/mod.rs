//! gRPC: one file per service, and the translation between the domain and the wire.

mod approval;
mod autorunner;
mod daemon;
mod error;
mod lease;
mod list;
mod log;
mod run;
mod schedule;
mod template;
mod trace;
mod view;
mod watch;

pub(crate) use approval::Approvals;
pub(crate) use autorunner::Autorunner;
pub(crate) use daemon::{Daemon, DaemonFacts};
pub(crate) use error::status;
pub(crate) use lease::Leases;
pub(crate) use run::Runs;
pub(crate) use schedule::Schedules;
pub(crate) use trace::{Signals, Traces};
pub(crate) use watch::Watches;
