//! `zero_denial`: the user agreed with everything.

use serde::{Deserialize, Serialize};
use trace::What;

use crate::rules::words::count;
use crate::rules::{Descriptor, Finding, Moment, Tally, Verdict, descriptor};

descriptor! {
    /// The user was asked and denied nothing.
    ZERO_DENIAL = "zero_denial", Delight, 0.7, Session;
    trigger: "Requests for approval were granted, and none was denied.",
    threshold: "1 request that was answered.",
    grading: "",
    evidence: "`approval_count` (requests that were granted).",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ZeroDenial {
    granted: Tally,
    disproved: bool,
}

impl Verdict for ZeroDenial {
    const RULE: Descriptor = ZERO_DENIAL;

    fn feed(&mut self, moment: &Moment<'_>) {
        self.disproved |= moment.denial.is_some();
        if let What::Decided(approval) = moment.fact.what
            && approval.approved == Some(true)
        {
            self.granted.extend(moment.fact);
        }
    }

    fn holds(&self) -> bool {
        !self.disproved && self.granted.count() > 0
    }

    fn finding(&self) -> Finding {
        let number = self.granted.count();
        let text = if number == 1 {
            "The user was asked once and agreed.".to_owned()
        } else {
            format!("The user agreed with all of {}.", count(number, "request"))
        };
        Finding::session(&self.granted).describe(&text).with("approval_count", number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ApprovalKind;

    use crate::rules::story::Story;

    #[test]
    fn a_request_that_nobody_answered_is_not_agreed_with() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).settles();
        story.none("zero_denial");
    }

    #[test]
    fn one_denial_disproves_it() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("approved");
        assert!(!story.only("zero_denial").settled);
        story.asks(ApprovalKind::Patch).answers("abort");
        story.none("zero_denial");
    }

    #[test]
    fn it_is_final_when_the_session_settles_and_open_again_after_a_resume() {
        let mut story = Story::begun("fix it");
        story.asks(ApprovalKind::Exec).answers("approved").settles();
        assert!(story.only("zero_denial").settled);
        story.says("one more thing");
        assert!(!story.only("zero_denial").settled);
        story.asks(ApprovalKind::Exec).answers("denied").settles();
        story.none("zero_denial");
    }
}
