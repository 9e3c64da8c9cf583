//! Watching directories: one inotify instance, a budget of watches, and honest words where there are no events.
//!
//! Events are hints and nothing more. Whoever watches a directory looks at it after the watch is there, again
//! every so often, and whenever [`Seen::Lost`] or [`Seen::Failed`] comes.

mod filesystem;

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};

use filesystem::without_events;

use crate::source::FileIdentity;

/// What an event says, as far as anybody here wants to know.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A file or directory was made, or moved here.
    Appeared(PathBuf),
    /// A file or directory was removed, or moved away.
    Vanished(PathBuf),
    /// A file's content changed, or the mode or times of a file or directory.
    Changed(PathBuf),
    /// Events were lost; anything may have happened anywhere.
    Lost,
    /// The watcher failed.
    Failed(String),
}

/// How much a watch matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rank {
    /// It stays, and is outside the budget.
    Pinned,
    /// The one unused for longest gives way. It counts as used at this time, and at every event.
    Used(SystemTime),
}

/// What became of the wish to watch a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is watched from now on: what happened before has no event.
    Since,
    /// It was watched all along.
    Still,
}

/// Why a directory is not watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWatched {
    #[error("watching is switched off")]
    Off,
    #[error("the budget of watches is used up")]
    Budget,
    #[error("the system's limit of watches is reached (fs.inotify.max_user_watches)")]
    Limit,
    #[error("there is no such directory")]
    Gone,
    #[error("{0}")]
    Failed(String),
}

/// How changes below a root are noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    /// There is no such directory (yet).
    Absent,
    /// By events.
    Watched,
    /// By looking every so often, with the reason.
    Polled(String),
}

impl RootState {
    /// After the attempt to watch it.
    pub(crate) fn of(root: &Path, held: &Result<Held, NotWatched>) -> Self {
        match held {
            Ok(_) => match without_events(root) {
                None => Self::Watched,
                Some(filesystem) => Self::Polled(format!("the filesystem is {filesystem}")),
            },
            Err(NotWatched::Gone) => Self::Absent,
            Err(why) => Self::Polled(why.to_string()),
        }
    }
}

/// Directories that are watched, each by itself and not what lies below.
pub(crate) struct Watches {
    watcher: Option<RecommendedWatcher>,
    /// Why there is no watcher.
    off: NotWatched,
    held: HashMap<PathBuf, Holding>,
    budget: usize,
    used: Arc<Used>,
}

struct Holding {
    identity: FileIdentity,
    pinned: bool,
}

/// When watched directories were used last; those that are not pinned.
type Used = Mutex<HashMap<PathBuf, SystemTime>>;

impl Watches {
    /// Ready to watch, with at most so many directories besides those that are pinned. The watcher calls `seen` in
    /// its own thread, which must never wait for the thread that uses this.
    pub(crate) fn new(budget: usize, off: bool, seen: impl Fn(Seen) + Send + 'static) -> Self {
        let used: Arc<Used> = Arc::default();
        let mut watches = Self {
            watcher: None,
            off: NotWatched::Off,
            held: HashMap::new(),
            budget,
            used: Arc::clone(&used),
        };
        if !off {
            // Reading is no event: it would be mostly our own.
            let config = Config::default().with_event_kinds(EventKindMask::CORE);
            match RecommendedWatcher::new(move |event| translate(event, &used, &seen), config) {
                Ok(watcher) => watches.watcher = Some(watcher),
                Err(error) => watches.off = NotWatched::Failed(error.to_string()),
            }
        }
        watches
    }

