//! Beginnings and ends of tool calls, as a spine tells them.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::message::{Object, duration};
use crate::derive::command;
use crate::record::{ChangeKind, Event, Item};
use crate::session::{CallOutcome, ToolCall};
use crate::{Body, Record};

/// The beginning of a call.
pub(super) fn opened(call: &ToolCall, turn: &str, record: &Record<'_>, payload: Option<&RawValue>) -> Object {
    let named = |kind: &str| Object::message(kind).with("call_id", &call.call_id);
    match &*call.tool {
        command::EXEC => named("exec_command_begin")
            .with("turn_id", turn)
            .with("command", words(call, record))
            .with_some("cwd", call.cwd.as_deref())
            .with_json("parsed_cmd", "[]")
            .with_some("source", source(call, record)),
        command::PATCH => named("patch_apply_begin")
            .with("turn_id", turn)
            .with("auto_approved", true)
            .with_json("changes", &changes(call, record, payload)),
        tool => match tool.strip_prefix("mcp:").and_then(|name| name.split_once('.')) {
            Some(server) => {
                named("mcp_tool_call_begin").with_json("invocation", &invocation(call, server, record))
            }
            None => named("dynamic_tool_call_request")
                .with("turn_id", turn)
                .with("tool", tool)
                .with_json("arguments", &arguments(call, record)),
        },
    }
}

/// The end of a call. None for one that ends because its turn does: that follows from the turn's own end.
pub(super) fn closed(
    call: &ToolCall,
    turn: &str,
    record: &Record<'_>,
    payload: Option<&RawValue>,
) -> Option<Object> {
    if !ends_call(&record.body) {
        return None;
    }
    let took = call.duration_ms.map(duration);
    let named = |kind: &str| Object::message(kind).with("call_id", &call.call_id);
    let said = said(call, payload);
    let succeeded = call.outcome == CallOutcome::Succeeded;
    let status = match call.outcome {
        CallOutcome::Succeeded => "completed",
        CallOutcome::Rejected => "declined",
        _ => "failed",
    };
    Some(match &*call.tool {
        command::EXEC => with_duration(
            named("exec_command_end")
                .with("turn_id", turn)
                .with("command", words(call, record))
                .with_some("cwd", call.cwd.as_deref())
                .with_json("parsed_cmd", "[]")
                .with_some("source", source(call, record))
                .with("stdout", "")
                .with("stderr", "")
                .with("aggregated_output", &said)
                .with_some("exit_code", call.exit_code)
                .with("formatted_output", &said)
                .with("status", status),
            took,
        ),
        command::PATCH => named("patch_apply_end")
            .with("turn_id", turn)
            .with("stdout", if succeeded { &*said } else { "" })
            .with("stderr", if succeeded { "" } else { &*said })
            .with("success", succeeded)
            .with_json("changes", &changes(call, record, payload))
            .with("status", status),
        tool => match tool.strip_prefix("mcp:").and_then(|name| name.split_once('.')) {
            Some(server) => with_duration(
                named("mcp_tool_call_end")
                    .with_json("invocation", &invocation(call, server, record))
                    .with_json("result", &result(succeeded, &said)),
                took,
            ),
            None => with_duration(
                named("dynamic_tool_call_response")
                    .with("turn_id", turn)
                    .with("tool", tool)
                    .with("success", succeeded)
                    .with_some("error", Some(&said).filter(|_| !succeeded)),
                took,
            ),
        },
    })
}

fn ends_call(body: &Body<'_>) -> bool {
    matches!(
        body,
        Body::Event { event: Event::ExecEnd(_) | Event::PatchEnd(_) | Event::ToolEnd { .. }, .. }
            | Body::Item { item: Item::Output { .. }, .. }
    )
}

fn with_duration(message: Object, took: Option<String>) -> Object {
    match took {
        Some(took) => message.with_json("duration", &took),
        None => message,
    }
}

/// A command's words: the record's own, else what was kept of them, for a shell.
fn words(call: &ToolCall, record: &Record<'_>) -> Vec<String> {
    let found = match &record.body {
        Body::Item { item: Item::Call { arguments, .. }, .. } => command::words_of(arguments),
        Body::Event { event: Event::ExecBegin(exec), .. } => Some(owned(&exec.command)),
        Body::Event { event: Event::ExecEnd(end), .. } => Some(owned(&end.exec.command)),
        _ => None,
    };
    found
        .filter(|words| !words.is_empty())
        .unwrap_or_else(|| vec!["bash".into(), "-lc".into(), call.arguments.clone()])
}

