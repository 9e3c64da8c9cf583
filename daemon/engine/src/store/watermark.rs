//! The watermark: a small synced file beside the database that says how far it had come.
//!
//! sled opens a database that lost its newest part without a word. Every batch therefore carries a commit
//! counter inside the database, and this file keeps a lower bound of it outside: a database whose counter is
//! below the watermark lost acknowledged commits.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::files;

/// What the file holds, as one line of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    /// The store's id.
    pub(super) store: Uuid,
    /// The commit counter of a batch that was durable when this was written.
    pub(super) commits: u64,
    /// Whether the store was closed in order, with exactly `commits` as its last counter.
    pub(super) clean: bool,
}

/// The file as it was found.
#[derive(Debug)]
pub(super) enum Found {
    /// There is none: a new store, or a person removed it to accept the store as it is.
    Nothing,
    Mark(Watermark),
    /// There is one, and it cannot be understood.
    Unreadable(String),
}

/// Where the watermark of the store in `directory` is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("watermark")
}

pub(super) fn read(path: &Path) -> Result<Found, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(match serde_json::from_slice(&bytes) {
            Ok(mark) => Found::Mark(mark),
            Err(error) => Found::Unreadable(error.to_string()),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

pub(super) fn write(path: &Path, mark: Watermark) -> Result<(), StoreError> {
    let line = format!("{}\n", serde_json::json!(mark));
    files::replace(path, line.as_bytes())
}
