//! The `index` beside a process's captured output: when and in which order its bytes arrived.
//!
//! The file is a row of records of [`Entry::SIZE`] bytes, all numbers little-endian:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0..8 | time: nanoseconds since the Unix epoch |
//! | 8..16 | length of `stdout` at that moment |
//! | 16..24 | length of `stderr` at that moment |
//! | 24..28 | bytes that arrived just before and could not be stored, on the stream of this entry; capped |
//! | 28 | stream: 1 standard output, 2 standard error |
//! | 29..32 | zero |
//!
//! An entry says that the bytes that follow, up to the next entry, came on its stream, no earlier than its time and
//! less than [`RESOLUTION`] later. It is written before the bytes that it tells of: a byte that can be seen has its
//! entry. Entries at the start of the file read as zeros once they were dropped together with the bytes of an
//! [`AtOutputLimit::DropOldest`](crate::process::AtOutputLimit::DropOldest) stream.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::process::UnixNanos;

/// A new entry is written when the stream changes, and when the last one is older than this.
pub const RESOLUTION: Duration = Duration::from_millis(10);

/// Where only the last bytes of each stream are kept, as many bytes of the index are, but never fewer than this.
pub const SMALLEST_KEPT: u64 = 1 << 20;

/// Name of the index file in an attempt's directory.
pub const INDEX: &str = "index";

/// One of the two streams that a process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name of the file that holds what was captured, in an attempt's directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The place of this stream in a pair.
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}

/// One record of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When the bytes after this entry began to arrive.
    pub time: UnixNanos,
    /// The stream that they came on.
    pub stream: Stream,
    /// The lengths of standard output and standard error before them.
    pub lengths: [u64; 2],
    /// Bytes of this stream that arrived just before and could not be stored; `u32::MAX` means that many or more.
    pub dropped: u32,
}

impl Entry {
    /// Bytes of an entry in the file.
    pub const SIZE: usize = 32;

    /// The entry as it stands in the file.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..8].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.lengths[0].to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lengths[1].to_le_bytes());
        bytes[24..28].copy_from_slice(&self.dropped.to_le_bytes());
        bytes[28] = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        bytes
    }

    /// Reads an entry; `None` when it was dropped, or is not one.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let stream = match bytes[28] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return None,
        };
        let dropped = u32::from_le_bytes([bytes[24], bytes[25], bytes[26], bytes[27]]);
        Some(Self { time: UnixNanos(number(0)), stream, lengths: [number(8), number(16)], dropped })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = Entry { time: UnixNanos(7), stream: Stream::Stderr, lengths: [1 << 40, 3], dropped: 9 };
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
    }

    #[test]
    fn an_entry_that_was_dropped_reads_as_none() {
        assert_eq!(Entry::decode(&[0; Entry::SIZE]), None);
    }
}
