//! What Codex told: the events that both formats share.

use super::json::{Broken, Picked, Raw, Unread};
use super::message::Message;
use super::{HEAD_LIMIT, payload};
use crate::record::{
    ApprovalKind, Change, ChangeKind, Event, Exec, ExecEnd, Failure, Patch, PatchEnd, PlanStep, Text,
    TokenCounts, Tool,
};

/// Whether nothing is to be learned from an event of this kind: what streams is said again when it is whole,
/// what lists or warms up says nothing of the session.
pub(super) fn carries_nothing(kind: &[u8]) -> bool {
    kind.ends_with(b"_delta")
        || matches!(
            kind,
            b"agent_reasoning_section_break"
                | b"background_event"
                | b"get_history_entry_response"
                | b"list_custom_prompts_response"
                | b"list_remote_skills_response"
                | b"list_skills_response"
                | b"mcp_list_tools_response"
                | b"mcp_startup_complete"
                | b"mcp_startup_update"
                | b"remote_skill_downloaded"
                | b"skills_update_available"
                | b"terminal_interaction"
                | b"thread_name_updated"
                | b"thread_settings_applied"
        )
}

/// Reads an event; none if its kind is not known.
pub(super) fn event<'a>(kind: &str, message: &mut Message<'a>) -> Result<Option<Event<'a>>, Broken> {
    let event = match kind {
        "exec_command_begin" => Event::ExecBegin(Box::new(exec_begin(message)?)),
        "exec_command_end" => Event::ExecEnd(Box::new(exec_end(message)?)),
        "token_count" => tokens(message)?,
        "agent_message" => Event::AgentMessage(words(message)?),
        "agent_reasoning" | "agent_reasoning_raw_content" => {
            message.end()?;
            Event::Reasoning
        }
        "user_message" => Event::UserMessage(words(message)?),
        "task_started" | "turn_started" => Event::TurnStarted,
        "task_complete" | "turn_complete" => {
            let [last, error] = message.pick(["last_agent_message", "error"])?;
            let error = match error.filter(|error| error.is_object()) {
                Some(error) => Some(failure(&mut Message::whole(error))?),
                None => None,
            };
            Event::TurnComplete { last_message: last.and_then(Raw::text), error }
        }
        "turn_aborted" => {
            let [reason] = message.pick(["reason"])?;
            Event::TurnAborted { reason: text(reason) }
        }
        "exec_approval_request" => request(ApprovalKind::Exec, message)?,
        "apply_patch_approval_request" => request(ApprovalKind::Patch, message)?,
        "patch_apply_begin" => {
            let [call, changes] = message.pick(["call_id", "changes"])?;
            Event::PatchBegin(Box::new(patch(call, message.named_turn(), changes)))
        }
        "patch_apply_end" => Event::PatchEnd(Box::new(patch_end(message)?)),
        "turn_diff" => {
            let [diff] = message.pick(["unified_diff"])?;
            Event::TurnDiff(text(diff))
        }
        "plan_update" => {
            let [plan] = message.pick(["plan"])?;
            Event::Plan(plan.into_iter().flat_map(Raw::elements).map(step).collect())
        }
        "error" => Event::Error(failure(message)?),
        "stream_error" => Event::StreamError(failure(message)?),
        "warning" => Event::Warning(words(message)?),
        "context_compacted" => Event::ContextCompacted,
        "thread_rolled_back" => {
            let [turns] = message.pick(["num_turns"])?;
            Event::RolledBack { turns: turns.and_then(Raw::count).unwrap_or(1) }
        }
        "undo_completed" => {
            let [success] = message.pick(["success"])?;
            Event::UndoCompleted { success: success.and_then(Raw::flag).unwrap_or(true) }
        }
        "request_user_input" => {
            let [call] = message.pick(["call_id"])?;
            Event::Question { call: text(call) }
        }
        "session_configured" => {
            let context = payload::context_of(message)?;
            Event::Configured { model: context.model.clone(), context: Box::new(context) }
        }
        "entered_review_mode" => Event::ReviewEntered,
        "exited_review_mode" => Event::ReviewExited,
        "shutdown_complete" => Event::Shutdown,
        "deprecation_notice" | "elicitation_request" | "model_reroute" | "undo_started" => {
            Event::Other { kind: kind.to_owned().into() }
        }
        _ => return tool_event(kind, message),
    };
    Ok(Some(event))
}

