//! `patch_failure`: a patch could not be applied.

use trace::What;
use trace::session::CallOutcome;

use crate::rules::call::{CallKind, name};
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// A patch could not be applied.
    PATCH_FAILURE = "patch_failure", Friction, 0.6, Moment;
    trigger: "A patch that ended without success.",
    threshold: "Each one, but not what the user rejected (a denial).",
    grading: "",
    evidence: "`paths`, `message` (the beginning of what was said of it).",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::CallClosed(call) = moment.fact.what else { return };
    if CallKind::of(call) != CallKind::Patch
        || !matches!(call.outcome, CallOutcome::Failed | CallOutcome::Broken)
    {
        return;
    }
    let paths: Vec<_> = call.changes.iter().map(|(path, _)| path.as_str()).collect();
    let finding = Finding::at(moment.fact)
        .call(call)
        .describe(&format!("{} could not be applied.", name(call)))
        .with("paths", paths)
        .with("message", call.message.as_deref());
    scope.raise(&PATCH_FAILURE, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::record::ChangeKind;
    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn a_patch_that_cannot_be_applied_is_told_with_its_paths() {
        let mut story = Story::begun("fix it");
        story.patch(&[("src/a.rs", ChangeKind::Update), ("b", ChangeKind::Add)], CallOutcome::Failed);
        let signal = story.only("patch_failure");
        assert_eq!(signal.description, "The patch of `src/a.rs` and 1 more could not be applied.");
        assert_eq!(signal.evidence["paths"], serde_json::json!(["src/a.rs", "b"]));
    }

    #[test]
    fn a_rejected_patch_did_not_fail() {
        let mut story = Story::begun("fix it");
        story.patch(&[("a", ChangeKind::Update)], CallOutcome::Rejected);
        story.none("patch_failure");
    }
}
