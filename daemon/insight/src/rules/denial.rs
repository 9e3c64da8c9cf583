//! `denial_exec` and `denial_patch`: the user said no.

use trace::record::ApprovalKind;

use crate::rules::words::quote;
use crate::rules::{Finding, Moment, Scope, command, descriptor};

descriptor! {
    /// The user did not let a command run.
    DENIAL_EXEC = "denial_exec", Friction, 0.5, Moment;
    trigger: "A request to run a command was answered with `denied` or `abort`. Where no answer is on record: a command that ended as rejected by the user.",
    threshold: "Each one; its answer and its end are one denial.",
    grading: "Confidence 0.9 if only the end of the call tells of it.",
    evidence: "`decision` (as it was given), `reason` (why Codex had asked), `command`.",
}

descriptor! {
    /// The user did not let a patch be applied.
    DENIAL_PATCH = "denial_patch", Friction, 0.5, Moment;
    trigger: "A request to apply a patch was answered with `denied` or `abort`. Where no answer is on record: a patch that ended as rejected by the user.",
    threshold: "Each one; its answer and its end are one denial.",
    grading: "Confidence 0.9 if only the end of the call tells of it.",
    evidence: "`decision` (as it was given), `reason` (why Codex had asked).",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let Some(denial) = &moment.denial else { return };
    let (rule, some) = match denial.kind {
        ApprovalKind::Exec => (&DENIAL_EXEC, "a command"),
        ApprovalKind::Patch => (&DENIAL_PATCH, "a patch"),
    };
    let command = denial.command.as_deref().map(command::script);
    let what = command.as_deref().map_or_else(|| some.to_owned(), quote);
    let after = if denial.decision == Some("abort") { " and stopped the turn" } else { "" };
    let mut finding = Finding::at(moment.fact)
        .turn(denial.turn_id)
        .call_id(denial.call_id)
        .describe(&format!("The user denied {what}{after}."))
        .with("decision", denial.decision)
        .with("reason", denial.reason)
        .with("command", command.as_deref());
    if let Some(asked) = &denial.asked {
        finding = finding.from(asked);
    }
    if denial.decision.is_none() {
        finding = finding.confidence(0.9);
    }
    scope.raise(rule, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ApprovalKind;
    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn a_denial_belongs_to_the_turn_and_call_that_asked() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("denied");
        let signal = story.only("denial_exec");
        assert_eq!(signal.turn_id.as_deref(), Some("turn-0"));
        assert_eq!(signal.call_id.as_deref(), Some("call_0"));
        assert_eq!(signal.evidence["decision"], "denied");
        assert_eq!(signal.description, "The user denied `true`.");
        assert!(signal.seq_start < signal.seq_end, "from the request to the answer");
    }

    #[test]
    fn an_abort_is_a_denial_and_keeps_its_word() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Patch).answers("abort");
        let signal = story.only("denial_patch");
        assert_eq!(signal.description, "The user denied a patch and stopped the turn.");
        assert_eq!(signal.evidence["decision"], "abort");
    }

    #[test]
    fn an_approval_is_none() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("approved_for_session");
        story.none("denial_exec");
    }

    #[test]
    fn the_end_of_a_denied_call_is_no_second_denial() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("denied").closes(CallOutcome::Rejected, Some(-1));
        story.only("denial_exec");
    }

    #[test]
    fn an_answer_that_is_written_after_the_end_is_no_second_denial() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).closes(CallOutcome::Rejected, Some(-1)).answers("denied");
        story.only("denial_exec");
    }

    #[test]
    fn two_denied_requests_of_one_call_are_two() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("denied").asks_again().answers("denied");
        assert_eq!(story.found("denial_exec").len(), 2);
    }

    #[test]
    fn a_rejected_call_without_an_answer_on_record_is_a_denial() {
        let mut story = Story::begun("fix it");
        story.call(|call| {
            call.arguments = "rm -rf build".into();
            call.outcome = CallOutcome::Rejected;
        });
        let signal = story.only("denial_exec");
        assert_eq!(signal.description, "The user denied `rm -rf build`.");
        assert!(signal.confidence < 1.0);
    }
}
