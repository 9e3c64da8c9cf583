//! Approvals: requests, and the answers that belong to them.
//!
//! The wire names the *turn* that an answer is about, not the call. So an answer belongs to the newest request
//! of its kind in that turn that has none. One dialect names the call beside it, another one instead of the
//! turn. In a turn only one request waits: another one takes its place, and it will never be answered (unless
//! the dialect names calls).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::words::{self, cut, id, keep};
use super::{Sink, What};
use crate::record::{ApprovalKind, Bridge, Decision, Text};
use crate::session::{Approval, Row, Stamp, TEXT_LIMIT, ToolCall};

/// How many requests may wait; of more, the oldest will never be answered.
const PENDING: usize = 64;
/// How many answered requests of sub-agents wait for the record that names their call.
const DELEGATED: usize = 8;

/// The requests of the running epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Approvals {
    pending: VecDeque<Pending>,
    /// Answered requests of sub-agents, whose call is not known yet.
    delegated: VecDeque<Approval>,
    /// The next approval's number.
    next: u32,
    /// Answers name calls here, so several requests can wait in one turn.
    by_call: bool,
}

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pending {
    row: Approval,
    /// A sub-agent's, told here again.
    copied: bool,
    /// Another request of its turn took its place.
    overtaken: bool,
    dirty: bool,
}

