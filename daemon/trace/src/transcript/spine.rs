//! The records of a spine, in every dialect, and the events that rollouts share with them.

use serde_json::{Map, Value};

use super::patch;
use super::rollout;
use super::told::{Voice, Way};
use super::writer::{At, CallEnd, Settings, Writer, command, directory, duration, string, tag, time, tokens};
use super::{Said, What};
use crate::Place;
use crate::recording::{MARK, began_at};
use crate::session::TurnEnd;

/// Takes a record of a spine.
pub(super) fn take(writer: &mut Writer, record: &Map<String, Value>, place: Place) {
    let (Some(kind), Some(payload)) =
        (record.get("type").and_then(Value::as_str), record.get("payload").and_then(Value::as_object))
    else {
        return writer.unreadable();
    };
    writer.named(record.get("thread_id").and_then(Value::as_str));
    let seq = record.get("seq").and_then(Value::as_u64).unwrap_or(place.line);
    let at = |turn: Option<String>| At { seq, time: time(record), place, turn_id: turn.unwrap_or_default() };
    match kind {
        "session_meta" => meta(writer, payload),
        "turn_context" => {
            let inner = payload.get("context").and_then(Value::as_object).unwrap_or(payload);
            writer.context(&at(string(payload, "turn_id")), &Settings::of(inner));
        }
        "submission" => submission(writer, &at(None), payload),
        "event" => {
            if let Some(msg) = payload.get("msg").and_then(Value::as_object) {
                event(writer, at(string(payload, "id")), &Fields::new(msg, payload));
            }
        }
        "artifact_ref" => artifact(writer, &at(None), payload),
        "compaction_boundary" => {
            let summary = string(payload, "summary_message").or_else(|| string(payload, "post_summary"));
            let history = history(payload.get("post_compaction_history"));
            writer.compacted(&at(string(payload, "turn_id")), summary, history);
        }
        "bridge" => {
            let kind = string(payload, "bridge_kind").unwrap_or_default();
            let thread = string(payload, "sub_agent_thread_id").unwrap_or_default();
            let decision = tag(payload.get("decision")).map(|word| format!(": {word}")).unwrap_or_default();
            let text = format!("{kind} of sub-agent {thread}{decision}");
            writer.push(&at(string(payload, "parent_turn_id")), What::Notice { kind: "bridge", text });
        }
        _ => {}
    }
}

/// `session_meta`, flat or nested.
pub(super) fn meta(writer: &mut Writer, payload: &Map<String, Value>) {
    let fields = payload.get("meta").and_then(Value::as_object).unwrap_or(payload);
    writer.named(fields.get("id").and_then(Value::as_str));
    let source = match fields.get("source") {
        Some(Value::Object(source)) => source
            .iter()
            .next()
            .map(|(_, kind)| format!("subagent:{}", tag(Some(kind)).unwrap_or_else(|| "other".to_owned()))),
        source => tag(source),
    };
    let git = payload.get("git").or_else(|| fields.get("git")).and_then(Value::as_object);
    let head = &mut writer.head;
    for (known, new) in [
        (&mut head.source, source),
        (&mut head.originator, string(fields, "originator")),
        (&mut head.cli_version, string(fields, "cli_version")),
        (&mut head.model_provider, string(fields, "model_provider")),
        (&mut head.cwd, string(fields, "cwd")),
        (&mut head.parent, string(fields, "forked_from_id")),
        (&mut head.git_url, git.and_then(|git| string(git, "repository_url"))),
        (&mut head.git_commit, git.and_then(|git| string(git, "commit_hash"))),
        (&mut head.git_branch, git.and_then(|git| string(git, "branch"))),
    ] {
        if known.is_none() {
            *known = new;
        }
    }
}

fn submission(writer: &mut Writer, at: &At, payload: &Map<String, Value>) {
    let Some(op) = payload.get("op").and_then(Value::as_object) else { return };
    match op.get("type").and_then(Value::as_str).unwrap_or_default() {
        "user_turn" | "user_input" => {
            let words = user_words(op.get("items"));
            writer.submitted(at, &string(payload, "id").unwrap_or_default(), &words);
        }
        "exec_approval" | "patch_approval" => {
            let about = string(op, "call_id").or_else(|| string(op, "id")).unwrap_or_default();
            let decision = tag(op.get("decision")).unwrap_or_default();
            writer.push(at, What::Decided { about, decision });
        }
        "interrupt" => notice(writer, at, "interrupt", "the user interrupted"),
        "undo" => notice(writer, at, "undo", "the user asked to undo"),
        "thread_rollback" => {
            let turns = op.get("num_turns").and_then(Value::as_u64).unwrap_or(1);
            notice(writer, at, "rollback", &format!("the user rolled back {}", plural(turns)));
        }
        _ => {}
    }
}

