//! A signal: a moment of friction or delight, with its evidence.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
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

/// A signal's id: the same whenever the same bytes are read with the same rules.
///
/// `sig_` and 20 hexadecimal digits of a SHA-256 over rule set, session, category, epoch and the anchor that
/// the rule gives (a call, a turn, or a record's number).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignalId(pub String);

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
