//! The lines of both streams in the order in which they arrived.

use std::collections::VecDeque;

use super::arrivals::{Arrival, ArrivalReader};
use super::{LogError, Stream};
use crate::process::UnixNanos;

/// A line longer than this comes in pieces.
const LONGEST_LINE: usize = 1 << 20;

/// Reads the lines of both streams of an attempt in the order in which they were completed.
#[derive(Debug)]
pub struct LineReader {
    arrivals: ArrivalReader,
    begun: [Begun; 2],
    ready: VecDeque<Line>,
}

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The stream that it came on.
    pub stream: Stream,
    /// When its last byte arrived.
    pub time: UnixNanos,
    /// The place of its first byte in its stream.
    pub offset: u64,
    /// The line without its newline.
    pub bytes: Vec<u8>,
    /// Whether a newline ended it. If not, it is a piece of a line longer than 1 MiB, or bytes after it
    /// were dropped, or the process ended without one.
    pub complete: bool,
}

/// A line whose newline has not come yet.
#[derive(Debug, Default)]
struct Begun {
    time: UnixNanos,
    offset: u64,
    bytes: Vec<u8>,
}

impl LineReader {
    pub(super) fn new(arrivals: ArrivalReader) -> Self {
        Self { arrivals, begun: Default::default(), ready: VecDeque::new() }
    }

    /// The next line; `None` when all is read and, if the log is followed, the attempt is over.
    ///
    /// A half-written last line waits for its newline as long as the log is followed, and is returned at the end.
    /// May be cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Option<Line>, LogError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            if let Some(arrival) = self.arrivals.next().await? {
                self.take(&arrival);
                continue;
            }
            for stream in Stream::ALL {
                self.give(stream, false);
            }
            if self.ready.is_empty() {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, arrival: &Arrival) {
        let stream = arrival.stream;
        let place = stream.place();
        let begun = &self.begun[place];
        let gap = arrival.dropped > 0 || arrival.offset != begun.offset + begun.bytes.len() as u64;
        if gap {
            self.give(stream, false);
        }
        let mut offset = arrival.offset;
        for piece in arrival.bytes.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[place];
            if begun.bytes.is_empty() {
                begun.offset = offset;
            }
            offset += piece.len() as u64;
            begun.time = arrival.time;
            begun.bytes.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                begun.bytes.pop();
                self.give(stream, true);
            } else if begun.bytes.len() >= LONGEST_LINE {
                self.give(stream, false);
            }
        }
    }

    /// Hands out what has come of a line.
    fn give(&mut self, stream: Stream, complete: bool) {
        let begun = &mut self.begun[stream.place()];
        if begun.bytes.is_empty() && !complete {
            return;
        }
        let Begun { time, offset, bytes } = std::mem::take(begun);
        self.ready.push_back(Line { stream, time, offset, bytes, complete });
    }
}
