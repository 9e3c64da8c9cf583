//! Rows of a session as protobuf messages, and back.
//!
//! Protobuf rather than the rows' own serde form: a page of rows is a third of the size and is written four
//! times as fast, and fields that come later do no harm. Every conversion takes a row apart completely, so that
//! the compiler tells of a field that was forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::store::MAX_VALUE_BYTES;
use jiff::Timestamp;
use prost::Message as _;
use trace::record::{ApprovalKind, ChangeKind, TokenCounts};
use trace::session::{
    Approval, ArtifactRow, CallOutcome, CompactionRow, Counts, Format, Session, Stamp, ToolCall, Turn,
    TurnEnd,
};
use trace::{Place, SessionId};

use crate::signal::{RuleSet, Signal, SignalId, SignalType};

/// The most bytes of a text that comes from outside. A row must fit the store (8 KiB) whatever stands in it.
const TEXT: usize = 1024;
/// The most bytes of a text that is an id or a word.
const WORD: usize = 256;
/// The most bytes that the paths of a patch take together.
const PATHS: usize = 2048;
/// How many sub-agents a session's row names.
const CHILDREN: usize = 16;
/// The most bytes of a signal's evidence; the records themselves can always be opened.
const EVIDENCE: usize = 3072;

/// A key that is all there is to say.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinkMessage {}

/// A time: microseconds since the epoch, and the nanoseconds beyond.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TimeMessage {
    #[prost(sint64, tag = "1")]
    pub micros: i64,
    #[prost(uint32, tag = "2")]
    pub nanos: u32,
}

impl From<Timestamp> for TimeMessage {
    fn from(time: Timestamp) -> Self {
        let nanos = time.as_nanosecond();
        // A timestamp's range is far below that of an i64 in microseconds.
        let micros = i64::try_from(nanos.div_euclid(1000)).unwrap_or_default();
        Self { micros, nanos: u32::try_from(nanos.rem_euclid(1000)).unwrap_or_default() }
    }
}

impl From<TimeMessage> for Timestamp {
    fn from(time: TimeMessage) -> Self {
        Self::from_nanosecond(i128::from(time.micros) * 1000 + i128::from(time.nanos)).unwrap_or_default()
    }
}

fn time(time: Option<Timestamp>) -> Option<TimeMessage> {
    time.map(Into::into)
}

fn untime(time: Option<TimeMessage>) -> Option<Timestamp> {
    time.map(Into::into)
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct PlaceMessage {
    #[prost(uint32, tag = "1")]
    pub file: u32,
    #[prost(uint64, tag = "2")]
    pub line: u64,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(uint32, tag = "4")]
    pub len: u32,
}

impl From<Place> for PlaceMessage {
    fn from(Place { file, line, offset, len }: Place) -> Self {
        Self { file, line, offset, len }
    }
}

