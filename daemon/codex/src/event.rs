//! The events that `codex exec --json` prints, one JSON object per line.
//!
//! Decoding is lenient and never fails: one line that cannot be read must not end a run. Every
//! release brings new types and fields, and one known item carries a key twice, which derived
//! structs reject. So lines are read as [`Value`]s and looked at key by key.

use jiff::Timestamp;
use serde_json::Value;

use crate::item::{error_text, text};
use crate::{DEFAULT_LINE_LIMIT, Item, Line, LineKind, LineSplitter, TokenUsage};

/// How much of a line that is no JSON is kept.
const KEPT_OF_UNPARSED: usize = 16 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When the line was complete, by the reader's clock: Codex sends no time.
    pub at: Timestamp,
    /// Where the line begins in stdout, in bytes.
    pub offset: u64,
    /// What it says.
    pub body: Body,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// The first event of every process that got so far; also after a resume.
    ThreadStarted {
        /// The id, as it was sent.
        thread_id: String,
    },
    /// The model begins to work.
    TurnStarted,
    /// An item begins.
    ItemStarted(Item),
    /// An item changed.
    ItemUpdated(Item),
    /// An item is complete. Some items are never begun, and some never complete.
    ItemCompleted(Item),
    /// The turn succeeded: the only proof of success there is.
    TurnCompleted {
        /// The tokens used, by the release's own way of counting; see [`crate::RunUsage`].
        usage: Option<TokenUsage>,
    },
    /// The turn failed.
    TurnFailed {
        /// Why.
        message: String,
    },
    /// Something went wrong. Not the end: Codex may be connecting again.
    Error {
        /// What.
        message: String,
    },
    /// A JSON object that this crate does not understand.
    Unknown {
        /// Its type, if it has one.
        name: String,
        /// The whole object.
        raw: Value,
    },
    /// A line that is no JSON object.
    Unparsed {
        /// The line, or its beginning.
        text: String,
        /// Whether the stream ended before the line did.
        unfinished: bool,
    },
    /// A line over the size limit, which was skipped.
    TooLong {
        /// Its length in bytes.
        length: u64,
        /// How it begins.
        start: String,
    },
}

impl Event {
    /// Reads one line.
    pub fn decode(line: &Line, at: Timestamp) -> Self {
        let body = match line.kind {
            LineKind::TooLong => Body::TooLong { length: line.length, start: lossy(&line.bytes) },
            LineKind::Whole | LineKind::Unfinished => {
                object(&line.bytes).map_or_else(|| unparsed(line), body)
            }
        };
        Self { at, offset: line.offset, body }
    }

    /// The item that the event is about.
    pub fn item(&self) -> Option<&Item> {
        match &self.body {
            Body::ItemStarted(item) | Body::ItemUpdated(item) | Body::ItemCompleted(item) => Some(item),
            _ => None,
        }
    }
}

fn object(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes)
        // Codex writes UTF-8; a wrapper may not.
        .or_else(|_| serde_json::from_str(&String::from_utf8_lossy(bytes)))
        .ok()
        .filter(Value::is_object)
}

fn body(mut raw: Value) -> Body {
    let name = text(&raw, "type");
    let item = |raw: &mut Value| {
        raw.get_mut("item").filter(|item| item.is_object()).map(Value::take).map(Item::decode)
    };
    let known = match name.as_str() {
        "thread.started" => Some(text(&raw, "thread_id"))
            .filter(|id| !id.is_empty())
            .map(|thread_id| Body::ThreadStarted { thread_id }),
        "turn.started" => Some(Body::TurnStarted),
        "turn.completed" => {
            Some(Body::TurnCompleted { usage: raw.get("usage").and_then(TokenUsage::decode) })
        }
        // The end of the turn even if it does not say why.
        "turn.failed" => {
            let message = raw.get("error").and_then(error_text).unwrap_or_default();
            Some(Body::TurnFailed { message })
        }
        "error" => Some(Body::Error { message: text(&raw, "message") }),
        "item.started" => item(&mut raw).map(Body::ItemStarted),
        "item.updated" => item(&mut raw).map(Body::ItemUpdated),
        "item.completed" => item(&mut raw).map(Body::ItemCompleted),
        _ => None,
    };
    known.unwrap_or(Body::Unknown { name, raw })
}

fn unparsed(line: &Line) -> Body {
    let kept = &line.bytes[..line.bytes.len().min(KEPT_OF_UNPARSED)];
    Body::Unparsed { text: lossy(kept), unfinished: line.kind == LineKind::Unfinished }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Turns the bytes of stdout into events, live or after the fact: how the bytes are cut into chunks
/// makes no difference to the events.
#[derive(Debug, Clone)]
pub struct Decoder {
    lines: LineSplitter,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl Decoder {
    /// A decoder at the beginning of stdout.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that goes on at an offset where a line begins, such as [`Decoder::offset`] of an
    /// earlier one.
    pub fn starting_at(offset: u64) -> Self {
        Self { lines: LineSplitter::starting_at(offset, DEFAULT_LINE_LIMIT) }
    }

    /// The same with another limit for the length of a line.
    #[must_use]
    pub fn with_line_limit(self, limit: usize) -> Self {
        Self { lines: LineSplitter::starting_at(self.lines.offset(), limit) }
    }

    /// The offset behind the last whole line.
    pub fn offset(&self) -> u64 {
        self.lines.offset()
    }

    /// Takes bytes that arrived at one time and gives the events that they complete.
    pub fn feed(&mut self, chunk: &[u8], at: Timestamp) -> Vec<Event> {
        self.lines.feed(chunk).iter().map(|line| Event::decode(line, at)).collect()
    }

    /// Ends the stream. A last line without a newline is read if it is whole JSON, and kept as
    /// [`Body::Unparsed`] if not.
    pub fn finish(&mut self, at: Timestamp) -> Option<Event> {
        self.lines.finish().map(|line| Event::decode(&line, at))
    }
}