fn owned(words: &[crate::record::Text<'_>]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// How a command is run. When it begins, a rollout says that only by the tool's name.
fn source<'c>(call: &'c ToolCall, record: &Record<'_>) -> Option<&'c str> {
    match &record.body {
        Body::Item { item: Item::Call { name, .. }, .. } => command::source_of(name),
        _ => call.source.as_deref(),
    }
}

/// The arguments as JSON: the model's own where they are, else what was kept.
fn arguments(call: &ToolCall, record: &Record<'_>) -> String {
    let text = match &record.body {
        Body::Item { item: Item::Call { arguments, .. }, .. } => &**arguments,
        Body::Event { event: Event::ToolBegin(tool) | Event::ToolEnd { tool, .. }, .. } => {
            tool.arguments.as_deref().unwrap_or(&call.arguments)
        }
        _ => &call.arguments,
    };
    let is_json = text.starts_with(['{', '[']) && serde_json::from_str::<&RawValue>(text).is_ok();
    if is_json { text.to_owned() } else { Value::from(text).to_string() }
}

fn invocation(call: &ToolCall, (server, tool): (&str, &str), record: &Record<'_>) -> String {
    Object::new()
        .with("server", server)
        .with("tool", tool)
        .with_json("arguments", &arguments(call, record))
        .finish()
}

fn result(succeeded: bool, said: &str) -> String {
    if !succeeded {
        return Object::new().with("Err", said).finish();
    }
    let part = Object::message("text").with("text", said).finish();
    let ok = Object::new().with_json("content", &format!("[{part}]")).with("is_error", false).finish();
    Object::new().with_json("Ok", &ok).finish()
}

/// The changes of a patch: as an item has them, else by their paths and what the patch says of each.
fn changes(call: &ToolCall, record: &Record<'_>, payload: Option<&RawValue>) -> String {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        item: Changed<'a>,
    }
    #[derive(Deserialize)]
    struct Changed<'a> {
        #[serde(borrow)]
        changes: &'a RawValue,
    }
    let found = payload.and_then(|payload| serde_json::from_str::<Payload<'_>>(payload.get()).ok());
    if let Some(found) = found.filter(|found| found.item.changes.get().starts_with('{')) {
        return found.item.changes.get().to_owned();
    }
    let patch = match &record.body {
        Body::Item { item: Item::Call { arguments, .. }, .. } => command::patch_of(arguments),
        _ => None,
    };
    let mut object = Object::new();
    for (path, kind) in &call.changes {
        let body = patch.as_deref().map(|patch| command::part_of_patch(patch, path)).unwrap_or_default();
        let change = match kind {
            ChangeKind::Add => Object::message("add").with("content", added(&body)),
            ChangeKind::Delete => Object::message("delete").with("content", ""),
            ChangeKind::Update => {
                Object::message("update").with("unified_diff", body).with_json("move_path", "null")
            }
        };
        object = object.with_json(path, &change.finish());
    }
    object.finish()
}

/// The lines of a new file, as a patch has them behind a `+`.
fn added(body: &str) -> String {
    body.split_inclusive('\n').map(|line| line.strip_prefix('+').unwrap_or(line)).collect()
}

/// What the call gave back, in full.
fn said(call: &ToolCall, payload: Option<&RawValue>) -> String {
    let value: Value =
        payload.and_then(|payload| serde_json::from_str(payload.get()).ok()).unwrap_or_default();
    let item = value.get("item");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let found = text(item.and_then(|item| item.get("aggregated_output")))
        .or_else(|| text(item.and_then(|item| item.get("stderr"))).filter(|said| !said.is_empty()))
        .or_else(|| text(item.and_then(|item| item.get("stdout"))))
        .or_else(|| item.and_then(|item| item.get("error")).and_then(|error| text(error.get("message"))))
        .or_else(|| item.and_then(|item| item.get("result")).map(Value::to_string))
        .or_else(|| text(value.get("output")).map(output))
        .or_else(|| value.get("output").map(Value::to_string));
    found.or_else(|| call.message.clone()).unwrap_or_default()
}

/// An output without what Codex says around it: JSON with metadata (0.75.0), or lines before it (0.169.0).
fn output(text: String) -> String {
    if let Ok(Value::Object(members)) = serde_json::from_str(&text)
        && members.contains_key("metadata")
        && let Some(Value::String(output)) = members.get("output")
    {
        return output.clone();
    }
    let about =
        text.starts_with("Chunk ID: ") || text.starts_with("Wall time: ") || text.starts_with("Exit code: ");
    match text.split_once("\nOutput:\n") {
        Some((_, output)) if about => output.to_owned(),
        _ => text,
    }
}
