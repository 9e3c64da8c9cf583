//! Everything that is known, in one file for others: a SQLite database with the tables of earlier tools, or
//! JSON lines.
//!
//! What is given is written in order of the sessions' ids, and holds nothing of the time or place of the
//! export: two exports of the same state are equal, as dumps (SQLite) or byte for byte (JSON lines). The file
//! is written beside its place and put there when it is whole.

mod jsonl;
mod output;
mod redact;
mod sqlite;
mod stored;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};
use trace::session::Rows;

pub use self::redact::{Raw, Redact};
use crate::signal::Signal;
use crate::view::{FileView, FindingView, InsightError, SessionView};

/// How much of a tool call's output an export holds unless another limit is asked for, in bytes.
pub const OUTPUT_LIMIT: usize = 64 << 10;

/// A session with all that belongs to it.
#[derive(Clone, Debug)]
pub struct ExportedSession {
    /// The session.
    pub view: SessionView,
    /// Its files, in order.
    pub files: Vec<FileView>,
    /// Its turns, calls, approvals, compactions and artifacts.
    pub rows: Rows,
    /// Its signals, in the order in which they were found.
    pub signals: Vec<Signal>,
    /// What could not be read of it.
    pub findings: Vec<FindingView>,
}

/// Which form an export has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A SQLite database.
    Sqlite {
        /// How much of a call's output is read through from the session's files, in bytes; 0 for none.
        output_limit: usize,
    },
    /// One JSON object per line.
    Jsonl,
}

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Sessions.
    pub sessions: u64,
    /// User turns.
    pub turns: u64,
    /// Tool calls.
    pub calls: u64,
    /// Signals.
    pub signals: u64,
}

impl Exported {
    fn count(&mut self, session: &ExportedSession) {
        let number = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        self.sessions += 1;
        self.turns += number(session.rows.turns.len());
        self.calls += number(session.rows.calls.len());
        self.signals += number(session.signals.len());
    }
}

/// An export could not be made; nothing is left of it, and a file that was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Something lies there, and it was not said that it may be replaced.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The database refused a row.
    #[error("cannot write {what} to the database")]
    Database {
        /// What was written.
        what: &'static str,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
    /// The sessions could not be read.
    #[error("cannot read what is to be exported")]
    Source(#[from] InsightError),
}

/// Writes sessions, which come in the order of their ids, to a file. An existing one is replaced only if that
/// is asked for. Blocks: not for a thread that serves others.
pub fn export(
    file: &Path,
    replace: bool,
    format: ExportFormat,
    sessions: impl Iterator<Item = Result<ExportedSession, InsightError>>,
    redact: &mut dyn Redact,
) -> Result<Exported, ExportError> {
    let write = |cause| ExportError::Write { path: file.to_path_buf(), cause };
    if !replace && file.symlink_metadata().is_ok() {
        return Err(ExportError::Exists(file.to_path_buf()));
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable by its owner alone: it holds what people have said and done.
    let mut temporary =
        tempfile::Builder::new().prefix(".spindle-export-").tempfile_in(directory).map_err(write)?;
    let exported = match format {
        ExportFormat::Sqlite { output_limit } => {
            sqlite::write(temporary.path(), output_limit, sessions, redact)?
        }
        ExportFormat::Jsonl => jsonl::write(&mut temporary, file, sessions, redact)?,
    };
    temporary.as_file().sync_all().map_err(write)?;
    persist(temporary, file, replace).map_err(|PersistError { error, .. }| match error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists(file.to_path_buf()),
        _ => write(error),
    })?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(write)?;
    Ok(exported)
}

fn persist(temporary: NamedTempFile, file: &Path, replace: bool) -> Result<File, PersistError> {
    if replace { temporary.persist(file) } else { temporary.persist_noclobber(file) }
}
