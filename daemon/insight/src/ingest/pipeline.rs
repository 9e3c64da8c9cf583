//! Derivation and rules of one session: fed records, it gives rows and signals.

use serde::{Deserialize, Serialize};
use trace::session::{Format, Row, Rows, Session};
use trace::{Record, SessionId};

use crate::signal::{Signal, SignalId};

/// Which meaning stored states have. To be raised whenever derivation or rules change what they keep or give:
/// every session is then read anew.
pub(crate) const VERSION: u32 = 1;

/// What came of records.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    /// Rows that are new or have changed.
    pub(crate) rows: Rows,
    /// What became known of signals, in order.
    pub(crate) found: Vec<Found>,
}

/// What became known of a signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// It is there, or has changed.
    Raised(Signal),
    /// It is disproved.
    Withdrawn(SignalId),
}

/// A session's derivation and rules, with all that they know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pipeline {
    session: Session,
}

impl Pipeline {
    pub(crate) fn new(id: SessionId, format: Format) -> Self {
        todo!("{id} {format:?}")
    }

    pub(crate) fn restore(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok()
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn feed(&mut self, record: &Record<'_>, out: &mut Yield) {
        let _ = (record, &out.rows as *const Rows);
    }

    /// Gives rows that are not finished.
    pub(crate) fn flush(&mut self, out: &mut Yield) {
        let _ = &out.rows;
    }

    pub(crate) fn settle(&mut self, out: &mut Yield) {
        let _ = Row::Turn;
        let _ = &out.found;
    }

    pub(crate) fn session(&self) -> Session {
        self.session.clone()
    }
}