/// Events about calls of other tools than the shell and the patch.
fn tool_event<'a>(kind: &str, message: &mut Message<'a>) -> Result<Option<Event<'a>>, Broken> {
    if kind.starts_with("collab_") && (kind.ends_with("_begin") || kind.ends_with("_end")) {
        return collaboration(message).map(Some);
    }
    Ok(Some(match kind {
        "mcp_tool_call_begin" => Event::ToolBegin(Box::new(mcp(message)?.0)),
        "mcp_tool_call_end" => {
            let (tool, result, duration_ms) = mcp(message)?;
            let (failed, said) = result.map_or((false, None), outcome);
            Event::ToolEnd { tool: Box::new(tool), failed, duration_ms, message: said }
        }
        "web_search_begin" => Event::ToolBegin(Box::new(plain(message, "web_search", "query")?)),
        "web_search_end" => ended(plain(message, "web_search", "query")?),
        "view_image_tool_call" => ended(plain(message, "view_image", "path")?),
        "image_generation_begin" => Event::ToolBegin(Box::new(plain(message, "image_generation", "prompt")?)),
        "image_generation_end" => ended(plain(message, "image_generation", "prompt")?),
        "dynamic_tool_call_request" => Event::ToolBegin(Box::new(dynamic(message)?.0)),
        "dynamic_tool_call_response" => {
            let (tool, [success, error, duration]) = dynamic(message)?;
            let failed = success.and_then(Raw::flag) == Some(false);
            let said = error.and_then(|error| error.head(HEAD_LIMIT));
            Event::ToolEnd {
                tool: Box::new(tool),
                failed,
                duration_ms: duration.and_then(millis),
                message: said,
            }
        }
        _ => return Ok(None),
    }))
}

pub(super) fn text(value: Option<Raw<'_>>) -> Text<'_> {
    value.and_then(Raw::text).unwrap_or_default()
}

/// `message`, or `text` as one dialect calls it.
fn words<'a>(message: &mut Message<'a>) -> Result<Text<'a>, Broken> {
    let [said, text] = message.pick(["message", "text"])?;
    Ok(said.and_then(Raw::text).or_else(|| text.and_then(Raw::text)).unwrap_or_default())
}

pub(super) fn failure<'a>(message: &mut Message<'a>) -> Result<Failure<'a>, Broken> {
    let [said, text, info] = message.pick(["message", "text", "codex_error_info"])?;
    let said = said.and_then(Raw::text).or_else(|| text.and_then(Raw::text));
    Ok(Failure { message: said.unwrap_or_default(), info: info.and_then(Raw::tag) })
}

fn tokens<'a>(message: &mut Message<'a>) -> Result<Event<'a>, Broken> {
    let (mut last, mut total) = (None, None);
    message.walk(|key, info| {
        if !key.is("info") {
            return Ok(None);
        }
        (last, total) = (None, None);
        info.walk(|key, usage| {
            let slot = match () {
                () if key.is("last_token_usage") => &mut last,
                () if key.is("total_token_usage") => &mut total,
                () => return usage.end(),
            };
            let (counts, end) = token_counts(usage)?;
            *slot = counts;
            Ok(end)
        })
    })?;
    Ok(Event::Tokens { last, total })
}

/// The counts that a usage tells of, none if it is no object; and the offset behind it.
pub(super) fn token_counts(usage: Unread<'_>) -> Result<(Option<TokenCounts>, usize), Broken> {
    let mut counts = TokenCounts::default();
    let end = usage.walk(|key, count| {
        let count = count.raw()?;
        let slot = match () {
            () if key.is("input_tokens") => &mut counts.input,
            () if key.is("cached_input_tokens") => &mut counts.cached_input,
            () if key.is("output_tokens") => &mut counts.output,
            () if key.is("reasoning_output_tokens") => &mut counts.reasoning,
            () => return Ok(count.end()),
        };
        *slot = count.count().unwrap_or_default();
        Ok(count.end())
    })?;
    match end {
        Some(end) => Ok((Some(counts), end)),
        None => Ok((None, usage.end()?)),
    }
}

pub(super) fn exec_begin<'a>(message: &mut Message<'a>) -> Result<Exec<'a>, Broken> {
    let [call, command, cwd, source] = message.pick(["call_id", "command", "cwd", "source"])?;
    Ok(exec(call, message.named_turn(), command, cwd, source))
}

