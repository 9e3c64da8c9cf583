//! What every file of lines must keep, whatever its format: each line is JSON, and none is torn or too long.

use std::path::Path;

use serde::Deserialize as _;

use super::report::{At, Code, Report};
use crate::Place;
use crate::lines::{Piece, Position, Splitter};

/// The place of a byte of a line.
pub(super) fn at(place: Place, byte: usize) -> At {
    At::Line { line: place.line, byte: place.offset.saturating_add(byte as u64) }
}

/// The line of a piece. What is wrong with it as a line of JSON is told; none if it cannot be looked into.
pub(super) fn line<'a>(piece: Piece<'a>, path: &Path, report: &mut Report) -> Option<(Place, &'a [u8])> {
    let (place, bytes) = match piece {
        Piece::Line { place, bytes } => (place, bytes),
        Piece::Oversize { place, len } => {
            report.add(Code::OversizeLine, path, at(place, 0), format!("the line has {len} bytes"));
            return None;
        }
    };
    if let Some((code, byte, message)) = grammar(bytes) {
        report.add(code, path, at(place, byte), message);
        if code == Code::Unparsable {
            return None;
        }
    }
    Some((place, bytes))
}

/// Tells of a last line without its end, once all is read.
pub(super) fn torn(splitter: &Splitter, path: &Path, report: &mut Report) {
    if splitter.has_partial_line() {
        let Position { line, offset } = splitter.position();
        let message = "the last line has no newline: it is torn, or still being written";
        report.add(Code::TornLine, path, At::Line { line, byte: offset }, message);
    }
}

/// What is wrong with a line as JSON: the code, the offset in the line, and words. None if it is an object of
/// correct JSON.
fn grammar(line: &[u8]) -> Option<(Code, usize, String)> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let checked = serde::de::IgnoredAny::deserialize(&mut json).and_then(|_| json.end());
    if let Err(error) = checked {
        return Some((
            Code::Unparsable,
            error.column().saturating_sub(1),
            format!("the line is no JSON: {error}"),
        ));
    }
    if let Err(error) = std::str::from_utf8(line) {
        let message = "the line has bytes that are no UTF-8".to_owned();
        return Some((Code::InvalidUtf8, error.valid_up_to(), message));
    }
    None
}
