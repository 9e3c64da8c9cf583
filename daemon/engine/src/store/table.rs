//! Tables: typed rows behind a prefix byte.
//!
//! A row's key is the table's prefix byte and the encoded key; its value is a schema-version byte and the
//! bytes of a prost message.

use prost::{DecodeError, Message};

use super::error::{RowProblem, StoreError};
use super::key::Key;

/// The most bytes a row's message may have. Larger things go into [`Blobs`](super::Blobs).
///
/// A page of the database holds sixteen rows and is rewritten as a whole; past about 128 KiB it becomes a file
/// of its own, which costs a further sync.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

/// The most bytes an encoded key may have, the table's prefix byte included.
pub const MAX_KEY_BYTES: usize = 1024;

/// The prefix byte of the store's own rows; no table may have it.
pub(super) const META_PREFIX: u8 = 0;

/// A table: rows of one type under one prefix byte. Each component of the engine owns its tables.
pub trait Table {
    /// The name in exports, findings and errors; never changed once released.
    const NAME: &'static str;
    /// The first byte of every row's key, from 1 to 254; never changed once released.
    const PREFIX: u8;
    /// The schema version that [`Batch::put`](super::Batch::put) writes, from 1 on. Rows of a greater version
    /// are refused: they were written by a newer program.
    const VERSION: u8 = 1;
    /// What a row is found by.
    type Key: Key;
    /// What a row holds.
    type Value: Message + Default;

    /// Reads the message of a row that was written with schema `version` (at most [`Table::VERSION`]).
    /// A table whose schema changed in a way that protobuf itself cannot bridge translates here.
    fn read(version: u8, bytes: &[u8]) -> Result<Self::Value, DecodeError> {
        let _ = version;
        Self::Value::decode(bytes)
    }
}

/// What the store itself must know of a table, without its types: for checks, exports and imports.
#[derive(Clone, Copy, Debug)]
pub struct TableInfo {
    pub(super) name: &'static str,
    pub(super) prefix: u8,
    pub(super) check: fn(key: &[u8], row: &[u8]) -> Result<(), RowProblem>,
}

impl TableInfo {
    /// The description of table `T`.
    pub const fn of<T: Table>() -> Self {
        const {
            assert!(T::PREFIX != META_PREFIX && T::PREFIX != u8::MAX, "a table's prefix is 1 to 254");
            assert!(T::VERSION > 0, "schema versions count from 1");
        }
        Self { name: T::NAME, prefix: T::PREFIX, check: check_row::<T> }
    }

    /// The table's name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Puts the lists of tables of several crates one after the other; `N` is the sum of their lengths.
///
/// Clashes of names and prefixes are found when the store is opened.
///
/// # Panics
///
/// If `N` is another number, or 0. In a constant, as it is meant to be called, that is an error of the compiler.
pub const fn join_tables<const N: usize>(parts: &[&[TableInfo]]) -> [TableInfo; N] {
    assert!(!parts.is_empty() && !parts[0].is_empty(), "there is no table");
    let mut all = [parts[0][0]; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[at] = parts[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    assert!(at == N, "the length is not the sum of the parts'");
    all
}

/// Which prefixes belong to a table, and to which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables(&'static [TableInfo]);

impl Tables {
    /// Refuses two tables that share a prefix or a name: one would read the other's rows.
    pub(super) fn new(tables: &'static [TableInfo]) -> Result<Self, StoreError> {
        for (index, table) in tables.iter().enumerate() {
            let clash =
                tables[..index].iter().find(|other| other.prefix == table.prefix || other.name == table.name);
            if let Some(other) = clash {
                return Err(StoreError::TableClash { first: other.name, second: table.name });
            }
        }
        Ok(Self(tables))
    }

    pub(super) fn by_prefix(self, prefix: u8) -> Option<&'static TableInfo> {
        self.0.iter().find(|table| table.prefix == prefix)
    }

    pub(super) fn by_name(self, name: &str) -> Option<&'static TableInfo> {
        self.0.iter().find(|table| table.name == name)
    }

    /// A table's name for a message, also for a prefix that belongs to none.
    pub(super) fn name_of(self, prefix: u8) -> String {
        self.by_prefix(prefix)
            .map_or_else(|| format!("unknown ({prefix:#04x})"), |table| table.name.to_owned())
    }
}

/// The row's key in the tree.
pub(super) fn encode_key<T: Table>(key: &impl Key) -> Vec<u8> {
    let mut out = vec![T::PREFIX];
    key.encode(&mut out);
    out
}

/// Appends the row's value as it stands in the tree.
pub(super) fn encode_value<T: Table>(value: &T::Value, out: &mut Vec<u8>) {
    out.push(T::VERSION);
    value.encode_raw(out);
}

/// Reads a key as it stands in the tree.
pub(super) fn decode_key<T: Table>(key: &[u8]) -> Result<T::Key, StoreError> {
    key.split_first()
        .filter(|(prefix, _)| **prefix == T::PREFIX)
        .and_then(|(_, rest)| T::Key::decode(rest))
        .ok_or_else(|| StoreError::row(T::NAME, key, RowProblem::Key))
}

/// Reads a value as it stands in the tree.
pub(super) fn decode_value<T: Table>(key: &[u8], row: &[u8]) -> Result<T::Value, StoreError> {
    read_row::<T>(row).map_err(|problem| StoreError::row(T::NAME, key, problem))
}

fn read_row<T: Table>(row: &[u8]) -> Result<T::Value, RowProblem> {
    let (&version, message) = row.split_first().ok_or(RowProblem::NoVersion)?;
    match version {
        0 => Err(RowProblem::NoVersion),
        newer if newer > T::VERSION => Err(RowProblem::NewerVersion { found: newer, known: T::VERSION }),
        known => T::read(known, message).map_err(RowProblem::Message),
    }
}

fn check_row<T: Table>(key: &[u8], row: &[u8]) -> Result<(), RowProblem> {
    key.get(1..).and_then(T::Key::decode).ok_or(RowProblem::Key)?;
    read_row::<T>(row).map(drop)
}