impl Approvals {
    pub(super) fn flush(&mut self, sink: &mut impl Sink) {
        for pending in self.pending.iter_mut().filter(|pending| pending.dirty) {
            pending.dirty = false;
            sink.row(Row::Approval(pending.row.clone()));
        }
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// The request that an answer belongs to.
    fn find(&self, kind: ApprovalKind, about: &str, call: Option<&str>) -> Option<usize> {
        let newest = |fits: &dyn Fn(&Pending) -> bool| {
            self.pending.iter().rposition(|pending| pending.row.kind == kind && fits(pending))
        };
        call.and_then(|call| newest(&|pending| pending.row.call_id == call))
            .or_else(|| newest(&|pending| !pending.overtaken && pending.row.turn_id == about))
            .or_else(|| newest(&|pending| !about.is_empty() && pending.row.call_id == about))
    }
}

impl Deriver {
    /// Approval is asked for.
    pub(super) fn requested(
        &mut self,
        at: &At<'_>,
        kind: ApprovalKind,
        call: &str,
        command: &[Text<'_>],
        reason: Option<&str>,
        sink: &mut impl Sink,
    ) {
        let call = id(call);
        let turn_id = self.turn_id(at).to_owned();
        // A sub-agent's request comes under the parent's turn, with its id for a call.
        let delegated = !self.rollout() && !turn_id.is_empty() && call == turn_id;
        let copied = delegated || self.review;
        if !self.approvals.by_call {
            self.overtake(at, &turn_id, sink);
        }
        let row = Approval {
            ordinal: self.approvals.number(),
            epoch: self.epoch.number,
            kind,
            call_id: call.to_owned(),
            turn_id,
            requested: Some(at.stamp),
            reason: reason
                .filter(|reason| !reason.is_empty())
                .map(|reason| cut(reason, TEXT_LIMIT).to_owned()),
            decided: None,
            decision: None,
            approved: None,
            submission_id: None,
        };
        if !delegated && !call.is_empty() {
            self.call_of_request(at, call, kind, command, row.ordinal, sink);
        }
        if !copied {
            self.session.counts.approval_requests = self.session.counts.approval_requests.saturating_add(1);
            self.tell(at, What::Asked(&row), sink);
        }
        let pending = Pending { row, copied, overtaken: false, dirty: true };
        if let Some(left) = keep(&mut self.approvals.pending, PENDING, pending) {
            self.unanswered(at, left, sink);
        }
    }

    /// Another request takes the place of those that wait in a turn. They are kept for a dialect that answers
    /// them nevertheless.
    fn overtake(&mut self, at: &At<'_>, turn_id: &str, sink: &mut impl Sink) {
        for index in 0..self.approvals.pending.len() {
            let Some(pending) = self.approvals.pending.get_mut(index) else { break };
            if pending.overtaken || pending.row.turn_id != turn_id {
                continue;
            }
            pending.overtaken = true;
            if let Some(pending) = self.approvals.pending.get(index).filter(|pending| !pending.copied) {
                self.tell(at, What::Unanswered(&pending.row), sink);
            }
        }
    }

    /// The user answers.
    pub(super) fn decide(
        &mut self,
        stamp: Stamp,
        submission: &str,
        (kind, about, call, decision): (ApprovalKind, &str, Option<&str>, &Decision<'_>),
        sink: &mut impl Sink,
    ) {
        let (about, call) = (id(about), call.map(id).filter(|call| !call.is_empty()));
        let found =
            self.approvals.find(kind, about, call).and_then(|index| self.approvals.pending.remove(index));
        let Some(Pending { mut row, copied, .. }) = found else {
            return self.decide_nothing(stamp, submission, (kind, about, call, decision), sink);
        };
        self.approvals.by_call |= row.call_id != row.turn_id && (call.is_some() || about == row.call_id);
        row.decided = Some(stamp);
        row.decision = Some(cut(decision.as_str(), words::ID_LIMIT).to_owned());
        row.approved = decision.approved();
        row.submission_id = Some(id(submission).to_owned());
        self.decided(row, copied, sink);
    }

    /// An answer to no request that is known.
    fn decide_nothing(
        &mut self,
        stamp: Stamp,
        submission: &str,
        (kind, about, call, decision): (ApprovalKind, &str, Option<&str>, &Decision<'_>),
        sink: &mut impl Sink,
    ) {
        let row = Approval {
            ordinal: self.approvals.number(),
            epoch: self.epoch.number,
            kind,
            call_id: call.unwrap_or_default().to_owned(),
            turn_id: about.to_owned(),
            requested: None,
            reason: None,
            decided: Some(stamp),
            decision: Some(cut(decision.as_str(), words::ID_LIMIT).to_owned()),
            approved: decision.approved(),
            submission_id: Some(id(submission).to_owned()),
        };
        self.decided(row, self.review, sink);
    }

    /// A rejected call of which no request was told: its end is the only trace of the answer.
    pub(super) fn implied_denial(&mut self, at: &At<'_>, call: &mut ToolCall, sink: &mut impl Sink) {
        let kind = match &*call.tool {
            super::command::EXEC => ApprovalKind::Exec,
            super::command::PATCH => ApprovalKind::Patch,
            _ => return,
        };
        let row = Approval {
            ordinal: self.approvals.number(),
            epoch: self.epoch.number,
            kind,
            call_id: call.call_id.clone(),
            turn_id: call.turn_id.clone(),
            requested: None,
            reason: None,
            decided: Some(at.stamp),
            decision: Some("declined".into()),
            approved: Some(false),
            submission_id: None,
        };
        call.approvals.push(row.ordinal);
        self.decided(row, false, sink);
    }

    fn decided(&mut self, row: Approval, copied: bool, sink: &mut impl Sink) {
        let Some(stamp) = row.decided else { return };
        let turn = self.at(stamp, &row.turn_id, false, sink).turn.or(self.turns.active_ordinal());
        let at = At { stamp, turn_id: &row.turn_id, turn };
        if !copied {
            let counts = &mut self.session.counts;
            match row.approved {
                Some(true) => counts.approvals = counts.approvals.saturating_add(1),
                Some(false) => counts.denials = counts.denials.saturating_add(1),
                None => {}
            }
            self.tell(&at, What::Decided(&row), sink);
        }
        if !row.call_id.is_empty() {
            self.call_of_decision(&at, &row.call_id, row.approved, sink);
        }
        if copied && row.call_id == row.turn_id {
            keep(&mut self.approvals.delegated, DELEGATED, row.clone());
        }
        sink.row(Row::Approval(row));
    }

    /// A turn is over: its requests will not be answered.
    pub(super) fn expire(&mut self, at: &At<'_>, sink: &mut impl Sink) {
        let mut index = 0;
        while let Some(pending) = self.approvals.pending.get(index) {
            if pending.row.turn_id != at.turn_id {
                index += 1;
            } else if let Some(pending) = self.approvals.pending.remove(index) {
                self.unanswered(at, pending, sink);
            }
        }
    }

    /// The epoch is over.
    pub(super) fn expire_all(&mut self, stamp: Stamp, sink: &mut impl Sink) {
        while let Some(pending) = self.approvals.pending.pop_front() {
            let turn_id = pending.row.turn_id.clone();
            let at = self.at(stamp, &turn_id, false, sink);
            self.unanswered(&at, pending, sink);
        }
        self.approvals.delegated.clear();
    }

    fn unanswered(&mut self, at: &At<'_>, pending: Pending, sink: &mut impl Sink) {
        if !pending.copied && !pending.overtaken {
            self.tell(at, What::Unanswered(&pending.row), sink);
        }
        if pending.dirty {
            sink.row(Row::Approval(pending.row));
        }
    }

    /// What a sub-agent asked, and what was decided: the one record with its true call.
    pub(super) fn bridge(&mut self, bridge: &Bridge<'_>, sink: &mut impl Sink) {
        self.child(bridge.thread.as_deref());
        let Some(call) = bridge.call.as_deref().map(id).filter(|call| !call.is_empty()) else { return };
        let parent = bridge.parent_turn.as_deref().map(id).unwrap_or_default();
        let kind = match &*bridge.kind {
            "exec_approval" => ApprovalKind::Exec,
            "patch_approval" => ApprovalKind::Patch,
            _ => return self.call_of_bridge(call, None, sink),
        };
        let fits = |row: &Approval| row.kind == kind && row.turn_id == parent && row.call_id == row.turn_id;
        let answered = self.approvals.delegated.iter().position(fits);
        let approval =
            if let Some(mut row) = answered.and_then(|index| self.approvals.delegated.remove(index)) {
                call.clone_into(&mut row.call_id);
                let ordinal = row.ordinal;
                sink.row(Row::Approval(row));
                Some(ordinal)
            } else {
                self.approvals.pending.iter_mut().rev().find(|pending| fits(&pending.row)).map(|pending| {
                    call.clone_into(&mut pending.row.call_id);
                    pending.dirty = true;
                    if let Some(decision) = &bridge.decision {
                        pending.row.decision = Some(cut(decision.as_str(), words::ID_LIMIT).to_owned());
                        pending.row.approved = decision.approved();
                    }
                    pending.row.ordinal
                })
            };
        self.call_of_bridge(call, approval, sink);
    }
}
