//! The rule set `compat` over the files of a session, as they are now.

use std::collections::VecDeque;
use std::fs::File;

use trace::lines::{LineReader, Piece, Position, Splitter};
use trace::{Place, SessionId};

use crate::compat;
use crate::ingest::files;
use crate::signal::Signal;
use crate::store::tables::CursorRow;

/// What `compat` finds. What cannot be read is as if it were not there: that tool, too, only passes over it.
pub(crate) fn compat(session: &SessionId, cursor: &CursorRow) -> Vec<Signal> {
    let lines = cursor.files.iter().flat_map(|row| {
        let opened = files::listed(row).open();
        opened.ok().into_iter().flat_map(|file| Lines::of(row.index, file))
    });
    match compat::read(session, lines) {
        Ok(report) => report.signals,
        Err(lost) => {
            tracing::debug!(%session, %lost, "nothing for the rule set compat");
            Vec::new()
        }
    }
}

/// The lines of a file, a chunk of them in memory at a time.
struct Lines {
    reader: Option<LineReader<File>>,
    read: VecDeque<(Place, Vec<u8>)>,
}

impl Lines {
    fn of(index: u32, file: File) -> Self {
        let reader = LineReader::new(file, Splitter::new(index, Position::default()));
        Self { reader: reader.ok(), read: VecDeque::new() }
    }
}

impl Iterator for Lines {
    type Item = (Place, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.read.is_empty() {
            let read = &mut self.read;
            let mut keep = |piece: Piece<'_>| {
                if let Piece::Line { place, bytes } = piece {
                    read.push_back((place, bytes.to_vec()));
                }
            };
            if !self.reader.as_mut()?.read(&mut keep).unwrap_or(false) {
                // That tool also reads a last line without its end.
                let (_, splitter) = self.reader.take()?.into_parts();
                splitter.finish(&mut keep);
                if self.read.is_empty() {
                    return None;
                }
            }
        }
        self.read.pop_front()
    }
}
