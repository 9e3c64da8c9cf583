//! From records to rows and facts.
//!
//! [`Deriver`] joins what belongs together, one record at a time, for both formats and all their dialects. Each
//! file here has one subject and says which rules it follows.

mod approvals;
mod calls;
pub(crate) mod command;
mod compactions;
mod deriver;
mod epochs;
mod outcome;
mod session;
mod tokens;
mod turns;
mod words;

pub use deriver::Deriver;
pub(crate) use session::without_credentials;

use crate::session::Row;
use crate::{Fact, Record, What};

/// What a derivation gives, as it goes.
pub trait Sink {
    /// A row is new, or has changed.
    fn row(&mut self, row: Row);
    /// Something happened.
    fn fact(&mut self, fact: &Fact<'_>);
}

/// A session's derivation: fed records in the order of the file, one at a time.
///
/// All that it knows is in its state, which can be stored beside a cursor and taken up again: for every way
/// to cut the file into parts and every restart between them, rows and facts are the same.
pub trait Derive {
    /// Takes the next record.
    fn feed(&mut self, record: &Record<'_>, sink: &mut impl Sink);

    /// Gives the rows that have changed but are not finished: the running turn, open calls, requests without
    /// an answer. Finished rows come at once. To be called at the end of every batch of records, before the
    /// state is stored; when it is called makes no difference to what the rows are in the end.
    fn flush(&mut self, sink: &mut impl Sink);
}
