//! Batches: the changes of one transition, applied as a whole or not at all.

use prost::Message;

use super::error::StoreError;
use super::table::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Table, Tables, encode_key, encode_value};

/// Changes that belong together. Later changes of a key win over earlier ones of the same batch.
#[derive(Debug, Default)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    operations: Vec<Operation>,
    /// The first change that can never be stored; the batch is refused as a whole for it.
    defect: Option<StoreError>,
}

/// One change; `value` is `None` for a deletion.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
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
        let size = value.encoded_len();
        let key = encode_key::<T>(key);
        if size > MAX_VALUE_BYTES {
            self.refuse(|| StoreError::value_too_large(T::NAME, &key, size));
        } else {
            self.push::<T>(key, Some(encode_value::<T>(value)));
        }
    }

    /// Removes the row `key`; a row that is not there is no error.
    pub fn delete<T: Table>(&mut self, key: &T::Key) {
        self.push::<T>(encode_key::<T>(key), None);
    }

    /// Adds the changes of `other` after those of this batch.
    pub fn append(&mut self, other: Batch) {
        self.operations.extend(other.operations);
        self.defect = self.defect.take().or(other.defect);
    }

    /// How many changes the batch holds.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// How many bytes its keys and values have.
    pub fn size(&self) -> usize {
        let bytes =
            |operation: &Operation| operation.key.len() + operation.value.as_ref().map_or(0, Vec::len);
        self.operations.iter().map(bytes).sum()
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// What makes the batch impossible to store, if something does. Asked before the commit, it harms nothing.
    pub(crate) fn take_defect(&mut self) -> Option<StoreError> {
        self.defect.take()
    }

    fn push<T: Table>(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        if key.len() > MAX_KEY_BYTES {
            self.refuse(|| StoreError::key_too_large(T::NAME, &key));
        } else {
            self.operations.push(Operation { key, value });
        }
    }

    fn refuse(&mut self, defect: impl FnOnce() -> StoreError) {
        self.defect.get_or_insert_with(defect);
    }

    /// The changes, if every one of them can be stored in `tables`.
    pub(super) fn into_operations(self, tables: Tables) -> Result<Vec<Operation>, StoreError> {
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        let unknown =
            self.operations.iter().map(|operation| operation.key[0]).find(|&p| tables.by_prefix(p).is_none());
        match unknown {
            Some(prefix) => Err(StoreError::UnknownTable { prefix }),
            None => Ok(self.operations),
        }
    }
}
