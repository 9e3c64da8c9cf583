//! `repeated_compaction`: the context became too long again and again.

use serde::{Deserialize, Serialize};
use trace::What;

use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, Tally, descriptor};

descriptor! {
    /// The context became too long again and again.
    REPEATED_COMPACTION = "repeated_compaction", Friction, 0.6, Growing;
    trigger: "Compactions of the model's context.",
    threshold: "2 in the session.",
    grading: "",
    evidence: "`compaction_count`.",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RepeatedCompaction {
    compactions: Tally,
}

impl RepeatedCompaction {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        if !matches!(moment.fact.what, What::Compacted(_)) {
            return;
        }
        self.compactions.add(moment.fact);
        let number = self.compactions.count();
        if number >= 2 {
            let times = count(number, "time");
            let finding = Finding::moments(&self.compactions)
                .describe(&format!("The model's context was compacted {times} in this session."))
                .with("compaction_count", number);
            scope.raise(&REPEATED_COMPACTION, finding);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn the_second_compaction_makes_it() {
        let mut story = Story::begun("fix it");
        story.compacts();
        story.none("repeated_compaction");
        story.compacts().compacts();
        assert_eq!(story.only("repeated_compaction").evidence["compaction_count"], 3);
    }
}
