//! What kind of tool call it is, and how it is named in a sentence.

use trace::session::ToolCall;

use crate::rules::command;
use crate::rules::words::quote;

/// What kind of tool call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Exec,
    Patch,
    Other,
}

impl CallKind {
    pub(crate) fn of(call: &ToolCall) -> Self {
        match call.tool.as_str() {
            "apply_patch" => Self::Patch,
            "exec_command" => Self::Exec,
            _ if call.exit_code.is_some() => Self::Exec,
            _ => Self::Other,
        }
    }
}

/// Whether the user ran it and not the agent.
pub(crate) fn is_by_user(call: &ToolCall) -> bool {
    call.source.as_deref() == Some("user_shell")
}

/// What a sentence calls it.
pub(crate) fn name(call: &ToolCall) -> String {
    match CallKind::of(call) {
        CallKind::Exec if !call.arguments.is_empty() => quote(&command::script(&call.arguments)),
        CallKind::Exec => "A command".to_owned(),
        CallKind::Patch => match call.changes.as_slice() {
            [] => "A patch".to_owned(),
            [(path, _)] => format!("The patch of {}", quote(path)),
            [(path, _), others @ ..] => format!("The patch of {} and {} more", quote(path), others.len()),
        },
        CallKind::Other => format!("The tool {}", quote(&call.tool)),
    }
}
