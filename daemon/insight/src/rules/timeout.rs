//! `timeout`: something took too long.

use trace::What;
use trace::session::CallOutcome;

use crate::rules::call::name;
use crate::rules::moment::TroubleKind;
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// Something took too long.
    TIMEOUT = "timeout", Friction, 0.8, Moment;
    trigger: "An error whose message tells of a time-out, or a tool call that was stopped because it took too long (exit code 124, or its own words).",
    threshold: "Each one; it is no `error_event` or `exec_failure` then.",
    grading: "",
    evidence: "`message`, `info`; of a call: `tool`, `command`, `exit_code`, `duration_ms`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    if let Some(trouble) = moment.trouble.filter(|trouble| trouble.kind == TroubleKind::Timeout) {
        let finding = Finding::at(moment.fact)
            .describe(&format!("Codex told of a time-out: {}", trouble.words()))
            .with("message", trouble.message)
            .with("info", trouble.info);
        scope.raise(&TIMEOUT, finding);
    }
    if let What::CallClosed(call) = moment.fact.what
        && call.outcome == CallOutcome::TimedOut
    {
        let after = call.duration_ms.map_or_else(String::new, |duration| format!(" after {duration} ms"));
        let finding = Finding::at(moment.fact)
            .call(call)
            .describe(&format!("{} was stopped{after} because it took too long.", name(call)))
            .with("tool", call.tool.as_str())
            .with("command", call.arguments.as_str())
            .with("exit_code", call.exit_code)
            .with("duration_ms", call.duration_ms)
            .with("message", call.message.as_deref());
        scope.raise(&TIMEOUT, finding);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn an_error_about_time_is_a_timeout_and_no_error_event() {
        let mut story = Story::begun("fix it");
        story.error("request Timed Out after 60 s", None);
        story.only("timeout");
        story.none("error_event");
    }

    #[test]
    fn a_command_that_took_too_long_is_a_timeout_and_no_failure() {
        let mut story = Story::begun("fix it");
        story.call(|call| {
            call.arguments = "bash -lc 'make all'".into();
            call.outcome = CallOutcome::TimedOut;
            call.exit_code = Some(124);
            call.duration_ms = Some(10_000);
        });
        assert_eq!(
            story.only("timeout").description,
            "`make all` was stopped after 10000 ms because it took too long."
        );
        story.none("exec_failure");
    }
}
