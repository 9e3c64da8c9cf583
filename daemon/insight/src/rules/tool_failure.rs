//! `tool_failure`: a tool other than commands and patches failed.

use trace::What;
use trace::session::CallOutcome;

use crate::rules::call::{CallKind, name};
use crate::rules::{Finding, Moment, Scope, descriptor};

descriptor! {
    /// A tool other than commands and patches failed. Earlier tools did not look at these.
    TOOL_FAILURE = "tool_failure", Friction, 0.5, Moment;
    trigger: "A call of an MCP server's or another tool that said that it failed.",
    threshold: "Each one, but not what the user rejected.",
    grading: "",
    evidence: "`tool`, `arguments`, `message`.",
}

pub(super) fn feed(moment: &Moment<'_>, scope: &mut Scope<'_>) {
    let What::CallClosed(call) = moment.fact.what else { return };
    if CallKind::of(call) != CallKind::Other
        || !matches!(call.outcome, CallOutcome::Failed | CallOutcome::Broken)
    {
        return;
    }
    let finding = Finding::at(moment.fact)
        .call(call)
        .describe(&format!("{} failed.", name(call)))
        .with("tool", call.tool.as_str())
        .with("arguments", call.arguments.as_str())
        .with("message", call.message.as_deref());
    scope.raise(&TOOL_FAILURE, finding);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use trace::session::CallOutcome;

    use crate::rules::story::Story;

    #[test]
    fn a_failed_tool_of_a_server_is_neither_a_command_nor_a_patch() {
        let mut story = Story::begun("look it up");
        story.call(|call| {
            call.tool = "mcp:docs.search".into();
            call.outcome = CallOutcome::Failed;
        });
        assert_eq!(story.only("tool_failure").description, "The tool `mcp:docs.search` failed.");
        story.none("exec_failure");
    }
}
