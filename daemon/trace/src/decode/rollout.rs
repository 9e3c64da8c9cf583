//! Records of a rollout: Codex's own log of a session.

use super::event;
use super::head::{Before, Cursor, Head};
use super::json::{self, Raw};
use super::message::Message;
use super::text::lossy;
use super::{DecodeError, either_way, item, payload, time};
use crate::record::{Body, Text};
use crate::{Place, Record};

/// Decodes a line of a rollout, as 0.75.0 to 0.169.0 write it.
pub fn rollout(line: &[u8], place: Place) -> Result<Record<'_>, DecodeError> {
    decode(line, place, &mut Before::default())
}

/// Decodes the next line of a rollout.
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
    cursor.step(br#"{"timestamp":"#)?;
    let time = cursor.time(&mut before.minute)?;
    let mut seq = place.line;
    if cursor.step(br#","ordinal":"#).is_some() {
        seq = cursor.count()?.saturating_add(1);
    }
    cursor.step(br#","type":"#)?;
    let outer = cursor.string()?;
    if outer == b"world_state" {
        return Some(Record { seq, time, place, body: Body::Nothing });
    }
    if !matches!(outer, b"event_msg" | b"response_item") {
        cursor.step(br#","payload":"#)?;
        let body = body(lossy(outer), cursor.last_object()?, before).ok()?;
        return Some(Record { seq, time, place, body });
    }
    cursor.step(br#","payload":{"type":"#)?;
    let kind = cursor.string()?;
    let is_event = outer == b"event_msg";
    let body = if is_event && event::carries_nothing(kind) {
        Body::Nothing
    } else {
        let mut message = Message::behind(line, cursor.at);
        let kind = lossy(kind);
        let body = if is_event { body_of_event(&kind, &mut message) } else { item::item(kind, &mut message) };
        cursor.at = message.end().ok()?;
        let body = body.ok()?;
        closes(&mut cursor)?;
        body
    };
    Some(Record { seq, time, place, body })
}

/// Whether only what nobody asks for follows the payload.
fn closes(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.step(br#","metadata":"#).is_some() {
        cursor.at = json::value_at(cursor.line, cursor.at).ok()?.end();
    }
    cursor.closes(b"}")
}

fn general<'a>(line: &'a [u8], place: Place, before: &mut Before) -> Result<Record<'a>, DecodeError> {
    let head = Head::read(line)?;
    let body = body(head.kind, head.payload, before)?;
    let seq = head.ordinal.map_or(place.line, |ordinal| ordinal.saturating_add(1));
    Ok(Record { seq, time: time::parse(head.time), place, body })
}

fn body<'a>(kind: Text<'a>, payload: Raw<'a>, before: &mut Before) -> Result<Body<'a>, DecodeError> {
    Ok(match &*kind {
        "event_msg" => tagged(payload, |kind, message| {
            if event::carries_nothing(kind.as_bytes()) {
                Ok(Body::Nothing)
            } else {
                body_of_event(&kind, message)
            }
        })?,
        "response_item" => tagged(payload, item::item)?,
        "session_meta" => Body::Meta(Box::new(payload::meta(payload)?)),
        "turn_context" => Body::Context(Box::new(payload::context(payload, &mut before.settings)?)),
        "compacted" => Body::Compaction(Box::new(payload::compacted(payload)?)),
        "token_usage_record" => payload::token_usage_record(payload)?,
        "world_state" => Body::Nothing,
        _ => Body::Unknown { kind },
    })
}

fn tagged<'a>(
    payload: Raw<'a>,
    read: impl FnOnce(Text<'a>, &mut Message<'a>) -> Result<Body<'a>, DecodeError>,
) -> Result<Body<'a>, DecodeError> {
    let [kind] = payload.pick(["type"])?;
    read(kind.and_then(Raw::text).unwrap_or_default(), &mut Message::whole(payload))
}

fn body_of_event<'a>(kind: &str, message: &mut Message<'a>) -> Result<Body<'a>, DecodeError> {
    let event = match kind {
        "item_started" | "item_completed" => {
            let mut found = item::OfTurn::Nothing;
            message.walk(|key, value| {
                if !key.is("item") {
                    return Ok(None);
                }
                let (part, mut item) = Message::tagged(value)?;
                found = item::of_turn(part, &mut item, kind == "item_completed")?;
                item.end().map(Some)
            })?;
            match found {
                item::OfTurn::Event(event) => Some(event),
                item::OfTurn::Nothing => return Ok(Body::Nothing),
                item::OfTurn::Unknown(item) => {
                    return Ok(Body::Unknown { kind: format!("event_msg:{kind}:{item}").into() });
                }
            }
        }
        _ => event::event(kind, message)?,
    };
    Ok(match event {
        Some(event) => Body::Event { turn: message.turn(), event },
        None => Body::Unknown { kind: format!("event_msg:{kind}").into() },
    })
}
