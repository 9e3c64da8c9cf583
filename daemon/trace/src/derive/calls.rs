//! Tool calls: what opens them, what ends them.
//!
//! A call is known by its id within the epoch. It opens with the first record that tells of it (its beginning,
//! a request for approval, or the model's own words in a rollout) and closes with the first that ends it; what
//! says the same again is stepped over. A denied call of which no beginning was told has no end either: the
//! answer ends it. A command that goes on in the background ends turns later, or never.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::command::{Asked, EXEC, GivenPlan, PATCH, changes, source_of};
use super::deriver::{At, Deriver};
use super::outcome::{Before, End, Given};
use super::words::{self, hash, keep};
use super::{Sink, What};
use crate::record::{ApprovalKind, Exec, ExecEnd, Patch, PatchEnd, PlanStep, Text, Tool};
use crate::session::{COPIED, CallOutcome, Row, ToolCall};

/// How many calls may be open; of more, the oldest will never be seen to end.
const OPEN: usize = 128;
/// How many calls that have ended are remembered.
const DONE: usize = 48;

/// The tool by which the model asks the user.
const QUESTION: &str = "request_user_input";

/// The calls of the running epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calls {
    open: VecDeque<Open>,
    /// Hashes of the ids of calls that have ended lately.
    done: VecDeque<u64>,
    /// The next call's number.
    next: u32,
    /// The plan that the model's call has told already.
    plan: Option<u64>,
}

/// A call that has not ended.
#[expect(clippy::struct_excessive_bools, reason = "four things that are or are not known, each by itself")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    row: ToolCall,
    /// An event told of its beginning: another one will tell of its end.
    begun: bool,
    /// The last answer to its requests was no.
    denied: bool,
    /// Its turn was interrupted.
    interrupted: bool,
    dirty: bool,
}

impl Open {
    fn copied(&self) -> bool {
        self.row.source.as_deref() == Some(COPIED)
    }

    fn before(&self) -> Before {
        Before { denied: self.denied, interrupted: self.interrupted }
    }

    /// Whether it may go on when its turn ends.
    fn in_background(&self) -> bool {
        self.row.source.as_deref().is_some_and(|source| source.starts_with("unified_exec"))
    }
}

impl Calls {
    fn position(&self, call: &str) -> Option<usize> {
        self.open.iter().rposition(|open| open.row.call_id == call)
    }

    fn is_done(&self, call: &str) -> bool {
        self.done.contains(&hash(call))
    }

    pub(super) fn flush(&mut self, sink: &mut impl Sink) {
        for open in self.open.iter_mut().filter(|open| open.dirty) {
            open.dirty = false;
            sink.row(Row::Call(open.row.clone()));
        }
    }

    /// The epoch is over: what is open will never be seen to end.
    pub(super) fn forget(&mut self, sink: &mut impl Sink) {
        self.flush(sink);
        *self = Self { next: self.next, ..Self::default() };
    }
}

impl Deriver {
    /// Opens a call, and gives where it stands among the open ones.
    fn open_call(
        &mut self,
        at: &At<'_>,
        call: &str,
        asked: Asked,
        begun: bool,
        sink: &mut impl Sink,
    ) -> usize {
        self.epoch.used = true;
        self.compaction_is_over();
        self.turns.acted();
        let copied = self.review;
        let row = ToolCall {
            ordinal: self.calls.next,
            epoch: self.epoch.number,
            call_id: call.to_owned(),
            turn_id: self.turn_id(at).to_owned(),
            turn: at.turn,
            tool: asked.tool,
            arguments: asked.arguments,
            cwd: asked.cwd,
            source: copied.then(|| COPIED.to_owned()),
            opened: at.stamp,
            closed: None,
            outcome: CallOutcome::Open,
            exit_code: None,
            duration_ms: None,
            message: None,
            approvals: Vec::new(),
            changes: asked.changes,
        };
        self.calls.next = self.calls.next.saturating_add(1);
        if !copied {
            self.session.counts.calls = self.session.counts.calls.saturating_add(1);
            if let Some(active) = self.turns.active_of(at) {
                active.row.calls = active.row.calls.saturating_add(1);
                active.dirty = true;
            }
            self.tell(at, What::CallOpened(&row), sink);
        }
        let open = Open { row, begun, denied: false, interrupted: false, dirty: true };
        if let Some(left) = keep(&mut self.calls.open, OPEN, open)
            && left.dirty
        {
            sink.row(Row::Call(left.row));
        }
        self.calls.open.len() - 1
    }

