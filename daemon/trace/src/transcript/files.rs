//! The files of a session.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::SessionId;
use crate::session::Format;
use crate::source::{BUNDLE_EVENTS, SessionSource, rollout_anywhere};
use crate::spine;

/// The files of one session, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFiles {
    /// What they are.
    pub format: Format,
    /// The segments with their indexes, or the rollout.
    pub paths: Vec<(u32, PathBuf)>,
    /// What the artifacts of a spine lie below: the thread's directory, or that of a bundle.
    pub root: Option<PathBuf>,
    /// The rollout beside a spine, where it is known.
    pub rollout: Option<PathBuf>,
}

/// The files of a session cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// Neither a spine nor a rollout nor a bundle.
    #[error("{0} is neither a spine's directory nor a rollout nor a bundle")]
    NotASession(PathBuf),
    /// A file or directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing in the files says which session it is.
    #[error("no record in {0} names its session")]
    NoId(PathBuf),
    /// More than can be looked at in one piece.
    #[error("the records of {path} are larger than {limit} bytes together")]
    TooLarge {
        /// The first file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
}

impl SessionFiles {
    /// What lies at a path: a spine's directory, a bundle of ours or of Codex, or a rollout.
    pub fn at(path: &Path) -> Result<Self, FilesError> {
        if path.join(BUNDLE_EVENTS).is_file() {
            return Ok(Self { format: Format::Bundle, ..Self::rollout(&path.join(BUNDLE_EVENTS)) });
        }
        if path.is_dir() {
            let bundle = path.join("bundle.json").is_file();
            let spine = if bundle { path.join("spine") } else { path.to_owned() };
            let paths = if spine.is_dir() { segments(&spine)? } else { Vec::new() };
            let rollout = if bundle { only_rollout(&path.join("rollout")) } else { None };
            if paths.is_empty() {
                return rollout
                    .map(|rollout| Self::rollout(&rollout))
                    .ok_or_else(|| FilesError::NotASession(path.to_owned()));
            }
            return Ok(Self { format: Format::Spine, paths, root: Some(path.to_owned()), rollout });
        }
        if path.is_file() && path.extension().is_some_and(|ext| ext == "jsonl") {
            return Ok(Self::rollout(path));
        }
        Err(FilesError::NotASession(path.to_owned()))
    }

    /// A rollout.
    pub fn rollout(path: &Path) -> Self {
        Self { format: Format::Rollout, paths: vec![(0, path.to_owned())], root: None, rollout: None }
    }

    /// The files of a session that was found.
    pub fn of(source: &SessionSource) -> Self {
        let paths = source.files.iter().map(|file| (file.index, file.path.clone())).collect();
        let root = (source.format == Format::Spine).then(|| source.directory.clone());
        Self { format: source.format, paths, root, rollout: None }
    }

    /// Looks for the rollout of a spine's session below a Codex home, archived ones included.
    pub fn find_rollout(&mut self, home: &Path, thread: &SessionId) {
        if self.format == Format::Spine && self.rollout.is_none() {
            self.rollout = rollout_anywhere(home, thread);
        }
    }

    /// The first file, to name the session by in errors.
    pub(crate) fn first(&self) -> PathBuf {
        self.paths.first().map(|(_, path)| path.clone()).unwrap_or_default()
    }
}

fn segments(directory: &Path) -> Result<Vec<(u32, PathBuf)>, FilesError> {
    let failed = |source| FilesError::Read { path: directory.to_owned(), source };
    let segments = spine::segments(directory).map_err(failed)?;
    Ok(segments.into_iter().map(|segment| (segment.index(), segment.path)).collect())
}

fn only_rollout(directory: &Path) -> Option<PathBuf> {
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
}
