//! What stands around a payload.

use jiff::Timestamp;

use super::json::{self, Raw, Unread};
use super::payload::LastSettings;
use super::time::Minute;
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
    let names = ["schema_version", "thread_id", "seq", "ordinal", "timestamp", "type", "payload"];
    Ok(whole_line(line)?.pick(names)?)
}

/// The object that a line is.
pub(super) fn whole_line(line: &[u8]) -> Result<Raw<'_>, DecodeError> {
    if line.first() != Some(&b'{') {
        return Err(DecodeError { problem: Problem::NotAnObject, byte: 0 });
    }
    let whole = Raw::first(line)?;
    if whole.bytes().len() != line.len() {
        let problem = Problem::Broken { expected: "the end of the line" };
        return Err(DecodeError { problem, byte: whole.bytes().len() });
    }
    Ok(whole)
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
            payload: payload.filter(|payload| payload.is_object()).unwrap_or(Raw::nothing()),
        })
    }
}

/// What lines of a file have in common, as the ones before had it.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// With what they begin.
    pub beginning: Vec<u8>,
    /// Of what minute they are.
    pub minute: Minute,
    /// With what settings the model is asked.
    pub settings: LastSettings,
}

/// The longest beginning that is remembered.
const BEGINNING_LIMIT: usize = 256;

/// Reads a line byte by byte, as long as it is written the usual way; none as soon as it is not.
pub(super) struct Cursor<'a> {
    pub line: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    /// Steps over exactly this text, between whose marks white space may stand, and over white space behind it.
    /// Where something else stands, nothing is stepped over: the text may be one that can be missing.
    ///
    /// The length is part of the type so that the comparison is a few instructions: it is made six times a line.
    #[inline]
    pub(super) fn step<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        let end = if self.line.get(self.at..)?.first_chunk() == Some(expected) {
            self.at + N
        } else {
            self.end_of_spaced(expected)?
        };
        self.at = json::skip_space(self.line, end);
        Some(())
    }

    fn end_of_spaced(&self, expected: &[u8]) -> Option<usize> {
        let mut at = self.at;
        let mut quoted = false;
        for &byte in expected {
            if !quoted {
                at = json::skip_space(self.line, at);
            }
            quoted ^= byte == b'"';
            (self.line.get(at) == Some(&byte)).then_some(())?;
            at += 1;
        }
        Some(at)
    }

    /// A string without escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at + 1;
        (self.line.get(self.at) == Some(&b'"')).then_some(())?;
        let (closing, escaped) = json::end_of_name(self.line, start).ok()?;
        let text = self.line.get(start..closing)?;
        self.at = closing + 1;
        (!escaped).then_some(text)
    }

    /// Steps over the beginning of a line. `step` does so where it is another one than that of the line before.
    #[inline]
    pub(super) fn beginning(
        &mut self,
        before: &mut Vec<u8>,
        step: impl FnOnce(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if !before.is_empty() && self.line.starts_with(before) {
            self.at = before.len();
            return Some(());
        }
        step(self)?;
        before.clear();
        let begins = self.line.get(..self.at).filter(|begins| begins.len() <= BEGINNING_LIMIT);
        before.extend_from_slice(begins.unwrap_or_default());
        Some(())
    }

    /// A string that should be a time.
    #[inline]
    #[expect(clippy::option_option, reason = "a text that is no time is not a line that is unusual")]
    pub(super) fn time(&mut self, minute: &mut Minute) -> Option<Option<Timestamp>> {
        let usual = self.line.get(self.at..).and_then(<[u8]>::first_chunk);
        if let Some(time) = usual.and_then(|quoted| minute.moment(quoted)) {
            self.at += 26;
            return Some(Some(time));
        }
        self.string().map(|text| minute.parse(text))
    }

    /// A number from 0.
    #[inline]
    pub(super) fn count(&mut self) -> Option<u64> {
        let mut count = 0_u64;
        let began = self.at;
        while let Some(digit @ b'0'..=b'9') = self.line.get(self.at) {
            count = count.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at > began && matches!(self.line.get(self.at), Some(b',' | b' '))).then_some(count)
    }

    /// The value that begins here.
    pub(super) fn value(&self) -> Unread<'a> {
        Unread::new(self.line, self.at)
    }

    /// The object that begins here and reaches, as it should, to the brace that closes the line.
    pub(super) fn last_object(&self) -> Option<Raw<'a>> {
        let end = self.line.len().checked_sub(1)?;
        let object = Raw::at(self.line, self.at, end);
        (self.line.ends_with(b"}}") && object.is_object()).then_some(object)
    }

    /// Whether nothing follows but so many closing braces.
    pub(super) fn closes<const N: usize>(&mut self, braces: &[u8; N]) -> Option<()> {
        self.step(braces)?;
        (self.at == self.line.len()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn a_text_that_may_be_missing_is_not_stepped_over_in_part() {
        let mut cursor = Cursor { line: br#","type":"a""#, at: 0 };
        assert_eq!(cursor.step(br#","ordinal":"#), None);
        assert_eq!((cursor.step(br#","type":"#), cursor.string()), (Some(()), Some(b"a".as_slice())));
    }

    #[test]
    fn a_text_begins_right_behind_its_quote() {
        let mut cursor = Cursor { line: br#"{"a": " b ", "c":"#, at: 0 };
        assert_eq!(cursor.step(br#"{"a":"#), Some(()));
        assert_eq!(cursor.string(), Some(b" b ".as_slice()));
        assert_eq!(cursor.step(br#","c":"#), Some(()));
    }
}
