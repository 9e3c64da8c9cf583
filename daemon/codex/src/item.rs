//! The items inside events: messages, commands, file changes and the like.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One item of a turn, at one moment: Codex sends it when it starts, when it changes and when it is
/// complete, each time whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// `item_0`, `item_1`, … counted anew in every process, so unique within a run only. Empty if
    /// Codex sent none.
    pub id: String,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is. Fields that are missing or of another type come out empty.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemKind {
    /// Something that the model says. The last one of a turn is its answer.
    AgentMessage {
        /// The text.
        text: String,
    },
    /// A summary of what the model thinks.
    Reasoning {
        /// The text.
        text: String,
    },
    /// A shell command of the model.
    Command {
        /// The command line, with the shell that runs it in front.
        command: String,
        /// What it printed; empty until it is complete.
        output: String,
        /// Its exit code, when it has ended.
        exit_code: Option<i64>,
        /// Where it stands.
        status: ItemStatus,
    },
    /// A patch.
    FileChange {
        /// The files.
        changes: Vec<FileChange>,
        /// Where it stands.
        status: ItemStatus,
    },
    /// A call of a tool of an MCP server.
    McpToolCall {
        /// The server's name.
        server: String,
        /// The tool's name.
        tool: String,
        /// What it was called with.
        arguments: Value,
        /// What it answered: `content` and `structured_content`.
        result: Option<Value>,
        /// Why it failed.
        error: Option<String>,
        /// Where it stands.
        status: ItemStatus,
    },
    /// A search of the web.
    WebSearch {
        /// What was looked for.
        query: String,
    },
    /// The model's own plan.
    TodoList {
        /// Its entries.
        items: Vec<TodoEntry>,
    },
    /// A warning, not the end of anything.
    Warning {
        /// The text.
        message: String,
    },
    /// A type of item that this crate does not know, or one without its essential field.
    Unknown {
        /// Its type, if it has one.
        name: String,
        /// The whole item.
        raw: Value,
    },
}

/// Where an item stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// Begun.
    InProgress,
    /// Ended well.
    Completed,
    /// Ended with a failure; for commands: with another exit code than 0.
    Failed,
    /// Not allowed.
    Declined,
    /// A word that this crate does not know, or none.
    Other(String),
}

/// One file of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// The path, absolute.
    pub path: String,
    /// What happens to it.
    pub kind: ChangeKind,
}

/// What happens to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It goes.
    Delete,
    /// It changes.
    Update,
    /// A word that this crate does not know, or none.
    Other(String),
}

/// One entry of the model's plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TodoEntry {
    /// What is to be done.
    pub text: String,
    /// Whether it is done.
    pub completed: bool,
}

impl Item {
    /// Reads an item. Never fails: what is not understood is [`ItemKind::Unknown`].
    pub(crate) fn decode(raw: Value) -> Self {
        // A web search has the key `id` twice; `Value` keeps the second, the model's own id. It is as
        // good as the first: it does not change from the start of the item to its end.
        let id = text(&raw, "id");
        let kind = known(&raw).unwrap_or_else(|| ItemKind::Unknown { name: text(&raw, "type"), raw });
        Self { id, kind }
    }
}

fn known(raw: &Value) -> Option<ItemKind> {
    let required = |key: &str| raw.get(key)?.as_str().map(str::to_owned);
    Some(match raw.get("type")?.as_str()? {
        "agent_message" => ItemKind::AgentMessage { text: required("text")? },
        "reasoning" => ItemKind::Reasoning { text: required("text")? },
        "command_execution" => ItemKind::Command {
            command: required("command")?,
            output: text(raw, "aggregated_output"),
            exit_code: raw.get("exit_code").and_then(Value::as_i64),
            status: status(raw),
        },
        "file_change" => ItemKind::FileChange {
            changes: list(raw, "changes", |change| FileChange {
                path: text(change, "path"),
                kind: change_kind(change),
            })?,
            status: status(raw),
        },
        "mcp_tool_call" => ItemKind::McpToolCall {
            server: required("server")?,
            tool: required("tool")?,
            arguments: raw.get("arguments").cloned().unwrap_or_default(),
            result: raw.get("result").filter(|result| !result.is_null()).cloned(),
            error: raw.get("error").and_then(error_text),
            status: status(raw),
        },
        "web_search" => ItemKind::WebSearch { query: text(raw, "query") },
        "todo_list" => ItemKind::TodoList {
            items: list(raw, "items", |entry| TodoEntry {
                text: text(entry, "text"),
                completed: entry.get("completed").and_then(Value::as_bool).unwrap_or_default(),
            })?,
        },
        "error" => ItemKind::Warning { message: required("message")? },
        _ => return None,
    })
}

fn list<T>(raw: &Value, key: &str, entry: impl Fn(&Value) -> T) -> Option<Vec<T>> {
    Some(raw.get(key)?.as_array()?.iter().map(entry).collect())
}

/// The text of a key, or nothing.
pub(crate) fn text(raw: &Value, key: &str) -> String {
    raw.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An error is a text, or an object with a `message`, or something else that is shown as it is.
pub(crate) fn error_text(error: &Value) -> Option<String> {
    match error {
        Value::Null => None,
        Value::String(message) => Some(message.clone()),
        other => Some(
            other.get("message").and_then(Value::as_str).map_or_else(|| other.to_string(), str::to_owned),
        ),
    }
}

fn status(raw: &Value) -> ItemStatus {
    match raw.get("status").and_then(Value::as_str).unwrap_or_default() {
        "in_progress" => ItemStatus::InProgress,
        "completed" => ItemStatus::Completed,
        "failed" => ItemStatus::Failed,
        "declined" => ItemStatus::Declined,
        other => ItemStatus::Other(other.to_owned()),
    }
}

fn change_kind(raw: &Value) -> ChangeKind {
    match raw.get("kind").and_then(Value::as_str).unwrap_or_default() {
        "add" => ChangeKind::Add,
        "delete" => ChangeKind::Delete,
        "update" => ChangeKind::Update,
        other => ChangeKind::Other(other.to_owned()),
    }
}