/// So many turns, in words.
fn plural(turns: u64) -> String {
    if turns == 1 { "1 turn".to_owned() } else { format!("{turns} turns") }
}

/// The parts of what the user sent, joined; what is no text is named.
pub(super) fn user_words(items: Option<&Value>) -> String {
    let parts = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let words: Vec<String> = parts.iter().filter_map(Value::as_object).filter_map(user_word).collect();
    words.join("\n")
}

fn user_word(item: &Map<String, Value>) -> Option<String> {
    let field = |key| string(item, key).unwrap_or_default();
    Some(match item.get("type")?.as_str()? {
        "text" | "input_text" | "Text" => field("text"),
        "image" | "input_image" => {
            let url = field("image_url");
            // An image that is carried along has no name.
            if url.starts_with("data:") { "[image]".to_owned() } else { format!("[image: {url}]") }
        }
        "local_image" => format!("[image: {}]", field("path")),
        "skill" => format!("[skill: {} ({})]", field("name"), field("path")),
        "mention" => format!("[mention: {} ({})]", field("name"), field("path")),
        _ => return None,
    })
}

fn artifact(writer: &mut Writer, at: &At, payload: &Map<String, Value>) {
    match payload.get("kind").and_then(Value::as_str) {
        Some("git_info") => {
            let git = payload.get("git").and_then(Value::as_object);
            let root = string(payload, "repo_root");
            let url = git.and_then(|git| string(git, "repository_url"));
            let commit = git.and_then(|git| string(git, "commit_hash"));
            let branch = git.and_then(|git| string(git, "branch"));
            let head = &mut writer.head;
            for (known, new) in [
                (&mut head.repo_root, &root),
                (&mut head.git_url, &url),
                (&mut head.git_commit, &commit),
                (&mut head.git_branch, &branch),
            ] {
                if known.is_none() {
                    known.clone_from(new);
                }
            }
            found(writer, at, payload, What::Git { root, url, commit });
        }
        Some("git_diff") => {
            if let (Some(path), Some(sha256)) = (string(payload, "artifact_path"), string(payload, "sha256"))
            {
                let base = string(payload, "base_sha");
                found(writer, at, payload, What::DiffFile { base, path, sha256 });
            }
        }
        _ => {}
    }
}

/// What git said. Asking it takes a moment, so that what Spindle recorded of a beginning stands later than it held.
fn found(writer: &mut Writer, at: &At, payload: &Map<String, Value>, what: What) {
    match payload.get(MARK).and_then(Value::as_str).and_then(began_at) {
        Some(begun) => writer.push_at_beginning(begun, what),
        None => writer.push(at, what),
    }
}

/// The messages of a history of the model.
pub(super) fn history(items: Option<&Value>) -> Vec<Said> {
    let items = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let message = |item: &Value| {
        let item =
            item.as_object().filter(|item| item.get("type").and_then(Value::as_str) == Some("message"))?;
        let text = rollout::content(item.get("content"));
        Some(Said { role: string(item, "role")?, text }).filter(|said| !said.text.trim().is_empty())
    };
    items.iter().filter_map(message).collect()
}

/// The fields of an event: beside its type, or nested in `payload`, or beside that.
pub(super) struct Fields<'a> {
    nested: Option<&'a Map<String, Value>>,
    msg: &'a Map<String, Value>,
    outer: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(msg: &'a Map<String, Value>, outer: &'a Map<String, Value>) -> Self {
        Self { nested: msg.get("payload").and_then(Value::as_object), msg, outer }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.nested
            .and_then(|nested| nested.get(key))
            .or_else(|| self.msg.get(key))
            .or_else(|| self.outer.get(key))
    }

    fn string(&self, key: &str) -> Option<String> {
        self.get(key)?.as_str().map(str::to_owned)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }
}

fn notice(writer: &mut Writer, at: &At, kind: &'static str, text: &str) {
    writer.push(at, What::Notice { kind, text: super::bounded(text.to_owned()) });
}

