//! sled, wrapped: what the store needs of it, with its panics turned into errors.

use std::fs::{self, File, TryLockError};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::error::StoreError;
use super::files;
use super::spill::Spill;
use super::table::META_PREFIX;

/// The row of the commit counter, eight bytes, big-endian.
const COUNTER: [u8; 2] = [META_PREFIX, b'c'];
/// The row of the store's id, sixteen bytes.
const ID: [u8; 2] = [META_PREFIX, b'i'];
/// The row of the layout's version, eight bytes, big-endian.
const LAYOUT: [u8; 2] = [META_PREFIX, b'l'];

/// The version of what this module and `table` lay down: the store's own rows, key encodings, version bytes.
pub(super) const KNOWN_LAYOUT: u64 = 1;

/// A row as it stands in the tree.
pub(super) type RawRow = (sled::IVec, sled::IVec);

/// The open database.
pub(super) struct Database {
    tree: sled::Db,
    /// sled's own data file, opened once more: on Linux sled's flush is only `sync_file_range`, which neither
    /// waits for the disk's cache nor writes the file's size.
    data: File,
    spill: Mutex<Spill>,
    path: PathBuf,
}

/// What the database says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: Uuid,
    pub(super) commits: u64,
}

impl Database {
    /// Whether there is a database in the directory `path`.
    pub(super) fn exists(path: &Path) -> bool {
        path.join("db").exists()
    }

    /// Opens the database in the directory `path`, or creates it. The caller holds the store's lock.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        remove_half_written_snapshots(path)?;
        let data_path = path.join("db");
        wait_for_release(&data_path)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            // The store thread is the only one that flushes.
            .flush_every_ms(None);
        let tree = guarded("open", path, || config.open())?;
        let data = File::open(&data_path).map_err(StoreError::io("open", &data_path))?;
        // sled syncs neither its settings file nor the names of its files.
        let settings = path.join("conf");
        File::open(&settings).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", &settings))?;
        data.sync_all().map_err(StoreError::io("sync", &data_path))?;
        files::sync_directory(path)?;
        Ok(Self { tree, data, spill: Mutex::new(Spill::open(path)?), path: path.to_owned() })
    }

    /// The database's identity; `None` if there is not a single row.
    pub(super) fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let (Some(layout), Some(id), Some(commits)) =
            (self.get(&LAYOUT)?, self.get(&ID)?, self.get(&COUNTER)?)
        else {
            return if self.scan((Bound::Unbounded, Bound::Unbounded)).next().is_none() {
                Ok(None)
            } else {
                Err(self.malformed("its own rows are missing"))
            };
        };
        let layout = number(&layout).ok_or_else(|| self.malformed("its layout row is malformed"))?;
        if layout > KNOWN_LAYOUT {
            return Err(StoreError::NewerLayout {
                path: self.path.clone(),
                found: layout,
                known: KNOWN_LAYOUT,
            });
        }
        let id = Uuid::from_slice(&id).map_err(|_| self.malformed("its id row is malformed"))?;
        let commits = number(&commits).ok_or_else(|| self.malformed("its counter row is malformed"))?;
        Ok(Some(Identity { id, commits }))
    }

    /// Gives the database an id and a counter, durably.
    pub(super) fn identify(&self, identity: Identity) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.insert(&LAYOUT, &KNOWN_LAYOUT.to_be_bytes());
        batch.insert(&ID, identity.id.as_bytes());
        self.apply(batch, identity.commits)?;
        self.make_durable()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guarded("read", &self.path, || self.tree.get(key))
    }

    /// The rows of a range of keys.
    pub(super) fn scan(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> RawRows {
        RawRows { rows: Some(self.tree.range(range)), path: self.path.clone() }
    }

    /// Applies a batch as a whole, together with its commit counter. Readers see it at once; it is durable
    /// only after [`Database::make_durable`].
    pub(super) fn apply(&self, mut batch: sled::Batch, commits: u64) -> Result<(), StoreError> {
        batch.insert(&COUNTER, &commits.to_be_bytes());
        guarded("write to", &self.path, || self.tree.apply_batch(batch))
    }

    /// Returns when all that was applied is on the disk.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        let mut spill = self.spill.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the flush, so that the log never points to a file that may be lost; and after it, because
        // readers, too, make sled rewrite pages.
        spill.sync()?;
        guarded("flush", &self.path, || self.tree.flush())?;
        spill.sync()?;
        self.data.sync_data().map_err(StoreError::io("sync", &self.path.join("db")))
    }

    /// How many files of spilled pages were synced.
    pub(super) fn spilled(&self) -> u64 {
        self.spill.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    fn malformed(&self, detail: &str) -> StoreError {
        StoreError::Database { action: "read", path: self.path.clone(), detail: detail.to_owned() }
    }
}

/// An iterator over rows as they stand in the tree. It ends after its first error.
pub(super) struct RawRows {
    rows: Option<sled::Iter>,
    path: PathBuf,
}

impl RawRows {
    fn step(
        &mut self,
        step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<RawRow>>,
    ) -> Option<Result<RawRow, StoreError>> {
        let rows = self.rows.as_mut()?;
        let row = guarded("read", &self.path, || step(rows).transpose()).transpose();
        if !matches!(row, Some(Ok(_))) {
            self.rows = None;
        }
        row
    }
}

impl Iterator for RawRows {
    type Item = Result<RawRow, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for RawRows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(DoubleEndedIterator::next_back)
    }
}

/// sled writes a snapshot as `snap.N.generating` and renames it. A crash in between leaves a file that sled
/// takes for the newest snapshot and then refuses to open for ever, although it needs none.
fn remove_half_written_snapshots(path: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(StoreError::io("list", path))?,
    };
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", path))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::info!(file = %name, "removed a half-written snapshot");
            files::remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

/// sled locks its data file as well, and a thread of its pool can hold on to the file for a moment after the
/// database was closed. The store's own lock is ours, so whoever has this one is such a thread, or an iterator
/// that somebody still keeps.
fn wait_for_release(data: &Path) -> Result<(), StoreError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let file = match File::open(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.map_err(StoreError::io("open", data))?,
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            // Not just by closing: a child process that is being started may have a copy of the descriptor.
            Ok(()) => return file.unlock().map_err(StoreError::io("unlock", data)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: data.to_owned(), holder: None });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", data)(error)),
        }
    }
}

/// Runs a call into sled; damage on the disk makes some of them panic.
fn guarded<T>(
    action: &'static str,
    path: &Path,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    // Unwind safety: after a failed write nothing is written any more, and reads are checked row by row.
    let detail = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(sled::Error::Io(cause))) => {
            return Err(StoreError::Io { action, path: path.to_owned(), cause });
        }
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it panicked".to_owned()),
    };
    Err(StoreError::Database { action, path: path.to_owned(), detail })
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
