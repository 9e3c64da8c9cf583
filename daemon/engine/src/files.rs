//! The directories of runs, with the logs and records of their processes; and the files for what
//! is too large for a row of the store.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use crate::run::RunId;
use crate::run::tables::{Payload, Spill};
use crate::store::{BlobId, Blobs, MAX_BLOB_BYTES, StoreError};

/// Largest spec, and largest value of a step, in bytes of JSON.
pub(crate) const VALUE_LIMIT: u64 = 16 * 1024 * 1024;

/// How many bytes in front of a value name the run and the part of it that own the file.
const OWNER: usize = 20;

/// Where the files of runs are.
#[derive(Debug, Clone)]
pub(crate) struct RunFiles {
    root: PathBuf,
    blobs: Blobs,
}

impl RunFiles {
    /// Below the state directory.
    pub(crate) fn new(state_dir: &Path, blobs: Blobs) -> io::Result<Self> {
        let root = state_dir.join("runs");
        fs::create_dir_all(&root)?;
        Ok(Self { root, blobs })
    }

    /// The directory of a run.
    pub(crate) fn run(&self, run: RunId) -> PathBuf {
        self.root.join(run.to_string())
    }

    /// The directory of one attempt at a step.
    pub(crate) fn attempt(&self, run: RunId, ordinal: u32, attempt: u32) -> PathBuf {
        self.run(run).join(format!("{ordinal}.{attempt}"))
    }

    /// The file beside an attempt's directory that its process reads from.
    pub(crate) fn stdin(attempt: &Path) -> PathBuf {
        let mut name = attempt.as_os_str().to_owned();
        name.push(".stdin");
        name.into()
    }

    /// Removes what an attempt has left.
    pub(crate) fn remove_attempt(attempt: &Path) -> io::Result<()> {
        for removed in [fs::remove_dir_all(attempt), fs::remove_file(Self::stdin(attempt))] {
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes the directory of a run. One that has none is no error.
    pub(crate) fn remove(&self, run: RunId) -> io::Result<()> {
        match fs::remove_dir_all(self.run(run)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes a file that no row names any longer.
    pub(crate) fn remove_value(&self, sha256: &str) {
        if let Ok(id) = sha256.parse::<BlobId>()
            && let Err(error) = self.blobs.remove(&id)
        {
            tracing::debug!(%error, "could not remove a value's file");
        }
    }

    /// Removes the values' files of runs that are not known: left by a crash before the batch that was to name them,
    /// or after the one that no longer does. Younger ones than `age` may belong to a request under way.
    pub(crate) fn sweep_values(
        &self,
        age: Duration,
        known: impl Fn(RunId) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for id in self.blobs.list()? {
            let path = self.blobs.path(&id);
            let Ok(mut file) = fs::File::open(&path) else { continue };
            let old = file.metadata().and_then(|data| data.modified()).is_ok_and(|time| {
                // One from the future, by a clock that was set back, is kept.
                time.elapsed().is_ok_and(|elapsed| elapsed > age)
            });
            let mut owner = [0; 16];
            if old && file.read_exact(&mut owner).is_ok() && !known(RunId(Uuid::from_bytes(owner)))? {
                self.blobs.remove(&id)?;
            }
        }
        Ok(())
    }

    /// The runs that have a directory.
    pub(crate) fn all(&self) -> io::Result<Vec<RunId>> {
        let names = fs::read_dir(&self.root)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| Some(RunId(Uuid::try_parse(&name).ok()?))).collect())
    }
}

impl Spill for RunFiles {
    fn spill(&self, run: RunId, part: u32, bytes: Vec<u8>, limit: usize) -> Result<Payload, StoreError> {
        if bytes.len() <= limit {
            return Ok(Payload { inline: Some(bytes), sha256: None });
        }
        // With its owner's name in front no other owner has the same file.
        let id = self.blobs.write(&[run.0.as_bytes().as_slice(), &part.to_be_bytes(), &bytes].concat())?;
        Ok(Payload { inline: None, sha256: Some(id.to_string()) })
    }

    fn load(&self, run: RunId, payload: &Payload) -> Result<Vec<u8>, String> {
        if let Some(bytes) = &payload.inline {
            return Ok(bytes.clone());
        }
        let Some(sha256) = &payload.sha256 else { return Ok(Vec::new()) };
        let id: BlobId = sha256.parse().map_err(|_| format!("{sha256:?} names no file"))?;
        let mut bytes = self.blobs.read(&id, MAX_BLOB_BYTES).map_err(|error| error.to_string())?;
        if !bytes.starts_with(run.0.as_bytes()) {
            return Err(format!("file {sha256} belongs to another run"));
        }
        if bytes.len() < OWNER {
            return Err(format!("file {sha256} is cut short"));
        }
        Ok(bytes.split_off(OWNER))
    }
}
