//! The recordings on disk: one file per case, and an index.

use model_server::Release;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One recorded run. The index holds all of it but the standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Recording {
    /// The name of the case.
    pub(crate) case: String,
    /// The version of the CLI.
    pub(crate) version: String,
    /// The arguments, without the program itself.
    pub(crate) argv: Vec<String>,
    /// What was given on standard input.
    pub(crate) prompt: String,
    /// The exit code, unless a signal ended it.
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<String>,
    /// The signal that was sent in the middle of it.
    pub(crate) signal_sent: Option<String>,
    /// The thread that it was asked to resume.
    pub(crate) resume_requested: Option<String>,
    /// How long it took, in whole seconds.
    pub(crate) seconds: u64,
    /// How many requests the model server got.
    pub(crate) requests: usize,
    /// Its standard error, line by line.
    pub(crate) stderr: Vec<String>,
    /// Its standard output, kept in a file of its own.
    #[serde(skip)]
    pub(crate) stdout: String,
}

/// The directory of recordings.
pub(crate) struct Index {
    directory: PathBuf,
    /// By version and case, so that the file is in a stable order.
    recordings: BTreeMap<(String, String), Recording>,
}

/// Why the recordings could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error("cannot access {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not an index of recordings: {source}", path.display())]
    Format { path: PathBuf, source: serde_json::Error },
}

impl Index {
    /// Opens a directory, which is made when missing.
    pub(crate) fn open(directory: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(directory).map_err(|source| failed(directory, source))?;
        let path = directory.join("index.json");
        let known: Vec<Recording> = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| IndexError::Format { path, source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(failed(&path, source)),
        };
        let keyed = known.into_iter().map(|known| (key(&known), known)).collect();
        Ok(Self { directory: directory.to_owned(), recordings: keyed })
    }

    /// How many recordings there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.recordings.len()
    }

    /// Removes every recording of a release, those of cases that no longer exist included.
    pub(crate) fn forget(&mut self, release: Release) -> Result<(), IndexError> {
        let version = release.version();
        for recording in self.recordings.values().filter(|recording| recording.version == version) {
            let path = self.directory.join(file_name(recording));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&path, error));
                }
                _ => {}
            }
        }
        self.recordings.retain(|(recorded, _), _| recorded != version);
        Ok(())
    }

    /// Writes the output of a run and enters it.
    pub(crate) fn keep(&mut self, recording: Recording) -> Result<(), IndexError> {
        let path = self.directory.join(file_name(&recording));
        fs::write(&path, &recording.stdout).map_err(|source| failed(&path, source))?;
        self.recordings.insert(key(&recording), recording);
        Ok(())
    }

    /// Writes the index.
    pub(crate) fn save(&self) -> Result<(), IndexError> {
        let path = self.directory.join("index.json");
        let list: Vec<&Recording> = self.recordings.values().collect();
        let format = |source| IndexError::Format { path: path.clone(), source };
        let mut text = serde_json::to_string_pretty(&list).map_err(format)?;
        text.push('\n');
        fs::write(&path, text).map_err(|source| failed(&path, source))
    }
}

fn key(recording: &Recording) -> (String, String) {
    (recording.version.clone(), recording.case.clone())
}

fn file_name(recording: &Recording) -> String {
    format!("{}-{}.jsonl", recording.version, recording.case)
}

fn failed(path: &Path, source: io::Error) -> IndexError {
    IndexError::File { path: path.to_owned(), source }
}
