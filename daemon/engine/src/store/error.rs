//! What can go wrong in the store, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::Finding;
use super::hex::hex;
use super::table::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// An operation on the store failed.
///
/// Each message is complete by itself: it includes its cause, which is therefore no `source()`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was attempted, such as `create`.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// The database library failed or panicked.
    #[error("cannot {action} the database {}: {detail}", path.display())]
    Database {
        /// What was attempted, such as `open`.
        action: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// The library's own words.
        detail: String,
    },
    /// Another process has the store open.
    #[error(
        "the store is in use by {}: {} is locked; stop that process first",
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into the lock file.
        holder: Option<u32>,
    },
    /// There is too little room to start safely.
    #[error(
        "{} has {free} bytes free and the store wants {floor} before it starts; free some space or lower the floor",
        path.display()
    )]
    NoSpace {
        /// The store's directory.
        path: PathBuf,
        /// Bytes free for this user.
        free: u64,
        /// Bytes wanted.
        floor: u64,
    },
    /// The store holds less or other than what was acknowledged. Nothing was changed.
    #[error(
        "the store in {} is damaged:\n{}\nNothing was removed. `spindle daemon verify` lists every finding. To go \
         back to an export, move the directory away and run `spindle daemon restore`.",
        path.display(),
        Listed(findings)
    )]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What was found.
        findings: Vec<Finding>,
    },
    /// A row cannot be read.
    #[error(
        "the row {key} of table {table} cannot be read: {problem}; `spindle daemon verify` lists all such rows"
    )]
    Row {
        /// The table's name.
        table: &'static str,
        /// The row's key, as hexadecimal digits, with the table's prefix byte.
        key: String,
        /// Why it cannot be read.
        problem: RowProblem,
    },
    /// The store was laid out by a newer version of the program.
    #[error("the store in {} has layout {found}, this program knows {known}; use the newer program", path.display())]
    NewerLayout {
        /// The store's directory.
        path: PathBuf,
        /// The store's layout.
        found: u64,
        /// The newest layout that this program knows.
        known: u64,
    },
    /// A batch holds a value that is too large for a row; nothing of the batch was applied.
    #[error(
        "a value of {size} bytes for the row {key} of table {table} is over the limit of {MAX_VALUE_BYTES}; \
         large values belong into blob files"
    )]
    ValueTooLarge {
        /// The table's name.
        table: &'static str,
        /// The row's key, as hexadecimal digits.
        key: String,
        /// The value's size in bytes.
        size: usize,
    },
    /// A batch holds a key that is too large; nothing of the batch was applied.
    #[error("a key of {size} bytes in table {table} is over the limit of {MAX_KEY_BYTES}")]
    KeyTooLarge {
        /// The table's name.
        table: &'static str,
        /// The encoded key's size in bytes.
        size: usize,
    },
    /// A batch names a table that the store was not opened with; nothing of the batch was applied.
    #[error("no table with the prefix {prefix:#04x} was named when the store was opened")]
    UnknownTable {
        /// The first byte of the row's key.
        prefix: u8,
    },
    /// Two tables share a prefix or a name.
    #[error("the tables {first} and {second} share a prefix or a name")]
    TableClash {
        /// The table named first.
        first: &'static str,
        /// The table named second.
        second: &'static str,
    },
    /// A write failed earlier (a full disk, say). What was acknowledged before is safe, and can be read but
    /// for rows next to those of the failed write, whose reads fail as well; to write again, the cause must be
    /// removed and the store opened anew. Whether the failed batch itself is there then is not known now.
    #[error("the store takes no more changes, since one failed: {0}")]
    ReadOnly(Arc<StoreError>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A blob file is not there.
    #[error("the file {} named by the store is missing", path.display())]
    BlobMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A blob file does not hold what its name says.
    #[error("the file {} does not hold what its name says; it was changed or damaged", path.display())]
    BlobDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A blob file is larger than the caller allows.
    #[error("the file {} is larger than {limit} bytes", path.display())]
    BlobTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// An export file cannot be taken in.
    #[error("cannot import {}: line {line}: {problem}", path.display())]
    Import {
        /// The export file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An import would overwrite something.
    #[error("{} already holds a store; move it away before an import", path.display())]
    NotEmpty {
        /// The store's directory.
        path: PathBuf,
    },
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// The key's bytes are not those of a key of the table.
    #[error("its key is malformed")]
    Key,
    /// The value has no schema version.
    #[error("its schema version is missing")]
    NoVersion,
    /// The value was written by a newer version of the program.
    #[error("its schema version is {found}, this program knows {known}: it was written by a newer program")]
    NewerVersion {
        /// The row's schema version.
        found: u8,
        /// The newest schema version that this program knows.
        known: u8,
    },
    /// The value is not the table's message.
    #[error("its message is malformed: {0}")]
    Message(prost::DecodeError),
}

impl StoreError {
    /// For `map_err` on file operations.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }

    pub(super) fn row(table: &'static str, key: &[u8], problem: RowProblem) -> Self {
        Self::Row { table, key: hex(key), problem }
    }

    pub(crate) fn value_too_large(table: &'static str, key: &[u8], size: usize) -> Self {
        Self::ValueTooLarge { table, key: hex(key), size }
    }

    pub(super) fn key_too_large(table: &'static str, key: &[u8]) -> Self {
        Self::KeyTooLarge { table, size: key.len() }
    }
}

/// The first findings, one per line; an error message is no report.
struct Listed<'a>(&'a [Finding]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (index, finding) in self.0.iter().take(SHOWN).enumerate() {
            write!(out, "{}- {finding}", if index == 0 { "" } else { "\n" })?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(out, "\n- and {more} more"),
            _ => Ok(()),
        }
    }
}
