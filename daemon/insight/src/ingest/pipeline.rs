//! Derivation and rules of one session: fed records, it gives rows and signals.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use trace::derive::{Derive as _, Deriver, Sink};
use trace::session::{Format, Row, Rows, Session};
use trace::{Fact, Record, SessionId};

use crate::profile::Course;
use crate::rules::{Change, RuleSetV1};

/// Which meaning stored states have. To be raised whenever derivation or rules change what they keep or give:
/// every session is then read anew.
pub(crate) const VERSION: u32 = 2;

/// What came of records.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    /// Rows that are new or have changed.
    pub(crate) rows: Rows,
    /// What became known of signals, in order.
    pub(crate) found: Vec<Change>,
}

/// A session's derivation and rules, with all that they know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pipeline {
    deriver: Deriver,
    rules: RuleSetV1,
}

/// Hands facts on to the rules.
struct Joint<'a> {
    rules: &'a mut RuleSetV1,
    out: &'a mut Yield,
}

impl Sink for Joint<'_> {
    fn row(&mut self, row: Row) {
        self.out.rows.put(row);
    }

    fn fact(&mut self, fact: &Fact<'_>) {
        self.rules.feed(fact, &mut self.out.found);
    }
}

impl Pipeline {
    pub(crate) fn new(id: SessionId, format: Format) -> Self {
        Self { rules: RuleSetV1::new(id.clone()), deriver: Deriver::new(id, format) }
    }

    /// Takes up what [`Pipeline::state`] gave.
    pub(crate) fn restore(state: &[u8]) -> Option<Self> {
        serde_json::from_slice(state).ok()
    }

    /// All that it knows.
    pub(crate) fn state(&self) -> Vec<u8> {
        // Maps with keys that are no texts would be the only failure; the test of the round trip has none.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What [`Pipeline::state`] gives of a session of which nothing is read yet. It differs from session to session by
    /// the id alone, so it is made once for each format: every part of a session that is stored needs it.
    pub(crate) fn first_state(id: &SessionId, format: Format) -> Vec<u8> {
        const MARK: &str = "the-id-of-the-session";
        static SPINE: OnceLock<Vec<String>> = OnceLock::new();
        static ROLLOUT: OnceLock<Vec<String>> = OnceLock::new();
        static BUNDLE: OnceLock<Vec<String>> = OnceLock::new();
        let around = match format {
            Format::Spine => &SPINE,
            Format::Rollout => &ROLLOUT,
            Format::Bundle => &BUNDLE,
        };
        let around = around.get_or_init(|| {
            let state = MARK.parse().map(|mark| Self::new(mark, format).state()).unwrap_or_default();
            String::from_utf8_lossy(&state).split(MARK).map(str::to_owned).collect()
        });
        around.join(id.as_str()).into_bytes()
    }

    pub(crate) fn feed(&mut self, record: &Record<'_>, out: &mut Yield) {
        self.deriver.feed(record, &mut Joint { rules: &mut self.rules, out });
    }

    /// Gives rows that are not finished.
    pub(crate) fn flush(&mut self, out: &mut Yield) {
        self.deriver.flush(&mut Joint { rules: &mut self.rules, out });
    }

    /// Asks the rules about the whole session.
    pub(crate) fn settle(&mut self, out: &mut Yield) {
        self.deriver.settle(&mut Joint { rules: &mut self.rules, out });
    }

    /// How the session has gone, for its profile.
    pub(crate) fn course(&self) -> &Course {
        self.rules.course()
    }

    pub(crate) fn session(&self) -> &Session {
        self.deriver.session()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_state_is_that_of_a_session_of_which_nothing_is_read() {
        let id: SessionId = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11".parse().unwrap();
        for format in [Format::Spine, Format::Rollout, Format::Bundle] {
            assert_eq!(Pipeline::first_state(&id, format), Pipeline::new(id.clone(), format).state());
        }
    }
}
