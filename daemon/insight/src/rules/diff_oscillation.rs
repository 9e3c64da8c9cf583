//! `diff_oscillation`: the agent goes back and forth between states of the files.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::session::Stamp;

use crate::rules::moment::digest;
use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The files came back to a state that they had been in before.
    DIFF_OSCILLATION = "diff_oscillation", Friction, 0.5, Growing;
    trigger: "The diff of a turn is again what it had been in the same turn, after having been different.",
    threshold: "1 return in a turn; further ones in the same turn add to it.",
    grading: "",
    evidence: "`returns`, `empty` (whether the state is that nothing is changed).",
}

/// How many states of a turn are remembered: the latest ones.
const STATES: usize = 128;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DiffOscillation {
    turn: u64,
    /// The states of this turn; the latest is the last.
    states: Vec<u64>,
    /// The first return of this turn.
    returned: Option<(u32, Stamp)>,
    returns: u64,
}

impl DiffOscillation {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let fact = moment.fact;
        let (hash, empty) = match fact.what {
            What::Diff { hash, empty } => (hash, empty),
            What::TurnBegan(_) => {
                *self = Self::default();
                return;
            }
            _ => return,
        };
        let turn = digest(fact.epoch, fact.turn_id);
        if turn != self.turn {
            *self = Self { turn, ..Self::default() };
        }
        if self.states.last() == Some(&hash) {
            return;
        }
        if let Some(index) = self.states.iter().position(|known| *known == hash) {
            self.states.remove(index);
            self.returns = self.returns.saturating_add(1);
            let (epoch, first) = *self.returned.get_or_insert((fact.epoch, fact.at));
            let times = count(self.returns, "time");
            let finding = Finding::since(epoch, &first)
                .until(&fact.at)
                .turn(fact.turn_id)
                .describe(&format!("The files came back to an earlier state {times} in one turn."))
                .with("returns", self.returns)
                .with("empty", empty);
            scope.raise(&DIFF_OSCILLATION, finding);
        } else if self.states.len() >= STATES {
            self.states.remove(0);
        }
        self.states.push(hash);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::session::TurnEnd;

    use crate::rules::story::Story;

    #[test]
    fn a_state_that_comes_again_after_another_is_one() {
        let mut story = Story::begun("fix it");
        story.diff(1).diff(1).diff(2);
        story.none("diff_oscillation");
        story.diff(1).diff(2);
        assert_eq!(story.only("diff_oscillation").evidence["returns"], 2);
    }

    #[test]
    fn another_turn_has_another_diff() {
        let mut story = Story::begun("fix it");
        story.diff(1).diff(2).ends(TurnEnd::Complete).says("more").diff(1);
        story.none("diff_oscillation");
    }
}
