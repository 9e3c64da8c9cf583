//! `rapid_approvals`: the user agreed without a second thought.

use serde::{Deserialize, Serialize};
use trace::What;

use crate::rules::words::count;
use crate::rules::{Descriptor, Finding, Moment, Tally, Verdict, descriptor};

descriptor! {
    /// The user agreed quickly with all that was asked.
    RAPID_APPROVALS = "rapid_approvals", Delight, 0.6, Session;
    trigger: "All answered requests were granted, none was left without an answer, and more than half of the answers came in less than 5 seconds.",
    threshold: "3 requests that were answered.",
    grading: "",
    evidence: "`approval_count`, `within_5_s`.",
}

/// What is quick.
const QUICK_MS: i64 = 5_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RapidApprovals {
    granted: Tally,
    quick: u64,
    disproved: bool,
}

impl Verdict for RapidApprovals {
    const RULE: Descriptor = RAPID_APPROVALS;

    fn feed(&mut self, moment: &Moment<'_>) {
        self.disproved |= moment.denial.is_some();
        match moment.fact.what {
            What::Unanswered(_) => self.disproved = true,
            What::Decided(approval) if approval.approved == Some(true) && approval.requested.is_some() => {
                self.granted.extend(moment.fact);
                // A clock that went backwards tells nothing of how long it took.
                if approval.latency_ms().is_some_and(|latency| (0..QUICK_MS).contains(&latency)) {
                    self.quick = self.quick.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn holds(&self) -> bool {
        let granted = self.granted.count();
        !self.disproved && granted >= 3 && self.quick > granted / 2
    }

    fn finding(&self) -> Finding {
        let number = self.granted.count();
        Finding::session(&self.granted)
            .describe(&format!(
                "The user agreed with all of {}, {} of them within 5 seconds.",
                count(number, "request"),
                self.quick
            ))
            .with("approval_count", number)
            .with("within_5_s", self.quick)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ApprovalKind;

    use crate::rules::story::Story;

    #[test]
    fn three_quick_answers_make_it() {
        let mut story = Story::begun("fix it");
        for _ in 0..3 {
            story.none("rapid_approvals");
            story.asks(ApprovalKind::Exec).answers("approved");
        }
        assert_eq!(story.only("rapid_approvals").evidence["within_5_s"], 3);
    }

    #[test]
    fn half_of_them_slow_is_not_rapid() {
        let mut story = Story::begun("fix it");
        for seconds in [0, 60, 0, 60] {
            story.asks(ApprovalKind::Exec).waits(seconds).answers("approved");
        }
        story.none("rapid_approvals");
    }

    #[test]
    fn a_request_without_an_answer_disproves_it() {
        let mut story = Story::begun("fix it");
        for _ in 0..4 {
            story.asks(ApprovalKind::Exec).answers("approved");
        }
        story.only("rapid_approvals");
        story.asks(ApprovalKind::Exec).leaves_unanswered();
        story.none("rapid_approvals");
    }
}
