//! Reading the files of a session, line by line.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::files::{FilesError, SessionFiles};
use super::writer::Writer;
use super::{Transcript, bundle, rollout, spine};
use crate::lines::{LineReader, Piece, Position, Splitter};
use crate::session::Format;

/// A longer line is skipped. A whole history may stand in one, so this is more than what is read live.
const LINE_LIMIT: usize = 64 << 20;

/// More than this is not held in memory at once.
const SESSION_LIMIT: u64 = 2 << 30;

/// Reads a whole session.
///
/// Lines that are no records are counted and skipped, also a torn last one.
pub fn read(files: &SessionFiles) -> Result<Transcript, FilesError> {
    let mut writer = Writer::new(files.format);
    let mut total = 0_u64;
    for (file, path) in &files.paths {
        let failed = |source| FilesError::Read { path: path.clone(), source };
        let opened = File::open(path).map_err(failed)?;
        total = total.saturating_add(opened.metadata().map_err(failed)?.len());
        if total > SESSION_LIMIT {
            return Err(FilesError::TooLarge { path: files.first(), limit: SESSION_LIMIT });
        }
        let splitter = Splitter::new(*file, Position::default()).with_limit(LINE_LIMIT);
        let mut reader = LineReader::new(opened, splitter).map_err(failed)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        reader.read_to_end(|piece| take(&mut writer, piece, directory)).map_err(failed)?;
        // A torn last line is no record, or it is one whose newline is still to come.
        let (_, splitter) = reader.into_parts();
        splitter.finish(|piece| take(&mut writer, piece, directory));
    }
    writer.finish().ok_or_else(|| FilesError::NoId(files.first()))
}

/// Takes a line of a file in a directory.
fn take(writer: &mut Writer, piece: Piece<'_>, directory: &Path) {
    let Piece::Line { place, bytes } = piece else { return writer.unreadable() };
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(record)) => match writer.format() {
            Format::Spine => spine::take(writer, &record, place),
            Format::Rollout => rollout::take(writer, &record, place),
            Format::Bundle => bundle::take(writer, &record, place, directory),
        },
        _ => writer.unreadable(),
    }
}
