//! Signals, and the log of their changes.

use std::sync::Arc;

use trace::SessionId;

use super::part::{PlaceMessage, TimeMessage, time, untime};
use super::{PageItem, TEXT, WORD, clip, word};
use crate::signal::{RuleSet, Signal, SignalId, SignalType};

/// The most bytes of a signal's evidence; the records themselves can always be opened.
const EVIDENCE: usize = 3072;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SignalMessage {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(bool, tag = "2")]
    pub delight: bool,
    #[prost(string, tag = "3")]
    pub category: String,
    #[prost(double, tag = "4")]
    pub severity: f64,
    #[prost(double, tag = "5")]
    pub confidence: f64,
    #[prost(uint32, tag = "6")]
    pub epoch: u32,
    #[prost(string, optional, tag = "7")]
    pub turn_id: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub call_id: Option<String>,
    #[prost(uint64, optional, tag = "9")]
    pub seq_start: Option<u64>,
    #[prost(uint64, optional, tag = "10")]
    pub seq_end: Option<u64>,
    #[prost(string, tag = "11")]
    pub description: String,
    /// As JSON text.
    #[prost(string, tag = "12")]
    pub evidence: String,
    #[prost(message, repeated, tag = "13")]
    pub places: Vec<PlaceMessage>,
    #[prost(string, tag = "14")]
    pub detector: String,
    #[prost(bool, tag = "15")]
    pub compat: bool,
    #[prost(message, optional, tag = "16")]
    pub at: Option<TimeMessage>,
    #[prost(bool, tag = "17")]
    pub settled: bool,
    /// The number within the session, in the order of the first telling.
    #[prost(uint32, tag = "18")]
    pub ordinal: u32,
}

/// A signal with its number within its session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) ordinal: u32,
    /// Shared with what is told of it.
    pub(crate) signal: Arc<Signal>,
}

impl PageItem for Numbered {
    type Message = SignalMessage;

    fn into_message(self) -> SignalMessage {
        let Signal {
            id,
            kind,
            category,
            severity,
            confidence,
            session_id: _,
            epoch,
            turn_id,
            call_id,
            seq_start,
            seq_end,
            description,
            evidence,
            places,
            detector,
            rule_set,
            at,
            settled,
        } = &*self.signal;
        let evidence = evidence.to_string();
        SignalMessage {
            id: clip(id.0.clone(), 64),
            delight: *kind == SignalType::Delight,
            category: clip(category.clone(), WORD),
            severity: *severity,
            confidence: *confidence,
            epoch: *epoch,
            turn_id: word(turn_id.clone()),
            call_id: word(call_id.clone()),
            seq_start: *seq_start,
            seq_end: *seq_end,
            description: clip(description.clone(), TEXT),
            evidence: if evidence.len() > EVIDENCE { r#"{"cut":true}"#.to_owned() } else { evidence },
            places: places.iter().take(16).map(|place| (*place).into()).collect(),
            detector: clip(detector.clone(), WORD),
            compat: *rule_set == RuleSet::Compat,
            at: time(*at),
            settled: *settled,
            ordinal: self.ordinal,
        }
    }

    fn from_message(message: SignalMessage, session: &SessionId) -> Self {
        let signal = Signal {
            id: SignalId(message.id),
            kind: if message.delight { SignalType::Delight } else { SignalType::Friction },
            category: message.category,
            severity: message.severity,
            confidence: message.confidence,
            session_id: session.clone(),
            epoch: message.epoch,
            turn_id: message.turn_id,
            call_id: message.call_id,
            seq_start: message.seq_start,
            seq_end: message.seq_end,
            description: message.description,
            evidence: serde_json::from_str(&message.evidence).unwrap_or_default(),
            places: message.places.into_iter().map(Into::into).collect(),
            detector: message.detector,
            rule_set: if message.compat { RuleSet::Compat } else { RuleSet::V1 },
            at: untime(message.at),
            settled: message.settled,
        };
        Self { ordinal: message.ordinal, signal: Arc::new(signal) }
    }
}

/// A change of a signal, as the log keeps it: enough to count and filter by. What else there is stands with
/// the session's signals for as long as it is not withdrawn, and with its withdrawal from then on.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChangeLogMessage {
    #[prost(string, tag = "1")]
    pub session: String,
    #[prost(string, tag = "2")]
    pub id: String,
    /// 0 raised, 1 withdrawn, 2 settled.
    #[prost(uint32, tag = "3")]
    pub phase: u32,
    /// When it became known, in microseconds.
    #[prost(int64, tag = "4")]
    pub told_at: i64,
    #[prost(bool, tag = "5")]
    pub delight: bool,
    #[prost(string, tag = "6")]
    pub category: String,
    #[prost(double, tag = "7")]
    pub severity: f64,
    /// Whether it was told as an event, too.
    #[prost(bool, tag = "8")]
    pub live: bool,
    /// The signal's number within its session.
    #[prost(uint32, tag = "9")]
    pub ordinal: u32,
    /// The signal as it was when it was withdrawn; none for other phases.
    #[prost(message, optional, tag = "10")]
    pub withdrawn: Option<SignalMessage>,
    /// The schedules that led to the run whose session it is, 16 bytes each.
    #[prost(bytes = "vec", tag = "11")]
    pub lineage: Vec<u8>,
}
