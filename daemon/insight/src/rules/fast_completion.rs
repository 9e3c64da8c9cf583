//! `fast_completion`: done in a few turns.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::session::{CallOutcome, TurnEnd};

use crate::rules::call::{CallKind, is_by_user};
use crate::rules::command::only_looks;
use crate::rules::words::count;
use crate::rules::{Descriptor, Finding, Moment, Tally, Verdict, descriptor};

descriptor! {
    /// The work was done in a few turns.
    FAST_COMPLETION = "fast_completion", Delight, 0.8, Session;
    trigger: "A patch was applied, or a command of the agent that does more than look succeeded; a turn has completed (where the format does not tell: the session has settled), and none has been interrupted, failed or been cut off.",
    threshold: "1 to 3 user turns.",
    grading: "",
    evidence: "`turn_count`, `successful_execs`, `successful_patches`.",
}

/// How many turns are few.
const TURNS: u64 = 3;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FastCompletion {
    turns: u64,
    completed: bool,
    disproved: bool,
    execs: u64,
    patches: u64,
    successes: Tally,
}

impl Verdict for FastCompletion {
    const RULE: Descriptor = FAST_COMPLETION;

    fn feed(&mut self, moment: &Moment<'_>) {
        match moment.fact.what {
            What::TurnBegan(_) => self.turns = self.turns.saturating_add(1),
            What::TurnEnded(turn) => match turn.end {
                TurnEnd::Complete => self.completed = true,
                TurnEnd::Open => {}
                TurnEnd::Failed { .. } | TurnEnd::Aborted { .. } | TurnEnd::Cut => self.disproved = true,
            },
            // What cannot hold any more need not be counted: telling what a command is for is costly.
            What::CallClosed(_) if self.disproved || self.turns > TURNS => {}
            What::CallClosed(call) if call.outcome == CallOutcome::Succeeded && !is_by_user(call) => {
                match CallKind::of(call) {
                    CallKind::Patch => self.patches = self.patches.saturating_add(1),
                    CallKind::Exec if !only_looks(&call.arguments) => {
                        self.execs = self.execs.saturating_add(1);
                    }
                    _ => return,
                }
                self.successes.extend(moment.fact);
            }
            _ => {}
        }
    }

    fn holds(&self) -> bool {
        self.completed && self.holds_at_last()
    }

    fn holds_at_last(&self) -> bool {
        !self.disproved && (1..=TURNS).contains(&self.turns) && self.successes.count() > 0
    }

    fn finding(&self) -> Finding {
        Finding::session(&self.successes)
            .describe(&format!("The work was done in {}.", count(self.turns, "turn")))
            .with("turn_count", self.turns)
            .with("successful_execs", self.execs)
            .with("successful_patches", self.patches)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ChangeKind;
    use trace::session::{CallOutcome, TurnEnd};

    use crate::rules::story::Story;

    #[test]
    fn it_holds_from_the_first_completed_turn_to_the_fourth() {
        let mut story = Story::begun("fix it");
        story.patch(&[("a", ChangeKind::Update)], CallOutcome::Succeeded);
        story.none("fast_completion");
        story.ends(TurnEnd::Complete);
        assert!(!story.only("fast_completion").settled);
        story.says("and that").says("and this");
        story.only("fast_completion");
        story.says("and more");
        story.none("fast_completion");
    }

    #[test]
    fn looking_around_is_no_work_done() {
        let mut story = Story::begun("what is here?");
        story.exec("ls -la", 0).ends(TurnEnd::Complete).settles();
        story.none("fast_completion");
    }

    #[test]
    fn an_interrupted_session_was_not_fast() {
        let mut story = Story::begun("fix it");
        story.exec("make", 0).ends(TurnEnd::Complete);
        story.says("more").ends(TurnEnd::Aborted { reason: "interrupted".into() });
        story.none("fast_completion");
    }

    #[test]
    fn where_turns_have_no_end_the_end_of_the_session_counts() {
        let mut story = Story::begun("fix it");
        story.exec("make", 0);
        story.none("fast_completion");
        story.settles();
        assert!(story.only("fast_completion").settled);
        story.exec("make", 0);
        story.none("fast_completion");
        story.settles();
        assert_eq!(story.only("fast_completion").evidence["successful_execs"], 2);
    }
}
