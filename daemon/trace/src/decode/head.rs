//! What stands around a payload.

use super::json::{self, Raw};
use super::{DecodeError, Problem, trim};
use crate::record::Text;

/// The envelope of a line, as it is written: of a spine or of a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope<'a> {
    /// The format's name and version (spines only).
    pub schema_version: Option<Text<'a>>,
    /// The thread (spines only).
    pub thread_id: Option<Text<'a>>,
    /// `seq` of a spine, `ordinal` of a rollout.
    pub seq: Option<u64>,
    /// When it was written.
    pub timestamp: Option<Text<'a>>,
    /// What kind of record it is.
    pub kind: Option<Text<'a>>,
    /// Whether there is a payload, and it is an object.
    pub has_payload: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a line.
    pub fn read(line: &'a [u8]) -> Result<Self, DecodeError> {
        let (before, line) = trim(line);
        let members = members(line).map_err(|error| error.behind(before))?;
        let [schema_version, thread_id, seq, ordinal, timestamp, kind, payload] = members;
        Ok(Self {
            schema_version: schema_version.and_then(Raw::text),
            thread_id: thread_id.and_then(Raw::text),
            seq: seq.or(ordinal).and_then(Raw::count),
            timestamp: timestamp.and_then(Raw::text),
            kind: kind.and_then(Raw::text),
            has_payload: payload.is_some_and(Raw::is_object),
        })
    }
}

/// `schema_version`, `thread_id`, `seq`, `ordinal`, `timestamp`, `type` and `payload` of a line.
fn members(line: &[u8]) -> Result<json::Picked<'_, 7>, DecodeError> {
    if line.first() != Some(&b'{') {
        return Err(DecodeError { problem: Problem::NotAnObject, byte: 0 });
    }
    let whole = Raw::first(line)?;
    if whole.bytes().len() != line.len() {
        let problem = Problem::Broken { expected: "the end of the line" };
        return Err(DecodeError { problem, byte: whole.bytes().len() });
    }
    Ok(whole.pick(["schema_version", "thread_id", "seq", "ordinal", "timestamp", "type", "payload"])?)
}

/// What the decoders take from an envelope, read the general way.
pub(super) struct Head<'a> {
    /// `seq` of a spine.
    pub seq: Option<u64>,
    /// `ordinal` of a rollout.
    pub ordinal: Option<u64>,
    /// The time's text.
    pub time: &'a [u8],
    pub kind: Text<'a>,
    /// The payload; the whole line where there is none, or it is no object.
    pub payload: Raw<'a>,
}

impl<'a> Head<'a> {
    pub(super) fn read(line: &'a [u8]) -> Result<Self, DecodeError> {
        let [_, _, seq, ordinal, timestamp, kind, payload] = members(line)?;
        let Some(kind) = kind.and_then(Raw::text) else {
            return Err(DecodeError { problem: Problem::NoType, byte: 0 });
        };
        Ok(Self {
            seq: seq.and_then(Raw::count),
            ordinal: ordinal.and_then(Raw::count),
            time: timestamp.and_then(Raw::inside).unwrap_or_default(),
            kind,
            payload: payload.filter(|payload| payload.is_object()).unwrap_or(Raw::at(b"{}", 0, 2)),
        })
    }
}

/// Reads a line byte by byte, as long as it is written the usual way; none as soon as it is not.
pub(super) struct Cursor<'a> {
    pub line: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        self.space();
        self.bytes(&[byte])
    }

    /// A member's name and its colon.
    pub(super) fn key(&mut self, name: &str) -> Option<()> {
        self.eat(b'"')?;
        self.bytes(name.as_bytes())?;
        self.bytes(b"\"")?;
        self.eat(b':')?;
        self.space();
        Some(())
    }

    /// Whether another member follows.
    pub(super) fn comma(&mut self) -> Option<()> {
        self.eat(b',')
    }

    /// A string without escapes.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        self.bytes(b"\"")?;
        let closing = json::end_of_string(self.line, self.at).ok()?;
        let text = self.line.get(self.at..closing)?;
        self.at = closing + 1;
        (!text.contains(&b'\\')).then_some(text)
    }

    /// A number from 0.
    pub(super) fn count(&mut self) -> Option<u64> {
        let rest = self.line.get(self.at..)?;
        let len = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let count = std::str::from_utf8(rest.get(..len)?).ok()?.parse().ok()?;
        self.at += len;
        Some(count)
    }

    /// Whether nothing follows but so many closing braces.
    pub(super) fn closes(&mut self, braces: usize) -> Option<()> {
        (0..braces).try_for_each(|_| self.eat(b'}'))?;
        self.space();
        (self.at == self.line.len()).then_some(())
    }

    fn space(&mut self) {
        self.at = json::skip_space(self.line, self.at);
    }

    fn bytes(&mut self, expected: &[u8]) -> Option<()> {
        self.line.get(self.at..)?.starts_with(expected).then_some(())?;
        self.at += expected.len();
        Some(())
    }
}
