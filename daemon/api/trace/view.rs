//! Sessions and signals, as the wire shows them.

use std::path::Path;

use insight::Signal;
use insight::signal::{RuleSet, SignalType};
use jiff::Timestamp;
use spindle_client::v1;
use trace::Place;
use trace::record::{ApprovalKind, TokenCounts};
use trace::session::{Approval, ArtifactRow, CompactionRow, Counts, Format, Session, Turn, TurnEnd};

use crate::api::view::time;

pub(super) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn when(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(time)
}

/// A session's own part; who asks adds its signals, profile, path and state.
pub(super) fn session(session: &Session) -> v1::TraceSession {
    v1::TraceSession {
        id: session.id.to_string(),
        source: session.source.clone(),
        model: text(session.model.as_ref()),
        model_provider: text(session.model_provider.as_ref()),
        started_at: when(session.started_at),
        ended_at: when(session.ended_at),
        cwd: text(session.cwd.as_ref()),
        repo_root: text(session.repo_root.as_ref()),
        git_url: text(session.git_url.as_ref()),
        git_commit: text(session.git_commit.as_ref()),
        git_branch: text(session.git_branch.as_ref()),
        cli_version: text(session.cli_version.as_ref()),
        originator: text(session.originator.as_ref()),
        approval_policy: text(session.approval_policy.as_ref()),
        sandbox_policy: text(session.sandbox_policy.as_ref()),
        format: match session.format {
            Format::Spine => "spine",
            Format::Rollout => "rollout",
            Format::Bundle => "bundle",
        }
        .to_owned(),
        parent_id: session.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        child_ids: session.children.iter().map(ToString::to_string).collect(),
        counts: Some(counts(&session.counts)),
        tokens: Some(tokens(&session.tokens)),
        ..v1::TraceSession::default()
    }
}

