//! From bytes to lines, in bounded memory.
//!
//! A [`Splitter`] is pushed bytes in pieces of any size and gives whole lines, each with its [`Place`]. A last
//! line without its newline waits for more bytes: it is half written, or torn by a crash, which only the caller
//! can tell apart ([`Splitter::finish`]). A [`LineReader`] pushes a file's bytes.

use std::io::{self, Read, Seek, SeekFrom};

use memchr::memchr;

use crate::Place;

/// The longest line that is held in memory, in bytes, unless another limit is asked for.
pub const LINE_LIMIT: usize = 16 << 20;

/// How many bytes are read at a time: so few that they are still in a core's own cache when they are split and
/// decoded. With 256 KiB, on a core with 512 KiB of it, copying out of the system's cache took twice as long.
pub const CHUNK: usize = 64 << 10;

/// What is found between two newlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line.
    Line {
        /// Where it stands.
        place: Place,
        /// Its bytes, without the newline or a carriage return before it.
        bytes: &'a [u8],
    },
    /// A line over the limit: it is stepped over and was never held.
    Oversize {
        /// Where it stands; its `len` says at most `u32::MAX`.
        place: Place,
        /// Its length in bytes, without the newline.
        len: u64,
    },
}

/// Where reading stands: nothing before it is needed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the next line, from 1.
    pub line: u64,
    /// The offset of its first byte.
    pub offset: u64,
}

impl Default for Position {
    /// The beginning of a file.
    fn default() -> Self {
        Self { line: 1, offset: 0 }
    }
}

/// Splits bytes into lines.
///
/// Lines of nothing but white space and NUL bytes (what a crash leaves in a file that had grown already) are
/// counted and not given.
#[derive(Debug)]
pub struct Splitter {
    file: u32,
    limit: usize,
    /// Where the line begins whose end has not come yet.
    next: Position,
    /// Its bytes so far, as long as they are within the limit.
    begun: Vec<u8>,
    /// How many bytes of it have come.
    seen: u64,
}

impl Splitter {
    /// Begins at a position of the file that places are to name as `file`.
    pub fn new(file: u32, from: Position) -> Self {
        Self { file, limit: LINE_LIMIT, next: from, begun: Vec::new(), seen: 0 }
    }

