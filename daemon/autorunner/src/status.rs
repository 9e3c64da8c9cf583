//! How the loop of a repository stands, as its files tell.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::{self, ConfigError};
use crate::lock::{self, Assessment, LockError};
use crate::repo::{RepoError, Repository};
use crate::state::{State, StateError};
use crate::todo::{Fingerprint, TodoList};

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopStatus {
    /// The repository root.
    pub root: PathBuf,
    /// The content of `state.json`; one that says "running" although nobody owns the loop is shown as it will be
    /// corrected.
    pub state: State,
    /// Open and done TODO items.
    pub todo: Fingerprint,
    /// Who owns the loop.
    pub lock: Assessment,
    /// Whether the file is there by which other tools ask for a stop.
    pub stop_file: bool,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no repository.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// It was not initialised, or its configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its lock cannot be judged.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Its TODO document exists and cannot be read.
    #[error("cannot read {path}: {source}")]
    Todo {
        /// The document.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads how the loop stands of the repository that holds `start`. Changes nothing. Blocks.
pub fn status(start: &Path, now: Timestamp) -> Result<LoopStatus, StatusError> {
    let layout = Repository::discover(start)?.layout();
    let config = config::load(&layout)?.config;
    let lock = lock::assess(&layout.lock())?;
    let mut state = State::load(&layout.state())?;
    state.reconcile(matches!(lock, Assessment::Held { .. }), now);
    let [path, ..] = config.docs.resolve(layout.root());
    let todo = match fs::read(&path) {
        Ok(text) => TodoList::parse(&text).fingerprint(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Fingerprint::default(),
        Err(source) => return Err(StatusError::Todo { path, source }),
    };
    let stop_file = layout.stop_file().exists();
    Ok(LoopStatus { root: layout.root().to_owned(), state, todo, lock, stop_file })
}