impl From<PlaceMessage> for Place {
    fn from(PlaceMessage { file, line, offset, len }: PlaceMessage) -> Self {
        Self { file, line, offset, len }
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct StampMessage {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(sint64, optional, tag = "2")]
    pub micros: Option<i64>,
    #[prost(uint32, tag = "3")]
    pub nanos: u32,
    #[prost(uint32, tag = "4")]
    pub file: u32,
    #[prost(uint64, tag = "5")]
    pub line: u64,
    #[prost(uint64, tag = "6")]
    pub offset: u64,
    #[prost(uint32, tag = "7")]
    pub len: u32,
}

impl From<Stamp> for StampMessage {
    fn from(Stamp { seq, time, place: Place { file, line, offset, len } }: Stamp) -> Self {
        let time = time.map(TimeMessage::from);
        let (micros, nanos) = (time.map(|time| time.micros), time.map_or(0, |time| time.nanos));
        Self { seq, micros, nanos, file, line, offset, len }
    }
}

impl From<StampMessage> for Stamp {
    fn from(StampMessage { seq, micros, nanos, file, line, offset, len }: StampMessage) -> Self {
        let time = micros.map(|micros| TimeMessage { micros, nanos }.into());
        Self { seq, time, place: Place { file, line, offset, len } }
    }
}

fn stamp(stamp: Option<StampMessage>) -> Stamp {
    stamp.map_or(Stamp { seq: 0, time: None, place: Place::default() }, Into::into)
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TokensMessage {
    #[prost(uint64, tag = "1")]
    pub input: u64,
    #[prost(uint64, tag = "2")]
    pub cached_input: u64,
    #[prost(uint64, tag = "3")]
    pub output: u64,
    #[prost(uint64, tag = "4")]
    pub reasoning: u64,
}

impl From<TokenCounts> for TokensMessage {
    fn from(TokenCounts { input, cached_input, output, reasoning }: TokenCounts) -> Self {
        Self { input, cached_input, output, reasoning }
    }
}

impl From<TokensMessage> for TokenCounts {
    fn from(TokensMessage { input, cached_input, output, reasoning }: TokensMessage) -> Self {
        Self { input, cached_input, output, reasoning }
    }
}

/// A row that is kept in pages.
pub(crate) trait PageItem: Sized {
    /// What stands in the page.
    type Message: prost::Message + Default;

    fn into_message(self) -> Self::Message;
    /// `session` is the page's own; rows do not repeat it.
    fn from_message(message: Self::Message, session: &SessionId) -> Self;
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TurnMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(string, tag = "3")]
    pub id: String,
    #[prost(message, optional, tag = "4")]
    pub started: Option<StampMessage>,
    #[prost(message, optional, tag = "5")]
    pub ended: Option<StampMessage>,
    /// 0 open, 1 complete, 2 failed, 3 aborted, 4 cut.
    #[prost(uint32, tag = "6")]
    pub end: u32,
    /// The tag of a failure, the reason of an abort.
    #[prost(string, optional, tag = "7")]
    pub end_text: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub user_message: Option<String>,
    #[prost(message, optional, tag = "9")]
    pub user_place: Option<PlaceMessage>,
    #[prost(string, optional, tag = "10")]
    pub model: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub approval_policy: Option<String>,
    #[prost(string, optional, tag = "12")]
    pub sandbox_policy: Option<String>,
    #[prost(uint32, tag = "13")]
    pub requests: u32,
    #[prost(uint32, tag = "14")]
    pub calls: u32,
    #[prost(uint32, tag = "15")]
    pub context: u32,
    #[prost(message, optional, tag = "16")]
    pub tokens: Option<TokensMessage>,
}

impl PageItem for Turn {
    type Message = TurnMessage;

    fn into_message(self) -> TurnMessage {
        let Self {
            ordinal,
            epoch,
            id,
            started,
            ended,
            end,
            user_message,
            user_place,
            model,
            approval_policy,
            sandbox_policy,
            requests,
            calls,
            context,
            tokens,
        } = self;
        let (end, end_text) = match end {
            TurnEnd::Open => (0, None),
            TurnEnd::Complete => (1, None),
            TurnEnd::Failed { info } => (2, info),
            TurnEnd::Aborted { reason } => (3, Some(reason)),
            TurnEnd::Cut => (4, None),
        };
        TurnMessage {
            ordinal,
            epoch,
            id: clip(id, WORD),
            started: Some(started.into()),
            ended: ended.map(Into::into),
            end,
            end_text: word(end_text),
            user_message,
            user_place: user_place.map(Into::into),
            model: word(model),
            approval_policy: word(approval_policy),
            sandbox_policy: word(sandbox_policy),
            requests,
            calls,
            context,
            tokens: (tokens != TokenCounts::default()).then(|| tokens.into()),
        }
    }

