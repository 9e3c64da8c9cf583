//! Reading a session's files on, line by line.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use engine::store::StoreError;
use trace::Place;
use trace::decode::Decoder;
use trace::lines::{Piece, Position, Splitter};
use trace::source::{SessionSource, SourceFile};

use super::{Gathered, Live, Terms};
use crate::ingest::files::{self, Plan, Why};
use crate::ingest::pipeline::VERSION;
use crate::store::finding::FindingRow;
use crate::store::tables::FileRow;

/// How many bytes of a session are read before others have their turn.
const TURN: u64 = 64 << 20;

/// How many rows may gather before they are stored.
const ROWS: usize = 20_000;

/// How far a turn of reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The end of everything that was there.
    End,
    /// The end of its turn.
    Turn,
}

/// Why a session could not be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] trace::source::OpenError),
    #[error("cannot read")]
    Io(#[from] io::Error),
}

impl Live {
    /// Reads what there is, for one turn. `buffer` is what is read into.
    pub(crate) fn read(
        &mut self,
        source: &SessionSource,
        terms: &Terms,
        buffer: &mut [u8],
    ) -> Result<Reached, ReadError> {
        match files::plan(&self.cursor, VERSION, source) {
            Plan::Nothing => return Ok(Reached::End),
            Plan::Anew(Why::First) | Plan::GoOn | Plan::Moved => {}
            Plan::Anew(why) => self.anew(source, why),
        }
        if self.cursor.gone_at != 0 {
            self.cursor.gone_at = 0;
            self.gathered.any = true;
        }
        let first = self.cursor.files.last().map_or(0, |file| file.index);
        for (number, file) in source.files.iter().enumerate().filter(|(_, file)| file.index >= first) {
            if self.cursor.files.last().is_none_or(|last| last.index != file.index) {
                self.cursor.files.push(files::row(file));
                self.gathered.any = true;
                self.splitter = None;
            }
            let is_last = number + 1 == source.files.len();
            let mut decoder = Decoder::for_file(source.format, &file.path);
            match self.read_file(file, is_last, terms, &mut decoder, buffer)? {
                Some(Reached::End) => {}
                Some(Reached::Turn) => return Ok(Reached::Turn),
                // Rewritten in place: begin again, which cannot happen twice in one look.
                None => {
                    self.anew(source, Why::Rewritten);
                    return self.read(source, terms, buffer);
                }
            }
        }
        // A file that was copied is new, and what it tells of is not.
        let written = files::changed_at(source);
        let changed = self.pipeline.session().ended_at.map_or(written, |ended| ended.min(written));
        self.cursor.changed_at = changed.as_microsecond();
        Ok(Reached::End)
    }

    /// Reads a file on; none if it is not what was read before.
    fn read_file(
        &mut self,
        file: &SourceFile,
        is_last: bool,
        terms: &Terms,
        decoder: &mut Decoder,
        buffer: &mut [u8],
    ) -> Result<Option<Reached>, ReadError> {
        let Some(row) = self.cursor.files.last() else { return Ok(Some(Reached::End)) };
        let mut opened = file.open()?;
        if !files::is_same(row, &opened)? {
            return Ok(None);
        }
        let mut splitter = match self.splitter.take() {
            Some((index, splitter)) if index == file.index => splitter,
            _ => Splitter::new(file.index, Position { line: row.lines + 1, offset: row.offset }),
        };
        opened.seek(SeekFrom::Start(splitter.fed_to()))?;
        let mut reached = Reached::End;
        loop {
            let count = match opened.read(buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What was read before the error is as good as ever.
                Err(error) => {
                    self.note(file, &opened, splitter.position(), false)?;
                    return Err(error.into());
                }
            };
            splitter.feed(&buffer[..count], |piece| self.take(piece, decoder, terms));
            self.gathered.bytes += count as u64;
            if self.gathered.bytes >= TURN || self.gathered.rows() >= ROWS {
                reached = Reached::Turn;
                break;
            }
        }
        if reached == Reached::End && !is_last && splitter.has_partial_line() {
            // Another file follows, so this one grows no more: its last line was torn.
            let Position { line, offset } = splitter.position();
            let end = splitter.fed_to();
            let len = u32::try_from(end.saturating_sub(offset)).unwrap_or(u32::MAX);
            let place = Place { file: file.index, line, offset, len };
            self.find(place, "torn_line", "the last line has no end".to_owned(), terms);
            splitter = Splitter::new(file.index, Position { line: line + 1, offset: end });
        }
        self.note(file, &opened, splitter.position(), reached == Reached::End)?;
        // Without the beginning of a line a splitter is no more than its place, which is noted already.
        self.splitter = splitter.has_partial_line().then_some((file.index, splitter));
        Ok(Some(reached))
    }

