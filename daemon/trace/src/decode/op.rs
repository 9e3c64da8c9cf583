//! What the user or client asked for: a spine's submissions.

use super::DecodeError;
use super::event::text;
use super::json::{Picking, Raw};
use super::message::Message;
use super::payload;
use crate::record::{ApprovalKind, Body, Decision, Op, Text, UserItem};

/// Reads the payload of a `submission`.
pub(super) fn submission(payload: Raw<'_>) -> Result<Body<'_>, DecodeError> {
    let [id, op] = payload.pick(["id", "op"])?;
    let op = op.unwrap_or(payload);
    let (kind, mut message) = Message::tagged(op.unread())?;
    operation(text(id), &kind, &mut message)
}

/// Reads an operation, of which the kind is known.
pub(super) fn operation<'a>(
    id: Text<'a>,
    kind: &str,
    message: &mut Message<'a>,
) -> Result<Body<'a>, DecodeError> {
    if carries_nothing(kind) {
        return Ok(Body::Nothing);
    }
    Ok(match read(kind, message)? {
        Some(op) => Body::Submission { id, op },
        None => Body::Unknown { kind: format!("submission:{kind}").into() },
    })
}

fn carries_nothing(kind: &str) -> bool {
    kind.starts_with("list_")
        || matches!(kind, "add_to_history" | "get_history_entry_request" | "refresh_mcp_servers")
}

fn read<'a>(kind: &str, message: &mut Message<'a>) -> Result<Option<Op<'a>>, DecodeError> {
    Ok(Some(match kind {
        "user_turn" | "user_input" => {
            let mut items = Picking::new(["items"]);
            let context = payload::context_beside(message, |key, value| items.take(key, value))?;
            let [items] = items.found;
            let items = items.into_iter().flat_map(Raw::elements).map(user_item).collect();
            Op::UserTurn { items, context: Box::new(context) }
        }
        "exec_approval" => approval(ApprovalKind::Exec, message)?,
        "patch_approval" => approval(ApprovalKind::Patch, message)?,
        "interrupt" => Op::Interrupt,
        "undo" => Op::Undo,
        "thread_rollback" => {
            let [turns] = message.pick(["num_turns"])?;
            Op::Rollback { turns: turns.and_then(Raw::count).unwrap_or(1) }
        }
        "compact" => Op::Compact,
        "user_input_answer" | "request_user_input_response" => Op::Answer,
        "shutdown" => Op::Shutdown,
        "override_turn_context"
        | "review"
        | "resolve_elicitation"
        | "dynamic_tool_response"
        | "run_user_shell_command"
        | "drop_memories"
        | "set_thread_name"
        | "update_memories" => Op::Other { kind: kind.to_owned().into() },
        _ => return Ok(None),
    }))
}

fn approval<'a>(kind: ApprovalKind, message: &mut Message<'a>) -> Result<Op<'a>, DecodeError> {
    let [about, call, answer] = message.pick(["id", "call_id", "decision"])?;
    Ok(Op::Approval {
        kind,
        about: text(about),
        call: call.and_then(Raw::text),
        decision: answer.map_or(Decision::Other("".into()), decision),
    })
}

/// An answer: a word, or an object that names it by `type` or by its only key.
pub(super) fn decision(answer: Raw<'_>) -> Decision<'_> {
    let word = answer.tag().unwrap_or_default();
    match &*word {
        "approved" => Decision::Approved,
        "approved_for_session" => Decision::ApprovedForSession,
        "approved_execpolicy_amendment" => Decision::ApprovedWithAmendment,
        "denied" => Decision::Denied,
        "abort" => Decision::Abort,
        _ => Decision::Other(word),
    }
}

fn user_item(item: Raw<'_>) -> UserItem<'_> {
    let [kind, words, image_url, path, name] =
        item.pick(["type", "text", "image_url", "path", "name"]).unwrap_or_default();
    match &*text(kind) {
        "text" => UserItem::Text(text(words)),
        "image" => UserItem::Image(text(image_url)),
        "local_image" => UserItem::Image(text(path)),
        "skill" => UserItem::Skill { name: text(name), path: text(path) },
        "mention" => UserItem::Mention { name: text(name), path: text(path) },
        _ => UserItem::Other,
    }
}
