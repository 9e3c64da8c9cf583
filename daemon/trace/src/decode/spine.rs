//! Records of a trace spine.

use super::event;
use super::head::{Cursor, Head};
use super::json::Raw;
use super::message::Message;
use super::text::lossy;
use super::{DecodeError, op, payload, time, trim};
use crate::record::{Body, Text};
use crate::{Place, Record};

/// Decodes a line of a spine's segment, in any of the dialects that are known.
pub fn spine(line: &[u8], place: Place) -> Result<Record<'_>, DecodeError> {
    let (before, line) = trim(line);
    match usual(line, place) {
        Some(record) => Ok(record),
        None => general(line, place).map_err(|error| error.behind(before)),
    }
}

/// A line as Codex writes it. None says that the general way must be taken.
fn usual(line: &[u8], place: Place) -> Option<Record<'_>> {
    let mut cursor = Cursor { line, at: 0 };
    cursor.step(br#"{"schema_version":"#)?;
    cursor.string()?;
    cursor.step(br#","thread_id":"#)?;
    cursor.string()?;
    cursor.step(br#","seq":"#)?;
    let seq = cursor.count()?;
    cursor.step(br#","timestamp":"#)?;
    let time = cursor.string()?;
    cursor.step(br#","type":"#)?;
    let kind = cursor.string()?;
    if kind == b"submission" {
        return submission(cursor, seq, time, place);
    }
    if kind != b"event" {
        cursor.step(br#","payload":"#)?;
        let body = body(lossy(kind), cursor.last_object()?).ok()?;
        return Some(Record { seq, time: time::parse(time), place, body });
    }
    cursor.step(br#","payload":{"id":"#)?;
    let turn = cursor.string()?;
    cursor.step(br#","msg":{"type":"#)?;
    let kind = cursor.string()?;
    let body = if event::carries_nothing(kind) || copies_another(kind) {
        Body::Nothing
    } else {
        let mut message = Message::behind(line, cursor.at);
        let body = body_of_event(lossy(turn), &lossy(kind), &mut message).ok()?;
        cursor.at = message.end().ok()?;
        cursor.closes(b"}}")?;
        body
    };
    Some(Record { seq, time: time::parse(time), place, body })
}

/// The rest of a submission as Codex writes it.
fn submission<'a>(mut cursor: Cursor<'a>, seq: u64, time: &[u8], place: Place) -> Option<Record<'a>> {
    cursor.step(br#","payload":{"id":"#)?;
    let id = cursor.string()?;
    cursor.step(br#","op":"#)?;
    let (kind, mut message) = Message::tagged(cursor.value()).ok()?;
    let body = op::operation(lossy(id), &kind, &mut message).ok()?;
    cursor.at = message.end().ok()?;
    cursor.closes(b"}}")?;
    Some(Record { seq, time: time::parse(time), place, body })
}

fn general(line: &[u8], place: Place) -> Result<Record<'_>, DecodeError> {
    let head = Head::read(line)?;
    let body = body(head.kind, head.payload)?;
    Ok(Record { seq: head.seq.unwrap_or(place.line), time: time::parse(head.time), place, body })
}

fn body<'a>(kind: Text<'a>, payload: Raw<'a>) -> Result<Body<'a>, DecodeError> {
    Ok(match &*kind {
        "event" => event(payload)?,
        "submission" => op::submission(payload)?,
        "session_meta" => Body::Meta(Box::new(payload::meta(payload)?)),
        "turn_context" => Body::Context(Box::new(payload::context(payload)?)),
        "artifact_ref" => Body::Artifact(Box::new(payload::artifact(payload)?)),
        "compaction_boundary" => Body::Compaction(Box::new(payload::boundary(payload)?)),
        "bridge" => Body::Bridge(Box::new(payload::bridge(payload)?)),
        _ => Body::Unknown { kind },
    })
}

fn event(payload: Raw<'_>) -> Result<Body<'_>, DecodeError> {
    let [turn, message] = payload.pick(["id", "msg"])?;
    let message = message.unwrap_or(payload);
    let [kind] = message.pick(["type"])?;
    let turn = turn.and_then(Raw::text).unwrap_or_default();
    let kind = kind.and_then(Raw::text).unwrap_or_default();
    if event::carries_nothing(kind.as_bytes()) || copies_another(kind.as_bytes()) {
        return Ok(Body::Nothing);
    }
    body_of_event(turn, &kind, &mut Message::whole(message))
}

fn body_of_event<'a>(turn: Text<'a>, kind: &str, message: &mut Message<'a>) -> Result<Body<'a>, DecodeError> {
    Ok(match event::event(kind, message)? {
        Some(event) => Body::Event { turn, event },
        None => Body::Unknown { kind: format!("event:{kind}").into() },
    })
}

/// Events that a spine writes beside the ones that they say again.
fn copies_another(kind: &[u8]) -> bool {
    matches!(kind, b"raw_response_item" | b"item_started" | b"item_completed")
}
