//! `first_attempt_success`: everything worked at once.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::session::CallOutcome;

use crate::rules::call::{CallKind, is_by_user};
use crate::rules::command::{answers_no_with_1, only_looks};
use crate::rules::words::count;
use crate::rules::{Descriptor, Finding, Moment, Tally, Verdict, descriptor};

descriptor! {
    /// Everything that the agent tried worked at once.
    FIRST_ATTEMPT_SUCCESS = "first_attempt_success", Delight, 0.9, Session;
    trigger: "No command, patch or tool of the agent failed or took too long. What the user ran himself, rejected or interrupted, and exit code 1 of a command that answers \"no\" so, do not count.",
    threshold: "1 successful command that does more than look.",
    grading: "",
    evidence: "`exec_count` (successful commands, looking ones included).",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FirstAttemptSuccess {
    execs: Tally,
    worked: bool,
    disproved: bool,
}

impl Verdict for FirstAttemptSuccess {
    const RULE: Descriptor = FIRST_ATTEMPT_SUCCESS;

    fn feed(&mut self, moment: &Moment<'_>) {
        let What::CallClosed(call) = moment.fact.what else { return };
        if self.disproved || is_by_user(call) {
            return;
        }
        match call.outcome {
            CallOutcome::Succeeded if CallKind::of(call) == CallKind::Exec => {
                self.execs.extend(moment.fact);
                self.worked = self.worked || !only_looks(&call.arguments);
            }
            CallOutcome::Failed if call.exit_code == Some(1) && answers_no_with_1(&call.arguments) => {}
            CallOutcome::Failed | CallOutcome::TimedOut | CallOutcome::Broken => self.disproved = true,
            CallOutcome::Succeeded | CallOutcome::Rejected | CallOutcome::Interrupted | CallOutcome::Open => {
            }
        }
    }

    fn holds(&self) -> bool {
        self.worked && !self.disproved
    }

    fn finding(&self) -> Finding {
        let number = self.execs.count();
        Finding::session(&self.execs)
            .describe(&format!("Everything worked at the first attempt, with {}.", count(number, "command")))
            .with("exec_count", number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ChangeKind;
    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn one_failure_of_any_kind_disproves_it() {
        for outcome in [CallOutcome::Failed, CallOutcome::TimedOut, CallOutcome::Broken] {
            let mut story = Story::begun("fix it");
            story.exec("make", 0);
            story.only("first_attempt_success");
            story.patch(&[("a", ChangeKind::Update)], outcome);
            story.none("first_attempt_success");
            story.exec("make", 0).settles();
            story.none("first_attempt_success");
        }
    }

    #[test]
    fn a_listing_alone_is_no_success() {
        let mut story = Story::begun("look");
        story.exec("ls", 0).exec("grep -r a b", 1).settles();
        story.none("first_attempt_success");
    }

    #[test]
    fn a_search_without_a_result_does_not_disprove_it() {
        let mut story = Story::begun("fix it");
        story.exec("grep -r a b", 1).exec("cargo test", 0).settles();
        assert!(story.only("first_attempt_success").settled);
    }

    #[test]
    fn what_the_user_rejected_has_not_failed() {
        let mut story = Story::begun("fix it");
        story.exec("cargo test", 0).call(|call| call.outcome = CallOutcome::Rejected);
        story.only("first_attempt_success");
    }
}
