//! `backtracking`: the user went back again and again.

use serde::{Deserialize, Serialize};

use crate::rules::moment::Retreat;
use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, Tally, descriptor};

descriptor! {
    /// The user went back again and again.
    BACKTRACKING = "backtracking", Friction, 0.5, Growing;
    trigger: "Signals of `undo`, `rollback` and `revert_in_message`.",
    threshold: "2 of them in the session.",
    grading: "",
    evidence: "`undos`, `rollbacks`, `messages`: how many of each.",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backtracking {
    all: Tally,
    undos: u64,
    rollbacks: u64,
    messages: u64,
}

impl Backtracking {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let number = match moment.retreat {
            Some(Retreat::Undo) => &mut self.undos,
            Some(Retreat::Rollback) => &mut self.rollbacks,
            Some(Retreat::Message(_)) => &mut self.messages,
            None => return,
        };
        *number = number.saturating_add(1);
        self.all.add(moment.fact);
        if self.all.count() >= 2 {
            let times = count(self.all.count(), "time");
            let finding = Finding::moments(&self.all)
                .describe(&format!("The user went back on the agent's work {times} in this session."))
                .with("undos", self.undos)
                .with("rollbacks", self.rollbacks)
                .with("messages", self.messages);
            scope.raise(&BACKTRACKING, finding);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn two_ways_of_going_back_make_it() {
        let mut story = Story::begun("fix it");
        story.undoes(None).undoes(Some(true));
        story.none("backtracking");
        story.rolls_back(1);
        let signal = story.only("backtracking");
        assert_eq!((&signal.evidence["undos"], &signal.evidence["rollbacks"]), (&1.into(), &1.into()));
    }
}
