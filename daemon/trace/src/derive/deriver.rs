//! The derivation of a session: its state, and which subject a record belongs to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::approvals::Approvals;
use super::calls::Calls;
use super::compactions::Compactions;
use super::epochs::Epoch;
use super::session::Told;
use super::tokens::Usage;
use super::turns::Turns;
use super::{Derive, Sink};
use crate::record::{Event, Item, Op};
use crate::session::{Format, Row, Session, Stamp};
use crate::{Body, Fact, Record, SessionId, What};

/// Derives the rows and facts of one session from its records.
///
/// The state is small and bounded, whatever the length of the session: what is open (the running turn, calls,
/// requests for approval) with a limit for each, the ids of what ended lately, and sums. What is dropped at a
/// limit keeps the row that it had last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deriver {
    pub(super) session: Session,
    pub(super) told: Told,
    pub(super) epoch: Epoch,
    pub(super) turns: Turns,
    pub(super) calls: Calls,
    pub(super) approvals: Approvals,
    pub(super) usage: Usage,
    pub(super) compactions: Compactions,
    /// The record before this one.
    last: Option<Stamp>,
    /// The same, but for the item with the user's words that comes before the event with them.
    pub(super) worked: Option<Stamp>,
    /// A sub-agent reviews, and what it does is told here again: its own session has the originals.
    pub(super) review: bool,
}

/// The op by which a user runs a command of their own.
const USER_COMMAND: &str = "run_user_shell_command";

/// A record's moment and the turn that it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'r> {
    pub stamp: Stamp,
    /// As the record says it; empty where it says nothing.
    pub turn_id: &'r str,
    pub turn: Option<u32>,
}

impl Deriver {
    /// A session of which nothing is read yet.
    pub fn new(id: SessionId, format: Format) -> Self {
        Self {
            session: Session::new(id, format),
            told: Told::default(),
            epoch: Epoch::default(),
            turns: Turns::default(),
            calls: Calls::default(),
            approvals: Approvals::default(),
            usage: Usage::default(),
            compactions: Compactions::default(),
            last: None,
            worked: None,
            review: false,
        }
    }

    /// The session, as far as it is read.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The last record that was read.
    pub fn last(&self) -> Option<Stamp> {
        self.last
    }

    /// Tells that the session has settled; when it has is for the caller to know. Nothing is told of a
    /// session without records.
    pub fn settle(&self, sink: &mut impl Sink) {
        if let Some(stamp) = self.last {
            let at = At { stamp, turn_id: "", turn: None };
            self.tell(&at, What::Settled(&self.session), sink);
        }
    }

    pub(super) fn rollout(&self) -> bool {
        self.session.format != Format::Spine
    }

    /// Tells a fact.
    pub(super) fn tell(&self, at: &At<'_>, what: What<'_>, sink: &mut impl Sink) {
        let turn_id = self.turn_id(at);
        sink.fact(&Fact { at: at.stamp, epoch: self.epoch.number, turn_id, turn: at.turn, what });
    }

