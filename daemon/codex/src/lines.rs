//! Splitting bytes into lines, however they arrive.

/// How long a line may be, in bytes without its newline, when nothing else is said. A line holds the
/// whole output of a command, so the limit is generous; it is there to bound memory.
pub const DEFAULT_LINE_LIMIT: usize = 32 * 1024 * 1024;

/// How much of a line that is too long is kept, to show what it was.
const KEPT_OF_TOO_LONG: usize = 256;

/// One line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Offset of the first byte, from the beginning of the stream.
    pub offset: u64,
    /// Length in bytes without the newline, also for lines that were not kept whole.
    pub length: u64,
    /// The bytes, without the newline and a carriage return before it. Of a line that is too long,
    /// the beginning only.
    pub bytes: Vec<u8>,
    /// Whether the line is whole.
    pub kind: LineKind,
}

/// Whether a line is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// It is.
    Whole,
    /// It is longer than the limit and was skipped.
    TooLong,
    /// The stream ended before its newline came.
    Unfinished,
}

/// Splits a stream of bytes into lines. How the bytes are cut into chunks makes no difference: a
/// half-written line waits for its newline.
#[derive(Debug, Clone)]
pub struct LineSplitter {
    limit: usize,
    /// Where the pending line begins.
    line_offset: u64,
    /// Its length so far, kept or not.
    line_length: u64,
    pending: Vec<u8>,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self::new(DEFAULT_LINE_LIMIT)
    }
}

impl LineSplitter {
    /// A splitter at the beginning of a stream, for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self::starting_at(0, limit)
    }

    /// A splitter that goes on at `offset`, which must be the beginning of a line, such as
    /// [`LineSplitter::offset`] of an earlier one.
    pub fn starting_at(offset: u64, limit: usize) -> Self {
        Self { limit, line_offset: offset, line_length: 0, pending: Vec::new() }
    }

    /// The offset behind the last newline: where a later reader has to begin to miss nothing.
    pub fn offset(&self) -> u64 {
        self.line_offset
    }

    /// Takes the next bytes and gives the lines that they complete. Blank lines are left out.
    pub fn feed(&mut self, mut chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(newline) = chunk.iter().position(|byte| *byte == b'\n') {
            self.keep(&chunk[..newline]);
            lines.extend(self.take(1, LineKind::Whole));
            chunk = &chunk[newline + 1..];
        }
        self.keep(chunk);
        lines
    }

    /// Ends the stream: a last line without a newline comes out as [`LineKind::Unfinished`].
    pub fn finish(&mut self) -> Option<Line> {
        self.take(0, LineKind::Unfinished)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line_length += bytes.len() as u64;
        if self.is_too_long() {
            let room = KEPT_OF_TOO_LONG.saturating_sub(self.pending.len());
            self.pending.extend(bytes.iter().take(room));
            self.pending.truncate(KEPT_OF_TOO_LONG);
            self.pending.shrink_to_fit();
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn is_too_long(&self) -> bool {
        usize::try_from(self.line_length).map_or(true, |length| length > self.limit)
    }

    fn take(&mut self, newline: u64, kind: LineKind) -> Option<Line> {
        let kind = if self.is_too_long() { LineKind::TooLong } else { kind };
        let mut bytes = std::mem::take(&mut self.pending);
        let (offset, length) = (self.line_offset, self.line_length);
        self.line_offset += length + newline;
        self.line_length = 0;
        if kind == LineKind::Whole && bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let blank = kind != LineKind::TooLong && bytes.iter().all(u8::is_ascii_whitespace);
        (!blank).then_some(Line { offset, length, bytes, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
    }

    #[test]
    fn a_half_written_last_line_waits_for_its_newline() {
        let mut splitter = LineSplitter::default();
        assert_eq!(texts(&splitter.feed(b"one\ntw")), ["one"]);
        assert_eq!(splitter.offset(), 4);
        assert_eq!(texts(&splitter.feed(b"o\n")), ["two"]);
        assert_eq!(splitter.offset(), 8);
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn the_end_of_the_stream_gives_the_unfinished_line() {
        let mut splitter = LineSplitter::default();
        assert!(splitter.feed(b"unfinished").is_empty());
        let line = splitter.finish();
        let expected =
            Line { offset: 0, length: 10, bytes: b"unfinished".to_vec(), kind: LineKind::Unfinished };
        assert_eq!(line, Some(expected));
    }

    #[test]
    fn a_line_over_the_limit_is_reported_and_the_next_one_is_whole() {
        let mut splitter = LineSplitter::new(8);
        let lines = splitter.feed(b"123456789\n12345678\n");
        let kinds: Vec<_> = lines.iter().map(|line| (line.offset, line.length, line.kind)).collect();
        assert_eq!(kinds, [(0, 9, LineKind::TooLong), (10, 8, LineKind::Whole)]);
    }

    #[test]
    fn a_line_over_the_limit_costs_no_memory_while_it_grows() {
        let mut splitter = LineSplitter::new(1000);
        for _ in 0..100 {
            assert!(splitter.feed(&[b'x'; 1000]).is_empty());
        }
        assert!(splitter.pending.capacity() <= 2 * KEPT_OF_TOO_LONG);
        assert_eq!(splitter.feed(b"\n").first().map(|line| line.length), Some(100_000));
    }

    #[test]
    fn offsets_count_from_where_the_splitter_started() {
        let mut splitter = LineSplitter::starting_at(100, 10);
        let offsets: Vec<u64> = splitter.feed(b"a\r\n\nb\n").iter().map(|line| line.offset).collect();
        assert_eq!(offsets, [100, 104]);
        assert_eq!(splitter.offset(), 106);
    }
}
