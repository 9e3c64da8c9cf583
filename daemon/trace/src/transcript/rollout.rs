//! The records of a rollout, of 0.75.0 and of 0.169.0.

use serde_json::{Map, Value};

use super::patch;
use super::spine::{self, Fields};
use super::told::{Voice, Way};
use super::writer::{At, CallEnd, Settings, Writer, command, directory, string, time, tokens};
use crate::Place;

/// Takes a record of a rollout.
pub(super) fn take(writer: &mut Writer, record: &Map<String, Value>, place: Place) {
    let (Some(kind), Some(payload)) =
        (record.get("type").and_then(Value::as_str), record.get("payload").and_then(Value::as_object))
    else {
        return writer.unreadable();
    };
    let seq = match record.get("ordinal").and_then(Value::as_u64) {
        Some(ordinal) => ordinal.saturating_add(1),
        None => place.line,
    };
    let turn_id = string(payload, "turn_id").unwrap_or_default();
    let at = At { seq, time: time(record), place, turn_id };
    match kind {
        "session_meta" => spine::meta(writer, payload),
        "turn_context" => writer.context(&at, &Settings::of(payload)),
        "event_msg" => spine::event(writer, at, &Fields::new(payload, payload)),
        "response_item" => item(writer, &at, payload),
        "compacted" => {
            let summary = string(payload, "message").filter(|text| !text.is_empty());
            let history = spine::history(payload.get("replacement_history"));
            writer.compacted(&at, summary, history);
        }
        "token_usage_record" => {
            if let Some(last) = tokens(payload.get("usage")) {
                writer.tokens(&at, true, last, tokens(payload.get("thread_token_usage")));
            }
        }
        _ => {}
    }
}

/// Takes an item of the model's input or output.
pub(super) fn item(writer: &mut Writer, at: &At, item: &Map<String, Value>) {
    let Some(kind) = item.get("type").and_then(Value::as_str) else { return };
    let id = string(item, "call_id").or_else(|| string(item, "id")).unwrap_or_default();
    match kind {
        "message" => {
            let text = content(item.get("content"));
            match item.get("role").and_then(Value::as_str) {
                Some("user") if !is_scaffolding(&text) => writer.say(at, Voice::User, Way::Item, &text),
                Some("assistant") => writer.say(at, Voice::Agent, Way::Item, &text),
                _ => {}
            }
        }
        "reasoning" => {
            let text = content(item.get("summary"));
            writer.say(at, Voice::Reasoning, Way::Item, &text);
        }
        "function_call" => {
            let arguments = item.get("arguments").and_then(Value::as_str).unwrap_or_default();
            let parsed = match serde_json::from_str(arguments) {
                Ok(Value::Object(fields)) => fields,
                _ => free_text(arguments),
            };
            open(writer, at, &id, &string(item, "name").unwrap_or_default(), parsed);
        }
        "custom_tool_call" => {
            let input = string(item, "input").unwrap_or_default();
            open(writer, at, &id, &string(item, "name").unwrap_or_default(), free_text(&input));
        }
        "local_shell_call" => {
            let action = item.get("action").and_then(Value::as_object).cloned().unwrap_or_default();
            open(writer, at, &id, "local_shell", action);
        }
        "function_call_output" | "custom_tool_call_output" => {
            // An output whose call is unknown belongs to nothing.
            let text = output_text(item.get("output"));
            close(writer, at, &id, &text);
        }
        _ => {}
    }
}

fn free_text(input: &str) -> Map<String, Value> {
    Map::from_iter([("input".to_owned(), Value::String(input.to_owned()))])
}

/// A call of the model. Shells of every name are one tool, and a patch that goes through a shell is a patch.
fn open(writer: &mut Writer, at: &At, id: &str, name: &str, arguments: Map<String, Value>) {
    let shell = matches!(name, "shell" | "shell_command" | "local_shell" | "exec_command" | "container.exec");
    let words = command(arguments.get("command").or_else(|| arguments.get("cmd")));
    let envelope = if shell {
        patch::envelope_in_shell(&words)
    } else if name == "apply_patch" {
        arguments.get("input").or_else(|| arguments.get("patch")).and_then(Value::as_str).map(str::to_owned)
    } else {
        None
    };
    let tool = if envelope.is_some() {
        "apply_patch"
    } else if shell {
        "exec_command"
    } else {
        name
    };
    let cwd = directory(&arguments, "workdir").or_else(|| directory(&arguments, "cwd"));
    let cwd = cwd.or_else(|| writer.head.cwd.clone()).filter(|_| shell || envelope.is_some());
    let call = writer.call(at, id, tool);
    if shell && call.command.is_empty() {
        call.command = words;
    }
    if let Some(envelope) = envelope
        && call.changes.is_empty()
    {
        call.changes = patch::parse_envelope(&envelope);
    }
    call.cwd = call.cwd.take().or(cwd);
    if call.arguments.is_empty() {
        call.arguments = arguments;
    }
}

fn close(writer: &mut Writer, at: &At, id: &str, text: &str) {
    let end = output(text);
    let still_running = end.exit_code.is_none() && text.contains("Process running with session ID");
    if !still_running {
        writer.close_known(at, id, end);
    }
}

/// What a tool's output says: JSON with metadata in 0.75.0, lines of a head in 0.169.0, or just text.
fn output(text: &str) -> CallEnd {
    if let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text)
        && let Some(metadata) = fields.get("metadata").and_then(Value::as_object)
    {
        let words = string(&fields, "output").unwrap_or_default();
        let mut end = CallEnd::of_command(metadata.get("exit_code").and_then(Value::as_i64), None, words);
        end.duration_ms = metadata.get("duration_seconds").and_then(Value::as_f64).and_then(milliseconds);
        return end;
    }
    let (head, words) = text.split_once("\nOutput:\n").unwrap_or((text, text));
    let after = |label: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(label))
            .map(str::trim)
            .and_then(|rest| rest.split(' ').next().map(str::to_owned))
    };
    let code = after("Process exited with code ").or_else(|| after("Exit code: "));
    let mut end = CallEnd::of_command(code.and_then(|code| code.parse().ok()), None, words.to_owned());
    end.duration_ms = after("Wall time: ").and_then(|text| text.parse().ok()).and_then(milliseconds);
    if end.outcome == crate::session::CallOutcome::Open {
        end.outcome = crate::session::CallOutcome::Succeeded;
    }
    end
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn milliseconds(seconds: f64) -> Option<u64> {
    (0.0..1e9).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

fn output_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(fields)) => {
            string(fields, "content").unwrap_or_else(|| content(fields.get("content")))
        }
        other => content(other),
    }
}

/// The text of a content list, parts joined by newlines.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> =
                parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// Whether a message in the user's role was written by Codex.
pub(super) fn is_scaffolding(text: &str) -> bool {
    let head = text.trim_start();
    ["<environment_context>", "<turn_aborted>", "<user_instructions>", "<permissions instructions>"]
        .iter()
        .any(|tag| head.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)))
        || head.starts_with("# AGENTS.md instructions")
}
