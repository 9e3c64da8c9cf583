//! Records of a trace spine.

use super::event;
use super::head::{Before, Cursor, Head};
use super::json::Raw;
use super::message::Message;
use super::text::lossy;
use super::{DecodeError, either_way, op, payload, time};
use crate::record::{Body, Text};
use crate::{Place, Record};

/// Decodes a line of a spine's segment, in any of the dialects that are known.
pub fn spine(line: &[u8], place: Place) -> Result<Record<'_>, DecodeError> {
    decode(line, place, &mut Before::default())
}

/// Decodes the next line of a segment.
pub(super) fn decode<'a>(
    line: &'a [u8],
    place: Place,
    before: &mut Before,
) -> Result<Record<'a>, DecodeError> {
    either_way(line, place, before, usual, general)
}

/// A line as Codex writes it. None says that the general way must be taken.
fn usual<'a>(line: &'a [u8], place: Place, before: &mut Before) -> Option<Record<'a>> {
    let mut cursor = Cursor { line, at: 0 };
    cursor.beginning(&mut before.beginning, |cursor| {
        cursor.step(br#"{"schema_version":"#)?;
        cursor.string()?;
        cursor.step(br#","thread_id":"#)?;
        cursor.string()?;
        cursor.step(br#","seq":"#)
    })?;
    let seq = cursor.count()?;
    cursor.step(br#","timestamp":"#)?;
    let time = cursor.time(&mut before.minute)?;
    let body = match cursor.step(br#","type":"event","payload":{"id":"#) {
        Some(()) => event_line(cursor)?,
        None => other_line(cursor, before)?,
    };
    Some(Record { seq, time, place, body })
}

/// An event from its turn on.
fn event_line(mut cursor: Cursor<'_>) -> Option<Body<'_>> {
    let turn = cursor.string()?;
    cursor.step(br#","msg":{"type":"#)?;
    let kind = cursor.string()?;
    if event::carries_nothing(kind) || copies_another(kind) {
        return Some(Body::Nothing);
    }
    let mut message = Message::behind(cursor.line, cursor.at);
    let body = body_of_event(lossy(turn), &lossy(kind), &mut message).ok()?;
    cursor.at = message.end().ok()?;
    cursor.closes(b"}}")?;
    Some(body)
}

/// What is no event, from its type on.
fn other_line<'a>(mut cursor: Cursor<'a>, before: &mut Before) -> Option<Body<'a>> {
    cursor.step(br#","type":"#)?;
    let kind = cursor.string()?;
    cursor.step(br#","payload":"#)?;
    match kind {
        // An event that begins in another way.
        b"event" => None,
        b"submission" => submission(cursor),
        _ => body(lossy(kind), cursor.last_object()?, before).ok(),
    }
}

/// The payload of a submission as Codex writes it, and the end of its line.
fn submission(mut cursor: Cursor<'_>) -> Option<Body<'_>> {
    cursor.step(br#"{"id":"#)?;
    let id = cursor.string()?;
    cursor.step(br#","op":"#)?;
    let (kind, mut message) = Message::tagged(cursor.value()).ok()?;
    let body = op::operation(lossy(id), &kind, &mut message).ok()?;
    cursor.at = message.end().ok()?;
    cursor.closes(b"}}")?;
    Some(body)
}

fn general<'a>(line: &'a [u8], place: Place, before: &mut Before) -> Result<Record<'a>, DecodeError> {
    let head = Head::read(line)?;
    let body = body(head.kind, head.payload, before)?;
    Ok(Record { seq: head.seq.unwrap_or(place.line), time: time::parse(head.time), place, body })
}

fn body<'a>(kind: Text<'a>, payload: Raw<'a>, before: &mut Before) -> Result<Body<'a>, DecodeError> {
    Ok(match &*kind {
        "event" => event(payload)?,
        "submission" => op::submission(payload)?,
        "session_meta" => Body::Meta(Box::new(payload::meta(payload)?)),
        "turn_context" => Body::Context(Box::new(payload::context(payload, &mut before.settings)?)),
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
