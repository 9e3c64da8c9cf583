//! Sessions for tests, told in a few words.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use trace::record::{ApprovalKind, ChangeKind, Decision, PlanStep};
use trace::session::{Approval, CallOutcome, CompactionRow, Format, Session, Stamp, ToolCall, Turn, TurnEnd};
use trace::{Fact, Place, What};

use crate::rules::{Change, Output, RuleSetV1};
use crate::signal::{Signal, SignalId};

/// A session as it is told, with the signals that are live.
pub(crate) struct Story {
    pub(crate) rules: RuleSetV1,
    pub(crate) live: BTreeMap<SignalId, Signal>,
    /// All that was said.
    pub(crate) changes: Vec<Change>,
    pub(crate) epoch: u32,
    seq: u64,
    millisecond: i64,
    turns: u32,
    calls: u32,
    turn: Option<Turn>,
    approval: Option<Approval>,
    open: Option<ToolCall>,
    compactions: u32,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            rules: RuleSetV1::new("story".parse().unwrap()),
            live: BTreeMap::new(),
            changes: Vec::new(),
            epoch: 0,
            seq: 0,
            millisecond: 0,
            turns: 0,
            calls: 0,
            turn: None,
            approval: None,
            open: None,
            compactions: 0,
        }
    }

    /// A session in its first turn.
    pub(crate) fn begun(words: &str) -> Self {
        let mut story = Self::new();
        story.says(words);
        story
    }

    /// The live signals of a category, in order.
    pub(crate) fn found(&self, category: &str) -> Vec<Signal> {
        let mut found: Vec<_> =
            self.live.values().filter(|signal| signal.category == category).cloned().collect();
        found.sort_by_key(|signal| signal.seq_start);
        found
    }

    /// The one live signal of a category.
    #[track_caller]
    pub(crate) fn only(&self, category: &str) -> Signal {
        let found = self.found(category);
        assert_eq!(found.len(), 1, "{category} in {:#?}", self.live);
        found.into_iter().next().unwrap()
    }

    #[track_caller]
    pub(crate) fn none(&self, category: &str) {
        assert_eq!(self.found(category), [], "no {category}");
    }

    fn stamp(&mut self) -> Stamp {
        self.seq += 1;
        self.millisecond += 100;
        Stamp {
            seq: self.seq,
            time: Some(Timestamp::from_millisecond(1_700_000_000_000 + self.millisecond).unwrap()),
            place: Place { file: 0, line: self.seq, offset: self.seq * 100, len: 99 },
        }
    }

    fn tell(&mut self, what: What<'_>) -> &mut Self {
        let at = self.stamp();
        self.tell_at(at, what)
    }

    fn tell_at(&mut self, at: Stamp, what: What<'_>) -> &mut Self {
        let turn_id = self.turn.as_ref().map(|turn| turn.id.clone()).unwrap_or_default();
        let turn = self.turn.as_ref().map(|turn| turn.ordinal);
        let fact = Fact { at, epoch: self.epoch, turn_id: &turn_id, turn, what };
        let mut changes = Vec::new();
        self.rules.feed(&fact, &mut changes);
        for change in changes {
            self.live.change(change.clone());
            self.changes.push(change);
        }
        self
    }

    /// The user speaks, which begins a turn.
    pub(crate) fn says(&mut self, words: &str) -> &mut Self {
        let turn = Turn {
            ordinal: self.turns,
            epoch: self.epoch,
            id: format!("turn-{}", self.turns),
            started: self.stamp(),
            ended: None,
            end: TurnEnd::Open,
            user_message: Some(words.to_owned()),
            user_place: None,
            model: None,
            approval_policy: None,
            sandbox_policy: None,
            requests: 0,
            calls: 0,
            context: 0,
            tokens: trace::record::TokenCounts::default(),
        };
        self.turns += 1;
        self.turn = Some(turn.clone());
        self.tell_at(turn.started, What::TurnBegan(&turn))
            .tell_at(turn.started, What::UserSpoke { text: words })
    }

    pub(crate) fn agent_says(&mut self, text: &str) -> &mut Self {
        self.tell(What::AgentSpoke { text })
    }

    /// The turn ends.
    pub(crate) fn ends(&mut self, end: TurnEnd) -> &mut Self {
        let Some(mut turn) = self.turn.clone() else { return self };
        let at = self.stamp();
        turn.end = end;
        turn.ended = Some(at);
        self.tell_at(at, What::TurnEnded(&turn));
        self.turn = None;
        self
    }

    /// A command that succeeds at first, and that can be changed into any other call.
    pub(crate) fn call(&mut self, change: impl FnOnce(&mut ToolCall)) -> &mut Self {
        let mut call = self.opened();
        call.outcome = CallOutcome::Succeeded;
        self.tell_at(call.opened, What::CallOpened(&call));
        change(&mut call);
        let at = self.stamp();
        call.closed = Some(at);
        self.tell_at(at, What::CallClosed(&call))
    }

    fn opened(&mut self) -> ToolCall {
        let ordinal = self.calls;
        self.calls += 1;
        let turn = self.turn.as_mut().map(|turn| {
            turn.calls += 1;
            (turn.id.clone(), turn.ordinal)
        });
        let (turn_id, turn) = turn.unzip();
        ToolCall {
            ordinal,
            epoch: self.epoch,
            call_id: format!("call_{ordinal}"),
            turn_id: turn_id.unwrap_or_default(),
            turn,
            tool: "exec_command".into(),
            arguments: "true".into(),
            cwd: None,
            source: None,
            opened: self.stamp(),
            closed: None,
            outcome: CallOutcome::Open,
            exit_code: None,
            duration_ms: None,
            message: None,
            approvals: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn exec(&mut self, command: &str, exit_code: i64) -> &mut Self {
        self.call(|call| {
            call.arguments = command.to_owned();
            call.exit_code = Some(exit_code);
            call.outcome = if exit_code == 0 { CallOutcome::Succeeded } else { CallOutcome::Failed };
        })
    }

    pub(crate) fn patch(&mut self, changes: &[(&str, ChangeKind)], outcome: CallOutcome) -> &mut Self {
        self.call(|call| {
            call.tool = "apply_patch".into();
            call.changes = changes.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect();
            call.outcome = outcome;
        })
    }

    /// A call begins and asks for approval.
    pub(crate) fn asks(&mut self, kind: ApprovalKind) -> &mut Self {
        let mut call = self.opened();
        if kind == ApprovalKind::Patch {
            call.tool = "apply_patch".into();
        }
        self.tell_at(call.opened, What::CallOpened(&call));
        self.approval = Some(Approval {
            ordinal: call.ordinal,
            epoch: self.epoch,
            kind,
            call_id: call.call_id.clone(),
            turn_id: call.turn_id.clone(),
            requested: None,
            reason: None,
            decided: None,
            decision: None,
            approved: None,
            submission_id: None,
        });
        self.open = Some(call);
        self.asks_again()
    }

    /// The call that asked before asks again.
    pub(crate) fn asks_again(&mut self) -> &mut Self {
        let Some(mut approval) = self.approval.clone() else { return self };
        let at = self.stamp();
        approval.requested = Some(at);
        approval.decided = None;
        approval.decision = None;
        approval.approved = None;
        self.approval = Some(approval.clone());
        self.tell_at(at, What::Asked(&approval))
    }

    pub(crate) fn waits(&mut self, seconds: i64) -> &mut Self {
        self.millisecond += seconds * 1000;
        self
    }

    /// The request is answered.
    pub(crate) fn answers(&mut self, decision: &str) -> &mut Self {
        let Some(mut approval) = self.approval.clone() else { return self };
        let at = self.stamp();
        approval.decided = Some(at);
        approval.decision = Some(decision.to_owned());
        approval.approved = match decision {
            "denied" => Decision::Denied.approved(),
            "abort" => Decision::Abort.approved(),
            "maybe" => None,
            _ => Decision::Approved.approved(),
        };
        self.tell_at(at, What::Decided(&approval))
    }

    pub(crate) fn leaves_unanswered(&mut self) -> &mut Self {
        let Some(approval) = self.approval.take() else { return self };
        self.tell(What::Unanswered(&approval))
    }

    /// The call that asked ends.
    pub(crate) fn closes(&mut self, outcome: CallOutcome, exit_code: Option<i64>) -> &mut Self {
        let Some(mut call) = self.open.take() else { return self };
        let at = self.stamp();
        call.closed = Some(at);
        call.outcome = outcome;
        call.exit_code = exit_code;
        self.tell_at(at, What::CallClosed(&call))
    }

    pub(crate) fn error(&mut self, message: &str, info: Option<&str>) -> &mut Self {
        self.tell(What::Error { message, info })
    }

    pub(crate) fn stream_error(&mut self, message: &str) -> &mut Self {
        self.tell(What::StreamError { message, info: None })
    }

    pub(crate) fn warning(&mut self, message: &str) -> &mut Self {
        self.tell(What::Warning { message })
    }

    pub(crate) fn compacts(&mut self) -> &mut Self {
        let at = self.stamp();
        let row = CompactionRow {
            ordinal: self.compactions,
            epoch: self.epoch,
            at,
            turn_id: "turn-0".into(),
            kind: Some("local".into()),
        };
        self.compactions += 1;
        self.tell_at(at, What::Compacted(&row))
    }

    /// A plan such as `a+ b> c-`: completed, in progress, pending.
    pub(crate) fn plans(&mut self, steps: &str) -> &mut Self {
        let steps: Vec<_> = steps
            .split_whitespace()
            .map(|step| PlanStep {
                step: step[..1].into(),
                status: match &step[1..] {
                    "+" => "completed".into(),
                    ">" => "in_progress".into(),
                    _ => "pending".into(),
                },
            })
            .collect();
        self.tell(What::Plan(&steps))
    }

    pub(crate) fn diff(&mut self, hash: u64) -> &mut Self {
        self.tell(What::Diff { hash, empty: hash == 0 })
    }

    pub(crate) fn undoes(&mut self, success: Option<bool>) -> &mut Self {
        self.tell(What::Undo { success })
    }

    pub(crate) fn rolls_back(&mut self, turns: u64) -> &mut Self {
        self.tell(What::Rollback { turns })
    }

    /// Codex is started again on the session.
    pub(crate) fn resumes(&mut self) -> &mut Self {
        self.epoch += 1;
        self.turn = None;
        self.tell(What::EpochBegan)
    }

    /// Nothing comes for a while. No record tells of it.
    pub(crate) fn settles(&mut self) -> &mut Self {
        let session = session();
        let at = Stamp { seq: self.seq, time: None, place: Place::default() };
        self.tell_at(at, What::Settled(&session))
    }
}

pub(crate) fn session() -> Session {
    Session { source: "cli".into(), ..Session::new("story".parse().unwrap(), Format::Spine) }
}