    fn from_message(message: TurnMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            id: message.id,
            started: stamp(message.started),
            ended: message.ended.map(Into::into),
            end: match message.end {
                1 => TurnEnd::Complete,
                2 => TurnEnd::Failed { info: message.end_text },
                3 => TurnEnd::Aborted { reason: message.end_text.unwrap_or_default() },
                4 => TurnEnd::Cut,
                _ => TurnEnd::Open,
            },
            user_message: message.user_message,
            user_place: message.user_place.map(Into::into),
            model: message.model,
            approval_policy: message.approval_policy,
            sandbox_policy: message.sandbox_policy,
            requests: message.requests,
            calls: message.calls,
            context: message.context,
            tokens: message.tokens.map(Into::into).unwrap_or_default(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CallMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(string, tag = "3")]
    pub call_id: String,
    #[prost(string, tag = "4")]
    pub turn_id: String,
    #[prost(uint32, optional, tag = "5")]
    pub turn: Option<u32>,
    #[prost(string, tag = "6")]
    pub tool: String,
    #[prost(string, tag = "7")]
    pub arguments: String,
    #[prost(string, optional, tag = "8")]
    pub cwd: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub source: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub opened: Option<StampMessage>,
    #[prost(message, optional, tag = "11")]
    pub closed: Option<StampMessage>,
    /// In the order of the variants of [`CallOutcome`].
    #[prost(uint32, tag = "12")]
    pub outcome: u32,
    #[prost(sint64, optional, tag = "13")]
    pub exit_code: Option<i64>,
    #[prost(uint64, optional, tag = "14")]
    pub duration_ms: Option<u64>,
    #[prost(string, optional, tag = "15")]
    pub message: Option<String>,
    #[prost(uint32, repeated, tag = "16")]
    pub approvals: Vec<u32>,
    #[prost(message, repeated, tag = "17")]
    pub changes: Vec<ChangeMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ChangeMessage {
    #[prost(string, tag = "1")]
    pub path: String,
    /// 0 add, 1 delete, 2 update.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
}

impl PageItem for ToolCall {
    type Message = CallMessage;

    fn into_message(self) -> CallMessage {
        let Self {
            ordinal,
            epoch,
            call_id,
            turn_id,
            turn,
            tool,
            arguments,
            cwd,
            source,
            opened,
            closed,
            outcome,
            exit_code,
            duration_ms,
            message,
            mut approvals,
            changes,
        } = self;
        approvals.truncate(64);
        let mut room = PATHS;
        let changes = changes.into_iter().map_while(|(path, kind)| {
            room = room.checked_sub(path.len())?;
            let kind = match kind {
                ChangeKind::Add => 0,
                ChangeKind::Delete => 1,
                ChangeKind::Update => 2,
            };
            Some(ChangeMessage { path, kind })
        });
        CallMessage {
            ordinal,
            epoch,
            call_id: clip(call_id, WORD),
            turn_id: clip(turn_id, WORD),
            turn,
            tool: clip(tool, WORD),
            arguments: clip(arguments, TEXT),
            cwd: clipped(cwd),
            source: word(source),
            opened: Some(opened.into()),
            closed: closed.map(Into::into),
            outcome: match outcome {
                CallOutcome::Open => 0,
                CallOutcome::Succeeded => 1,
                CallOutcome::Failed => 2,
                CallOutcome::TimedOut => 3,
                CallOutcome::Rejected => 4,
                CallOutcome::Broken => 5,
                CallOutcome::Interrupted => 6,
            },
            exit_code,
            duration_ms,
            message: clipped(message),
            approvals,
            changes: changes.collect(),
        }
    }

    fn from_message(message: CallMessage, _: &SessionId) -> Self {
        let changes = message.changes.into_iter().map(|change| {
            let kind = match change.kind {
                0 => ChangeKind::Add,
                1 => ChangeKind::Delete,
                _ => ChangeKind::Update,
            };
            (change.path, kind)
        });
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            call_id: message.call_id,
            turn_id: message.turn_id,
            turn: message.turn,
            tool: message.tool,
            arguments: message.arguments,
            cwd: message.cwd,
            source: message.source,
            opened: stamp(message.opened),
            closed: message.closed.map(Into::into),
            outcome: match message.outcome {
                1 => CallOutcome::Succeeded,
                2 => CallOutcome::Failed,
                3 => CallOutcome::TimedOut,
                4 => CallOutcome::Rejected,
                5 => CallOutcome::Broken,
                6 => CallOutcome::Interrupted,
                _ => CallOutcome::Open,
            },
            exit_code: message.exit_code,
            duration_ms: message.duration_ms,
            message: message.message,
            approvals: message.approvals,
            changes: changes.collect(),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ApprovalMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// Whether it is about a patch.
    #[prost(bool, tag = "3")]
    pub patch: bool,
    #[prost(string, tag = "4")]
    pub call_id: String,
    #[prost(string, tag = "5")]
    pub turn_id: String,
    #[prost(message, optional, tag = "6")]
    pub requested: Option<StampMessage>,
    #[prost(string, optional, tag = "7")]
    pub reason: Option<String>,
    #[prost(message, optional, tag = "8")]
    pub decided: Option<StampMessage>,
    #[prost(string, optional, tag = "9")]
    pub decision: Option<String>,
    #[prost(bool, optional, tag = "10")]
    pub approved: Option<bool>,
    #[prost(string, optional, tag = "11")]
    pub submission_id: Option<String>,
}

impl PageItem for Approval {
    type Message = ApprovalMessage;

    fn into_message(self) -> ApprovalMessage {
        let Self {
            ordinal,
            epoch,
            kind,
            call_id,
            turn_id,
            requested,
            reason,
            decided,
            decision,
            approved,
            submission_id,
        } = self;
        ApprovalMessage {
            ordinal,
            epoch,
            patch: kind == ApprovalKind::Patch,
            call_id: clip(call_id, WORD),
            turn_id: clip(turn_id, WORD),
            requested: requested.map(Into::into),
            reason: clipped(reason),
            decided: decided.map(Into::into),
            decision: word(decision),
            approved,
            submission_id: word(submission_id),
        }
    }

    fn from_message(message: ApprovalMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            kind: if message.patch { ApprovalKind::Patch } else { ApprovalKind::Exec },
            call_id: message.call_id,
            turn_id: message.turn_id,
            requested: message.requested.map(Into::into),
            reason: message.reason,
            decided: message.decided.map(Into::into),
            decision: message.decision,
            approved: message.approved,
            submission_id: message.submission_id,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CompactionMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    #[prost(message, optional, tag = "3")]
    pub at: Option<StampMessage>,
    #[prost(string, tag = "4")]
    pub turn_id: String,
    #[prost(string, optional, tag = "5")]
    pub kind: Option<String>,
}

impl PageItem for CompactionRow {
    type Message = CompactionMessage;

    fn into_message(self) -> CompactionMessage {
        let Self { ordinal, epoch, at, turn_id, kind } = self;
        CompactionMessage {
            ordinal,
            epoch,
            at: Some(at.into()),
            turn_id: clip(turn_id, WORD),
            kind: word(kind),
        }
    }

    fn from_message(message: CompactionMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            epoch: message.epoch,
            at: stamp(message.at),
            turn_id: message.turn_id,
            kind: message.kind,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ArtifactMessage {
    #[prost(uint32, tag = "1")]
    pub ordinal: u32,
    #[prost(string, tag = "2")]
    pub kind: String,
    #[prost(message, optional, tag = "3")]
    pub at: Option<StampMessage>,
    #[prost(string, optional, tag = "4")]
    pub path: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub sha256: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub base: Option<String>,
}

impl PageItem for ArtifactRow {
    type Message = ArtifactMessage;

    fn into_message(self) -> ArtifactMessage {
        let Self { ordinal, kind, at, path, sha256, base } = self;
        ArtifactMessage {
            ordinal,
            kind: clip(kind, WORD),
            at: Some(at.into()),
            path: clipped(path),
            sha256: word(sha256),
            base: word(base),
        }
    }

    fn from_message(message: ArtifactMessage, _: &SessionId) -> Self {
        Self {
            ordinal: message.ordinal,
            kind: message.kind,
            at: stamp(message.at),
            path: message.path,
            sha256: message.sha256,
            base: message.base,
        }
    }
}

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

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct CountsMessage {
    #[prost(uint64, tag = "1")]
    pub records: u64,
    #[prost(uint64, tag = "2")]
    pub unknown: u64,
    #[prost(uint64, tag = "3")]
    pub turns: u64,
    #[prost(uint64, tag = "4")]
    pub requests: u64,
    #[prost(uint64, tag = "5")]
    pub calls: u64,
    #[prost(uint64, tag = "6")]
    pub execs: u64,
    #[prost(uint64, tag = "7")]
    pub patches: u64,
    #[prost(uint64, tag = "8")]
    pub approval_requests: u64,
    #[prost(uint64, tag = "9")]
    pub approvals: u64,
    #[prost(uint64, tag = "10")]
    pub denials: u64,
    #[prost(uint64, tag = "11")]
    pub errors: u64,
    #[prost(uint64, tag = "12")]
    pub stream_errors: u64,
    #[prost(uint64, tag = "13")]
    pub warnings: u64,
    #[prost(uint64, tag = "14")]
    pub compactions: u64,
    #[prost(uint64, tag = "15")]
    pub epochs: u64,
}

impl From<Counts> for CountsMessage {
    fn from(counts: Counts) -> Self {
        let Counts {
            records,
            unknown,
            turns,
            requests,
            calls,
            execs,
            patches,
            approval_requests,
            approvals,
            denials,
            errors,
            stream_errors,
            warnings,
            compactions,
            epochs,
        } = counts;
        Self {
            records,
            unknown,
            turns,
            requests,
            calls,
            execs,
            patches,
            approval_requests,
            approvals,
            denials,
            errors,
            stream_errors,
            warnings,
            compactions,
            epochs,
        }
    }
}

impl From<CountsMessage> for Counts {
    fn from(counts: CountsMessage) -> Self {
        let CountsMessage {
            records,
            unknown,
            turns,
            requests,
            calls,
            execs,
            patches,
            approval_requests,
            approvals,
            denials,
            errors,
            stream_errors,
            warnings,
            compactions,
            epochs,
        } = counts;
        Self {
            records,
            unknown,
            turns,
            requests,
            calls,
            execs,
            patches,
            approval_requests,
            approvals,
            denials,
            errors,
            stream_errors,
            warnings,
            compactions,
            epochs,
        }
    }
}

/// A session, with what lists and reports need beside it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionMessage {
    /// 0 spine, 1 rollout, 2 bundle.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(string, tag = "2")]
    pub source: String,
    #[prost(string, optional, tag = "3")]
    pub parent: Option<String>,
    #[prost(uint32, optional, tag = "4")]
    pub depth: Option<u32>,
    #[prost(string, repeated, tag = "5")]
    pub children: Vec<String>,
    #[prost(string, optional, tag = "6")]
    pub model: Option<String>,
    #[prost(string, optional, tag = "7")]
    pub model_provider: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub approval_policy: Option<String>,
    #[prost(string, optional, tag = "9")]
    pub sandbox_policy: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub started_at: Option<TimeMessage>,
    #[prost(message, optional, tag = "11")]
    pub ended_at: Option<TimeMessage>,
    #[prost(string, optional, tag = "12")]
    pub cwd: Option<String>,
    #[prost(string, optional, tag = "13")]
    pub repo_root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub git_url: Option<String>,
    #[prost(string, optional, tag = "15")]
    pub git_commit: Option<String>,
    #[prost(string, optional, tag = "16")]
    pub git_branch: Option<String>,
    #[prost(string, optional, tag = "17")]
    pub cli_version: Option<String>,
    #[prost(string, optional, tag = "18")]
    pub originator: Option<String>,
    #[prost(message, optional, tag = "19")]
    pub counts: Option<CountsMessage>,
    #[prost(message, optional, tag = "20")]
    pub tokens: Option<TokensMessage>,
    #[prost(bool, tag = "21")]
    pub closed: bool,

    /// The profile; empty while there is none.
    #[prost(string, tag = "40")]
    pub profile: String,
    /// Signals by category.
    #[prost(btree_map = "string, uint32", tag = "41")]
    pub friction: BTreeMap<String, u32>,
    #[prost(btree_map = "string, uint32", tag = "42")]
    pub delight: BTreeMap<String, u32>,
    /// The greatest severity of a friction signal.
    #[prost(double, tag = "43")]
    pub severity: f64,
    #[prost(bool, tag = "44")]
    pub settled: bool,
    /// When its files were found gone, in microseconds; 0 while they are there.
    #[prost(int64, tag = "45")]
    pub gone_at: i64,
    /// The Codex home.
    #[prost(bytes = "vec", tag = "46")]
    pub home: Vec<u8>,
    /// Its first file, as bytes.
    #[prost(bytes = "vec", tag = "47")]
    pub path: Vec<u8>,
    #[prost(uint64, tag = "48")]
    pub bytes: u64,
    #[prost(uint64, tag = "49")]
    pub findings: u64,
}

impl SessionMessage {
    /// The session's own fields.
    pub(crate) fn of(session: &Session) -> Self {
        let Session {
            id: _,
            format,
            source,
            parent,
            depth,
            children,
            model,
            model_provider,
            approval_policy,
            sandbox_policy,
            started_at,
            ended_at,
            cwd,
            repo_root,
            git_url,
            git_commit,
            git_branch,
            cli_version,
            originator,
            counts,
            tokens,
            closed,
        } = session;
        // Together below 8 KiB even at their longest, with a path of 4 KiB.
        let text = |text: &Option<String>| text.as_deref().map(|text| clip_str(text, 200).to_owned());
        Self {
            format: format_number(*format),
            source: clip_str(source, 200).to_owned(),
            parent: parent.as_ref().map(ToString::to_string),
            depth: *depth,
            children: children.iter().take(CHILDREN).map(ToString::to_string).collect(),
            model: text(model),
            model_provider: text(model_provider),
            approval_policy: text(approval_policy),
            sandbox_policy: text(sandbox_policy),
            started_at: time(*started_at),
            ended_at: time(*ended_at),
            cwd: text(cwd),
            repo_root: text(repo_root),
            git_url: text(git_url),
            git_commit: text(git_commit),
            git_branch: text(git_branch),
            cli_version: text(cli_version),
            originator: text(originator),
            counts: Some((*counts).into()),
            tokens: Some((*tokens).into()),
            closed: *closed,
            ..Self::default()
        }
    }

    /// Leaves out what is dispensable where a row would not fit the store.
    pub(crate) fn fit(&mut self) {
        if self.encoded_len() > MAX_VALUE_BYTES {
            self.children.clear();
        }
        if self.encoded_len() > MAX_VALUE_BYTES {
            self.path.truncate(1024);
            self.home.truncate(1024);
        }
    }

    /// The session's own fields, back.
    pub(crate) fn session(&self, id: SessionId) -> Session {
        let children = self.children.iter().filter_map(|child| child.parse().ok());
        Session {
            id,
            format: format_of(self.format),
            source: self.source.clone(),
            parent: self.parent.as_ref().and_then(|parent| parent.parse().ok()),
            depth: self.depth,
            children: children.collect(),
            model: self.model.clone(),
            model_provider: self.model_provider.clone(),
            approval_policy: self.approval_policy.clone(),
            sandbox_policy: self.sandbox_policy.clone(),
            started_at: untime(self.started_at),
            ended_at: untime(self.ended_at),
            cwd: self.cwd.clone(),
            repo_root: self.repo_root.clone(),
            git_url: self.git_url.clone(),
            git_commit: self.git_commit.clone(),
            git_branch: self.git_branch.clone(),
            cli_version: self.cli_version.clone(),
            originator: self.originator.clone(),
            counts: self.counts.map(Into::into).unwrap_or_default(),
            tokens: self.tokens.map(Into::into).unwrap_or_default(),
            closed: self.closed,
        }
    }
}

/// A change of a signal, as the log keeps it: enough to count and filter by. What else there is stands with
/// the session's signals for as long as it is not withdrawn.
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
}

pub(crate) fn format_number(format: Format) -> u32 {
    match format {
        Format::Spine => 0,
        Format::Rollout => 1,
        Format::Bundle => 2,
    }
}

pub(crate) fn format_of(number: u32) -> Format {
    match number {
        0 => Format::Spine,
        1 => Format::Rollout,
        _ => Format::Bundle,
    }
}

/// Cuts a text between characters.
pub(crate) fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
    text
}

fn clip_str(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit.min(text.len()))]
}

fn word(text: Option<String>) -> Option<String> {
    text.map(|text| clip(text, WORD))
}

fn clipped(text: Option<String>) -> Option<String> {
    text.map(|text| clip(text, TEXT))
}
