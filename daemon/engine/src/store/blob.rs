//! Blob files: what is too large for a row, named by its content.
//!
//! A file is written and synced before the batch whose rows name it, so a durable row never names a file that
//! is not there. Files that no row names are harmless; their owner removes them.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::error::StoreError;
use super::files;
use super::hex::{hex, unhex};

/// The name of a blob: the SHA-256 of its bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for BlobId {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex(&self.0))
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a blob is 64 hexadecimal digits")]
pub struct BlobIdError;

impl FromStr for BlobId {
    type Err = BlobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        unhex(text).and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(BlobIdError)
    }
}

/// The blob files of a store: `blobs/<first two digits>/<all digits>`. All calls block.
///
/// Two owners of equal bytes share a file: whoever removes one must know that no other row names it.
#[derive(Clone, Debug)]
pub struct Blobs {
    root: PathBuf,
    /// Numbers the files under way, so that two writers of equal bytes do not meet.
    writing: Arc<AtomicU64>,
}

/// The most bytes that a blob may have.
pub const MAX_BLOB_BYTES: u64 = 64 << 20;

/// The directory of files under way, emptied when the store is opened.
const WRITING: &str = "writing";

impl Blobs {
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        let root = directory.join("blobs");
        let writing = root.join(WRITING);
        files::create_private_directory(&writing)?;
        for leftover in entries(&writing)? {
            files::remove_if_there(&leftover)?;
        }
        Ok(Self { root, writing: Arc::default() })
    }

    /// Where a blob is, or would be.
    pub fn path(&self, id: &BlobId) -> PathBuf {
        let digits = id.to_string();
        self.root.join(&digits[..2]).join(digits)
    }

    /// Stores the bytes; when this returns they are durable. Bytes that are there already are not written
    /// again, unless their file is damaged. More than [`MAX_BLOB_BYTES`] are refused.
    pub fn write(&self, bytes: &[u8]) -> Result<BlobId, StoreError> {
        let id = BlobId::of(bytes);
        let path = self.path(&id);
        if bytes.len() as u64 > MAX_BLOB_BYTES {
            return Err(StoreError::BlobTooLarge { path, limit: MAX_BLOB_BYTES });
        }
        let directory = path.parent().unwrap_or(&self.root);
        match self.read(&id, bytes.len() as u64) {
            // Found by name; after a crash the name itself may not be durable yet.
            Ok(_) => files::sync_directory(directory)?,
            Err(
                StoreError::BlobMissing { .. }
                | StoreError::BlobDamaged { .. }
                | StoreError::BlobTooLarge { .. },
            ) => {
                files::create_private_directory(directory)?;
                let number = self.writing.fetch_add(1, Ordering::Relaxed);
                let temporary = self.root.join(WRITING).join(number.to_string());
                files::write_via(&temporary, &path, |file| {
                    file.write_all(bytes).map_err(StoreError::io("write", &temporary))
                })?;
            }
            Err(error) => return Err(error),
        }
        // The subdirectory may have been made just now, by this call or by another one that has not synced it.
        files::sync_directory(&self.root)?;
        Ok(id)
    }

    /// The bytes of a blob of at most `limit` bytes, checked against its name.
    pub fn read(&self, id: &BlobId, limit: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(id);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::BlobMissing { path });
            }
            file => file.map_err(StoreError::io("open", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::BlobTooLarge { path, limit });
        }
        if BlobId::of(&bytes) != *id {
            return Err(StoreError::BlobDamaged { path });
        }
        Ok(bytes)
    }

    /// Removes a blob; one that is not there is no error.
    pub fn remove(&self, id: &BlobId) -> Result<(), StoreError> {
        files::remove_if_there(&self.path(id))
    }

    /// The names of all blobs, in order. Files that are no blobs are left out.
    pub fn list(&self) -> Result<Vec<BlobId>, StoreError> {
        let mut ids = Vec::new();
        for directory in entries(&self.root)? {
            for file in entries(&directory)? {
                let name = file.file_name().and_then(|name| name.to_str());
                ids.extend(name.and_then(|name| name.parse::<BlobId>().ok()));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(StoreError::io("list", directory))
}
