//! What the earlier tool looks at in a record.

use jiff::Timestamp;
use serde_json::{Map, Value};
use trace::Place;

/// A record that some rule looks at; all others are forgotten at once.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) seq: i64,
    pub(super) at: Option<Timestamp>,
    pub(super) place: Place,
    /// The id of the envelope within the payload, or the turn of a boundary.
    pub(super) turn_id: Option<String>,
    pub(super) seen: Seen,
}

/// What was seen in it.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    TurnContext,
    UserTurn { reverts: bool },
    DeniedExec,
    DeniedPatch,
    Error { message: String },
    StreamError,
    TruncationWarning,
    ApprovalRequest,
    CallBegan,
    ExecEnd { call_id: Option<String>, exit_code: Option<Value> },
    PatchEnd { call_id: Option<String>, failed: bool, added: Vec<String>, deleted: Vec<String> },
    Plan,
    Compaction,
}

impl Kept {
    /// What is seen in a record; a command that begins is one thing, an answer another.
    pub(super) fn of(record: &Value, place: Place) -> Option<Self> {
        let empty = Value::Object(Map::new());
        let payload = record.get("payload").filter(|payload| payload.is_object()).unwrap_or(&empty);
        let seen = match record.get("type").and_then(Value::as_str)? {
            "turn_context" => Seen::TurnContext,
            "compaction_boundary" => Seen::Compaction,
            "submission" => submission(payload.get("op")?)?,
            "event" => event(payload.get("msg")?)?,
            _ => return None,
        };
        let id = if matches!(seen, Seen::Compaction | Seen::TurnContext) { "turn_id" } else { "id" };
        Some(Self {
            seq: record.get("seq").and_then(Value::as_i64).unwrap_or(0),
            at: record.get("timestamp").and_then(Value::as_str).and_then(|time| time.parse().ok()),
            place,
            turn_id: text(payload, id),
            seen,
        })
    }
}

fn submission(op: &Value) -> Option<Seen> {
    let denied = decision(op) == Some("denied");
    match op.get("type")?.as_str()? {
        "exec_approval" if denied => Some(Seen::DeniedExec),
        "patch_approval" if denied => Some(Seen::DeniedPatch),
        "user_turn" => Some(Seen::UserTurn { reverts: reverts(op) }),
        _ => None,
    }
}

/// A decision as text, or as an object with a type.
fn decision(op: &Value) -> Option<&str> {
    let decision = op.get("decision")?;
    decision.as_str().or_else(|| decision.get("type")?.as_str())
}

fn reverts(op: &Value) -> bool {
    const WORDS: [&str; 6] = ["undo", "revert", "go back", "delete that", "remove that", "cancel"];
    let items = op.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .filter(|item| item.get("type").and_then(Value::as_str) == Some("text"))
        .filter_map(|item| item.get("text")?.as_str())
        .any(|text| {
            let text = text.to_lowercase();
            WORDS.iter().any(|word| text.contains(word))
        })
}

fn event(msg: &Value) -> Option<Seen> {
    let fields = match msg.get("payload") {
        Some(Value::Object(nested)) if !nested.is_empty() => msg.get("payload")?,
        _ => msg,
    };
    let message = || fields.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(match msg.get("type")?.as_str()? {
        "error" => Seen::Error { message: message() },
        "stream_error" => Seen::StreamError,
        "warning" if message().to_lowercase().contains("truncat") => Seen::TruncationWarning,
        "exec_approval_request" | "apply_patch_approval_request" => Seen::ApprovalRequest,
        "exec_command_begin" | "patch_apply_begin" => Seen::CallBegan,
        "exec_command_end" => Seen::ExecEnd {
            call_id: text(fields, "call_id"),
            exit_code: fields.get("exit_code").filter(|code| !code.is_null()).cloned(),
        },
        "patch_apply_end" => Seen::PatchEnd {
            call_id: text(fields, "call_id"),
            failed: fields.get("success") == Some(&Value::Bool(false)),
            added: changed(fields, "add"),
            deleted: changed(fields, "delete"),
        },
        "plan_update" => Seen::Plan,
        _ => return None,
    })
}

/// The paths that a patch changes in this way.
fn changed(fields: &Value, kind: &str) -> Vec<String> {
    let changes = fields.get("changes").and_then(Value::as_object);
    changes
        .into_iter()
        .flatten()
        .filter(|(_, change)| change.get("type").and_then(Value::as_str) == Some(kind))
        .map(|(path, _)| path.clone())
        .collect()
}

fn text(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}
