//! `compaction`: the context became too long.

use trace::What;

use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// The context became too long and was compacted.
    COMPACTION = "compaction", Friction, 0.2, Moment;
    trigger: "A compaction of the model's context.",
    threshold: "Each one.",
    grading: "",
    evidence: "`ordinal` (which it is in the session, from 0), `kind` (`local` or `remote`).",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::Compacted(row) = moment.fact.what else { return };
    let finding = Finding::at(moment.fact)
        .turn(&row.turn_id)
        .describe("The model's context was compacted.")
        .with("ordinal", row.ordinal)
        .with("kind", row.kind.as_deref());
    scope.raise(&COMPACTION, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn each_compaction_is_one() {
        let mut story = Story::begun("fix it");
        story.compacts().compacts();
        assert_eq!(story.found("compaction").len(), 2);
    }
}
