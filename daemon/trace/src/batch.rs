//! A whole session at once, in memory that does not grow with it (but for what the sink keeps).
//!
//! This is what a session's live reading must add up to: the same lines, decoded and derived the same way. A
//! last line without its newline is left out here too, since live it would still be waited for.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::decode::{DecodeError, Decoder};
use crate::derive::{Derive, Deriver, Sink};
use crate::lines::{LineReader, Piece, Position, Splitter};
use crate::session::{Format, Row, Rows, Session};
use crate::{Fact, Place, SessionId};

/// How many findings are kept; more are only counted.
const FINDINGS: usize = 1000;

/// A session that was read as a whole.
#[derive(Debug)]
pub struct Batch<S> {
    /// The session.
    pub session: Session,
    /// What took the rows and facts.
    pub sink: S,
    /// What could not be read, in order; the first thousand.
    pub findings: Vec<Finding>,
    /// How much could not be read.
    pub unread: u64,
    /// How many bytes were read.
    pub bytes: u64,
}

/// Something that could not be read. The rest was.
#[derive(Debug)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The line; its beginning for a whole file.
    pub place: Place,
    /// What is wrong.
    pub problem: Unread,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The line is no record.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The line is too long to be looked at.
    #[error("the line has {len} bytes, more than are read")]
    Oversize {
        /// Its length in bytes.
        len: u64,
    },
    /// The last line has no end: it is being written, or was torn by a crash.
    #[error("the last line has no end")]
    Unfinished,
    /// The file, or the rest of it.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a session: its files in order, each with the number that places name it by (a segment's index, 0 for
/// a rollout).
pub fn read<S: Sink>(id: SessionId, format: Format, files: &[(u32, &Path)], sink: S) -> Batch<S> {
    let mut reading = Reading {
        deriver: Deriver::new(id, format),
        format,
        decoder: Decoder::new(format),
        sink,
        findings: Vec::new(),
        unread: 0,
        bytes: 0,
    };
    for (file, path) in files {
        if let Err(error) = reading.file(*file, path) {
            reading.finding(path, Place { file: *file, ..Place::default() }, error.into());
        }
    }
    let Reading { mut deriver, mut sink, findings, unread, bytes, .. } = reading;
    deriver.flush(&mut sink);
    Batch { session: deriver.session().clone(), sink, findings, unread, bytes }
}

struct Reading<S> {
    deriver: Deriver,
    format: Format,
    decoder: Decoder,
    sink: S,
    findings: Vec<Finding>,
    unread: u64,
    bytes: u64,
}

impl<S: Sink> Reading<S> {
    fn file(&mut self, number: u32, path: &Path) -> io::Result<()> {
        self.decoder = Decoder::for_file(self.format, path);
        let mut lines = LineReader::new(File::open(path)?, Splitter::new(number, Position::default()))?;
        lines.read_to_end(|piece| match piece {
            Piece::Line { place, bytes } => {
                let problem = match self.decoder.decode(bytes, place) {
                    Ok(record) => return self.deriver.feed(&record, &mut self.sink),
                    Err(error) => error,
                };
                self.finding(path, place, problem.into());
            }
            Piece::Oversize { place, len } => self.finding(path, place, Unread::Oversize { len }),
        })?;
        let (_, splitter) = lines.into_parts();
        self.bytes = self.bytes.saturating_add(splitter.fed_to());
        if splitter.has_partial_line() {
            let Position { line, offset } = splitter.position();
            let len = u32::try_from(splitter.fed_to().saturating_sub(offset)).unwrap_or(u32::MAX);
            self.finding(path, Place { file: number, line, offset, len }, Unread::Unfinished);
        }
        Ok(())
    }

    fn finding(&mut self, path: &Path, place: Place, problem: Unread) {
        self.unread = self.unread.saturating_add(1);
        if self.findings.len() < FINDINGS {
            self.findings.push(Finding { path: path.to_owned(), place, problem });
        }
    }
}

/// A sink that keeps the rows and passes facts by.
impl Sink for Rows {
    fn row(&mut self, row: Row) {
        self.put(row);
    }

    fn fact(&mut self, _: &Fact<'_>) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;

    use super::*;

    const USER: &str = r#"{"timestamp":"2026-03-02T08:00:00Z","type":"event_msg","payload":{"type":"user_message","message":"hello"}}"#;

    fn thread() -> SessionId {
        "thread-1".parse().unwrap()
    }

    #[test]
    fn what_cannot_be_read_is_found_and_the_rest_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rollout.jsonl");
        fs::write(&path, format!("{USER}\nnot a record\n\n{USER}\n{{\"torn")).unwrap();
        let missing = directory.path().join("missing.jsonl");
        let files = [(0, path.as_path()), (1, missing.as_path())];
        let batch = read(thread(), Format::Rollout, &files, Rows::default());
        assert_eq!((batch.session.counts.turns, batch.sink.turns.len()), (2, 2));
        assert_eq!(batch.sink.turns[&1].user_place.unwrap().line, 4);
        assert_eq!(batch.bytes, fs::metadata(&path).unwrap().len());
        let found: Vec<_> =
            batch.findings.iter().map(|finding| (finding.place.line, &finding.problem)).collect();
        assert!(
            matches!(found[..], [(2, Unread::Decode(_)), (5, Unread::Unfinished), (0, Unread::Io(_))]),
            "{found:?}"
        );
        assert_eq!(batch.unread, 3);
    }

    #[test]
    fn a_session_without_files_is_empty() {
        let batch = read(thread(), Format::Spine, &[], Rows::default());
        assert_eq!((batch.session.counts.records, batch.unread), (0, 0));
    }
}