    /// Takes a beginning: of a call that is known already, or of a new one.
    fn begin_call(
        &mut self,
        at: &At<'_>,
        call: &str,
        source: Option<&str>,
        asked: Asked,
        sink: &mut impl Sink,
    ) {
        let call = words::id(call);
        let index = match self.calls.position(call) {
            Some(index) => {
                if let Some(open) = self.calls.open.get_mut(index) {
                    learn(&mut open.row, asked);
                    open.begun = true;
                    open.dirty = true;
                }
                index
            }
            None => self.open_call(at, call, asked, true, sink),
        };
        if let Some(open) = self.calls.open.get_mut(index)
            && open.row.source.is_none()
        {
            open.row.source = words::name(source);
        }
    }

    /// Takes an end: of an open call, or of one that nothing was told of before. What `end` is may depend on
    /// what came before.
    fn end_call(
        &mut self,
        at: &At<'_>,
        call: &str,
        source: Option<&str>,
        asked: Asked,
        end: impl FnOnce(Before) -> End,
        sink: &mut impl Sink,
    ) {
        let call = words::id(call);
        let index = match self.calls.position(call) {
            Some(index) => {
                if let Some(open) = self.calls.open.get_mut(index) {
                    learn(&mut open.row, asked);
                }
                index
            }
            None if self.calls.is_done(call) => return,
            None => self.open_call(at, call, asked, true, sink),
        };
        let Some(open) = self.calls.open.get_mut(index) else { return };
        if open.row.source.is_none() {
            open.row.source = words::name(source);
        }
        let end = end(open.before());
        self.close_call(at, index, end, sink);
    }

    fn close_call(&mut self, at: &At<'_>, index: usize, end: End, sink: &mut impl Sink) {
        let Some(mut open) = self.calls.open.remove(index) else { return };
        keep(&mut self.calls.done, DONE, hash(&open.row.call_id));
        let copied = open.copied();
        let row = &mut open.row;
        row.closed = Some(at.stamp);
        row.outcome = end.outcome;
        row.exit_code = end.exit_code;
        row.message = end.message;
        row.duration_ms = end.duration_ms.or_else(|| {
            let took = at.stamp.time?.as_millisecond().checked_sub(row.opened.time?.as_millisecond())?;
            u64::try_from(took).ok()
        });
        if copied {
            sink.row(Row::Call(open.row));
            return;
        }
        let counts = &mut self.session.counts;
        match &*row.tool {
            EXEC => counts.execs = counts.execs.saturating_add(1),
            PATCH => counts.patches = counts.patches.saturating_add(1),
            _ => {}
        }
        self.turns.acted();
        if row.outcome == CallOutcome::Rejected {
            if row.approvals.is_empty() {
                self.implied_denial(at, row, sink);
            }
            if let Some(active) = self.turns.active_of(at) {
                active.rejected = true;
            }
        }
        self.tell(at, What::CallClosed(row), sink);
        sink.row(Row::Call(open.row));
    }

    pub(super) fn exec_begin(&mut self, at: &At<'_>, exec: &Exec<'_>, sink: &mut impl Sink) {
        let asked = Asked::command(&exec.command, exec.cwd.as_deref());
        self.begin_call(at, &exec.call, exec.source.as_deref(), asked, sink);
    }

    pub(super) fn exec_end(&mut self, at: &At<'_>, end: &ExecEnd<'_>, sink: &mut impl Sink) {
        let exec = &end.exec;
        // The words were told by the beginning as a rule.
        let known = self.calls.position(words::id(&exec.call)).and_then(|index| self.calls.open.get(index));
        let asked = match known.filter(|open| !open.row.arguments.is_empty()) {
            Some(open) => Asked {
                tool: open.row.tool.clone(),
                cwd: words::name(exec.cwd.as_deref()).filter(|_| open.row.cwd.is_none()),
                ..Asked::default()
            },
            None => Asked::command(&exec.command, exec.cwd.as_deref()),
        };
        self.end_call(
            at,
            &exec.call,
            exec.source.as_deref(),
            asked,
            |before| End::of_exec(end, before),
            sink,
        );
    }

