//! Sessions, turns, calls and signals as programs see them.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use spindle_client::v1::{
    RecordPlace, Redaction, RuleSet, Signal, SignalType, TokenCounts, TraceApproval, TraceCall,
    TraceCompaction, TraceCounts, TraceSession, TraceTurn,
};

use crate::show::table::Tone;
use crate::show::time::rfc3339;
use crate::show::{parsed, some};

/// A path of the wire as text.
pub(super) fn path_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path for the wire.
pub(super) fn path_bytes(path: PathBuf) -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt as _;
    path.into_os_string().into_vec()
}

#[derive(Serialize)]
pub(super) struct SessionView<'a> {
    id: &'a str,
    source: &'a str,
    model: Option<&'a str>,
    model_provider: Option<&'a str>,
    started_at: Option<String>,
    ended_at: Option<String>,
    turn_count: u64,
    tool_call_count: u64,
    compaction_count: u64,
    friction: u64,
    delight: u64,
    profile: Option<&'a str>,
    settled: bool,
    gone: bool,
    format: &'a str,
    spine_path: String,
    cwd: Option<&'a str>,
    repo_root: Option<&'a str>,
    git_url: Option<&'a str>,
    git_commit: Option<&'a str>,
    git_branch: Option<&'a str>,
    cli_version: Option<&'a str>,
    originator: Option<&'a str>,
    approval_policy: Option<&'a str>,
    sandbox_policy: Option<&'a str>,
    parent_id: Option<&'a str>,
    child_ids: &'a [String],
    counts: CountsView,
    tokens: TokensView,
}

impl<'a> From<&'a TraceSession> for SessionView<'a> {
    fn from(session: &'a TraceSession) -> Self {
        let counts = session.counts.unwrap_or_default();
        Self {
            id: &session.id,
            source: &session.source,
            model: some(&session.model),
            model_provider: some(&session.model_provider),
            started_at: rfc3339(session.started_at.as_ref()),
            ended_at: rfc3339(session.ended_at.as_ref()),
            turn_count: counts.turns,
            tool_call_count: counts.calls,
            compaction_count: counts.compactions,
            friction: session.friction,
            delight: session.delight,
            profile: some(&session.profile),
            settled: session.settled,
            gone: session.gone,
            format: &session.format,
            spine_path: path_text(&session.path),
            cwd: some(&session.cwd),
            repo_root: some(&session.repo_root),
            git_url: some(&session.git_url),
            git_commit: some(&session.git_commit),
            git_branch: some(&session.git_branch),
            cli_version: some(&session.cli_version),
            originator: some(&session.originator),
            approval_policy: some(&session.approval_policy),
            sandbox_policy: some(&session.sandbox_policy),
            parent_id: some(&session.parent_id),
            child_ids: &session.child_ids,
            counts: counts.into(),
            tokens: session.tokens.unwrap_or_default().into(),
        }
    }
}

#[derive(Serialize)]
struct CountsView {
    records: u64,
    unknown_records: u64,
    turns: u64,
    requests: u64,
    calls: u64,
    execs: u64,
    patches: u64,
    approval_requests: u64,
    approvals: u64,
    denials: u64,
    errors: u64,
    stream_errors: u64,
    warnings: u64,
    compactions: u64,
    epochs: u64,
}

impl From<TraceCounts> for CountsView {
    fn from(counts: TraceCounts) -> Self {
        Self {
            records: counts.records,
            unknown_records: counts.unknown_records,
            turns: counts.turns,
            requests: counts.requests,
            calls: counts.calls,
            execs: counts.execs,
            patches: counts.patches,
            approval_requests: counts.approval_requests,
            approvals: counts.approvals,
            denials: counts.denials,
            errors: counts.errors,
            stream_errors: counts.stream_errors,
            warnings: counts.warnings,
            compactions: counts.compactions,
            epochs: counts.epochs,
        }
    }
}

#[derive(Serialize)]
struct TokensView {
    input: u64,
    cached_input: u64,
    output: u64,
    reasoning: u64,
}

impl From<TokenCounts> for TokensView {
    fn from(tokens: TokenCounts) -> Self {
        Self {
            input: tokens.input,
            cached_input: tokens.cached_input,
            output: tokens.output,
            reasoning: tokens.reasoning,
        }
    }
}

/// How a profile is coloured: by friction, when it is all over.
pub(super) fn profile_tone(session: &TraceSession) -> Tone {
    if !session.settled {
        Tone::Busy
    } else if session.profile.starts_with("success") && !session.profile.ends_with("high_friction") {
        Tone::Good
    } else if session.friction > 0 {
        Tone::Bad
    } else {
        Tone::Plain
    }
}

#[derive(Serialize)]
pub(super) struct TurnView<'a> {
    ordinal: u32,
    epoch: u32,
    id: Option<&'a str>,
    seq_start: u64,
    seq_end: Option<u64>,
    started_at: Option<String>,
    ended_at: Option<String>,
    end: &'a str,
    end_reason: Option<&'a str>,
    user_message: Option<&'a str>,
    model: Option<&'a str>,
    approval_policy: Option<&'a str>,
    sandbox_policy: Option<&'a str>,
    requests: u32,
    calls: u32,
    context: u32,
    tokens: TokensView,
}

