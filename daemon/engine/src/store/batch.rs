//! Batches: the changes of one transition, applied as a whole or not at all.

use std::ops::Range;

use prost::Message;

use super::error::StoreError;
use super::key::Key as _;
use super::table::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Table, Tables, encode_value};

/// Changes that belong together. Later changes of a key win over earlier ones of the same batch.
#[derive(Debug, Default)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    /// Keys and values, one behind the other: a batch may hold thousands, and the thread that lets go of it is another
    /// than the one that has filled it.
    bytes: Vec<u8>,
    changes: Vec<Change>,
    /// The first change that can never be stored; the batch is refused as a whole for it.
    defect: Option<StoreError>,
}

/// Where among the bytes a change stands; without a value it is a deletion.
#[derive(Debug)]
struct Change {
    key: Range<usize>,
    value: Option<Range<usize>>,
}

impl Batch {
    /// An empty batch. Committing one waits for everything that was committed before it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the row `key` to `value`.
    ///
    /// A key over [`MAX_KEY_BYTES`] or a value over [`MAX_VALUE_BYTES`] is a mistake of the caller: the commit
    /// of the whole batch is then answered with an error, and nothing of it is applied.
    pub fn put<T: Table>(&mut self, key: &T::Key, value: &T::Value) {
        let Some(key) = self.push_key::<T>(key) else { return };
        let size = value.encoded_len();
        if size > MAX_VALUE_BYTES {
            let defect = StoreError::value_too_large(T::NAME, &self.bytes[key.clone()], size);
            return self.refuse(key.start, defect);
        }
        encode_value::<T>(value, &mut self.bytes);
        self.changes.push(Change { value: Some(key.end..self.bytes.len()), key });
    }

    /// Removes the row `key`; a row that is not there is no error.
    pub fn delete<T: Table>(&mut self, key: &T::Key) {
        if let Some(key) = self.push_key::<T>(key) {
            self.changes.push(Change { key, value: None });
        }
    }

    /// Adds the changes of `other` after those of this batch.
    pub fn append(&mut self, other: Batch) {
        let Self { bytes, changes, defect } = other;
        let moved = self.bytes.len();
        let behind = |range: Range<usize>| range.start + moved..range.end + moved;
        self.bytes.extend(bytes);
        let changes = changes.into_iter();
        self.changes.extend(
            changes.map(|change| Change { key: behind(change.key), value: change.value.map(behind) }),
        );
        self.defect = self.defect.take().or(defect);
    }

    /// How many changes the batch holds.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// How many bytes its keys and values have.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What makes the batch impossible to store, if something does. Asked before it becomes a part of another one, it
    /// harms nobody else.
    pub fn defect(&self) -> Option<&StoreError> {
        self.defect.as_ref()
    }

    /// The same, before the commit.
    pub(crate) fn take_defect(&mut self) -> Option<StoreError> {
        self.defect.take()
    }

    /// Puts a key behind all else, and says where; none if it is too long.
    fn push_key<T: Table>(&mut self, key: &T::Key) -> Option<Range<usize>> {
        let start = self.bytes.len();
        self.bytes.push(T::PREFIX);
        key.encode(&mut self.bytes);
        let key = start..self.bytes.len();
        if key.len() > MAX_KEY_BYTES {
            self.refuse(start, StoreError::key_too_large(T::NAME, &self.bytes[key]));
            return None;
        }
        Some(key)
    }

    /// Takes back what begins here.
    fn refuse(&mut self, start: usize, defect: StoreError) {
        self.bytes.truncate(start);
        self.defect.get_or_insert(defect);
    }

    /// The batch, if every one of its changes can be stored in `tables`.
    pub(super) fn checked(self, tables: Tables) -> Result<Self, StoreError> {
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        let unknown =
            self.changes().map(|(key, _)| key[0]).find(|&prefix| tables.by_prefix(prefix).is_none());
        match unknown {
            Some(prefix) => Err(StoreError::UnknownTable { prefix }),
            None => Ok(self),
        }
    }

    /// The changes: keys, and values or none for deletions.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        self.changes.iter().map(move |Change { key, value }| (bytes(key), value.as_ref().map(bytes)))
    }
}