pub(super) fn exec<'a>(
    call: Option<Raw<'a>>,
    turn: Option<Text<'a>>,
    command: Option<Raw<'a>>,
    cwd: Option<Raw<'a>>,
    source: Option<Raw<'a>>,
) -> Exec<'a> {
    Exec {
        call: text(call),
        turn,
        command: command.map(command_words).unwrap_or_default(),
        cwd: cwd.and_then(path),
        source: source.and_then(Raw::text),
    }
}

pub(super) fn exec_end<'a>(message: &mut Message<'a>) -> Result<ExecEnd<'a>, Broken> {
    let [call, command, cwd, source, exit_code, duration, duration_ms, formatted, aggregated, stderr, status] =
        message.pick([
            "call_id",
            "command",
            "cwd",
            "source",
            "exit_code",
            "duration",
            "duration_ms",
            "formatted_output",
            "aggregated_output",
            "stderr",
            "status",
        ])?;
    Ok(ExecEnd {
        exec: exec(call, message.named_turn(), command, cwd, source),
        exit_code: exit_code.and_then(Raw::code),
        duration_ms: duration.and_then(millis).or_else(|| duration_ms.and_then(Raw::count)),
        head: first_head([formatted, aggregated, stderr]),
        status: status.and_then(Raw::text),
    })
}