fn counts(counts: &Counts) -> v1::TraceCounts {
    v1::TraceCounts {
        records: counts.records,
        unknown_records: counts.unknown,
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

fn tokens(tokens: &TokenCounts) -> v1::TokenCounts {
    v1::TokenCounts {
        input: tokens.input,
        cached_input: tokens.cached_input,
        output: tokens.output,
        reasoning: tokens.reasoning,
    }
}

pub(super) fn turn(turn: &Turn) -> v1::TraceTurn {
    let (end, end_reason) = match &turn.end {
        TurnEnd::Open => ("open", String::new()),
        TurnEnd::Complete => ("complete", String::new()),
        TurnEnd::Failed { info } => ("failed", text(info.as_ref())),
        TurnEnd::Aborted { reason } => ("aborted", reason.clone()),
        TurnEnd::Cut => ("cut", String::new()),
    };
    v1::TraceTurn {
        ordinal: turn.ordinal,
        epoch: turn.epoch,
        id: turn.id.clone(),
        seq_start: turn.started.seq,
        seq_end: turn.ended.map(|stamp| stamp.seq),
        started_at: when(turn.started.time),
        ended_at: when(turn.ended.and_then(|stamp| stamp.time)),
        end: end.to_owned(),
        end_reason,
        user_message: text(turn.user_message.as_ref()),
        model: text(turn.model.as_ref()),
        approval_policy: text(turn.approval_policy.as_ref()),
        sandbox_policy: text(turn.sandbox_policy.as_ref()),
        requests: turn.requests,
        calls: turn.calls,
        context: turn.context,
        tokens: Some(tokens(&turn.tokens)),
    }
}

pub(super) fn call(call: &trace::session::ToolCall, decision: Option<&str>) -> v1::TraceCall {
    v1::TraceCall {
        ordinal: call.ordinal,
        epoch: call.epoch,
        call_id: call.call_id.clone(),
        turn_id: call.turn_id.clone(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        cwd: text(call.cwd.as_ref()),
        seq_start: call.opened.seq,
        seq_end: call.closed.map(|stamp| stamp.seq),
        started_at: when(call.opened.time),
        ended_at: when(call.closed.and_then(|stamp| stamp.time)),
        outcome: call.outcome.word().to_owned(),
        exit_code: call.exit_code,
        duration_ms: call.duration_ms,
        message: text(call.message.as_ref()),
        decision: decision.unwrap_or_default().to_owned(),
    }
}

pub(super) fn approval(approval: &Approval) -> v1::TraceApproval {
    v1::TraceApproval {
        ordinal: approval.ordinal,
        epoch: approval.epoch,
        kind: match approval.kind {
            ApprovalKind::Exec => "exec",
            ApprovalKind::Patch => "patch",
        }
        .to_owned(),
        call_id: approval.call_id.clone(),
        turn_id: approval.turn_id.clone(),
        requested_at: when(approval.requested.and_then(|stamp| stamp.time)),
        reason: text(approval.reason.as_ref()),
        decided_at: when(approval.decided.and_then(|stamp| stamp.time)),
        decision: text(approval.decision.as_ref()),
        approved: approval.approved,
    }
}

pub(super) fn compaction(row: &CompactionRow) -> v1::TraceCompaction {
    v1::TraceCompaction {
        epoch: row.epoch,
        seq: row.at.seq,
        at: when(row.at.time),
        turn_id: row.turn_id.clone(),
        kind: text(row.kind.as_ref()),
    }
}

pub(super) fn artifact(row: &ArtifactRow) -> v1::TraceArtifact {
    v1::TraceArtifact {
        kind: row.kind.clone(),
        seq: row.at.seq,
        path: text(row.path.as_ref()),
        sha256: text(row.sha256.as_ref()),
    }
}

/// A place; `path` is that of its file.
pub(super) fn place(path: &Path, place: Place) -> v1::RecordPlace {
    v1::RecordPlace { path: bytes(path), line: place.line, offset: place.offset, length: place.len }
}

/// A signal; `path` finds the file that a place is in.
pub(super) fn signal<'a>(signal: &Signal, path: impl Fn(u32) -> Option<&'a Path>) -> v1::Signal {
    let file = |number| path(number).unwrap_or(Path::new(""));
    v1::Signal {
        id: signal.id.to_string(),
        r#type: kind(signal.kind).into(),
        category: signal.category.clone(),
        severity: signal.severity,
        confidence: signal.confidence,
        session_id: signal.session_id.to_string(),
        epoch: signal.epoch,
        turn_id: text(signal.turn_id.as_ref()),
        call_id: text(signal.call_id.as_ref()),
        seq_start: signal.seq_start,
        seq_end: signal.seq_end,
        description: signal.description.clone(),
        evidence_json: signal.evidence.to_string(),
        places: signal.places.iter().map(|one| place(file(one.file), *one)).collect(),
        detector: signal.detector.clone(),
        rule_set: rules(signal.rule_set).into(),
        at: when(signal.at),
        settled: signal.settled,
    }
}

fn kind(kind: SignalType) -> v1::SignalType {
    match kind {
        SignalType::Friction => v1::SignalType::Friction,
        SignalType::Delight => v1::SignalType::Delight,
    }
}

/// A type, from the wire; none: any.
pub(super) fn kind_of(kind: v1::SignalType) -> Option<SignalType> {
    match kind {
        v1::SignalType::Friction => Some(SignalType::Friction),
        v1::SignalType::Delight => Some(SignalType::Delight),
        v1::SignalType::Unspecified => None,
    }
}

fn rules(rules: RuleSet) -> v1::RuleSet {
    match rules {
        RuleSet::V1 => v1::RuleSet::V1,
        RuleSet::Compat => v1::RuleSet::Compat,
    }
}

/// A rule set, from the wire.
pub(super) fn rules_of(rules: v1::RuleSet) -> RuleSet {
    match rules {
        v1::RuleSet::V1 | v1::RuleSet::Unspecified => RuleSet::V1,
        v1::RuleSet::Compat => RuleSet::Compat,
    }
}

/// What an earlier change still tells of a signal that has been withdrawn since.
pub(super) fn withdrawn_since(change: &insight::SignalChange) -> v1::Signal {
    v1::Signal {
        id: change.id.to_string(),
        r#type: kind(change.kind).into(),
        category: change.category.clone(),
        severity: change.severity,
        session_id: change.session.to_string(),
        rule_set: v1::RuleSet::V1.into(),
        ..v1::Signal::default()
    }
}

/// A session as lists show it.
pub(super) fn session_view(view: &insight::SessionView) -> v1::TraceSession {
    let sum = |counts: &std::collections::BTreeMap<String, u32>| {
        counts.values().map(|count| u64::from(*count)).sum()
    };
    let path = match view.session.format {
        // What people call a spine is its directory.
        Format::Spine => view.path.parent().unwrap_or(&view.path),
        Format::Rollout | Format::Bundle => &view.path,
    };
    v1::TraceSession {
        path: bytes(path),
        friction: sum(&view.friction),
        delight: sum(&view.delight),
        profile: view.profile.clone(),
        settled: view.settled,
        gone: view.gone_at.is_some(),
        ..session(&view.session)
    }
}
