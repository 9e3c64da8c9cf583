//! `truncation_warning`: something was cut, or the context was full.

use trace::What;

use crate::rules::moment::{TroubleKind, tells_of_a_full_context};
use crate::rules::words::lower;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// Something was cut because it was too long, or the model's context was full.
    TRUNCATION_WARNING = "truncation_warning", Friction, 0.3, Moment;
    trigger: "A `warning` that speaks of truncation or of the context window; an error `context_window_exceeded` or one whose message speaks of it.",
    threshold: "Each one; such an error is no `error_event`.",
    grading: "0.6 for an error: the turn ended there.",
    evidence: "`message`, `info`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    if let What::Warning { message } = moment.fact.what
        && (lower(message).contains("truncat") || tells_of_a_full_context(message))
    {
        let finding =
            Finding::at(moment.fact).describe(&format!("Codex warned: {message}")).with("message", message);
        scope.raise(&TRUNCATION_WARNING, finding);
    }
    if let Some(trouble) = moment.trouble.filter(|trouble| trouble.kind == TroubleKind::Context) {
        let finding = Finding::at(moment.fact)
            .severity(0.6)
            .describe(&format!("The model's context was full: {}", trouble.words()))
            .with("message", trouble.message)
            .with("info", trouble.info);
        scope.raise(&TRUNCATION_WARNING, finding);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use crate::rules::story::Story;

    #[test]
    fn a_warning_of_truncation_is_one_and_another_warning_is_not() {
        let mut story = Story::begun("fix it");
        story.warning("Output was TRUNCATED to 10 kB").warning("a new version is available");
        story.only("truncation_warning");
    }

    #[test]
    fn a_full_context_is_told_here_and_not_as_an_error_event() {
        let mut story = Story::begun("fix it");
        story.error("ran out of room", Some("context_window_exceeded"));
        assert_eq!(story.only("truncation_warning").evidence["info"], "context_window_exceeded");
        story.none("error_event");
    }
}
