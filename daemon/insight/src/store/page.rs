//! Pages: many rows of one session and kind in one value.
//!
//! A row by itself costs the store ten times what the same bytes cost in a page. A page is found by the ordinal
//! of its first row and holds the rows up to the next page's; so a changed row rewrites only its own page, and a
//! page that has grown too large is cut in two. Rows are protobuf messages one after the other, compressed with
//! LZ4, which finds the turn ids, directories and tools that repeat from row to row.

use std::cell::RefCell;
use std::collections::BTreeMap;

use engine::store::{Batch, Order, Reader, StoreError};
use lz4_flex::block::{self, CompressTable};
use trace::SessionId;
use trace::session::{Approval, ArtifactRow, CompactionRow, ToolCall, Turn};

use super::chunk::unpack;
use super::message::{Numbered, PageItem};
use super::tables::{PageRow, Pages};

/// The most bytes of a packed page.
const LIMIT: usize = 6 * 1024;

/// How many bytes of rows go into a page before it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill(usize);

impl Fill {
    /// For rows that will hardly change: as much as one value takes.
    pub(crate) const FULL: Self = Self(14 * 1024);
    /// For rows that are being written: each change rewrites a page.
    pub(crate) const LIVE: Self = Self(2 * 1024);
}

/// Which rows a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Turns = 1,
    Calls = 2,
    Approvals = 3,
    Compactions = 4,
    Artifacts = 5,
    /// Current signals.
    Signals = 6,
    /// Signals of a reading before, while the session is read anew.
    Former = 7,
    Findings = 8,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Turns,
        Self::Calls,
        Self::Approvals,
        Self::Compactions,
        Self::Artifacts,
        Self::Signals,
        Self::Former,
        Self::Findings,
    ];
}

/// A row that has a number and belongs to a kind of page.
pub(crate) trait Packed: PageItem {
    fn ordinal(&self) -> u32;
}

macro_rules! packed {
    ($($row:ty),*) => { $(impl Packed for $row {
        fn ordinal(&self) -> u32 { self.ordinal }
    })* };
}

packed!(Turn, ToolCall, Approval, CompactionRow, ArtifactRow, Numbered);

/// Writes changed rows (none for one that is gone) of a session into their pages.
///
/// The changes come in the order of their ordinals. What the store holds must be what the last batch left: of one
/// session, one change is under way at a time. `fresh` says that the session has no pages of this kind.
pub(crate) fn merge<R: Packed>(
    reader: &Reader,
    batch: &mut Batch,
    session: &SessionId,
    kind: Kind,
    changes: impl IntoIterator<Item = (u32, Option<R>)>,
    fill: Fill,
    fresh: bool,
) -> Result<(), StoreError> {
    let mut changes = changes.into_iter().peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    if fresh {
        write(batch, session, kind, changes.filter_map(|(_, row)| row), fill);
        return Ok(());
    }
    let firsts = first_ordinals(reader, session, kind)?;
    while let Some(&(ordinal, _)) = changes.peek() {
        // The page that holds it: the last one that begins at or before it; for rows before all others, the
        // first one.
        let page = firsts.partition_point(|first| *first <= ordinal).saturating_sub(1);
        let first = firsts.get(page).copied();
        let end = firsts.get(page + 1).copied();
        let mut rows = BTreeMap::new();
        if let Some(first) = first {
            for row in read::<R>(reader, session, kind, first)? {
                rows.insert(row.ordinal(), row);
            }
            batch.delete::<Pages>(&key(session, kind, first));
        }
        while let Some((ordinal, row)) = changes.next_if(|(ordinal, _)| end.is_none_or(|end| *ordinal < end))
        {
            match row {
                Some(row) => drop(rows.insert(ordinal, row)),
                None => drop(rows.remove(&ordinal)),
            }
        }
        write(batch, session, kind, rows.into_values(), fill);
    }
    Ok(())
}

/// Packs rows anew from the first to the last, into full pages.
pub(crate) fn write<R: Packed>(
    batch: &mut Batch,
    session: &SessionId,
    kind: Kind,
    rows: impl IntoIterator<Item = R>,
    fill: Fill,
) {
    let (mut page, mut ordinals) = (Rows::with_room(fill.0), Vec::new());
    for row in rows {
        ordinals.push(row.ordinal());
        page.add(&row.into_message());
        if page.bytes() >= fill.0 {
            put(batch, session, kind, &mut page, &mut ordinals);
        }
    }
    put(batch, session, kind, &mut page, &mut ordinals);
}

/// Puts rows with these ordinals into pages.
fn put(batch: &mut Batch, session: &SessionId, kind: Kind, rows: &mut Rows, ordinals: &mut Vec<u32>) {
    rows.close(|first, page| {
        if let Some(ordinal) = ordinals.get(first) {
            batch.put::<Pages>(&key(session, kind, *ordinal), &page);
        }
    });
    ordinals.clear();
}

/// Rows that are gathered for a page.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    /// Where each row begins.
    starts: Vec<usize>,
}

