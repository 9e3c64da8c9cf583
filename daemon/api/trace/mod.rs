//! The trace and signal services.

mod error;
mod query;
mod signals;
mod verify;
mod view;
mod write;

pub(crate) use query::Traces;
pub(crate) use signals::Signals;

/// A line of evidence without its secrets and home paths.
fn redacted(line: &[u8]) -> Vec<u8> {
    ::trace::redact::Redactor::new().json(line).into_owned()
}
