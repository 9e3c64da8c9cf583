//! `undo`: the user undid what the agent had done.

use serde::{Deserialize, Serialize};
use trace::What;
use trace::session::Stamp;

use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The user undid what the agent had done.
    UNDO = "undo", Friction, 0.3, Moment;
    trigger: "The user asked to undo, or Codex told that it had undone.",
    threshold: "Each one; asking and telling are one.",
    grading: "0.5 if it did not work.",
    evidence: "`success`, once it is told.",
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Undo {
    /// Where it was asked for, while it is not done.
    asked: Option<(u32, Stamp)>,
}

impl Undo {
    pub(super) fn feed(&mut self, moment: &Moment<'_>, scope: &mut Scope<'_>) {
        let What::Undo { success } = moment.fact.what else { return };
        let mut finding = match (success, self.asked.take()) {
            (Some(_), Some((epoch, asked))) => Finding::since(epoch, &asked).until(&moment.fact.at),
            _ => Finding::at(moment.fact),
        };
        if success.is_none() {
            self.asked = Some((moment.fact.epoch, moment.fact.at));
        }
        finding = match success {
            Some(false) => finding.describe("The user asked to undo, and it did not work.").severity(0.5),
            Some(true) => finding.describe("The user undid what the agent had done."),
            None => finding.describe("The user asked to undo."),
        };
        scope.raise(&UNDO, finding.turn(moment.fact.turn_id).with("success", success));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn asking_and_telling_are_one_signal_under_one_id() {
        let mut story = Story::begun("fix it");
        story.undoes(None);
        let asked = story.only("undo");
        story.undoes(Some(true));
        let done = story.only("undo");
        assert_eq!(asked.id, done.id);
        assert_eq!(done.evidence["success"], true);
        assert_eq!(done.places.len(), 2);
    }

    #[test]
    fn an_undo_of_which_only_the_end_is_on_record_counts_too() {
        let mut story = Story::begun("fix it");
        story.undoes(Some(false)).undoes(Some(true));
        assert_eq!(story.found("undo").len(), 2);
    }
}
