//! `error_event`: Codex told of an error.

use crate::rules::moment::TroubleKind;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// Codex told of an error.
    ERROR_EVENT = "error_event", Friction, 0.8, Moment;
    trigger: "An `error` event, or a turn that ended with an error of which no event told.",
    threshold: "Each one, unless it is a `timeout` or a `truncation_warning`.",
    grading: "",
    evidence: "`message`; `info` (such as `usage_limit_exceeded`).",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let Some(trouble) = moment.trouble.filter(|trouble| trouble.kind == TroubleKind::Other) else { return };
    let sentence = match trouble.info {
        Some("usage_limit_exceeded") => format!("The usage limit was reached: {}", trouble.words()),
        Some("unauthorized") => format!("Codex was not let in: {}", trouble.words()),
        _ => format!("Codex told of an error: {}", trouble.words()),
    };
    let finding = Finding::at(moment.fact)
        .describe(&sentence)
        .with("message", trouble.message)
        .with("info", trouble.info);
    scope.raise(&ERROR_EVENT, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::session::TurnEnd;

    use crate::rules::story::Story;

    #[test]
    fn an_error_is_told_with_its_words_and_its_tag() {
        let mut story = Story::begun("fix it");
        story.error("You've hit your usage limit.\nTry later.", Some("usage_limit_exceeded"));
        let signal = story.only("error_event");
        assert_eq!(
            signal.description,
            "The usage limit was reached: You've hit your usage limit. Try later."
        );
        assert_eq!(signal.evidence["info"], "usage_limit_exceeded");
        assert!(signal.settled);
    }

    #[test]
    fn an_error_that_only_the_end_of_the_turn_tells_of_is_told_too() {
        let mut story = Story::begun("fix it");
        story.ends(TurnEnd::Failed { info: Some("internal_server_error".into()) });
        assert_eq!(story.only("error_event").evidence["info"], "internal_server_error");
    }

    #[test]
    fn an_error_and_the_end_of_its_turn_are_one() {
        let mut story = Story::begun("fix it");
        story.error("broken", None).ends(TurnEnd::Failed { info: None });
        story.only("error_event");
    }
}