    /// The id of the turn that a record is about, also where only its place among the records says it.
    pub(super) fn turn_id<'x>(&'x self, at: &'x At<'_>) -> &'x str {
        match &self.turns.active {
            Some(active) if at.turn_id.is_empty() && at.turn == Some(active.row.ordinal) => &active.row.id,
            _ => at.turn_id,
        }
    }

    fn note_time(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let session = &mut self.session;
        session.ended_at = Some(session.ended_at.map_or(time, |latest| latest.max(time)));
        if !self.told.start {
            session.started_at = Some(session.started_at.map_or(time, |first| first.min(time)));
        }
    }

    fn submission(&mut self, stamp: Stamp, id: &str, op: &Op<'_>, sink: &mut impl Sink) {
        self.epoch.used = true;
        let at = At { turn: self.turns.active_ordinal(), stamp, turn_id: "" };
        match op {
            Op::UserTurn { items, context } => {
                self.settings(context);
                self.user_submits(stamp, id, items, sink);
            }
            Op::Approval { kind, about, call, decision } => {
                self.decide(stamp, id, (*kind, about, call.as_deref(), decision), sink);
            }
            Op::Interrupt => self.tell(&at, What::Interrupt, sink),
            Op::Undo => {
                self.turns.aside(id);
                self.tell(&at, What::Undo { success: None }, sink);
            }
            Op::Rollback { turns } => {
                self.turns.aside(id);
                self.turns.asked_rollback = true;
                self.tell(&at, What::Rollback { turns: *turns }, sink);
            }
            Op::Compact => self.turns.aside(id),
            Op::Other { kind } if kind == USER_COMMAND => self.turns.aside(id),
            Op::Answer => self.answered(&at, sink),
            Op::Shutdown => self.shut_down(stamp, sink),
            Op::Other { .. } => {}
        }
    }

    fn event(&mut self, stamp: Stamp, turn: &str, event: &Event<'_>, sink: &mut impl Sink) {
        match event {
            Event::Configured { model: _, context } => return self.configured(stamp, context, sink),
            Event::Shutdown => return self.shut_down(stamp, sink),
            Event::TurnStarted => return self.turn_started(stamp, turn, sink),
            Event::UserMessage(words) => return self.user_message(stamp, turn, words, sink),
            _ => {}
        }
        let named = if turn.is_empty() { turn_inside(event) } else { turn };
        let at = self.at(stamp, named, is_work(event), sink);
        match event {
            Event::TurnComplete { last_message, error } => {
                self.turn_complete(&at, last_message.as_deref(), error.as_ref(), sink);
            }
            Event::TurnAborted { reason } => self.turn_aborted(&at, reason, sink),
            Event::AgentMessage(words) => self.agent_message(&at, words, sink),
            Event::Tokens { last, total } => self.tokens(&at, *last, *total, sink),
            Event::ApprovalRequest { kind, call, command, reason, .. } => {
                self.requested(&at, *kind, call, command, reason.as_deref(), sink);
            }
            Event::ExecBegin(exec) => self.exec_begin(&at, exec, sink),
            Event::ExecEnd(end) => self.exec_end(&at, end, sink),
            Event::PatchBegin(patch) => self.patch_begin(&at, patch, sink),
            Event::PatchEnd(end) => self.patch_end(&at, end, sink),
            Event::ToolBegin(tool) => self.tool_begin(&at, tool, sink),
            Event::ToolEnd { tool, failed, duration_ms, message } => {
                self.tool_end(&at, tool, *failed, *duration_ms, message.as_deref(), sink);
            }
            Event::Question { call } => self.question(&at, call, sink),
            Event::Collaboration { call, thread } => self.collaboration(&at, call, thread.as_deref(), sink),
            Event::TurnDiff(diff) => {
                if !self.review {
                    let what = What::Diff { hash: super::words::hash(diff), empty: diff.trim().is_empty() };
                    self.tell(&at, what, sink);
                }
            }
            Event::Plan(steps) => self.plan(&at, steps, sink),
            Event::Error(failure) => self.error(&at, failure, sink),
            Event::StreamError(failure) => {
                if !self.review {
                    self.session.counts.stream_errors = self.session.counts.stream_errors.saturating_add(1);
                    let what = What::StreamError { message: &failure.message, info: failure.info.as_deref() };
                    self.tell(&at, what, sink);
                }
            }
            Event::Warning(message) => {
                if !self.review {
                    self.session.counts.warnings = self.session.counts.warnings.saturating_add(1);
                    self.tell(&at, What::Warning { message }, sink);
                }
            }
            Event::ContextCompacted => self.context_compacted(&at, sink),
            Event::RolledBack { turns } => {
                // Asking and telling are one fact.
                if !std::mem::take(&mut self.turns.asked_rollback) {
                    self.tell(&at, What::Rollback { turns: *turns }, sink);
                }
            }
            Event::UndoCompleted { success } => self.tell(&at, What::Undo { success: Some(*success) }, sink),
            Event::ReviewEntered => self.review = true,
            Event::ReviewExited => self.review = false,
            Event::Configured { .. }
            | Event::Shutdown
            | Event::TurnStarted
            | Event::UserMessage(_)
            | Event::Reasoning
            | Event::Other { .. } => {}
        }
    }

    fn item(&mut self, stamp: Stamp, turn: &str, item: &Item<'_>, sink: &mut impl Sink) {
        match item {
            Item::Call { call, name, arguments } => {
                let at = self.at(stamp, turn, true, sink);
                self.model_calls(&at, call, name, arguments, sink);
            }
            Item::Output { call, exit_code, duration_ms, head } => {
                let at = self.at(stamp, turn, false, sink);
                self.model_is_given(&at, call, *exit_code, *duration_ms, head, sink);
            }
            // Words are told by events too, and there they are whole and without what Codex adds.
            Item::Message { .. } | Item::Other { .. } => {}
        }
    }
}

