//! Items: what goes into the model and comes out of it, and the parts of a turn that 0.169.0 tells of.

use super::event::{exec, first_head, given, mcp_name, millis, outcome, patch, seconds_to_millis, text};
use super::json::{Broken, Raw};
use super::message::Message;
use super::{DecodeError, HEAD_LIMIT};
use crate::record::{Body, Event, ExecEnd, Item, PatchEnd, Text, Tool};

/// Reads the payload of a rollout's `response_item`.
pub(super) fn item<'a>(kind: Text<'a>, message: &mut Message<'a>) -> Result<Body<'a>, DecodeError> {
    const META: &str = "internal_chat_message_metadata_passthrough";
    let (item, meta) = match &*kind {
        "message" => {
            let [role, meta] = message.pick(["role", META])?;
            (Item::Message { role: text(role) }, meta)
        }
        "function_call" | "custom_tool_call" => {
            let [call, name, arguments, input, meta] =
                message.pick(["call_id", "name", "arguments", "input", META])?;
            let arguments = arguments.or(input);
            let arguments = arguments.and_then(Raw::text).or_else(|| arguments.and_then(given));
            (
                Item::Call { call: text(call), name: text(name), arguments: arguments.unwrap_or_default() },
                meta,
            )
        }
        "local_shell_call" => {
            let [call, id, action, meta] = message.pick(["call_id", "id", "action", META])?;
            let arguments = action.and_then(given).unwrap_or_default();
            let call = call.and_then(Raw::text).or_else(|| id.and_then(Raw::text)).unwrap_or_default();
            (Item::Call { call, name: "local_shell".into(), arguments }, meta)
        }
        "function_call_output" | "custom_tool_call_output" => {
            let [call, output, meta] = message.pick(["call_id", "output", META])?;
            (tool_output(text(call), output), meta)
        }
        "reasoning"
        | "ghost_snapshot"
        | "web_search_call"
        | "compaction"
        | "compaction_summary"
        | "tool_search_call"
        | "tool_search_output"
        | "image_generation_call"
        | "other" => {
            let [meta] = message.pick([META])?;
            (Item::Other { kind }, meta)
        }
        _ => return Ok(Body::Unknown { kind: format!("response_item:{kind}").into() }),
    };
    let [turn] = meta.map_or(Ok([None]), |meta| meta.pick(["turn_id"]))?;
    Ok(Body::Item { turn: text(turn), item })
}

