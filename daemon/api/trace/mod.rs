//! The trace and signal services.

mod error;
mod query;
mod signals;
mod verify;
mod view;
mod write;

pub(crate) use query::Traces;
pub(crate) use signals::Signals;
