//! The records of a rollout trace bundle. Most of them point to a payload in a file of its own.

use std::io::Read as _;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::rollout;
use super::spine::{self, Fields};
use super::writer::{At, Settings, Writer, string, tokens};
use crate::Place;
use crate::spine::open_artifact;

/// A larger payload is left out, in bytes.
const PAYLOAD_LIMIT: u64 = 64 << 20;

/// Takes a record of the bundle in a directory.
pub(super) fn take(writer: &mut Writer, record: &Map<String, Value>, place: Place, directory: &Path) {
    let Some(payload) = record.get("payload").and_then(Value::as_object) else { return writer.unreadable() };
    let Some(kind) = payload.get("type").and_then(Value::as_str) else { return writer.unreadable() };
    let time = record.get("wall_time_unix_ms").and_then(Value::as_i64);
    let at = At {
        seq: record.get("seq").and_then(Value::as_u64).unwrap_or(place.line),
        time: time.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        place,
        turn_id: string(record, "codex_turn_id").unwrap_or_default(),
    };
    let load = |reference: &str| load(directory, payload.get(reference));
    match kind {
        "thread_started" => began(writer, &at, payload, load("metadata_payload")),
        "protocol_event_observed" => {
            if let Some(event) = load("event_payload") {
                let named = string(&event, "turn_id");
                let at = At { turn_id: named.unwrap_or_else(|| at.turn_id.clone()), ..at };
                spine::event(writer, at, &Fields::new(&event, &event));
            }
        }
        "inference_started" => asked(writer, &at, load("request_payload")),
        "inference_completed" => answered(writer, &at, load("response_payload")),
        "tool_call_started" => called(writer, &at, payload, load("invocation_payload")),
        "tool_call_runtime_started" => ran(writer, at, load("runtime_payload"), "begin"),
        "tool_call_runtime_ended" => ran(writer, at, load("runtime_payload"), "end"),
        "tool_call_ended" => {
            let result = load("result_payload");
            if let Some(item) =
                result.as_ref().and_then(|result| result.get("response_item")).and_then(Value::as_object)
            {
                rollout::item(writer, &at, item);
            }
        }
        // Events tell the same.
        _ => {}
    }
}

/// The payload that a reference points to. None if it is gone, too large, no object, or not in the bundle.
fn load(directory: &Path, reference: Option<&Value>) -> Option<Map<String, Value>> {
    let path = reference?.get("path")?.as_str()?;
    let mut text = Vec::new();
    open_artifact(directory, path).ok()?.take(PAYLOAD_LIMIT + 1).read_to_end(&mut text).ok()?;
    if text.len() as u64 > PAYLOAD_LIMIT {
        return None;
    }
    serde_json::from_slice(&text).ok()
}

/// The session itself, or a sub-agent of it, which has a thread of its own.
fn began(writer: &mut Writer, at: &At, payload: &Map<String, Value>, metadata: Option<Map<String, Value>>) {
    if string(payload, "agent_path").is_some_and(|agent| agent != "/root") {
        return;
    }
    let metadata = metadata.unwrap_or_default();
    let mut meta = Map::new();
    for (name, value) in [
        ("id", payload.get("thread_id")),
        ("source", metadata.get("session_source")),
        ("cwd", metadata.get("cwd")),
        ("model_provider", metadata.get("provider_name")),
    ] {
        meta.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    spine::meta(writer, &meta);
    writer.context(at, &Settings::of(&metadata));
}

/// A request to the model. If the user's words are the newest thing in it, they are what it says.
fn asked(writer: &mut Writer, at: &At, request: Option<Map<String, Value>>) {
    let request = request.unwrap_or_default();
    let newest = request.get("input").and_then(Value::as_array).and_then(|input| input.last());
    if let Some(newest) = newest.and_then(Value::as_object)
        && string(newest, "type").as_deref() == Some("message")
        && string(newest, "role").as_deref() == Some("user")
    {
        rollout::item(writer, at, newest);
    }
}

/// What the model answered, and what it cost.
fn answered(writer: &mut Writer, at: &At, response: Option<Map<String, Value>>) {
    let response = response.unwrap_or_default();
    let items = response.get("output_items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for item in items.iter().filter_map(Value::as_object) {
        rollout::item(writer, at, item);
    }
    if let Some(last) = tokens(response.get("token_usage")) {
        writer.tokens(at, true, last, None);
    }
}

fn called(
    writer: &mut Writer,
    at: &At,
    payload: &Map<String, Value>,
    invocation: Option<Map<String, Value>>,
) {
    let invocation = invocation.unwrap_or_default();
    let summary = payload.get("summary").and_then(Value::as_object);
    let inner = invocation.get("payload").and_then(Value::as_object);
    let id = string(payload, "model_visible_call_id").or_else(|| string(payload, "tool_call_id"));
    let name =
        string(&invocation, "tool_name").or_else(|| summary.and_then(|summary| string(summary, "label")));
    let (kind, arguments) = match inner.and_then(|inner| string(inner, "arguments")) {
        Some(arguments) => ("function_call", ("arguments", arguments)),
        None => (
            "custom_tool_call",
            ("input", inner.and_then(|inner| string(inner, "input")).unwrap_or_default()),
        ),
    };
    let members = [
        ("type", kind.to_owned()),
        ("call_id", id.unwrap_or_default()),
        ("name", name.unwrap_or_default()),
        arguments,
    ];
    let item = members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    rollout::item(writer, at, &item);
}

/// The run of a tool: its payload is the event of a command or patch, without its type.
fn ran(writer: &mut Writer, at: At, run: Option<Map<String, Value>>, which: &str) {
    let Some(mut event) = run else { return };
    let kind = match (event.contains_key("command"), event.contains_key("changes")) {
        (true, _) => "exec_command",
        (false, true) => "patch_apply",
        (false, false) => return,
    };
    event.insert("type".to_owned(), Value::String(format!("{kind}_{which}")));
    spine::event(writer, at, &Fields::new(&event, &event));
}