    /// How many directories are watched.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn holds(&self, directory: &Path) -> bool {
        self.held.contains_key(directory)
    }

    /// Watches a directory, through symbolic links. Asked again, it makes sure that the watch is one of what lies
    /// under the path now.
    pub(crate) fn hold(&mut self, directory: &Path, rank: Rank) -> Result<Held, NotWatched> {
        let identity = match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => FileIdentity::of(&metadata),
            Ok(_) | Err(_) => {
                self.forget(directory);
                return Err(NotWatched::Gone);
            }
        };
        let known = self.held.get(directory).map(|held| held.identity);
        if known.is_some_and(|known| known != identity) {
            self.release(directory);
        }
        if !self.held.contains_key(directory)
            && let Rank::Used(at) = rank
        {
            self.make_room(at)?;
        }
        // Also where it is held: the watcher drops watches by itself, and to add one twice is harmless.
        self.add(directory)?;
        let pinned = rank == Rank::Pinned || self.held.get(directory).is_some_and(|held| held.pinned);
        self.held.insert(directory.to_owned(), Holding { identity, pinned });
        match rank {
            Rank::Used(at) if !pinned => {
                let mut used = lock(&self.used);
                let last = used.entry(directory.to_owned()).or_insert(at);
                *last = at.max(*last);
            }
            _ => drop(lock(&self.used).remove(directory)),
        }
        Ok(if known == Some(identity) { Held::Still } else { Held::Since })
    }

    /// Watches a root, and the directory above it: that tells when the root comes or is replaced. Where nothing is
    /// there yet, that is the nearest one that is.
    pub(crate) fn hold_root(&mut self, root: &Path) -> Result<Held, NotWatched> {
        let above = || root.ancestors().skip(1).find(|path| path.is_dir());
        let mut held = Err(NotWatched::Gone);
        // Directories may be made while we descend.
        for _ in 0..8 {
            let (was, nearest) = (root.is_dir(), above());
            if let Some(nearest) = nearest {
                let _ = self.hold(nearest, Rank::Pinned);
            }
            let again = self.hold(root, Rank::Pinned);
            if held != Ok(Held::Since) {
                held = again;
            }
            if root.is_dir() == was && above() == nearest {
                break;
            }
        }
        held
    }

    fn add(&mut self, directory: &Path) -> Result<(), NotWatched> {
        let Some(watcher) = &mut self.watcher else { return Err(self.off.clone()) };
        // It panics when its own thread has died.
        let added = catch_unwind(AssertUnwindSafe(|| watcher.watch(directory, RecursiveMode::NonRecursive)));
        match added {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.forget(directory);
                Err(match error.kind {
                    ErrorKind::MaxFilesWatch => NotWatched::Limit,
                    ErrorKind::PathNotFound => NotWatched::Gone,
                    _ => NotWatched::Failed(error.to_string()),
                })
            }
            Err(_) => {
                self.off = NotWatched::Failed("the watcher has died".to_owned());
                self.watcher = None;
                self.held.clear();
                lock(&self.used).clear();
                Err(self.off.clone())
            }
        }
    }

    /// Gives up the watch unused for longest, if the budget is used up and there is one older than this time.
    fn make_room(&mut self, at: SystemTime) -> Result<(), NotWatched> {
        let oldest = {
            let used = lock(&self.used);
            if used.len() < self.budget {
                return Ok(());
            }
            used.iter().min_by_key(|&(_, at)| *at).map(|(path, at)| (path.clone(), *at))
        };
        match oldest {
            Some((path, last)) if last < at => {
                self.release(&path);
                Ok(())
            }
            _ => Err(NotWatched::Budget),
        }
    }

    /// Gives up a watch.
    pub(crate) fn release(&mut self, directory: &Path) {
        if self.held.contains_key(directory)
            && let Some(watcher) = &mut self.watcher
        {
            // One of a directory that was removed is gone already.
            let _ = catch_unwind(AssertUnwindSafe(|| watcher.unwatch(directory)));
        }
        self.forget(directory);
    }

    /// A directory was removed or moved, and with it the watches of all below it.
    pub(crate) fn release_below(&mut self, directory: &Path) {
        let below: Vec<PathBuf> =
            self.held.keys().filter(|path| path.starts_with(directory)).cloned().collect();
        for path in below {
            self.release(&path);
        }
    }

    fn forget(&mut self, directory: &Path) {
        self.held.remove(directory);
        lock(&self.used).remove(directory);
    }
}

/// Makes of the watcher's words what matters here.
fn translate(event: notify::Result<notify::Event>, used: &Used, seen: &impl Fn(Seen)) {
    let event = match event {
        Ok(event) => event,
        Err(error) => return seen(Seen::Failed(error.to_string())),
    };
    // Such an event has no paths.
    if event.need_rescan() {
        return seen(Seen::Lost);
    }
    let of: fn(PathBuf) -> Seen = match event.kind {
        // The two halves of a move were told already.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Seen::Appeared,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Seen::Vanished,
        _ => Seen::Changed,
    };
    for path in event.paths {
        if let Some(directory) = path.parent()
            && let Some(at) = lock(used).get_mut(directory)
        {
            *at = SystemTime::now();
        }
        seen(of(path));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held cannot have left a map half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
