//! `abandoned_tool_flow`: the user stopped the agent at work.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::session::TurnEnd;

use crate::rules::moment::digest;
use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The user stopped the agent at work.
    ABANDONED_TOOL_FLOW = "abandoned_tool_flow", Friction, 0.8, Moment;
    trigger: "A turn that ended with `turn_aborted`, reason `interrupted`.",
    threshold: "Each one, unless an answer `abort` stopped the turn: that is a denial.",
    grading: "0.5 if no tool had been called in the turn.",
    evidence: "`reason`, `calls` and `requests` of the turn.",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AbandonedToolFlow {
    /// The turn that the latest `abort` was about.
    aborted: Option<u64>,
}

impl AbandonedToolFlow {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let fact = moment.fact;
        if let Some(denial) = &moment.denial
            && denial.decision == Some("abort")
        {
            self.aborted = Some(digest(fact.epoch, denial.turn_id));
        }
        let What::TurnEnded(turn) = fact.what else { return };
        let TurnEnd::Aborted { reason } = &turn.end else { return };
        if reason != "interrupted" || self.aborted.take() == Some(digest(fact.epoch, &turn.id)) {
            return;
        }
        let calls = u64::from(turn.calls);
        let mut finding = Finding::at(fact)
            .turn(&turn.id)
            .from(&turn.started)
            .describe(&format!("The user interrupted the agent after {}.", count(calls, "tool call")))
            .with("reason", reason.as_str())
            .with("calls", calls)
            .with("requests", turn.requests);
        if calls == 0 {
            finding = finding.severity(0.5);
        }
        scope.raise(&ABANDONED_TOOL_FLOW, finding);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are constants")]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ApprovalKind;
    use trace::session::TurnEnd;

    use crate::rules::story::Story;

    fn aborted(reason: &str) -> TurnEnd {
        TurnEnd::Aborted { reason: reason.into() }
    }

    #[test]
    fn an_interrupted_turn_is_one_more_so_after_tool_calls() {
        let mut story = Story::begun("fix it");
        story.exec("cargo build", 0).ends(aborted("interrupted"));
        let signal = story.only("abandoned_tool_flow");
        assert_eq!(signal.severity, 0.8);
        assert_eq!(signal.description, "The user interrupted the agent after 1 tool call.");

        let mut story = Story::begun("fix it");
        story.ends(aborted("interrupted"));
        assert_eq!(story.only("abandoned_tool_flow").severity, 0.5);
    }

    #[test]
    fn a_turn_that_another_one_replaced_is_none() {
        let mut story = Story::begun("fix it");
        story.ends(aborted("replaced"));
        story.none("abandoned_tool_flow");
    }

    #[test]
    fn a_turn_that_an_answer_stopped_is_a_denial_only() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("abort").ends(aborted("interrupted"));
        story.none("abandoned_tool_flow");
        story.only("denial_exec");
        story.says("again").ends(aborted("interrupted"));
        story.only("abandoned_tool_flow");
    }
}
