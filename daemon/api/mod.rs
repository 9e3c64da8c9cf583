//! gRPC: one file per service, and the translation between the domain and the wire.

mod approval;
mod autorunner;
mod daemon;
mod error;
mod lease;
mod log;
mod run;
mod schedule;
mod template;
mod view;

pub use approval::Approvals;
pub use autorunner::Autorunner;
pub use daemon::{Daemon, DaemonFacts};
pub(crate) use error::status;
pub use lease::Leases;
pub use run::Runs;
pub use schedule::Schedules;
