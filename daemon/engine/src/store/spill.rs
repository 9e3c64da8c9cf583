//! Files that sled spills into, and never syncs.
//!
//! A page of more than about 128 KiB goes into a file of its own in sled's `blobs` directory. A page is split
//! when it has more than sixteen rows, but merges can make it far longer until it is next visited, so no limit
//! on the size of rows rules such pages out. The log only points to the file: were the file lost in a power
//! cut, the rows of the page would be lost with it, old ones included.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;

use super::error::StoreError;

/// Sees to it that every file in sled's `blobs` directory is synced once.
pub(super) struct Spill {
    path: PathBuf,
    /// Held open, because it is read twice for every batch.
    directory: Dir,
    synced: HashSet<CString>,
    /// How many files were synced so far.
    count: u64,
}

impl Spill {
    /// For the database in the directory `database`.
    pub(super) fn open(database: &Path) -> Result<Self, StoreError> {
        let path = database.join("blobs");
        let directory = File::open(&path)
            .and_then(|file| Dir::new(file).map_err(Into::into))
            .map_err(StoreError::io("open", &path))?;
        Ok(Self { path, directory, synced: HashSet::new(), count: 0 })
    }

    /// Syncs the files that came since the last time, and their names.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        let present = self.list()?;
        self.synced.retain(|name| present.contains(name));
        let new: Vec<_> = present.into_iter().filter(|name| !self.synced.contains(name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for name in new {
            let file = self.path.join(OsStr::from_bytes(name.as_bytes()));
            match File::open(&file).and_then(|file| file.sync_all()) {
                Ok(()) => {
                    self.count += 1;
                    self.synced.insert(name);
                }
                // sled removed it in the meantime: nothing points to it any more.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("sync", &file)(error)),
            }
        }
        super::files::sync_directory(&self.path)
    }

    /// How many files were synced so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn list(&mut self) -> Result<HashSet<CString>, StoreError> {
        self.directory.rewind();
        let mut names = HashSet::new();
        while let Some(entry) = self.directory.read() {
            let entry = entry.map_err(|error| StoreError::io("list", &self.path)(error.into()))?;
            let name = entry.file_name();
            if !name.to_bytes().starts_with(b".") {
                names.insert(name.to_owned());
            }
        }
        Ok(names)
    }
}
