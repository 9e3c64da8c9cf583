//! Runs: what is asked for, what is recorded, and how a run moves from state to state.

mod id;
mod record;
mod request;
mod state;
pub(crate) mod tables;

pub use id::{IdPrefix, InvalidId, RunId};
pub use record::{Attempt, Run, Start, Step, StepKind, StepState, Usage};
pub use request::{
    After, LeaseKey, OnInterrupt, Origin, RetryPolicy, Secret, SecretSource, StartOptions, StartRun, Variable,
};
pub(crate) use state::{Effect, RunEvent, Verdict, step};
pub use state::{Ending, Refused, RunState, Status, Turn, Wait};
pub use tables::BadRow;
