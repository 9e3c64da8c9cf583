//! From the bytes of a line to a [`Record`].
//!
//! Decoding is lenient, because the formats have dialects and grow: members that are not known are stepped
//! over, members of an unexpected type are as good as absent, of members that are there twice the last one
//! counts, what is no UTF-8 becomes U+FFFD. An error is only what leaves no record to speak of. A line as the
//! writers make it (members in their usual order) is walked once, and one of a kind that carries nothing is
//! not even looked at beyond its first bytes; whatever differs takes a second, general way to the same result.

mod bundle;
mod event;
mod head;
mod item;
mod json;
mod message;
mod op;
mod payload;
mod rollout;
mod spine;
mod text;
mod time;
mod word;

use bundle::Payloads;
use head::Before;
pub use head::Envelope;
pub use rollout::rollout;
pub use spine::spine;

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::session::Format;
use crate::{Place, Record};

/// How much of an output a record keeps, in bytes.
const HEAD_LIMIT: usize = 512;

/// A line gives no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (byte {byte} of the line)")]
pub struct DecodeError {
    /// What is wrong.
    pub problem: Problem,
    /// Where, as an offset in the line.
    pub byte: usize,
}

/// Why a line gives no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The line holds something else than a JSON object.
    #[error("the line is no JSON object")]
    NotAnObject,
    /// The object is broken.
    #[error("the JSON is broken: {expected} expected")]
    Broken {
        /// What should have been there.
        expected: &'static str,
    },
    /// The object says nowhere what kind of record it is.
    #[error("the record has no `type`")]
    NoType,
}

impl DecodeError {
    /// The same error in a line that begins so many bytes earlier.
    fn behind(mut self, bytes: usize) -> Self {
        self.byte = self.byte.saturating_add(bytes);
        self
    }
}

impl From<json::Broken> for DecodeError {
    fn from(broken: json::Broken) -> Self {
        Self { problem: Problem::Broken { expected: broken.expected }, byte: broken.at }
    }
}

/// Decodes the lines of one source.
///
/// It is asked mutably, and lends its records, because some formats keep texts in files of their own, and because
/// lines repeat what the line before says.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    before: Before,
    payloads: Payloads,
}

impl Decoder {
    /// A decoder for a format whose records are whole lines. Of a bundle, it gives what the lines themselves
    /// say.
    pub fn new(format: Format) -> Self {
        Self { format, before: Before::default(), payloads: Payloads::default() }
    }

    /// A decoder for the `trace.jsonl` of a rollout trace bundle, whose directory is read for payloads.
    pub fn bundle(directory: PathBuf) -> Self {
        Self { payloads: Payloads::below(directory), ..Self::new(Format::Bundle) }
    }

    /// A decoder for a file of a session: that of a bundle finds the payloads beside it.
    pub fn for_file(format: Format, file: &Path) -> Self {
        match (format, file.parent()) {
            (Format::Bundle, Some(directory)) => Self::bundle(directory.to_owned()),
            _ => Self::new(format),
        }
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Decodes the bytes of one line, given without its newline.
    pub fn decode<'a>(&'a mut self, line: &'a [u8], place: Place) -> Result<Record<'a>, DecodeError> {
        match self.format {
            Format::Spine => spine::decode(line, place, &mut self.before),
            Format::Rollout => rollout::decode(line, place, &mut self.before),
            Format::Bundle => bundle::bundle(line, place, &mut self.payloads),
        }
    }
}

/// Reads a time as records have it: RFC 3339. None for what is no time; a clock may say anything.
pub fn time(text: &str) -> Option<Timestamp> {
    time::parse(text.as_bytes())
}

/// Decodes a line the usual way, or else the general one.
fn either_way<'a>(
    line: &'a [u8],
    place: Place,
    before: &mut Before,
    usual: impl FnOnce(&'a [u8], Place, &mut Before) -> Option<Record<'a>>,
    general: impl FnOnce(&'a [u8], Place, &mut Before) -> Result<Record<'a>, DecodeError>,
) -> Result<Record<'a>, DecodeError> {
    let (harmless, line) = trim(line);
    match usual(line, place, before) {
        Some(record) => Ok(record),
        None => general(line, place, before).map_err(|error| error.behind(harmless)),
    }
}

/// Leaves out what may stand around a record without harm: a byte order mark, white space, and the NUL bytes
/// that a crash leaves where a file had grown but nothing was written yet. Gives how many bytes came before.
fn trim(line: &[u8]) -> (usize, &[u8]) {
    if line.first() == Some(&b'{') && line.last() == Some(&b'}') {
        return (0, line);
    }
    let harmless = |byte: &u8| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF);
    let start = line.iter().position(|byte| !harmless(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !harmless(byte)).map_or(start, |last| last + 1);
    (start, line.get(start..end).unwrap_or_default())
}

#[cfg(test)]
mod tests;
