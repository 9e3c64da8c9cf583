//! The trace and signal services.

mod error;
mod query;
mod signals;
mod view;

use insight::Insight;

pub(crate) use query::Traces;
pub(crate) use signals::Signals;
