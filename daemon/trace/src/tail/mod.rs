//! Following the sessions below some Codex homes as they are written.
//!
//! Events of the filesystem are hints, the files are the truth: everything is scanned at the start, after events
//! were lost, after the watcher failed, and every so often; every directory is looked at after its watch was added,
//! because a file made in it at once may have no event at all. A scan costs a stat per file.
//!
//! Watched are the roots, the youngest days of rollouts, and the directories that were written to last, up to a
//! budget. An old session that is resumed is found by the next scan, and its directory is watched from then on.
//! Where no events come (network filesystems, exhausted limits) the directories in use are looked at every so
//! often instead, and the [`Status`] says so.
//!
//! ```no_run
//! use std::sync::Arc;
//! use trace::{Catalog, Hint, Settings, Tail};
//!
//! let catalog = Arc::new(Catalog::new(vec!["/home/me/.codex".into()]));
//! let (_tail, hints) = Tail::start(Arc::clone(&catalog), Settings::default())?;
//! while let Some(hint) = hints.recv() {
//!     match hint {
//!         Hint::Session(id) => println!("{id}: {:?}", catalog.look(&id)),
//!         Hint::Rescan => println!("those were all {}", catalog.ids().len()),
//!         Hint::Problem(problem) => eprintln!("{problem}"),
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

mod control;
mod hints;
mod roots;

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use control::{Control, Message};
use hints::Queue;
pub use hints::{Hint, Hints};

use crate::source::{Catalog, Scan};
pub use crate::watch::RootState;

/// How a tail works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// After what time everything is scanned again, although no event says so.
    pub rescan_every: Duration,
    /// How often the directories in use are looked at where no events come.
    pub poll_every: Duration,
    /// How many directories are watched at most, besides a handful for each root.
    pub watches: usize,
    /// Whether to do without events.
    pub polling: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rescan_every: Duration::from_mins(1),
            poll_every: Duration::from_secs(1),
            watches: 512,
            polling: false,
        }
    }
}

/// Something about the tail that a user should know.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// Events of a root are not complete.
    #[error("{} is looked at every so often instead of watched: {why}", root.display())]
    Polled {
        /// The root.
        root: PathBuf,
        /// Why.
        why: String,
    },
    /// The system gives no more watches.
    #[error(
        "only {watched} directories can be watched (fs.inotify.max_user_watches); others are looked at every so often"
    )]
    WatchLimit {
        /// How many are.
        watched: usize,
    },
    /// Too much happened at once; everything is scanned.
    #[error("events were lost; everything is looked at again")]
    EventsLost,
    /// The watcher failed; everything is scanned.
    #[error("the file watcher failed: {0}; everything is looked at again")]
    WatcherFailed(String),
}

/// How the tail does.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The roots of each home: spines, rollouts, archived rollouts.
    pub roots: Vec<RootStatus>,
    /// How many directories are watched.
    pub watched: usize,
    /// How many directories in use are looked at every so often, because they are not watched or tell not all.
    pub polled: usize,
    /// How often events were lost or the watcher failed.
    pub lost: u64,
    /// The last scan; none before the first is done.
    pub scan: Option<LastScan>,
}

/// A root and how changes below it are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootStatus {
    /// Its path.
    pub path: PathBuf,
    /// How changes are noticed.
    pub state: RootState,
}

/// A scan that is done.
#[derive(Clone, Debug)]
pub struct LastScan {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What it saw.
    pub seen: Scan,
}

/// Threads that watch and scan, until it is dropped.
#[derive(Debug)]
pub struct Tail {
    control: Sender<Message>,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    /// Begins to watch and to scan. Returns at once; hints come for every session that is there, and then
    /// [`Hint::Rescan`]. The homes must be absolute paths.
    pub fn start(catalog: Arc<Catalog>, settings: Settings) -> io::Result<(Self, Hints)> {
        let (control, messages) = mpsc::channel();
        let queue = Arc::new(Queue::default());
        let status = Arc::new(Mutex::new(Status::default()));
        let scans = control::scanner(Arc::clone(&catalog), Arc::clone(&queue), control.clone())?;
        let worker =
            Control::new(catalog, settings, Arc::clone(&queue), Arc::clone(&status), control.clone(), scans);
        let thread =
            thread::Builder::new().name("trace-tail".to_owned()).spawn(move || worker.run(&messages))?;
        Ok((Self { control, status, thread: Some(thread) }, Hints::of(&queue)))
    }

    /// Asks for a scan now.
    pub fn rescan(&self) {
        // Where nobody listens, the tail has stopped.
        let _ = self.control.send(Message::Rescan);
    }

    /// How it does.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.control.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
