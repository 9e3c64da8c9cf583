//! Recording: a spine for a session of a Codex that writes none.
//!
//! The published Codex writes a rollout only. A [`Recorder`] makes a spine of it, while it grows or afterwards:
//! the records of the format, closed segments with meta files, git's identity and diff as artifacts. What is
//! derived from such a spine (turns, calls, approvals) is what is derived from its rollout.
//!
//! What a rollout does not have is not invented: there are no requests for approval and no answers, only
//! calls that were declined. Where the format asks for a form, it is given: user's words become a submission
//! and a `user_message`, commands get a beginning and an end, a turn without an id gets its number.
//!
//! Every record says in its payload which line of the rollout it was made from (`recorded_from`), so a recorder
//! that was killed goes on where it stopped: it reads the rollout again from its beginning and leaves out what
//! is written already. A thread is recorded by one recorder at a time.
//!
//! Sessions that Codex is working on are recorded by [`Live`], which follows the rollout; [`Bell`] tells when there
//! may be more of it.

mod bell;
mod calls;
mod convert;
mod live;
mod message;
mod recorder;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use bell::{Bell, Listening};
pub use live::{CaughtUp, Live};
pub use recorder::{GitState, Moment, Recorded, Recorder, record_rollout};
pub(crate) use recorder::{MARK, began_at};

/// The `originator` of a spine that was recorded here.
pub const ORIGINATOR: &str = "spindle_recorder";

/// A session cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is a spine that somebody else wrote, such as Codex itself.
    #[error("{} holds a spine that was not recorded by Spindle; it is left alone", .0.display())]
    Foreign(PathBuf),
    /// Somebody else records this thread at this moment.
    #[error("{} is being written by another recorder", .0.display())]
    Busy(PathBuf),
    /// There is no number left for another segment.
    #[error("{} has no room for another segment", .0.display())]
    Full(PathBuf),
    /// The rollout does not say which thread it is of.
    #[error("{} names no thread, neither in its first line nor in its name", .0.display())]
    NoThread(PathBuf),
    /// The rollout is not the one any more that was recorded so far.
    #[error("{} was cut or replaced while it was recorded", .0.display())]
    Rewritten(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// What went wrong, on what.
fn problem(path: &Path) -> impl FnOnce(io::Error) -> RecordingError + '_ {
    |source| RecordingError::Io { path: path.to_owned(), source }
}