/// The beginning of the first of these texts that says anything.
pub(super) fn first_head<const N: usize>(texts: [Option<Raw<'_>>; N]) -> Text<'_> {
    let mut heads = texts.into_iter().flatten().filter_map(|text| text.head(HEAD_LIMIT));
    heads.find(|head| !head.is_empty()).unwrap_or_default()
}

/// A command's words; one that is given as one text is one word.
pub(super) fn command_words(command: Raw<'_>) -> Vec<Text<'_>> {
    match command.text() {
        Some(command) => vec![command],
        None => command.elements().filter_map(Raw::text).collect(),
    }
}

/// A path, also where it is written as a `file://` URL.
pub(super) fn path(path: Raw<'_>) -> Option<Text<'_>> {
    let path = path.text()?;
    if !path.starts_with("file://") {
        return Some(path);
    }
    // A host may stand before the path; it is always this one.
    let rest = path.get("file://".len()..)?;
    let rest = rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or(rest);
    Some(percent_decoded(rest).into())
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits =
            behind.get(..2).filter(|digits| byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let decoded =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A duration: `{"secs", "nanos"}`, or seconds as a number.
pub(super) fn millis(duration: Raw<'_>) -> Option<u64> {
    if !duration.is_object() {
        return duration.number().and_then(seconds_to_millis);
    }
    let [secs, nanos] = duration.pick(["secs", "nanos"]).ok()?;
    let nanos = nanos.and_then(Raw::count).unwrap_or_default();
    Some(secs.and_then(Raw::count)?.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

/// Seconds as milliseconds. Half a year and below zero are no durations of a call.
pub(super) fn seconds_to_millis(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number is in range")]
    (0.0..15_000_000.0).contains(&seconds).then(|| (seconds * 1000.0).round() as u64)
}

fn request<'a>(kind: ApprovalKind, message: &mut Message<'a>) -> Result<Event<'a>, Broken> {
    let [call, command, reason] = message.pick(["call_id", "command", "reason"])?;
    Ok(Event::ApprovalRequest {
        kind,
        call: text(call),
        turn: message.named_turn(),
        command: command.map(command_words).unwrap_or_default(),
        reason: reason.and_then(Raw::text),
    })
}

pub(super) fn patch<'a>(
    call: Option<Raw<'a>>,
    turn: Option<Text<'a>>,
    changes: Option<Raw<'a>>,
) -> Patch<'a> {
    Patch { call: text(call), turn, changes: changes.map(changed_files).unwrap_or_default() }
}

pub(super) fn patch_end<'a>(message: &mut Message<'a>) -> Result<PatchEnd<'a>, Broken> {
    let [call, changes, success, stderr, stdout, status] =
        message.pick(["call_id", "changes", "success", "stderr", "stdout", "status"])?;
    Ok(PatchEnd {
        patch: patch(call, message.named_turn(), changes),
        success: success.and_then(Raw::flag).unwrap_or(true),
        head: first_head([stderr, stdout]),
        status: status.and_then(Raw::text),
    })
}

/// Changed files: an object by path, or a list of objects with a `path`.
fn changed_files(changes: Raw<'_>) -> Vec<Change<'_>> {
    if changes.is_object() {
        let change = |(path, change)| Change { path, kind: change_kind(Some(change)) };
        return changes.members().into_iter().map(change).collect();
    }
    changes.elements().filter_map(listed_change).collect()
}

fn listed_change(change: Raw<'_>) -> Option<Change<'_>> {
    let [path, kind] = change.pick(["path", "kind"]).ok()?;
    Some(Change { path: path?.text()?, kind: change_kind(kind) })
}

fn change_kind(change: Option<Raw<'_>>) -> ChangeKind {
    match change.and_then(Raw::tag).as_deref() {
        Some("add") => ChangeKind::Add,
        Some("delete") => ChangeKind::Delete,
        _ => ChangeKind::Update,
    }
}

fn step(step: Raw<'_>) -> PlanStep<'_> {
    let [words, status] = step.pick(["step", "status"]).unwrap_or_default();
    PlanStep { step: text(words), status: text(status) }
}

fn mcp<'a>(message: &mut Message<'a>) -> Result<(Tool<'a>, Option<Raw<'a>>, Option<u64>), Broken> {
    let [call, invocation, result, duration] =
        message.pick(["call_id", "invocation", "result", "duration"])?;
    let [server, tool, arguments] = match invocation {
        Some(invocation) => invocation.pick(["server", "tool", "arguments"])?,
        None => [None; 3],
    };
    let tool = Tool { call: text(call), name: mcp_name(server, tool), arguments: arguments.and_then(given) };
    Ok((tool, result, duration.and_then(millis)))
}

pub(super) fn mcp_name(server: Option<Raw<'_>>, tool: Option<Raw<'_>>) -> Text<'static> {
    format!("mcp:{}.{}", text(server), text(tool)).into()
}

/// A value as JSON text, unless it is null.
pub(super) fn given(value: Raw<'_>) -> Option<Text<'_>> {
    (value.bytes() != b"null").then(|| value.json())
}

/// Whether `{"Ok": …}` or `{"Err": …}` tells of a failure, and its words.
pub(super) fn outcome(result: Raw<'_>) -> (bool, Option<Text<'_>>) {
    let [ok, err] = result.pick(["Ok", "Err"]).unwrap_or_default();
    if let Some(err) = err {
        return (true, err.head(HEAD_LIMIT).or_else(|| given(err)));
    }
    let [is_error, content] = ok.unwrap_or(result).pick(["is_error", "content"]).unwrap_or_default();
    if is_error.and_then(Raw::flag) != Some(true) {
        return (false, None);
    }
    let first = content.and_then(|content| content.elements().next());
    let [words] = first.map_or(Ok([None]), |first| first.pick(["text"])).unwrap_or_default();
    (true, words.and_then(|words| words.head(HEAD_LIMIT)))
}

/// A call of a tool whose name its event says, with the member that says most of it.
fn plain<'a>(message: &mut Message<'a>, name: &'static str, says: &'static str) -> Result<Tool<'a>, Broken> {
    let [call, arguments] = message.pick(["call_id", says])?;
    Ok(Tool { call: text(call), name: name.into(), arguments: arguments.and_then(Raw::text) })
}

fn ended(tool: Tool<'_>) -> Event<'_> {
    Event::ToolEnd { tool: Box::new(tool), failed: false, duration_ms: None, message: None }
}

fn dynamic<'a>(message: &mut Message<'a>) -> Result<(Tool<'a>, Picked<'a, 3>), Broken> {
    let [call, id, tool, arguments, success, error, duration] =
        message.pick(["call_id", "callId", "tool", "arguments", "success", "error", "duration"])?;
    // Text stays what it is; anything else is shown as JSON.
    let arguments = arguments.and_then(|arguments| arguments.text().or_else(|| given(arguments)));
    let tool = Tool { call: text(call.or(id)), name: text(tool), arguments };
    Ok((tool, [success, error, duration]))
}

fn collaboration<'a>(message: &mut Message<'a>) -> Result<Event<'a>, Broken> {
    let [call, new, receiver, receivers] =
        message.pick(["call_id", "new_thread_id", "receiver_thread_id", "receiver_thread_ids"])?;
    let first = receivers.and_then(|receivers| receivers.elements().next());
    let thread = [new, receiver, first].into_iter().flatten().find_map(Raw::text);
    Ok(Event::Collaboration { call: text(call), thread })
}