    pub(super) fn patch_begin(&mut self, at: &At<'_>, patch: &Patch<'_>, sink: &mut impl Sink) {
        self.begin_call(at, &patch.call, None, Asked::patch(changes(&patch.changes)), sink);
    }

    pub(super) fn patch_end(&mut self, at: &At<'_>, end: &PatchEnd<'_>, sink: &mut impl Sink) {
        let asked = Asked::patch(changes(&end.patch.changes));
        self.end_call(at, &end.patch.call, None, asked, |before| End::of_patch(end, before), sink);
    }

    pub(super) fn tool_begin(&mut self, at: &At<'_>, tool: &Tool<'_>, sink: &mut impl Sink) {
        self.begin_call(at, &tool.call, None, Asked::other(&tool.name, tool.arguments.as_deref()), sink);
    }

    pub(super) fn tool_end(
        &mut self,
        at: &At<'_>,
        tool: &Tool<'_>,
        failed: bool,
        duration_ms: Option<u64>,
        message: Option<&str>,
        sink: &mut impl Sink,
    ) {
        let asked = Asked::other(&tool.name, tool.arguments.as_deref());
        let end = |before| End::of_tool(failed, duration_ms, message, before);
        self.end_call(at, &tool.call, None, asked, end, sink);
    }

    /// The model asks the user; the next answer ends it.
    pub(super) fn question(&mut self, at: &At<'_>, call: &str, sink: &mut impl Sink) {
        self.begin_call(at, call, None, Asked::other(QUESTION, None), sink);
    }

    pub(super) fn answered(&mut self, at: &At<'_>, sink: &mut impl Sink) {
        let asked = self.calls.open.iter().rposition(|open| open.row.tool == QUESTION);
        if let Some(index) = asked {
            self.close_call(at, index, End::of_tool(false, None, None, Before::default()), sink);
        }
    }

    /// The agent speaks to another thread: once when it begins, once when it ends. A rollout has the model's
    /// own call besides.
    pub(super) fn collaboration(
        &mut self,
        at: &At<'_>,
        call: &str,
        thread: Option<&str>,
        sink: &mut impl Sink,
    ) {
        self.child(thread);
        let call = words::id(call);
        if self.rollout() || call.is_empty() {
            return;
        }
        match self.calls.position(call) {
            Some(index) => {
                self.close_call(at, index, End::of_tool(false, None, None, Before::default()), sink);
            }
            None if self.calls.is_done(call) => {}
            None => drop(self.open_call(at, call, Asked::other("collaboration", None), true, sink)),
        }
    }