/// The text parts of a list of contents, joined by newlines.
pub(super) fn joined_text(content: Raw<'_>) -> Text<'_> {
    if let Some(text) = content.text() {
        return text;
    }
    let mut parts = content.elements().filter_map(part_text);
    let Some(first) = parts.next() else { return Text::default() };
    let Some(second) = parts.next() else { return first };
    let mut joined = first.into_owned();
    for next in std::iter::once(second).chain(parts) {
        joined.push('\n');
        joined.push_str(&next);
    }
    joined.into()
}

/// A part's text: its own, or its member `text`.
fn part_text(part: Raw<'_>) -> Option<Text<'_>> {
    part.text().or_else(|| {
        let [words] = part.pick(["text"]).ok()?;
        words?.text()
    })
}

/// What a tool gave back. Three forms are known: an object as JSON text with the exit code in its metadata
/// (0.75.0), lines before the output (0.169.0), and a list of contents.
fn tool_output<'a>(call: Text<'a>, output: Option<Raw<'a>>) -> Item<'a> {
    let nothing = |call, head| Item::Output { call, exit_code: None, duration_ms: None, head };
    let Some(output) = output else { return nothing(call, Text::default()) };
    if output.is_object() {
        return structured(call, output);
    }
    if output.inside().is_some_and(|inside| inside.starts_with(b"{"))
        && let Some(item) = structured_text(&call, output)
    {
        return item;
    }
    match output.head(2 * HEAD_LIMIT) {
        Some(said) => preceded(call, said),
        None => nothing(call, cut(joined_text(output))),
    }
}

/// `{"output": …, "metadata": {"exit_code": …, "duration_seconds": …}}`.
fn structured<'a>(call: Text<'a>, object: Raw<'a>) -> Item<'a> {
    let [output, metadata] = object.pick(["output", "metadata"]).unwrap_or_default();
    let [exit_code, duration] =
        metadata.map_or(Ok([None; 2]), |m| m.pick(["exit_code", "duration_seconds"])).unwrap_or_default();
    Item::Output {
        call,
        exit_code: exit_code.and_then(Raw::code),
        duration_ms: duration.and_then(Raw::number).and_then(seconds_to_millis),
        head: output.and_then(|output| output.head(HEAD_LIMIT)).unwrap_or_default(),
    }
}

/// The same, as the text of a string. None if it is another text that begins with a brace.
fn structured_text(call: &str, output: Raw<'_>) -> Option<Item<'static>> {
    let text = output.text()?;
    let object = Raw::first(text.as_bytes()).ok()?;
    let [output, metadata] = object.pick(["output", "metadata"]).ok()?;
    output.or(metadata)?;
    Some(match structured(call.to_owned().into(), object) {
        Item::Output { call, exit_code, duration_ms, head } => {
            let (call, head) = (call.into_owned().into(), head.into_owned().into());
            Item::Output { call, exit_code, duration_ms, head }
        }
        _ => return None,
    })
}

/// An output with lines before it that say how the call went.
fn preceded<'a>(call: Text<'a>, said: Text<'a>) -> Item<'a> {
    let (mut exit_code, mut duration_ms, mut at, mut any) = (None, None, 0, false);
    for line in said.split_inclusive('\n') {
        let words = line.trim_end();
        let code =
            words.strip_prefix("Process exited with code ").or_else(|| words.strip_prefix("Exit code: "));
        if let Some(code) = code {
            exit_code = exit_code.or_else(|| code.trim().parse().ok());
        } else if let Some(time) = words.strip_prefix("Wall time: ") {
            let seconds = time.trim_end_matches("seconds").trim_end_matches("second").trim().parse().ok();
            duration_ms = duration_ms.or_else(|| seconds.and_then(seconds_to_millis));
        } else if any && words == "Output:" {
            at += line.len();
            break;
        } else if !is_about_output(words) {
            break;
        }
        any = true;
        at += line.len();
    }
    let head = match said {
        Text::Borrowed(said) => Text::Borrowed(said.get(at..).unwrap_or_default()),
        Text::Owned(said) => Text::Owned(said.get(at..).unwrap_or_default().to_owned()),
    };
    Item::Output { call, exit_code, duration_ms, head: cut(head) }
}

fn is_about_output(line: &str) -> bool {
    ["Chunk ID: ", "Original token count: ", "Total output lines: ", "Process running with session ID "]
        .iter()
        .any(|start| line.starts_with(start))
}

/// At most [`HEAD_LIMIT`] bytes of a text.
fn cut(text: Text<'_>) -> Text<'_> {
    if text.len() <= HEAD_LIMIT {
        return text;
    }
    let end = text.floor_char_boundary(HEAD_LIMIT);
    match text {
        Text::Borrowed(text) => Text::Borrowed(text.get(..end).unwrap_or_default()),
        Text::Owned(mut text) => {
            text.truncate(end);
            Text::Owned(text)
        }
    }
}

/// What a part of a turn is.
pub(super) enum OfTurn<'a> {
    /// An event as the other dialects tell it.
    Event(Event<'a>),
    /// Nothing that matters.
    Nothing,
    /// A part of a kind that is not known.
    Unknown(Text<'a>),
}

/// Reads the `item` of `item_started` or `item_completed`.
pub(super) fn of_turn<'a>(
    kind: Text<'a>,
    item: &mut Message<'a>,
    completed: bool,
) -> Result<OfTurn<'a>, Broken> {
    let event = match &*kind {
        // Words count when they are whole.
        "UserMessage" | "AgentMessage" | "Reasoning" | "Plan" if !completed => return Ok(OfTurn::Nothing),
        "UserMessage" => {
            let [content] = item.pick(["content"])?;
            Event::UserMessage(content.map(joined_text).unwrap_or_default())
        }
        "AgentMessage" => {
            let [content, words] = item.pick(["content", "text"])?;
            Event::AgentMessage(content.or(words).map(joined_text).unwrap_or_default())
        }
        "Reasoning" => Event::Reasoning,
        "CommandExecution" => command(item, completed)?,
        "FileChange" => file_change(item, completed)?,
        "McpToolCall" => mcp_call(item, completed)?,
        "WebSearch" => tool(item, "web_search", "query", completed)?,
        "ImageView" => tool(item, "view_image", "path", completed)?,
        "ImageGeneration" => tool(item, "image_generation", "prompt", completed)?,
        "CollabAgentToolCall" | "CollabToolCall" => {
            let [id, new, receivers] = item.pick(["id", "new_thread_id", "receiver_thread_ids"])?;
            let receiver = receivers.and_then(|receivers| receivers.elements().next());
            Event::Collaboration { call: text(id), thread: new.or(receiver).and_then(Raw::text) }
        }
        "EnteredReviewMode" if completed => Event::ReviewEntered,
        "ExitedReviewMode" if completed => Event::ReviewExited,
        "ContextCompaction" if completed => Event::ContextCompacted,
        "EnteredReviewMode" | "ExitedReviewMode" | "ContextCompaction" | "Plan" | "HookPrompt" => {
            return Ok(OfTurn::Nothing);
        }
        _ => return Ok(OfTurn::Unknown(kind)),
    };
    Ok(OfTurn::Event(event))
}

fn command<'a>(item: &mut Message<'a>, completed: bool) -> Result<Event<'a>, Broken> {
    let [id, words, cwd, source, status, output, exit_code, duration] = item.pick([
        "id",
        "command",
        "cwd",
        "source",
        "status",
        "aggregated_output",
        "exit_code",
        "duration",
    ])?;
    let exec = exec(id, None, words, cwd, source);
    if !completed {
        return Ok(Event::ExecBegin(Box::new(exec)));
    }
    Ok(Event::ExecEnd(Box::new(ExecEnd {
        exec,
        exit_code: exit_code.and_then(Raw::code),
        duration_ms: duration.and_then(millis),
        head: first_head([output]),
        status: status.and_then(Raw::text),
    })))
}

fn file_change<'a>(item: &mut Message<'a>, completed: bool) -> Result<Event<'a>, Broken> {
    let [id, changes, status, stderr, stdout] = item.pick(["id", "changes", "status", "stderr", "stdout"])?;
    let patch = patch(id, None, changes);
    if !completed {
        return Ok(Event::PatchBegin(Box::new(patch)));
    }
    let status = status.and_then(Raw::text);
    let success = status.as_deref().is_none_or(|status| status == "completed");
    Ok(Event::PatchEnd(Box::new(PatchEnd { patch, success, head: first_head([stderr, stdout]), status })))
}

