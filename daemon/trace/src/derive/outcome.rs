//! How a tool call ended, from what is said of it.
//!
//! The text of an output is the command's own, so it decides nothing by itself: words of Codex count only at
//! the beginning, and where no exit code speaks for a process that ran.

use super::command::{EXEC, PATCH};
use super::words::cut;
use crate::record::{ExecEnd, PatchEnd};
use crate::session::CallOutcome;

/// How much of what was said of a failure is kept, in bytes.
const MESSAGE: usize = 200;

/// The end of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    pub outcome: CallOutcome,
    pub exit_code: Option<i64>,
    pub duration_ms: Option<u64>,
    pub message: Option<String>,
}

/// What the model was given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'g> {
    pub exit_code: Option<i64>,
    pub duration_ms: Option<u64>,
    pub head: &'g str,
}

/// What is known of a call apart from the words of its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// The last answer to its requests was no.
    pub denied: bool,
    /// Its turn was interrupted while it ran.
    pub interrupted: bool,
}

impl End {
    /// The end of a command.
    pub(super) fn of_exec(end: &ExecEnd<'_>, before: Before) -> Self {
        let status = end.status.as_deref();
        let outcome = exec_outcome(end.exit_code, status, &end.head, before);
        Self::new(outcome, end.exit_code, end.duration_ms, &end.head)
    }

    /// The end of a patch.
    pub(super) fn of_patch(end: &PatchEnd<'_>, before: Before) -> Self {
        Self::patch(end.success, end.status.as_deref() == Some("declined"), &end.head, before)
    }

    /// The end of any other tool.
    pub(super) fn of_tool(
        failed: bool,
        duration_ms: Option<u64>,
        message: Option<&str>,
        before: Before,
    ) -> Self {
        let message = message.unwrap_or_default();
        let outcome = if !failed {
            CallOutcome::Succeeded
        } else if before.denied || rejection(message) {
            CallOutcome::Rejected
        } else if before.interrupted {
            CallOutcome::Interrupted
        } else if timed_out(message) {
            CallOutcome::TimedOut
        } else if execution_error(message) {
            CallOutcome::Broken
        } else {
            CallOutcome::Failed
        };
        Self::new(outcome, None, duration_ms, message)
    }

    /// The end of a call of which a rollout has only what the model was given back; none when that says that
    /// the call goes on, or only that the turn was interrupted.
    ///
    /// An exit code is a command's. Of a patch it says whether it was applied; what another tool gives back may
    /// tell of the exit code of a command, but that command is a call of its own.
    pub(super) fn of_output(tool: &str, given: Given<'_>, before: Before) -> Option<Self> {
        let Given { exit_code, duration_ms, head } = given;
        if aborted(head) && exit_code.is_none() {
            return None;
        }
        if tool == PATCH {
            let success = exit_code.map_or(!refusal(head) && !rejection(head), |code| code == 0);
            return Some(Self::patch(success, false, head, before));
        }
        if tool != EXEC {
            return Some(Self::of_tool(rejection(head) || refusal(head), duration_ms, Some(head), before));
        }
        let outcome = match exit_code {
            Some(_) => exec_outcome(exit_code, None, head, before),
            None if rejection(head) || before.denied => CallOutcome::Rejected,
            None if timed_out(head) => CallOutcome::TimedOut,
            None if execution_error(head) => CallOutcome::Broken,
            None if refusal(head) => CallOutcome::Failed,
            None => return None,
        };
        Some(Self::new(outcome, exit_code, duration_ms, head))
    }

    fn patch(success: bool, declined: bool, head: &str, before: Before) -> Self {
        let outcome = if success && !declined {
            CallOutcome::Succeeded
        } else if declined || before.denied || rejection(head) {
            CallOutcome::Rejected
        } else if before.interrupted {
            CallOutcome::Interrupted
        } else if execution_error(head) {
            CallOutcome::Broken
        } else {
            CallOutcome::Failed
        };
        Self::new(outcome, None, None, head)
    }

    fn new(outcome: CallOutcome, exit_code: Option<i64>, duration_ms: Option<u64>, said: &str) -> Self {
        let said = said.trim();
        let message =
            (outcome != CallOutcome::Succeeded && !said.is_empty()).then(|| cut(said, MESSAGE).to_owned());
        Self { outcome, exit_code, duration_ms, message }
    }
}

fn exec_outcome(exit_code: Option<i64>, status: Option<&str>, head: &str, before: Before) -> CallOutcome {
    match exit_code {
        _ if status == Some("declined") => CallOutcome::Rejected,
        Some(0) => CallOutcome::Succeeded,
        Some(_) if before.denied => CallOutcome::Rejected,
        Some(-1) if rejection(head) => CallOutcome::Rejected,
        Some(_) if before.interrupted => CallOutcome::Interrupted,
        Some(124) => CallOutcome::TimedOut,
        Some(_) if timed_out(head) => CallOutcome::TimedOut,
        Some(-1) => CallOutcome::Broken,
        Some(_) => CallOutcome::Failed,
        None if rejection(head) || before.denied => CallOutcome::Rejected,
        None if before.interrupted => CallOutcome::Interrupted,
        None if timed_out(head) => CallOutcome::TimedOut,
        None if execution_error(head) => CallOutcome::Broken,
        None if status == Some("failed") => CallOutcome::Failed,
        None => CallOutcome::Succeeded,
    }
}

/// The user said no, in the words of the tools. What Codex refuses by itself reads much alike, but for the
/// reason.
fn rejection(head: &str) -> bool {
    let head = head.trim_start();
    let said = [
        "exec command rejected by user",
        "patch rejected by user",
        "rejected by user",
        "user rejected MCP tool call",
    ];
    said.iter().any(|start| head.starts_with(start))
        || (head.starts_with("exec_command failed") && head.contains(r#"Rejected(\"rejected by user\")"#))
}

/// Codex's own words for a command that took too long.
fn timed_out(head: &str) -> bool {
    let first = head.trim_start().lines().next().unwrap_or_default();
    ["command timed out", "timed out", "tool call timed out", "execution error: command timed out"]
        .iter()
        .any(|start| first.starts_with(start))
        || first.contains("timed out awaiting")
}

fn execution_error(head: &str) -> bool {
    head.trim_start().starts_with("execution error:")
}

fn aborted(head: &str) -> bool {
    let head = head.trim();
    head == "aborted" || head.starts_with("aborted by user")
}

/// Codex did not run the call, and told the model why.
fn refusal(head: &str) -> bool {
    let head = head.trim_start();
    [
        "exec_command failed",
        "write_stdin failed",
        "failed to parse",
        "unsupported call",
        "unsupported custom tool call",
        "apply_patch verification failed",
        "tool call error",
        "approval policy is",
        "err: ",
        "Error: ",
        "execution error:",
    ]
    .iter()
    .any(|start| head.starts_with(start))
}