/// Takes an event.
pub(super) fn event(writer: &mut Writer, mut at: At, fields: &Fields<'_>) {
    let Some(kind) = fields.msg.get("type").and_then(Value::as_str) else { return };
    if at.turn_id.is_empty() {
        at.turn_id = fields.string("turn_id").unwrap_or_default();
    }
    let at = &at;
    let message = || fields.string("message").or_else(|| fields.string("text")).unwrap_or_default();
    match kind {
        "session_configured" => {
            writer.epoch_began(at);
            let configured = fields.nested.unwrap_or(fields.msg);
            writer.context(at, &Settings::of(configured));
        }
        "task_started" | "turn_started" => writer.turn_began(at),
        "task_complete" | "turn_complete" => {
            let error = fields.get("error").and_then(Value::as_object);
            let end = match error {
                Some(error) => {
                    notice(writer, at, "error", &string(error, "message").unwrap_or_default());
                    TurnEnd::Failed { info: tag(error.get("codex_error_info")) }
                }
                None => TurnEnd::Complete,
            };
            writer.turn_ended(at, end);
        }
        "turn_aborted" => {
            let reason = fields.string("reason").unwrap_or_default();
            writer.turn_ended(at, TurnEnd::Aborted { reason });
        }
        "user_message" => writer.say(at, Voice::User, Way::Event, &message()),
        "agent_message" => writer.say(at, Voice::Agent, Way::Event, &message()),
        "agent_reasoning" => writer.say(at, Voice::Reasoning, Way::Event, &message()),
        "token_count" => {
            let info = fields.get("info").and_then(Value::as_object);
            if let Some(last) = info.and_then(|info| tokens(info.get("last_token_usage"))) {
                let total = info.and_then(|info| tokens(info.get("total_token_usage")));
                writer.tokens(at, false, last, total);
            }
        }
        "exec_approval_request" | "apply_patch_approval_request" => {
            let id = fields.string("call_id").unwrap_or_default();
            if kind == "exec_approval_request" {
                exec(writer, at, &id, fields);
            } else {
                patched(writer, at, &id, fields.get("changes"));
            }
            writer.push(at, What::Asked { call_id: id, reason: fields.string("reason") });
        }
        "turn_diff" => {
            let diff = fields.string("unified_diff").unwrap_or_default();
            writer.push(at, What::Diff(super::bounded(diff)));
        }
        "error" => notice(writer, at, "error", &message()),
        "stream_error" => notice(writer, at, "stream_error", &message()),
        "warning" => notice(writer, at, "warning", &message()),
        "thread_rolled_back" => {
            let turns = fields.number("num_turns").unwrap_or(1);
            notice(writer, at, "rollback", &format!("rolled back by {}", plural(turns)));
        }
        "undo_completed" => {
            let worked = fields.get("success").and_then(Value::as_bool).unwrap_or(false);
            notice(writer, at, "undo", if worked { "the undo was done" } else { "the undo failed" });
        }
        "raw_response_item" => {
            if let Some(item) = fields.get("item").and_then(Value::as_object) {
                rollout::item(writer, at, item);
            }
        }
        "item_completed" => {
            if let Some(item) = fields.get("item").and_then(Value::as_object) {
                completed(writer, at, item);
            }
        }
        _ => call_event(writer, at, kind, fields),
    }
}

/// Events of tool calls.
fn call_event(writer: &mut Writer, at: &At, kind: &str, fields: &Fields<'_>) {
    let id = fields.string("call_id").unwrap_or_default();
    if id.is_empty() {
        return;
    }
    match kind {
        "exec_command_begin" => exec(writer, at, &id, fields),
        "exec_command_end" => {
            exec(writer, at, &id, fields);
            let output = fields
                .string("aggregated_output")
                .filter(|text| !text.is_empty())
                .or_else(|| {
                    let both = [fields.string("stdout"), fields.string("stderr")];
                    Some(both.into_iter().flatten().collect::<String>()).filter(|text| !text.is_empty())
                })
                .or_else(|| fields.string("formatted_output"))
                .unwrap_or_default();
            let exit_code = fields.get("exit_code").and_then(Value::as_i64);
            let mut end = CallEnd::of_command(exit_code, None, output);
            end.duration_ms = duration(fields.get("duration"));
            writer.close(at, &id, "exec_command", end);
        }
        "patch_apply_begin" => patched(writer, at, &id, fields.get("changes")),
        "patch_apply_end" => {
            patched(writer, at, &id, fields.get("changes"));
            let success = fields.get("success").and_then(Value::as_bool).unwrap_or(true);
            let output = [fields.string("stdout"), fields.string("stderr")].into_iter().flatten().collect();
            writer.close(at, &id, "apply_patch", CallEnd::of_tool(success, None, output));
        }
        "mcp_tool_call_begin" | "mcp_tool_call_end" => {
            let invocation = fields.get("invocation").and_then(Value::as_object);
            let name = |key| invocation.and_then(|invocation| string(invocation, key)).unwrap_or_default();
            let tool = format!("mcp:{}.{}", name("server"), name("tool"));
            let call = writer.call(at, &id, &tool);
            if let Some(Value::Object(arguments)) =
                invocation.and_then(|invocation| invocation.get("arguments"))
            {
                call.arguments.clone_from(arguments);
            }
            if kind == "mcp_tool_call_end" {
                let mut end = mcp_end(fields.get("result"));
                end.duration_ms = duration(fields.get("duration"));
                writer.close(at, &id, &tool, end);
            }
        }
        "web_search_begin" => drop(writer.call(at, &id, "web_search").id.len()),
        "web_search_end" => {
            let call = writer.call(at, &id, "web_search");
            if let Some(query) = fields.get("query") {
                call.arguments.insert("query".to_owned(), query.clone());
            }
            writer.close(at, &id, "web_search", CallEnd::of_tool(true, None, String::new()));
        }
        _ => {}
    }
}