    /// Notes how far a file has been read, and its stat if that is all there was: what is left without one is
    /// read on however it looks.
    fn note(&mut self, file: &SourceFile, opened: &File, at: Position, whole: bool) -> io::Result<()> {
        let Some(row) = self.cursor.files.last_mut() else { return Ok(()) };
        let before = row.offset;
        let mut now = files::row(file);
        // Evidence is read from where the store says that the file lies.
        self.gathered.any |= row.path != now.path;
        if !whole {
            (now.size, now.modified) = (0, 0);
        } else if now.size == at.offset {
            // It was read as it is now before that could be seen.
            self.gathered.any |= (row.size, row.modified) != (now.size, now.modified);
        }
        *row = FileRow { offset: at.offset, lines: at.line.saturating_sub(1), sample: row.sample, ..now };
        if at.offset != before {
            row.sample = files::sample(opened, at.offset)?;
            self.cursor.bytes += at.offset.saturating_sub(before);
            self.gathered.any = true;
        }
        Ok(())
    }

    fn take(&mut self, piece: Piece<'_>, decoder: &mut Decoder, terms: &Terms) {
        let (place, bytes) = match piece {
            Piece::Line { place, bytes } => (place, bytes),
            Piece::Oversize { place, len } => {
                let message = format!("the line has {len} bytes, which is too long to be read");
                return self.find(place, "line_too_long", message, terms);
            }
        };
        match decoder.decode(bytes, place) {
            Ok(record) => {
                self.gathered.records += 1;
                self.records += 1;
                self.count(record.seq);
                self.cursor.news &= !std::mem::take(&mut self.cursor.settled);
                self.appended = self.watched && self.is_appended(place);
                self.pipeline.feed(&record, &mut self.gathered.out);
                if !self.gathered.out.found.is_empty() {
                    self.learn(terms);
                }
            }
            Err(error) => {
                let code = match error.problem {
                    trace::decode::Problem::NotAnObject => "not_an_object",
                    trace::decode::Problem::Broken { .. } => "broken_json",
                    trace::decode::Problem::NoType => "no_type",
                };
                self.find(place, code, error.to_string(), terms);
            }
        }
    }

    /// Whether what stands here was not there before. What is read anew is as old as its times say.
    fn is_appended(&self, place: Place) -> bool {
        match self.read_before {
            Some(before) => (place.file, place.offset) >= before,
            None => !self.cursor.anew,
        }
    }

    /// Counts what is missing and what came twice. Numbers may come in another order than they were given in.
    fn count(&mut self, seq: u64) {
        let cursor = &mut self.cursor;
        if cursor.next_seq == 0 || seq == cursor.next_seq {
            cursor.next_seq = seq.saturating_add(1);
        } else if seq > cursor.next_seq {
            cursor.gaps = cursor.gaps.saturating_add(seq - cursor.next_seq);
            cursor.next_seq = seq.saturating_add(1);
        } else if cursor.gaps > 0 {
            cursor.gaps -= 1;
        } else {
            cursor.duplicates = cursor.duplicates.saturating_add(1);
        }
    }

    fn find(&mut self, place: Place, code: &str, message: String, terms: &Terms) {
        self.cursor.findings = self.cursor.findings.saturating_add(1);
        if self.cursor.kept_findings < terms.keep_findings {
            let ordinal = self.cursor.kept_findings;
            self.cursor.kept_findings += 1;
            let row = FindingRow { ordinal, place, error: true, code: code.to_owned(), message };
            self.gathered.findings.insert(ordinal, Some(row));
        }
    }
}

impl Gathered {
    fn rows(&self) -> usize {
        let rows = &self.out.rows;
        rows.turns.len()
            + rows.calls.len()
            + rows.approvals.len()
            + rows.compactions.len()
            + rows.artifacts.len()
            + self.signals.len()
    }
}
