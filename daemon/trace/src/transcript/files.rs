//! The files of a session.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::SessionId;
use crate::session::Format;
use crate::source::{BUNDLE_EVENTS, Origin, SessionSource, Store, origin_of, rollout_anywhere};
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
    /// The spine that Spindle has recorded beside a rollout, where it is known: it says more about git.
    pub recorded: Option<Box<SessionFiles>>,
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
            let spine = Self::spine(paths, path);
            return Ok(match rollout {
                Some(rollout) if spine.is_recorded() => {
                    Self { recorded: Some(Box::new(spine)), ..Self::rollout(&rollout) }
                }
                rollout => Self { rollout, ..spine },
            });
        }
        if path.is_file() && path.extension().is_some_and(|ext| ext == "jsonl") {
            return Ok(Self::rollout(path));
        }
        Err(FilesError::NotASession(path.to_owned()))
    }

    /// A rollout.
    pub fn rollout(path: &Path) -> Self {
        let paths = vec![(0, path.to_owned())];
        Self { format: Format::Rollout, paths, root: None, rollout: None, recorded: None }
    }

    /// A spine whose artifacts lie below a directory.
    fn spine(paths: Vec<(u32, PathBuf)>, root: &Path) -> Self {
        Self { format: Format::Spine, paths, root: Some(root.to_owned()), rollout: None, recorded: None }
    }

    /// The files of a session that was found.
    pub fn of(source: &SessionSource) -> Self {
        let paths = source.files.iter().map(|file| (file.index, file.path.clone())).collect();
        let root = (source.format == Format::Spine).then(|| source.directory.clone());
        Self { format: source.format, paths, root, rollout: None, recorded: None }
    }

    /// Looks below a Codex home for what there is of the session besides: the rollout of a spine, archived ones
    /// included; the spine that Spindle has recorded of a rollout.
    pub fn find_beside(&mut self, home: &Path, thread: &SessionId) {
        match self.format {
            Format::Spine if self.rollout.is_none() => self.rollout = rollout_anywhere(home, thread),
            Format::Rollout if self.recorded.is_none() => {
                let directory = Store::Spines.below(home).join(thread.as_str());
                let spine = segments(&directory).ok().map(|paths| Self::spine(paths, &directory));
                self.recorded = spine.filter(Self::is_recorded).map(Box::new);
            }
            Format::Spine | Format::Rollout | Format::Bundle => {}
        }
    }

    /// Whether Spindle has written this spine.
    fn is_recorded(&self) -> bool {
        self.paths.first().and_then(|(_, path)| origin_of(path)) == Some(Origin::Spindle)
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
