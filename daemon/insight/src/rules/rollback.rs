//! `rollback`: the user took turns back.

use trace::What;

use crate::rules::words::count;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The user took turns back.
    ROLLBACK = "rollback", Friction, 0.4, Moment;
    trigger: "The user rolled the thread back by one or more turns.",
    threshold: "Each one; asking and telling are one.",
    grading: "",
    evidence: "`turns`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::Rollback { turns } = moment.fact.what else { return };
    let finding = Finding::at(moment.fact)
        .describe(&format!("The user rolled the thread back by {}.", count(turns, "turn")))
        .with("turns", turns);
    scope.raise(&ROLLBACK, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn a_rollback_tells_how_many_turns() {
        let mut story = Story::begun("fix it");
        story.rolls_back(2);
        assert_eq!(story.only("rollback").description, "The user rolled the thread back by 2 turns.");
    }
}
