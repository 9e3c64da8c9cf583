//! Finding sessions below a Codex home.
//!
//! ```text
//! $CODEX_HOME/trace_spine/<thread>/segment-NNN.jsonl
//! $CODEX_HOME/sessions/YYYY/MM/DD/rollout-<time>-<thread>.jsonl
//! $CODEX_HOME/archived_sessions/          the same names, flat or by day
//! $CODEX_HOME/rollout_trace/trace-<trace>-<thread>/trace.jsonl
//! ```
//!
//! A session has one source: the spine that Codex wrote, else its rollout. A spine that Spindle recorded is read
//! only when its rollout is gone, and a rollout trace bundle only when there is nothing else. A [`Catalog`] knows what lies there, at the cost of a stat per file and
//! directory for every look at the whole, so that homes with 100,000 sessions stay cheap.
//!
//! Symbolic links to a root are followed, links below it only as long as they stay inside. What is foreign is
//! counted and left alone; what cannot be read is a [`Finding`], and what was known of it stays known.

mod at;
mod bundle;
mod catalog;
mod name;
mod near;
mod origin;
mod stat;
mod walk;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

pub use bundle::bundle_of_process;
pub use catalog::{Catalog, Store};
pub(crate) use name::{
    BUNDLE_EVENTS, bundle as thread_of_bundle, part_of_date, rollout as thread_of_rollout,
};
pub(crate) use near::{days_of, rollout_anywhere, rollout_near};
pub(crate) use origin::{Origin, of_first_line as origin_of};
pub use stat::FileIdentity;
pub(crate) use stat::{Fence, FileStat, Refused, open as open_file};
pub use walk::Scan;

use crate::SessionId;
use crate::session::Format;

/// Where a session is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSource {
    /// The session.
    pub id: SessionId,
    /// A spine, a rollout or a bundle.
    pub format: Format,
    /// Its files in order, at least one: the segments of a spine by number, the one rollout with index 0, or the
    /// events of bundles in the order in which they were begun.
    pub files: Vec<SourceFile>,
    /// The directory that they lie in; for a spine, the thread's own.
    pub directory: PathBuf,
    /// The Codex home, as it was given.
    pub home: PathBuf,
    /// Whether it is a rollout that was archived.
    pub archived: bool,
}

impl SessionSource {
    /// How many bytes its files hold.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.len))
    }

    /// When one of its files changed last.
    pub fn modified(&self) -> Option<SystemTime> {
        self.files.iter().map(|file| file.mtime).max()
    }
}

/// A file of a session, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its number: the segment's index, or 0.
    pub index: u32,
    /// Where it lies.
    pub path: PathBuf,
    /// Which file it is.
    pub identity: FileIdentity,
    /// How many bytes it holds.
    pub len: u64,
    /// When it changed last.
    pub mtime: SystemTime,
}

/// A file of a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused, or there is no such file any more.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another file lies there now; the session is to be looked at again.
    #[error("{} was replaced since it was listed", .0.display())]
    Replaced(PathBuf),
}

impl SourceFile {
    /// Opens the file that was listed and no other: not one that took its place, nor what a symbolic link put there
    /// since leads to.
    pub fn open(&self) -> Result<File, OpenError> {
        let (file, metadata) =
            stat::open(&self.path).map_err(|source| OpenError::Io { path: self.path.clone(), source })?;
        if FileIdentity::of(&metadata) != self.identity {
            return Err(OpenError::Replaced(self.path.clone()));
        }
        Ok(file)
    }
}

/// Something below a Codex home that could not be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub trouble: Trouble,
}

/// What is wrong with a file or directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It cannot be read; what was known of it stays known, and it is tried again at the next look.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A symbolic link that leads out of its root; it is not followed.
    #[error("it is a link that leads out of the directory")]
    LeavesRoot,
    /// It is named like a file of a session and is neither a file nor a directory.
    #[error("it is neither a file nor a directory")]
    Special,
    /// Another file of this session is read instead.
    #[error("session {0} is read from another file")]
    Duplicate(SessionId),
}
