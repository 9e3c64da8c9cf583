//! Reading what a process writes, while it writes or afterwards, by any number of readers.
//!
//! The shim is the only writer of a log and takes no notice of readers; the files are the truth. One file watcher
//! serves the whole daemon ([`LogHub`]), and it only gives hints: a reader that waits looks again every so often by
//! itself. Each reader has its own place in its file, so a slow one costs the others nothing.

mod arrivals;
mod follow;
mod hub;
pub mod index;
mod lines;
mod reader;

use std::io;
use std::path::PathBuf;

pub use arrivals::{Arrival, ArrivalReader};
pub use hub::LogHub;
pub use index::Stream;
pub use lines::{Line, LineReader};
pub use reader::{Chunk, LogReader};

/// Most bytes that a reader returns at once.
pub const CHUNK: usize = 64 << 10;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The attempt has no directory, so it has no log: it was never started, or was removed.
    #[error("{dir} does not exist")]
    NoAttempt {
        /// The attempt's directory.
        dir: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The launch record, which tells what is kept of the log, could not be read.
    #[error(transparent)]
    Record(#[from] crate::process::record::RecordError),
}
