//! A signal: a moment of friction or delight, with its evidence.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trace::{Place, SessionId};

/// Whether a signal tells of trouble or of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalType {
    /// The agent or its user struggled.
    Friction,
    /// It went well.
    Delight,
}

/// Which rules found a signal. Signals of different rule sets are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleSet {
    /// The corrected rules, live and in file order.
    V1,
    /// What the earlier tool gives, batch only, for comparing with earlier results.
    Compat,
}

impl RuleSet {
    /// Its name, as it is stored and asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Compat => "compat",
        }
    }
}

/// A signal's id: the same whenever the same bytes are read with the same rules.
///
/// `sig_` and 20 hexadecimal digits of a SHA-256 over rule set, session, category and [`Anchor`]. What
/// [`RuleSet::Compat`] finds is stored nowhere, so that its ids have to tell where to look: `sig_c_` and four digits of
/// a SHA-256 over the session stand in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignalId(pub String);

/// What makes a signal this one and no other of its category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The session as a whole: it has at most one signal of the category.
    Session,
    /// A record, by where it stands: numbers of records may repeat after a resume, places do not.
    Record {
        /// The epoch.
        epoch: u32,
        /// Which file of the session.
        file: u32,
        /// The line, from 1.
        line: u64,
        /// What it is about, where one record can tell of several things: a call's id; else empty.
        subject: String,
    },
}

/// What ids of the rule set `compat` begin with, and no others.
const COMPAT: &str = "sig_c_";

impl SignalId {
    /// Of which rule set the ids are that begin with a text.
    pub(crate) fn rules_of(text: &str) -> RuleSet {
        if text.starts_with(COMPAT) { RuleSet::Compat } else { RuleSet::V1 }
    }

    /// How much of an id is needed to look for it: enough to be one of few, and what leads to the session.
    pub(crate) fn shortest(rules: RuleSet) -> usize {
        match rules {
            RuleSet::V1 => "sig_00".len(),
            RuleSet::Compat => COMPAT.len() + "0000".len(),
        }
    }

    /// What the ids begin with that the rule set `compat` gives for a session: other sessions have it as well, but one
    /// in 65,536 only.
    pub(crate) fn beginning_in_compat(session: &SessionId) -> String {
        let hash = Sha256::digest(session.as_str().as_bytes());
        let mut id = COMPAT.to_owned();
        push_hexadecimal(&mut id, &hash[..2]);
        id
    }

    /// The id of the signal of this category at this anchor.
    pub fn of(rule_set: RuleSet, session: &SessionId, category: &str, anchor: &Anchor) -> Self {
        let mut hash = Sha256::new();
        // Every text comes with its length, so that no two different anchors give the same bytes.
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        text(rule_set.as_str());
        text(session.as_str());
        text(category);
        if let Anchor::Record { epoch, file, line, subject } = anchor {
            text(subject);
            hash.update(epoch.to_le_bytes());
            hash.update(file.to_le_bytes());
            hash.update(line.to_le_bytes());
        }
        let mut id = match rule_set {
            RuleSet::V1 => String::from("sig_"),
            RuleSet::Compat => Self::beginning_in_compat(session),
        };
        push_hexadecimal(&mut id, &hash.finalize()[..10]);
        Self(id)
    }
}

fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(hexadecimal(byte >> 4));
        text.push(hexadecimal(byte & 15));
    }
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

impl fmt::Display for SignalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment of friction or delight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Its id.
    pub id: SignalId,
    /// Friction or delight.
    #[serde(rename = "type")]
    pub kind: SignalType,
    /// Its category, such as `exec_failure`.
    pub category: String,
    /// From 0 to 1.
    pub severity: f64,
    /// From 0 to 1: how sure the rule is.
    pub confidence: f64,
    /// The session.
    pub session_id: SessionId,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The turn's id, if it belongs to one.
    pub turn_id: Option<String>,
    /// The tool call, if it is about one.
    pub call_id: Option<String>,
    /// The first record; none for the session as a whole.
    pub seq_start: Option<u64>,
    /// The last record; none for a point.
    pub seq_end: Option<u64>,
    /// What happened, in a sentence.
    pub description: String,
    /// What the rule saw, as a JSON object.
    pub evidence: serde_json::Value,
    /// Where the records stand: the first and last, and those between that matter (at most 16).
    pub places: Vec<Place>,
    /// `mechanical`, or the name of a model's judgement.
    pub detector: String,
    /// The rules.
    pub rule_set: RuleSet,
    /// When the records happened: the time of the last one.
    pub at: Option<Timestamp>,
    /// Whether it is final: the session has settled since, or nothing later can disprove it.
    pub settled: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn record(epoch: u32, file: u32, line: u64, subject: &str) -> Anchor {
        Anchor::Record { epoch, file, line, subject: subject.into() }
    }

    #[test]
    fn an_id_is_the_same_in_every_version() {
        let session: SessionId = "test-friction-001".parse().unwrap();
        let id = SignalId::of(RuleSet::V1, &session, "exec_failure", &record(0, 1, 7, "call_1"));
        assert_eq!(id.0, "sig_e0a1a112d8cbb34141e5");
        let id = SignalId::of(RuleSet::Compat, &session, "exec_failure", &record(0, 1, 7, "call_1"));
        assert_eq!(id.0, "sig_c_a02b9fee1408c0530b5115cb");
    }

    #[test]
    fn an_id_of_compat_tells_its_rule_set_and_nearly_its_session() {
        let sessions: Vec<SessionId> =
            (0..100).map(|number| format!("session-{number}").parse().unwrap()).collect();
        let id = SignalId::of(RuleSet::Compat, &sessions[0], "exec_failure", &Anchor::Session);
        assert_eq!(SignalId::rules_of(&id.0), RuleSet::Compat);
        let fits = |session: &&SessionId| id.0.starts_with(&SignalId::beginning_in_compat(session));
        assert_eq!(sessions.iter().filter(fits).collect::<Vec<_>>(), [&sessions[0]]);
        let other = SignalId::of(RuleSet::V1, &sessions[0], "exec_failure", &Anchor::Session);
        assert_eq!(SignalId::rules_of(&other.0), RuleSet::V1);
    }

    #[test]
    fn whatever_differs_makes_another_id() {
        let anchors = [
            Anchor::Session,
            record(0, 0, 1, ""),
            record(1, 0, 1, ""),
            record(0, 1, 1, ""),
            record(0, 0, 2, ""),
            record(0, 0, 1, "call"),
        ];
        let mut ids = BTreeSet::new();
        for rule_set in [RuleSet::V1, RuleSet::Compat] {
            for session in ["a", "ab"] {
                for category in ["bc", "c"] {
                    for anchor in &anchors {
                        ids.insert(SignalId::of(rule_set, &session.parse().unwrap(), category, anchor));
                    }
                }
            }
        }
        assert_eq!(ids.len(), 2 * 2 * 2 * anchors.len());
    }
}
