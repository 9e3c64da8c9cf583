//! Approvals, and the sub-agent that reviews: a thread of its own, whose events its parent repeats under
//! the parent's turn, and whose questions the parent's user answers.

use std::io;

use crate::json::{Json, Null, object};
use crate::real::cast::Cast;
use crate::real::spine_pen::{Reviewer, SpinePen, meta};
use crate::spine::{Ending, Spine};

impl SpinePen<'_> {
    /// A request and its answer. A reviewer's request stands in both spines, each with the turn of its own;
    /// the answer too; and only the bridge in the parent's spine tells what belongs together.
    pub(super) fn asked(
        &mut self,
        kind: &str,
        call: &str,
        own: &Json,
        repeated: &Json,
        decision: &Json,
        after: u64,
    ) -> io::Result<()> {
        self.clock.pass(1);
        if let Some(reviewer) = &mut self.reviewer {
            reviewer.spine.record(self.clock, "event", &object! { "id": reviewer.turn, "msg": own })?;
        }
        let msg = if self.reviewer.is_some() { repeated } else { own };
        self.spine.record(self.clock, "event", &object! { "id": self.turn, "msg": msg })?;
        self.clock.pass(after);
        self.submission(&object! { "type": kind, "id": self.turn, "decision": decision })?;

        let Some(reviewer) = &mut self.reviewer else { return Ok(()) };
        let op = object! { "type": kind, "id": reviewer.turn, "decision": decision };
        let id = reviewer.submissions.to_string();
        reviewer.submissions += 1;
        reviewer.spine.record(self.clock, "submission", &object! { "id": id, "op": op })?;
        let bridge = object! {
            "bridge_kind": kind,
            "parent_thread_id": self.cast.thread,
            "parent_turn_id": self.turn,
            "sub_agent_thread_id": reviewer.spine.thread(),
            "sub_agent_turn_id": reviewer.turn,
            "sub_agent_call_id": call,
            "decision": decision,
        };
        self.spine.record(self.clock, "bridge", &bridge)
    }

    pub(super) fn review_began(&mut self, cast: &Cast) -> io::Result<()> {
        let target = object! { "type": "uncommittedChanges" };
        let request = object! { "target": target, "user_facing_hint": "current changes" };
        self.turn = self.submission(&object! { "type": "review", "review_request": request })?;
        self.event(&object! { "type": "entered_review_mode", "target": target, "user_facing_hint": "current changes" })?;
        let started = object! { "type": "task_started", "model_context_window": 258_400_u64 };
        self.own_event(&started, false)?;
        let spine = Spine::begin(&self.home, &cast.thread, self.clock)?;
        self.reviewer = Some(Reviewer { spine, turn: "0".to_owned(), submissions: 1 });
        self.record("session_meta", &meta(cast, self.clock))?;
        let configured = object! {
            "type": "session_configured", "session_id": cast.thread, "model": cast.model, "model_provider_id": "openai",
            "approval_policy": cast.approval_policy, "sandbox_policy": object! { "type": "read-only" }, "cwd": cast.cwd(),
        };
        self.record("event", &object! { "id": "", "msg": configured })?;
        let items = [object! { "type": "text", "text": "Review the current changes." }];
        let op = object! { "type": "user_input", "items": items, "final_output_json_schema": Null };
        self.record("submission", &object! { "id": "0", "op": op })?;
        self.own_event(&started, false)
    }

    pub(super) fn review_ended(&mut self, verdict: &str) -> io::Result<()> {
        self.own_event(&object! { "type": "task_complete", "last_agent_message": verdict }, false)?;
        if let Some(mut reviewer) = self.reviewer.take() {
            reviewer.spine.end(self.clock, Ending::Shutdown)?;
            self.others.add(reviewer.spine.made());
        }
        let output = object! {
            "findings": Json(b"[]".to_vec()), "overall_correctness": "patch is correct", "overall_explanation": verdict,
        };
        self.event(&object! { "type": "exited_review_mode", "review_output": output })?;
        self.own_event(&object! { "type": "task_complete", "last_agent_message": Null }, false)
    }
}
