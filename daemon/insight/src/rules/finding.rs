//! What a rule has found, before it is a signal.

use jiff::Timestamp;
use serde_json::{Map, Value};
use trace::session::{Stamp, ToolCall};
use trace::{Fact, Place};

use crate::rules::words::clean;
use crate::rules::{Descriptor, Tally};
use crate::signal::{Anchor, RuleSet, Signal, SignalId};

/// How long a description can be, in characters.
const DESCRIPTION: usize = 240;
/// How long a text of the evidence can be, in characters.
const TEXT: usize = 400;
/// How many elements a list of the evidence can have.
const ELEMENTS: usize = 16;

/// What a rule has found. Texts that come from outside are cleaned and cut when they are put in.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    anchor: Anchor,
    epoch: u32,
    turn_id: Option<String>,
    call_id: Option<String>,
    span: Option<(u64, Option<u64>)>,
    places: Vec<Place>,
    at: Option<Timestamp>,
    severity: Option<f64>,
    confidence: f64,
    description: String,
    evidence: Map<String, Value>,
}

impl Finding {
    /// About one moment: the record that this fact comes from.
    pub(crate) fn at(fact: &Fact<'_>) -> Self {
        Self {
            epoch: fact.epoch,
            turn_id: some(fact.turn_id),
            ..Self::anchored(record(fact.epoch, &fact.at), &fact.at)
        }
    }

    /// About the session, of which these moments are what counts.
    pub(crate) fn session(tally: &Tally) -> Self {
        Self {
            places: tally.places(),
            at: tally.last().and_then(|last| last.time),
            ..Self::empty(Anchor::Session)
        }
    }

    /// About all these moments of the session together: like [`Finding::session`], but with their span.
    pub(crate) fn moments(tally: &Tally) -> Self {
        let span = tally.first().zip(tally.last()).map(|(first, last)| (first.seq, Some(last.seq)));
        Self { span, epoch: tally.epoch(), ..Self::session(tally) }
    }

    /// About what began with this record and is told of again by later ones.
    pub(crate) fn since(epoch: u32, first: &Stamp) -> Self {
        Self { epoch, ..Self::anchored(record(epoch, first), first) }
    }

    fn anchored(anchor: Anchor, at: &Stamp) -> Self {
        Self { span: Some((at.seq, None)), places: vec![at.place], at: at.time, ..Self::empty(anchor) }
    }

    fn empty(anchor: Anchor) -> Self {
        Self {
            anchor,
            epoch: 0,
            turn_id: None,
            call_id: None,
            span: None,
            places: Vec::new(),
            at: None,
            severity: None,
            confidence: 1.0,
            description: String::new(),
            evidence: Map::new(),
        }
    }

    /// It is about this call.
    pub(crate) fn call(mut self, call: &ToolCall) -> Self {
        self = self.call_id(&call.call_id).from(&call.opened);
        if self.turn_id.is_none() {
            self.turn_id = some(&call.turn_id);
        }
        self
    }

    /// It is about the call of this id.
    pub(crate) fn call_id(mut self, id: &str) -> Self {
        self.call_id = some(id);
        if let Anchor::Record { subject, .. } = &mut self.anchor {
            id.clone_into(subject);
        }
        self
    }

    /// It belongs to this turn.
    pub(crate) fn turn(mut self, id: &str) -> Self {
        self.turn_id = some(id);
        self
    }

    /// It began with an earlier record than the one that it was found at.
    pub(crate) fn from(mut self, first: &Stamp) -> Self {
        if let Some((seq, None)) = self.span
            && self.places.first() != Some(&first.place)
        {
            self.span = Some((first.seq, Some(seq)));
            self.places.insert(0, first.place);
        }
        self
    }

    /// It ended with a later record than the one that it was found at.
    pub(crate) fn until(mut self, last: &Stamp) -> Self {
        if let Some((seq, None)) = self.span
            && self.places.last() != Some(&last.place)
        {
            self.span = Some((seq, Some(last.seq)));
            self.places.push(last.place);
            self.at = last.time;
        }
        self
    }

    /// More or less severe than the rule's signals are.
    pub(crate) fn severity(mut self, severity: f64) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Less sure than certain.
    pub(crate) fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// What happened, in a sentence.
    pub(crate) fn describe(mut self, sentence: &str) -> Self {
        self.description = clean(sentence, DESCRIPTION);
        self
    }

    /// Puts a piece of evidence.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::Null => return self,
            Value::String(text) => Value::String(clean(&text, TEXT)),
            Value::Array(list) => list.into_iter().take(ELEMENTS).map(short).collect(),
            other => other,
        };
        self.evidence.insert(key.to_owned(), value);
        self
    }

    /// The signal that it is.
    pub(crate) fn signal(self, rule: &Descriptor, session: &trace::SessionId, settled: bool) -> Signal {
        Signal {
            id: SignalId::of(RuleSet::V1, session, rule.category, &self.anchor),
            kind: rule.kind,
            category: rule.category.to_owned(),
            severity: self.severity.unwrap_or(rule.severity),
            confidence: self.confidence,
            session_id: session.clone(),
            epoch: self.epoch,
            turn_id: self.turn_id,
            call_id: self.call_id,
            seq_start: self.span.map(|(first, _)| first),
            seq_end: self.span.and_then(|(_, last)| last),
            description: self.description,
            evidence: Value::Object(self.evidence),
            places: self.places,
            detector: "mechanical".to_owned(),
            rule_set: RuleSet::V1,
            at: self.at,
            settled,
        }
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn record(epoch: u32, at: &Stamp) -> Anchor {
    Anchor::Record { epoch, file: at.place.file, line: at.place.line, subject: String::new() }
}

fn short(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text, TEXT / 2)),
        other => other,
    }
}