/// Whether an event shows that a turn runs, also where its beginning is not told. An end may come late, of a
/// turn that is long forgotten; an error may answer something that was no turn.
fn is_work(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::ApprovalRequest { .. }
            | Event::ExecBegin(_)
            | Event::PatchBegin(_)
            | Event::ToolBegin(_)
            | Event::Question { .. }
            | Event::AgentMessage(_)
            | Event::Plan(_)
            | Event::Tokens { .. }
            | Event::TurnComplete { .. }
            | Event::TurnAborted { .. }
    )
}

/// The turn that is named inside an event, for dialects that name none around it.
fn turn_inside<'e>(event: &'e Event<'_>) -> &'e str {
    match event {
        Event::ApprovalRequest { turn, .. } => turn.as_deref(),
        Event::ExecBegin(exec) => exec.turn.as_deref(),
        Event::ExecEnd(end) => end.exec.turn.as_deref(),
        Event::PatchBegin(patch) => patch.turn.as_deref(),
        Event::PatchEnd(end) => end.patch.turn.as_deref(),
        _ => None,
    }
    .unwrap_or_default()
}

impl Derive for Deriver {
    fn feed(&mut self, record: &Record<'_>, sink: &mut impl Sink) {
        let stamp = Stamp { seq: record.seq, time: record.time, place: record.place };
        self.session.counts.records = self.session.counts.records.saturating_add(1);
        self.note_time(record.time);
        if !self.epoch.began {
            self.begin_epoch(stamp, sink);
        }
        match &record.body {
            Body::Nothing => {}
            Body::Unknown { .. } => {
                self.session.counts.unknown = self.session.counts.unknown.saturating_add(1);
            }
            Body::Meta(meta) => self.meta(meta),
            Body::Context(context) => self.context(stamp, context, sink),
            Body::Submission { id, op } => self.submission(stamp, id, op, sink),
            Body::Event { turn, event } => self.event(stamp, turn, event, sink),
            Body::Item { turn, item } => self.item(stamp, turn, item, sink),
            Body::Artifact(artifact) => self.artifact(stamp, artifact, sink),
            Body::Compaction(compaction) => self.compaction(stamp, compaction, sink),
            Body::Bridge(bridge) => self.bridge(bridge, sink),
            Body::Tokens { turn, last, total } => self.usage_record(stamp, turn, *last, *total, sink),
        }
        self.last = Some(stamp);
        if !matches!(&record.body, Body::Item { item: Item::Message { role, .. }, .. } if role == "user") {
            self.worked = self.last;
        }
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        if let Some(active) = &mut self.turns.active
            && std::mem::take(&mut active.dirty)
        {
            sink.row(Row::Turn(active.row.clone()));
        }
        self.calls.flush(sink);
        self.approvals.flush(sink);
    }
}