fn exec(writer: &mut Writer, at: &At, id: &str, fields: &Fields<'_>) {
    let words = command(fields.get("command"));
    let cwd = fields.string("cwd").map(|cwd| cwd.strip_prefix("file://").unwrap_or(&cwd).to_owned());
    let source = fields.string("source");
    let call = writer.call(at, id, "exec_command");
    if call.command.is_empty() {
        call.command = words;
    }
    call.cwd = call.cwd.take().or(cwd);
    call.source = call.source.take().or(source);
}

fn patched(writer: &mut Writer, at: &At, id: &str, changes: Option<&Value>) {
    let changes = patch::changes(changes);
    let call = writer.call(at, id, "apply_patch");
    // What was carried out has line numbers; what the model wrote has not.
    if !changes.is_empty() {
        call.changes = changes;
    }
}

fn mcp_end(result: Option<&Value>) -> CallEnd {
    match result {
        Some(Value::Object(result)) if result.contains_key("Err") => {
            let text = result.get("Err").and_then(Value::as_str).unwrap_or_default();
            CallEnd::of_tool(false, None, text.to_owned())
        }
        Some(Value::Object(result)) => {
            let ok = result.get("Ok").and_then(Value::as_object).unwrap_or(result);
            let failed = ok.get("is_error").or_else(|| ok.get("isError")).and_then(Value::as_bool);
            CallEnd::of_tool(failed != Some(true), None, rollout::content(ok.get("content")))
        }
        _ => CallEnd::of_tool(true, None, String::new()),
    }
}

/// A completed item, as 0.169.0 tells nearly everything.
fn completed(writer: &mut Writer, at: &At, item: &Map<String, Value>) {
    let id = string(item, "id").unwrap_or_default();
    let status = string(item, "status");
    let status = status.as_deref();
    match item.get("type").and_then(Value::as_str).unwrap_or_default() {
        "UserMessage" => {
            let words = user_words(item.get("content"));
            writer.say(at, Voice::User, Way::ItemEvent, &words);
        }
        "AgentMessage" => {
            let words = user_words(item.get("content"));
            writer.say(at, Voice::Agent, Way::ItemEvent, &words);
        }
        "Reasoning" => {
            let parts = item.get("summary_text").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let text: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
            writer.say(at, Voice::Reasoning, Way::ItemEvent, &text.join("\n"));
        }
        "CommandExecution" => {
            let call = writer.call(at, &id, "exec_command");
            let words = command(item.get("command"));
            if !words.is_empty() {
                call.command = words;
            }
            call.cwd = directory(item, "cwd").or(call.cwd.take());
            call.source = string(item, "source").or(call.source.take());
            let exit_code = item.get("exit_code").and_then(Value::as_i64);
            let output = string(item, "aggregated_output").unwrap_or_default();
            let mut end = CallEnd::of_command(exit_code, status, output);
            end.duration_ms = duration(item.get("duration"));
            writer.close(at, &id, "exec_command", end);
        }
        "FileChange" => {
            patched(writer, at, &id, item.get("changes"));
            let output = [string(item, "stdout"), string(item, "stderr")].into_iter().flatten().collect();
            writer.close(at, &id, "apply_patch", CallEnd::of_tool(true, status, output));
        }
        "McpToolCall" => {
            let name = |key| string(item, key).unwrap_or_default();
            let tool = format!("mcp:{}.{}", name("server"), name("tool"));
            if let Some(Value::Object(arguments)) = item.get("arguments") {
                writer.call(at, &id, &tool).arguments.clone_from(arguments);
            }
            let mut end = mcp_end(item.get("result"));
            if status == Some("failed") {
                end.outcome = crate::session::CallOutcome::Failed;
            }
            end.duration_ms = duration(item.get("duration"));
            writer.close(at, &id, &tool, end);
        }
        "WebSearch" => {
            let call = writer.call(at, &id, "web_search");
            if let Some(query) = item.get("query") {
                call.arguments.insert("query".to_owned(), query.clone());
            }
            writer.close(at, &id, "web_search", CallEnd::of_tool(true, status, String::new()));
        }
        _ => {}
    }
}