impl<'a> From<&'a TraceTurn> for TurnView<'a> {
    fn from(turn: &'a TraceTurn) -> Self {
        Self {
            ordinal: turn.ordinal,
            epoch: turn.epoch,
            id: some(&turn.id),
            seq_start: turn.seq_start,
            seq_end: turn.seq_end,
            started_at: rfc3339(turn.started_at.as_ref()),
            ended_at: rfc3339(turn.ended_at.as_ref()),
            end: &turn.end,
            end_reason: some(&turn.end_reason),
            user_message: some(&turn.user_message),
            model: some(&turn.model),
            approval_policy: some(&turn.approval_policy),
            sandbox_policy: some(&turn.sandbox_policy),
            requests: turn.requests,
            calls: turn.calls,
            context: turn.context,
            tokens: turn.tokens.unwrap_or_default().into(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct CallView<'a> {
    ordinal: u32,
    epoch: u32,
    call_id: &'a str,
    turn_id: Option<&'a str>,
    tool: &'a str,
    arguments: &'a str,
    cwd: Option<&'a str>,
    seq_start: u64,
    seq_end: Option<u64>,
    started_at: Option<String>,
    ended_at: Option<String>,
    outcome: &'a str,
    exit_code: Option<i64>,
    duration_ms: Option<u64>,
    message: Option<&'a str>,
    decision: Option<&'a str>,
}

impl<'a> From<&'a TraceCall> for CallView<'a> {
    fn from(call: &'a TraceCall) -> Self {
        Self {
            ordinal: call.ordinal,
            epoch: call.epoch,
            call_id: &call.call_id,
            turn_id: some(&call.turn_id),
            tool: &call.tool,
            arguments: &call.arguments,
            cwd: some(&call.cwd),
            seq_start: call.seq_start,
            seq_end: call.seq_end,
            started_at: rfc3339(call.started_at.as_ref()),
            ended_at: rfc3339(call.ended_at.as_ref()),
            outcome: &call.outcome,
            exit_code: call.exit_code,
            duration_ms: call.duration_ms,
            message: some(&call.message),
            decision: some(&call.decision),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ApprovalView<'a> {
    kind: &'a str,
    call_id: Option<&'a str>,
    turn_id: Option<&'a str>,
    requested_at: Option<String>,
    reason: Option<&'a str>,
    decided_at: Option<String>,
    decision: Option<&'a str>,
    approved: Option<bool>,
}

impl<'a> From<&'a TraceApproval> for ApprovalView<'a> {
    fn from(approval: &'a TraceApproval) -> Self {
        Self {
            kind: &approval.kind,
            call_id: some(&approval.call_id),
            turn_id: some(&approval.turn_id),
            requested_at: rfc3339(approval.requested_at.as_ref()),
            reason: some(&approval.reason),
            decided_at: rfc3339(approval.decided_at.as_ref()),
            decision: some(&approval.decision),
            approved: approval.approved,
        }
    }
}

#[derive(Serialize)]
pub(super) struct CompactionView<'a> {
    epoch: u32,
    seq: u64,
    at: Option<String>,
    turn_id: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> From<&'a TraceCompaction> for CompactionView<'a> {
    fn from(row: &'a TraceCompaction) -> Self {
        Self {
            epoch: row.epoch,
            seq: row.seq,
            at: rfc3339(row.at.as_ref()),
            turn_id: some(&row.turn_id),
            kind: some(&row.kind),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SignalView<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    category: &'a str,
    severity: f64,
    confidence: f64,
    session_id: &'a str,
    epoch: u32,
    turn_id: Option<&'a str>,
    call_id: Option<&'a str>,
    seq_start: Option<u64>,
    seq_end: Option<u64>,
    description: &'a str,
    evidence: Value,
    places: Vec<PlaceView>,
    detector: &'a str,
    rule_set: &'static str,
    at: Option<String>,
    settled: bool,
}

impl<'a> From<&'a Signal> for SignalView<'a> {
    fn from(signal: &'a Signal) -> Self {
        Self {
            id: &signal.id,
            kind: type_word(signal.r#type()),
            category: &signal.category,
            severity: signal.severity,
            confidence: signal.confidence,
            session_id: &signal.session_id,
            epoch: signal.epoch,
            turn_id: some(&signal.turn_id),
            call_id: some(&signal.call_id),
            seq_start: signal.seq_start,
            seq_end: signal.seq_end,
            description: &signal.description,
            evidence: parsed(&signal.evidence_json),
            places: signal.places.iter().map(PlaceView::from).collect(),
            detector: &signal.detector,
            rule_set: match signal.rule_set() {
                RuleSet::Compat => "compat",
                RuleSet::V1 | RuleSet::Unspecified => "v1",
            },
            at: rfc3339(signal.at.as_ref()),
            settled: signal.settled,
        }
    }
}

/// The word for a type of signals.
pub(super) fn type_word(kind: SignalType) -> &'static str {
    match kind {
        SignalType::Friction => "friction",
        SignalType::Delight => "delight",
        SignalType::Unspecified => "unknown",
    }
}

/// How a type of signals is coloured.
pub(super) fn type_tone(kind: SignalType) -> Tone {
    match kind {
        SignalType::Friction => Tone::Bad,
        SignalType::Delight => Tone::Good,
        SignalType::Unspecified => Tone::Plain,
    }
}

#[derive(Serialize)]
pub(super) struct PlaceView {
    path: String,
    line: u64,
    offset: u64,
    length: u32,
}

impl From<&RecordPlace> for PlaceView {
    fn from(place: &RecordPlace) -> Self {
        Self { path: path_text(&place.path), line: place.line, offset: place.offset, length: place.length }
    }
}

#[derive(Serialize)]
pub(super) struct RedactionView<'a> {
    kind: &'a str,
    count: u64,
    files: &'a [String],
}

impl<'a> From<&'a Redaction> for RedactionView<'a> {
    fn from(redaction: &'a Redaction) -> Self {
        Self { kind: &redaction.kind, count: redaction.count, files: &redaction.files }
    }
}
