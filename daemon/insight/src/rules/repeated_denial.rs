//! `repeated_denial`: the user said no again and again.

use serde::{Deserialize, Serialize};

use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, Tally, descriptor};

descriptor! {
    /// The user said no again and again.
    REPEATED_DENIAL = "repeated_denial", Friction, 0.9, Growing;
    trigger: "Denials of commands and patches.",
    threshold: "3 in the session, in a row or not.",
    grading: "",
    evidence: "`denial_count`.",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RepeatedDenial {
    denials: Tally,
}

impl RepeatedDenial {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        if moment.denial.is_none() {
            return;
        }
        self.denials.add(moment.fact);
        let number = self.denials.count();
        if number >= 3 {
            let finding = Finding::moments(&self.denials)
                .describe(&format!("The user denied {} in this session.", count(number, "request")))
                .with("denial_count", number);
            scope.raise(&REPEATED_DENIAL, finding);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ApprovalKind;

    use crate::rules::story::Story;

    #[test]
    fn the_third_denial_makes_it_and_further_ones_add_to_it() {
        let mut story = Story::begun("fix it");
        for number in 1..=20_u64 {
            let kind = if number % 2 == 0 { ApprovalKind::Patch } else { ApprovalKind::Exec };
            story.asks(kind).answers("approved").asks(kind).answers("denied");
            match number {
                1 | 2 => story.none("repeated_denial"),
                _ => assert_eq!(story.only("repeated_denial").evidence["denial_count"], number),
            }
        }
        let signal = story.only("repeated_denial");
        assert_eq!(signal.places.len(), 16, "evidence stays small");
        assert!(signal.seq_start < signal.seq_end);
    }
}