fn mcp_call<'a>(item: &mut Message<'a>, completed: bool) -> Result<Event<'a>, Broken> {
    let [id, server, tool, arguments, status, result, error, duration] =
        item.pick(["id", "server", "tool", "arguments", "status", "result", "error", "duration"])?;
    let tool = Tool { call: text(id), name: mcp_name(server, tool), arguments: arguments.and_then(given) };
    if !completed {
        return Ok(Event::ToolBegin(Box::new(tool)));
    }
    let (failed, said) = result.map_or((false, None), outcome);
    let [message] = error.map_or(Ok([None]), |error| error.pick(["message"]))?;
    let error = message.or(error).and_then(|error| error.head(HEAD_LIMIT));
    let failed = failed || error.is_some() || status.and_then(Raw::text).as_deref() == Some("failed");
    Ok(Event::ToolEnd {
        tool: Box::new(tool),
        failed,
        duration_ms: duration.and_then(millis),
        message: error.or(said),
    })
}

fn tool<'a>(
    item: &mut Message<'a>,
    name: &'static str,
    says: &'static str,
    completed: bool,
) -> Result<Event<'a>, Broken> {
    let [id, arguments, status] = item.pick(["id", says, "status"])?;
    let tool = Tool { call: text(id), name: name.into(), arguments: arguments.and_then(Raw::text) };
    if !completed {
        return Ok(Event::ToolBegin(Box::new(tool)));
    }
    let failed = status.and_then(Raw::text).as_deref() == Some("failed");
    Ok(Event::ToolEnd { tool: Box::new(tool), failed, duration_ms: None, message: None })
}
