//! Reading the files of a session, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::files::{FilesError, SessionFiles};
use super::writer::Writer;
use super::{Transcript, rollout, spine};
use crate::Place;
use crate::session::Format;

/// A longer line is skipped: nothing that Codex writes is as long.
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
        let mut reader = BufReader::with_capacity(1 << 16, opened);
        let mut place = Place { file: *file, ..Place::default() };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = next_line(&mut reader, &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            place.line += 1;
            place.len = u32::try_from(read.saturating_sub(1)).unwrap_or(u32::MAX);
            take(&mut writer, &line, place);
            place.offset = place.offset.saturating_add(read as u64);
        }
    }
    writer.finish().ok_or_else(|| FilesError::NoId(files.first()))
}

fn take(writer: &mut Writer, line: &[u8], place: Place) {
    if line.iter().all(u8::is_ascii_whitespace) && line.len() < LINE_LIMIT {
        return;
    }
    match serde_json::from_slice::<Value>(line) {
        Ok(Value::Object(record)) => match writer.format() {
            Format::Spine => spine::take(writer, &record, place),
            Format::Rollout | Format::Bundle => rollout::take(writer, &record, place),
        },
        _ => writer.unreadable(),
    }
}

/// The bytes of the next line, its newline included in the number; the text of a line that is too long is
/// left out, so that it is read as something that is no record.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    let limit = LINE_LIMIT as u64;
    let mut read = reader.by_ref().take(limit).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if read >= LINE_LIMIT {
        line.clear();
        line.push(b'!');
        loop {
            let skipped = reader.fill_buf()?;
            let (used, ended) = match skipped.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (skipped.len(), skipped.is_empty()),
            };
            reader.consume(used);
            read = read.saturating_add(used);
            if ended {
                break;
            }
        }
    }
    Ok(read)
}
