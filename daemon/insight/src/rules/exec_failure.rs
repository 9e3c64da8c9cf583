//! `exec_failure`: a command failed.

use trace::What;
use trace::session::CallOutcome;

use crate::rules::call::{CallKind, is_by_user, name};
use crate::rules::command::answers_no_with_1;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// A command failed.
    EXEC_FAILURE = "exec_failure", Friction, 0.6, Moment;
    trigger: "A command that ended with an exit code other than 0, died by a signal, or could not be run.",
    threshold: "Each one, but not what the user rejected (a denial) or interrupted, and not what took too long (`timeout`).",
    grading: "0.2 if the user ran it in his own shell. 0.1 with confidence 0.5 for exit code 1 of a command that answers \"no\" so (`grep`, `test`, `diff` and their like).",
    evidence: "`command`, `exit_code`, `source`, `message` (the beginning of its output), `probe`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::CallClosed(call) = moment.fact.what else { return };
    if CallKind::of(call) != CallKind::Exec
        || !matches!(call.outcome, CallOutcome::Failed | CallOutcome::Broken)
    {
        return;
    }
    let probe = call.exit_code == Some(1) && answers_no_with_1(&call.arguments);
    let ended = match (call.outcome, call.exit_code) {
        (CallOutcome::Broken, _) => "could not be run, or died by a signal".to_owned(),
        (_, Some(code)) => format!("ended with exit code {code}"),
        (_, None) => "failed".to_owned(),
    };
    let mut finding = Finding::at(moment.fact)
        .call(call)
        .describe(&format!("{} {ended}.", name(call)))
        .with("command", call.arguments.as_str())
        .with("exit_code", call.exit_code)
        .with("source", call.source.as_deref())
        .with("message", call.message.as_deref())
        .with("probe", probe);
    if probe {
        finding = finding.severity(0.1).confidence(0.5);
    } else if is_by_user(call) {
        finding = finding.severity(0.2);
    }
    scope.raise(&EXEC_FAILURE, finding);
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are constants")]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn a_failed_command_is_told_with_its_exit_code_and_call() {
        let mut story = Story::begun("fix it");
        story.exec("bash -lc 'npm test'", 2);
        let signal = story.only("exec_failure");
        assert_eq!(signal.description, "`npm test` ended with exit code 2.");
        assert_eq!(signal.severity, 0.6);
        assert_eq!(signal.evidence["exit_code"], 2);
        assert_eq!(signal.call_id.as_deref(), Some("call_0"));
        assert_eq!(signal.places.len(), 2, "where it began and where it ended");
    }

    #[test]
    fn a_rejected_command_did_not_fail() {
        let mut story = Story::begun("fix it");
        story.call(|call| {
            call.outcome = CallOutcome::Rejected;
            call.exit_code = Some(-1);
        });
        story.none("exec_failure");
    }

    #[test]
    fn a_search_that_finds_nothing_hardly_counts() {
        let mut story = Story::begun("fix it");
        story.exec("grep -r needle src", 1);
        let signal = story.only("exec_failure");
        assert_eq!((signal.severity, signal.confidence), (0.1, 0.5));
    }

    #[test]
    fn a_search_that_breaks_counts_in_full() {
        let mut story = Story::begun("fix it");
        story.exec("grep -r needle src", 2);
        assert_eq!(story.only("exec_failure").severity, 0.6);
    }

    #[test]
    fn what_the_user_tries_himself_counts_less() {
        let mut story = Story::begun("fix it");
        story.call(|call| {
            call.source = Some("user_shell".into());
            call.exit_code = Some(1);
            call.outcome = CallOutcome::Failed;
        });
        assert_eq!(story.only("exec_failure").severity, 0.2);
    }
}