    /// A call in the model's own words (rollouts).
    pub(super) fn model_calls(
        &mut self,
        at: &At<'_>,
        call: &str,
        name: &str,
        arguments: &str,
        sink: &mut impl Sink,
    ) {
        let call = words::id(call);
        if self.calls.position(call).is_none() && !self.calls.is_done(call) {
            let index = self.open_call(at, call, Asked::by_model(name, arguments), false, sink);
            if let Some(open) = self.calls.open.get_mut(index)
                && open.row.source.is_none()
            {
                open.row.source = source_of(name).map(str::to_owned);
            }
        }
        if name == "update_plan"
            && self.calls.plan.replace(hash(arguments)) != Some(hash(arguments))
            && let Ok(given) = serde_json::from_str::<GivenPlan<'_>>(arguments)
        {
            let step = |step: &super::command::GivenStep<'_>| PlanStep {
                step: Text::Owned(step.step.to_string()),
                status: Text::Owned(step.status.to_string()),
            };
            let steps: Vec<_> = given.plan.iter().map(step).collect();
            self.plan(at, &steps, sink);
        }
    }

    /// What the model was given back (rollouts): the end of a call that no event tells of.
    pub(super) fn model_is_given(
        &mut self,
        at: &At<'_>,
        call: &str,
        exit_code: Option<i64>,
        duration_ms: Option<u64>,
        head: &str,
        sink: &mut impl Sink,
    ) {
        let Some(index) = self.calls.position(words::id(call)) else { return };
        let Some(open) = self.calls.open.get_mut(index) else { return };
        let given = Given { exit_code, duration_ms, head };
        let end = End::of_output(&open.row.tool, given, open.before());
        match end {
            Some(end) => self.close_call(at, index, end, sink),
            None => open.interrupted |= head.trim_start().starts_with("aborted"),
        }
    }

    /// The call that a request for approval is about; it opens if nothing told of it before.
    pub(super) fn call_of_request(
        &mut self,
        at: &At<'_>,
        call: &str,
        kind: ApprovalKind,
        command: &[Text<'_>],
        approval: u32,
        sink: &mut impl Sink,
    ) {
        let index = self.calls.position(call).unwrap_or_else(|| {
            let asked = match kind {
                ApprovalKind::Exec => Asked::command(command, None),
                ApprovalKind::Patch => Asked::patch(Vec::new()),
            };
            self.open_call(at, call, asked, false, sink)
        });
        if let Some(open) = self.calls.open.get_mut(index) {
            open.row.approvals.push(approval);
            open.dirty = true;
        }
    }

    /// An answer came to one of a call's requests. A denied call that never began ends here.
    pub(super) fn call_of_decision(
        &mut self,
        at: &At<'_>,
        call: &str,
        approved: Option<bool>,
        sink: &mut impl Sink,
    ) {
        let Some(index) = self.calls.position(call) else { return };
        let Some(open) = self.calls.open.get_mut(index) else { return };
        open.denied = approved == Some(false);
        if open.denied && !open.begun {
            let end =
                End { outcome: CallOutcome::Rejected, exit_code: None, duration_ms: None, message: None };
            self.close_call(at, index, end, sink);
        }
    }

    /// A call turns out to be a sub-agent's.
    pub(super) fn call_of_bridge(&mut self, call: &str, approval: Option<u32>, sink: &mut impl Sink) {
        let Some(index) = self.calls.position(call) else { return };
        let Some(open) = self.calls.open.get_mut(index) else { return };
        open.dirty = true;
        if let Some(approval) = approval
            && !open.row.approvals.contains(&approval)
        {
            open.row.approvals.push(approval);
        }
        if open.copied() {
            return;
        }
        open.row.source = Some(COPIED.to_owned());
        let turn = open.row.turn;
        self.session.counts.calls = self.session.counts.calls.saturating_sub(1);
        if let Some(active) = self.turns.active.as_mut().filter(|active| Some(active.row.ordinal) == turn) {
            active.row.calls = active.row.calls.saturating_sub(1);
            active.dirty = true;
        }
        self.calls.flush(sink);
    }

    /// A turn was aborted: what ran in it has stopped, except for what runs in the background.
    pub(super) fn interrupt_calls(&mut self, at: &At<'_>, sink: &mut impl Sink) {
        let mut index = 0;
        while let Some(open) = self.calls.open.get_mut(index) {
            if open.row.turn != at.turn {
                index += 1;
                continue;
            }
            open.interrupted = true;
            open.dirty = true;
            if open.in_background() {
                index += 1;
                continue;
            }
            let outcome = if open.denied { CallOutcome::Rejected } else { CallOutcome::Interrupted };
            let end = End { outcome, exit_code: None, duration_ms: None, message: None };
            self.close_call(at, index, end, sink);
        }
    }
}

/// Takes over what a later record says of a call, where it says anything.
fn learn(row: &mut ToolCall, asked: Asked) {
    // The events' name is the better one: a rollout's model calls an MCP tool by a name of its own.
    row.tool = asked.tool;
    if !asked.arguments.is_empty() {
        row.arguments = asked.arguments;
    }
    if asked.cwd.is_some() {
        row.cwd = asked.cwd;
    }
    if !asked.changes.is_empty() {
        row.changes = asked.changes;
    }
}