impl Rows {
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: &impl prost::Message) {
        self.starts.push(self.bytes.len());
        // A vector takes all that it is given.
        let _ = row.encode_length_delimited(&mut self.bytes);
    }

    /// Adds a row as [`Rows::add`] writes it.
    pub(crate) fn add_encoded(&mut self, row: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(row);
    }

    /// How many bytes the rows have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Packs the rows into a page, or half of them each, until they fit; and begins anew. `put` is told which row a page
    /// begins with.
    pub(crate) fn close(&mut self, mut put: impl FnMut(usize, PageRow)) {
        self.pack(0, self.starts.len(), &mut put);
        self.bytes.clear();
        self.starts.clear();
    }

    fn pack(&self, from: usize, to: usize, put: &mut impl FnMut(usize, PageRow)) {
        let Some(&start) = self.starts.get(from).filter(|_| from < to) else { return };
        let end = self.starts.get(to).map_or(self.bytes.len(), |start| *start);
        let page = pack(&self.bytes[start..end], to - from);
        if page.bytes.len() > LIMIT && to - from > 1 {
            let middle = from + (to - from) / 2;
            self.pack(from, middle, put);
            self.pack(middle, to, put);
        } else {
            put(from, page);
        }
    }
}

/// Rows of fewer bytes are kept as they are: there is next to nothing to be gained.
const WORTH_PACKING: usize = 128;

thread_local! {
    /// What packing needs, kept: a page is packed in less time than it takes to come by this.
    static PACKING: RefCell<(CompressTable, Vec<u8>)> = RefCell::default();
}

/// Packs the bytes of rows.
fn pack(bytes: &[u8], rows: usize) -> PageRow {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    match packed(bytes) {
        Some(bytes) => PageRow { rows, codec: 1, bytes },
        None => PageRow { rows, codec: 0, bytes: bytes.to_vec() },
    }
}

/// The bytes compressed, behind their number; none if they do not get fewer.
fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() >= WORTH_PACKING)?;
    PACKING.with_borrow_mut(|(table, buffer)| {
        let room = block::get_maximum_output_size(bytes.len());
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        // There is room for whatever comes.
        let length = block::compress_into_with_table(bytes, buffer, table).ok()?;
        let packed = buffer.get(..length).filter(|_| length + 4 < bytes.len())?;
        Some([&size.to_le_bytes(), packed].concat())
    })
}

/// The messages of a page; what cannot be read ends it, as a page is never written in part.
pub(crate) fn unpack_page<M: prost::Message + Default>(row: PageRow) -> Vec<M> {
    let bytes = match row.codec {
        0 => row.bytes,
        _ => unpack(&row.bytes).unwrap_or_default(),
    };
    let mut bytes = bytes.as_slice();
    let mut messages = Vec::with_capacity(usize::try_from(row.rows).unwrap_or(0).min(4096));
    while !bytes.is_empty() {
        match M::decode_length_delimited(&mut bytes) {
            Ok(message) => messages.push(message),
            Err(_) => break,
        }
    }
    messages
}

fn key(session: &SessionId, kind: Kind, first: u32) -> (String, u8, u64) {
    (session.as_str().to_owned(), kind as u8, u64::from(first))
}

fn first_ordinals(reader: &Reader, session: &SessionId, kind: Kind) -> Result<Vec<u32>, StoreError> {
    let keys = reader.keys::<Pages>(key(session, kind, 0)..=key(session, kind, u32::MAX), Order::Ascending);
    keys.map(|key| key.map(|(_, _, first)| u32::try_from(first).unwrap_or(u32::MAX))).collect()
}

fn read<R: Packed>(
    reader: &Reader,
    session: &SessionId,
    kind: Kind,
    first: u32,
) -> Result<Vec<R>, StoreError> {
    let row = reader.get::<Pages>(&key(session, kind, first))?;
    Ok(row.map(|row| rows_of(row, session)).unwrap_or_default())
}

fn rows_of<R: Packed>(row: PageRow, session: &SessionId) -> Vec<R> {
    unpack_page(row).into_iter().map(|message| R::from_message(message, session)).collect()
}

/// The rows of a session from an ordinal on, in order.
pub(crate) fn rows<R: Packed>(
    reader: &Reader,
    session: &SessionId,
    kind: Kind,
    from: u32,
) -> impl Iterator<Item = Result<R, StoreError>> {
    // The page that holds the first may begin before it.
    let before = reader
        .keys::<Pages>(key(session, kind, 0)..=key(session, kind, from), Order::Descending)
        .next()
        .and_then(Result::ok)
        .map_or(from, |(_, _, first)| u32::try_from(first).unwrap_or(from));
    let range = key(session, kind, before)..=key(session, kind, u32::MAX);
    let session = session.clone();
    let pages = reader.scan::<Pages>(range, Order::Ascending);
    pages
        .flat_map(move |page| match page {
            Ok((_, row)) => rows_of::<R>(row, &session).into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
        .filter(move |row| row.as_ref().map_or(true, |row| row.ordinal() >= from))
}

/// Removes all pages of a kind.
pub(crate) fn clear(
    reader: &Reader,
    batch: &mut Batch,
    session: &SessionId,
    kind: Kind,
) -> Result<(), StoreError> {
    for first in first_ordinals(reader, session, kind)? {
        batch.delete::<Pages>(&key(session, kind, first));
    }
    Ok(())
}
