//! Who is told of the threads that Codex works on, while it does.
//!
//! A workflow runs Codex and reads what it prints; what Codex writes elsewhere is for others to follow. The seam is
//! here, between the two, so that neither has to know the other.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;

use jiff::Timestamp;
use uuid::Uuid;

use crate::ThreadId;

/// A process of Codex at work on a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The thread.
    pub thread: ThreadId,
    /// The Codex home of the process; see [`crate::home_of`].
    pub home: PathBuf,
    /// Its working directory.
    pub cwd: PathBuf,
    /// The run that it works for.
    pub run: Uuid,
    /// The schedules that led to that run.
    pub lineage: Vec<Uuid>,
    /// The directory in which it was asked to write rollout trace bundles, if it was.
    pub bundles: Option<PathBuf>,
    /// When it was started; tells the processes of a thread apart.
    pub started_at: Timestamp,
}

/// Wants to know what Codex works on.
pub trait Witness: fmt::Debug + Send + Sync + 'static {
    /// Codex has begun to work on a thread. Returns at once. The same work is told of again by a daemon that comes
    /// back while it goes on, or after its end but before that was stored.
    fn begun(&self, work: Work) -> Box<dyn Testimony>;
}

/// Is told of the end of what a [`Witness`] was told of. To be dropped without it means that nobody will tell.
pub trait Testimony: Send {
    /// The process has ended, and writes no more. Resolves when all that it has left was taken in, or after a time
    /// that is short beside the time of a turn.
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}