    /// The same with another limit for a line's length in bytes, which may be up to `u32::MAX`.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.min(u32::MAX as usize);
        self
    }

    /// Where the first line begins that has not been given. Reading may go on from here with a new splitter.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Where the next byte that is fed belongs.
    pub fn fed_to(&self) -> u64 {
        self.next.offset.saturating_add(self.seen)
    }

    /// Whether the beginning of a line has come, but not its end.
    pub fn has_partial_line(&self) -> bool {
        self.seen > 0
    }

    /// Takes the next bytes, and gives the lines that they end.
    pub fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        if self.seen > 0 {
            let Some(newline) = memchr(b'\n', rest) else { return self.hold(rest) };
            self.hold(rest.get(..newline).unwrap_or_default());
            rest = rest.get(newline + 1..).unwrap_or_default();
            self.give_begun(&mut give);
            self.pass(1);
        }
        while let Some(newline) = memchr(b'\n', rest) {
            let line = rest.get(..newline).unwrap_or_default();
            self.give(line, line.len() as u64, &mut give);
            self.pass(newline as u64 + 1);
            rest = rest.get(newline + 1..).unwrap_or_default();
        }
        self.hold(rest);
    }

    /// Gives the last line, though its newline has not come. Only for the end of a file that grows no more:
    /// what comes after would be another line.
    pub fn finish(mut self, mut give: impl FnMut(Piece<'_>)) {
        if self.seen > 0 {
            self.give_begun(&mut give);
        }
    }

    /// Keeps the beginning of a line until its end comes.
    fn hold(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen <= self.limit as u64 {
            self.begun.extend_from_slice(bytes);
        } else {
            self.begun = Vec::new();
        }
    }

    /// Gives the line that has been held.
    fn give_begun(&mut self, give: &mut impl FnMut(Piece<'_>)) {
        let mut begun = std::mem::take(&mut self.begun);
        self.give(&begun, self.seen, give);
        self.next.offset = self.next.offset.saturating_add(self.seen);
        self.seen = 0;
        // One long line must not cost its memory for ever.
        if begun.capacity() <= CHUNK {
            begun.clear();
            self.begun = begun;
        }
    }

    fn give(&self, line: &[u8], len: u64, give: &mut impl FnMut(Piece<'_>)) {
        let at = Place { file: self.file, line: self.next.line, offset: self.next.offset, len: 0 };
        if len > self.limit as u64 {
            give(Piece::Oversize { place: Place { len: u32::try_from(len).unwrap_or(u32::MAX), ..at }, len });
            return;
        }
        let bytes = line.strip_suffix(b"\r").unwrap_or(line);
        if bytes.iter().any(|byte| !matches!(byte, 0 | b' ' | b'\t' | b'\r')) {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            give(Piece::Line { place: Place { len, ..at }, bytes });
        }
    }

    /// Goes on to the next line, whose first byte stands so many bytes further on.
    fn pass(&mut self, bytes: u64) {
        self.next.offset = self.next.offset.saturating_add(bytes);
        self.next.line = self.next.line.saturating_add(1);
    }
}

/// Reads the lines of a file, from any place on that begins a line.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    splitter: Splitter,
    buffer: Box<[u8]>,
}

impl<R: Read + Seek> LineReader<R> {
    /// Begins at the splitter's position.
    pub fn new(source: R, splitter: Splitter) -> io::Result<Self> {
        Self::with_chunk(source, splitter, CHUNK)
    }

    /// The same, reading so many bytes at a time.
    pub fn with_chunk(mut source: R, splitter: Splitter, chunk: usize) -> io::Result<Self> {
        source.seek(SeekFrom::Start(splitter.fed_to()))?;
        Ok(Self { source, splitter, buffer: vec![0; chunk.max(1)].into_boxed_slice() })
    }
}

impl<R: Read> LineReader<R> {
    /// Reads once and gives the lines that have come to their end. False at the end of the file, where more may
    /// be written and read later.
    pub fn read(&mut self, give: impl FnMut(Piece<'_>)) -> io::Result<bool> {
        let read = loop {
            match self.source.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.splitter.feed(self.buffer.get(..read).unwrap_or_default(), give);
        Ok(read > 0)
    }

    /// Reads on to the end of the file as it is now.
    pub fn read_to_end(&mut self, mut give: impl FnMut(Piece<'_>)) -> io::Result<()> {
        while self.read(&mut give)? {}
        Ok(())
    }

    /// Where reading stands.
    pub fn position(&self) -> Position {
        self.splitter.position()
    }

    /// The source, and the splitter to ask for a last line without its newline.
    pub fn into_parts(self) -> (R, Splitter) {
        (self.source, self.splitter)
    }
}

/// Reads the line that stands at a place, for showing it. What is there may have been replaced since.
pub fn read_at(mut source: impl Read + Seek, place: Place) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(place.offset))?;
    let mut line = Vec::new();
    source.take(u64::from(place.len).min(LINE_LIMIT as u64)).read_to_end(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// What was given: the place, and the bytes of a line.
    type Given = (Place, Option<Vec<u8>>);

    fn keep(given: &mut Vec<Given>) -> impl FnMut(Piece<'_>) {
        |piece| match piece {
            Piece::Line { place, bytes } => given.push((place, Some(bytes.to_vec()))),
            Piece::Oversize { place, .. } => given.push((place, None)),
        }
    }

    fn split(pieces: &[&[u8]], limit: usize) -> (Vec<Given>, Splitter) {
        let mut given = Vec::new();
        let mut splitter = Splitter::new(7, Position::default()).with_limit(limit);
        for piece in pieces {
            splitter.feed(piece, keep(&mut given));
        }
        (given, splitter)
    }

    fn line(line: u64, offset: u64, text: &str) -> Given {
        (
            Place { file: 7, line, offset, len: u32::try_from(text.len()).unwrap() },
            Some(text.as_bytes().to_vec()),
        )
    }

    #[test]
    fn every_line_comes_with_its_number_offset_and_length() {
        let (given, _) = split(&[b"one\ntwo\n"], 100);
        assert_eq!(given, [line(1, 0, "one"), line(2, 4, "two")]);
    }

    #[test]
    fn a_half_written_last_line_waits_for_its_newline() {
        let (given, splitter) = split(&[b"one\ntw"], 100);
        assert_eq!(given, [line(1, 0, "one")]);
        assert_eq!(splitter.position(), Position { line: 2, offset: 4 });
        assert!(splitter.has_partial_line());

        let (given, splitter) = split(&[b"one\ntw", b"o", b"\n"], 100);
        assert_eq!(given, [line(1, 0, "one"), line(2, 4, "two")]);
        assert!(!splitter.has_partial_line());
    }

    #[test]
    fn a_last_line_without_newline_is_given_when_it_is_asked_for() {
        let (mut given, splitter) = split(&[b"one\ntw", b"o"], 100);
        splitter.finish(keep(&mut given));
        assert_eq!(given, [line(1, 0, "one"), line(2, 4, "two")]);
    }

    #[test]
    fn blank_lines_and_lines_of_nul_bytes_are_counted_and_not_given() {
        let (given, _) = split(&[b"\n \t\n\r\n\0\0\0\none\r\n\n"], 100);
        assert_eq!(given, [line(5, 10, "one")]);
    }

    #[test]
    fn nul_bytes_within_a_line_stay_in_it() {
        let (given, _) = split(&[b"\0\0one\0\n"], 100);
        assert_eq!(given, [line(1, 0, "\0\0one\0")]);
    }

    #[test]
    fn a_line_over_the_limit_is_reported_and_not_held() {
        for pieces in
            [&[b"123456\n12345\n123456".as_slice(), b"789\nx\n"][..], &[b"123456\n12345\n123456789\nx\n"]]
        {
            let (given, splitter) = split(pieces, 5);
            let oversize = |line, offset, len| (Place { file: 7, line, offset, len }, None);
            assert_eq!(given, [oversize(1, 0, 6), line(2, 7, "12345"), oversize(3, 13, 9), line(4, 23, "x")]);
            assert_eq!(splitter.begun.capacity(), 0);
        }
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut splitter = Splitter::new(0, Position::default()).with_limit(1 << 20);
        let chunk = vec![b'x'; CHUNK];
        for _ in 0..256 {
            splitter.feed(&chunk, |piece| panic!("{piece:?}"));
            assert!(splitter.begun.capacity() <= 2 << 20);
        }
        let mut given = Vec::new();
        splitter.feed(b"\n", |piece| given.push(format!("{piece:?}")));
        assert_eq!(given.len(), 1);
        assert!(given[0].contains("len: 16777216"), "{given:?}");
    }

    #[test]
    fn reading_goes_on_from_a_position_as_if_it_had_never_stopped() {
        let text = b"one\n\ntwo\nthree\nfour";
        let (all, _) = split(&[text], 100);
        let (_, first) = split(&[&text[..7]], 100);
        let mut rest = Vec::new();
        let splitter = Splitter::new(7, first.position());
        let mut reader = LineReader::with_chunk(Cursor::new(text), splitter, 2).unwrap();
        reader.read_to_end(keep(&mut rest)).unwrap();
        assert_eq!(all[1..], rest);
        assert_eq!(reader.position(), Position { line: 5, offset: 15 });
    }

    #[test]
    fn a_file_that_grows_is_read_on() {
        let mut reader =
            LineReader::new(Cursor::new(b"one\ntw".to_vec()), Splitter::new(7, Position::default())).unwrap();
        let mut given = Vec::new();
        reader.read_to_end(keep(&mut given)).unwrap();
        reader.source.get_mut().extend_from_slice(b"o\n");
        reader.read_to_end(keep(&mut given)).unwrap();
        assert_eq!(given, [line(1, 0, "one"), line(2, 4, "two")]);
    }

    #[test]
    fn a_place_leads_back_to_its_line() {
        let text = b"one\r\ntwo\n";
        for (place, bytes) in split(&[text], 100).0 {
            assert_eq!(read_at(Cursor::new(text), place).unwrap(), bytes.unwrap());
        }
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_the_bytes_are_cut(
            text in prop::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..20),
            limit in 1_usize..40,
            chunk in 1_usize..50,
        ) {
            let (mut whole, splitter) = split(&[&text], limit);
            splitter.finish(keep(&mut whole));

            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (mut in_pieces, splitter) = split(&pieces, limit);
            splitter.finish(keep(&mut in_pieces));
            prop_assert_eq!(&whole, &in_pieces);

            let mut read = Vec::new();
            let splitter = Splitter::new(7, Position::default()).with_limit(limit);
            let mut reader = LineReader::with_chunk(Cursor::new(&text), splitter, chunk).unwrap();
            reader.read_to_end(keep(&mut read)).unwrap();
            reader.into_parts().1.finish(keep(&mut read));
            prop_assert_eq!(&whole, &read);
        }
    }
}
