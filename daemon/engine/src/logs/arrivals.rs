//! Reading both streams in the order in which their bytes arrived.

use std::collections::VecDeque;
use std::path::Path;

use super::follow::{Following, Source};
use super::index::{Entry, INDEX, SMALLEST_KEPT, Stream};
use super::reader::{KeptFile, kept};
use super::{CHUNK, Chunk, LogError};
use crate::process::UnixNanos;

/// Reads both streams of an attempt in the order in which their bytes arrived.
///
/// Bytes whose time is not known any more, because they are older than what is kept of the index, are left out.
pub struct ArrivalReader(pub(super) Following<Arrivals>);

/// Bytes that arrived together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The stream that they came on.
    pub stream: Stream,
    /// When they arrived, to within [`super::index::RESOLUTION`].
    pub time: UnixNanos,
    /// The place of the first byte in its stream.
    pub offset: u64,
    /// At least one, at most [`CHUNK`].
    pub bytes: Vec<u8>,
    /// Bytes of this stream that arrived just before and could not be stored, because the disk was full. Those
    /// after the last byte that could be stored are told by the exit record alone.
    pub dropped: u32,
}

impl ArrivalReader {
    /// The next bytes; `None` when all is read and, if the log is followed, the attempt is over.
    ///
    /// May be cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Option<Arrival>, LogError> {
        self.0.next().await
    }
}

impl std::fmt::Debug for ArrivalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivalReader").finish_non_exhaustive()
    }
}

/// A place in both streams and their index.
pub(super) struct Arrivals {
    streams: [KeptFile; 2],
    /// How far each stream was read.
    read: [u64; 2],
    index: KeptFile,
    /// How far the index was read.
    index_read: u64,
    /// Entries that were read and not yet used. The first is the current one.
    entries: VecDeque<Entry>,
    /// Dropped bytes of each stream that were not told yet.
    dropped: [u32; 2],
    /// Whether those of the current entry are among them.
    entered: bool,
}

impl Arrivals {
    pub(super) fn open(dir: &Path) -> Result<Self, LogError> {
        let kept = kept(dir)?;
        Ok(Self {
            streams: Stream::ALL.map(|stream| KeptFile::new(dir.join(stream.file_name()), kept)),
            read: [0, 0],
            index: KeptFile::new(dir.join(INDEX), kept.map(|kept| kept.max(SMALLEST_KEPT))),
            index_read: 0,
            entries: VecDeque::new(),
            dropped: [0, 0],
            entered: false,
        })
    }

    /// Sees to it that there are `wanted` entries, if the index has as many.
    fn fill(&mut self, wanted: usize) -> Result<(), LogError> {
        while self.entries.len() < wanted {
            let Some(Chunk { offset, bytes }) = self.index.read(self.index_read, u64::MAX)? else {
                return Ok(());
            };
            // What is kept may begin within an entry, and the last one may be half written.
            let skipped = offset.next_multiple_of(Entry::SIZE as u64) - offset;
            let bytes = bytes.get(usize::try_from(skipped).unwrap_or(CHUNK)..).unwrap_or_default();
            let (entries, _) = bytes.as_chunks::<{ Entry::SIZE }>();
            if entries.is_empty() {
                return Ok(());
            }
            self.index_read = offset + skipped + (entries.len() * Entry::SIZE) as u64;
            self.entries.extend(entries.iter().filter_map(Entry::decode));
        }
        Ok(())
    }
}

impl Source for Arrivals {
    type Item = Arrival;

    fn read(&mut self) -> Result<Option<Arrival>, LogError> {
        loop {
            self.fill(1)?;
            let Some(&current) = self.entries.front() else { return Ok(None) };
            let place = current.stream.place();
            if !std::mem::replace(&mut self.entered, true) {
                self.dropped[place] = self.dropped[place].saturating_add(current.dropped);
            }
            // First the length, then the next entry: an entry is older than its bytes, so if there is none, all
            // bytes up to this length belong to the current one.
            let length = self.streams[place].length()?;
            self.fill(2)?;
            let next = self.entries.get(1).copied();
            let end = next.map_or(length, |next| next.lengths[place]);

            let from = self.read[place].max(current.lengths[place]);
            if let Some(Chunk { offset, bytes }) = self.streams[place].read(from, end)? {
                self.read[place] = offset + bytes.len() as u64;
                let dropped = std::mem::take(&mut self.dropped[place]);
                return Ok(Some(Arrival {
                    stream: current.stream,
                    time: current.time,
                    offset,
                    bytes,
                    dropped,
                }));
            }
            if next.is_none() {
                return Ok(None);
            }
            self.entries.pop_front();
            self.entered = false;
        }
    }
}
