//! Going on with a file that grows until its attempt is over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::LogError;
use super::hub::Follower;
use crate::process::is_locked;
use crate::process::record::{EXIT, LOCK};

/// A follower that got no hint looks again after this time: hints can be lost, and kernels before 6.4 give none for
/// bytes that were spliced.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Something that is read piece by piece from files.
pub(super) trait Source: Send + 'static {
    /// A piece.
    type Item: Send + 'static;

    /// The next piece; `None` when there is no more at the moment.
    fn read(&mut self) -> Result<Option<Self::Item>, LogError>;
}

/// Reads a source off the runtime's own threads, and waits for more of it as long as its attempt lives.
pub(super) struct Following<S: Source> {
    state: State<S>,
    dir: PathBuf,
    follower: Option<Follower>,
}

enum State<S: Source> {
    Idle(S),
    /// Kept here, so that a caller who stops waiting loses nothing.
    Reading(JoinHandle<Looked<S>>),
    /// Only between two states.
    Moving,
}

struct Looked<S: Source> {
    source: S,
    piece: Result<Option<S::Item>, LogError>,
    /// Whether the attempt was over before `piece` was read.
    over: bool,
}

impl<S: Source> Following<S> {
    /// Reads `source`, which belongs to the attempt in `dir`; ends at what is there now unless there is a follower.
    pub(super) fn new(source: S, dir: &Path, follower: Option<Follower>) -> Self {
        Self { state: State::Idle(source), dir: dir.to_owned(), follower }
    }

    /// The next piece; `None` when all is read and no more can come. May be cancelled at any time.
    pub(super) async fn next(&mut self) -> Result<Option<S::Item>, LogError> {
        loop {
            let (piece, over) = self.look().await;
            let piece = piece?;
            match &mut self.follower {
                Some(follower) if piece.is_none() && !over => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, follower.hint()).await;
                }
                _ => return Ok(piece),
            }
        }
    }

    async fn look(&mut self) -> (Result<Option<S::Item>, LogError>, bool) {
        if let State::Idle(_) = self.state
            && let State::Idle(mut source) = std::mem::replace(&mut self.state, State::Moving)
        {
            if let Some(follower) = &mut self.follower {
                follower.forget();
            }
            let dir = self.dir.clone();
            self.state = State::Reading(tokio::task::spawn_blocking(move || {
                let mut piece = source.read();
                let mut over = false;
                if matches!(piece, Ok(None)) {
                    // In this order: what was written before the end is read after the end was seen.
                    over = is_over(&dir);
                    piece = source.read();
                }
                Looked { source, piece, over }
            }));
        }
        let State::Reading(reading) = &mut self.state else {
            unreachable!("no await lies between taking a state and putting the next one")
        };
        match reading.await {
            Ok(Looked { source, piece, over }) => {
                self.state = State::Idle(source);
                (piece, over)
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being taken down, and with it whoever reads here.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Whether nothing more can be written: the end is recorded, or no shim holds the lock.
fn is_over(dir: &Path) -> bool {
    // A lock that cannot be probed is taken as free: better an end too early than a reader that waits for ever.
    dir.join(EXIT).exists() || !is_locked(&dir.join(LOCK)).unwrap_or(false)
}
