//! The one file watcher for all logs that are followed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{Config, EventHandler, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use tracing::warn;

use super::arrivals::{ArrivalReader, Arrivals};
use super::follow::Following;
use super::lines::LineReader;
use super::reader::{LogReader, Place};
use super::{LogError, Stream};

/// Opens logs. Clones share one file watcher, which watches a directory as long as somebody follows a log in it.
#[derive(Clone, Default)]
pub struct LogHub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Held while a directory is taken up or given up. Never wanted by the watcher's own thread, which must be free
    /// to answer while it is held.
    watcher: Mutex<Option<RecommendedWatcher>>,
    followed: Arc<Mutex<Followed>>,
}

type Followed = HashMap<PathBuf, Directory>;

struct Directory {
    followers: usize,
    changed: watch::Sender<()>,
}

/// A follower's hold on a directory.
pub(super) struct Follower {
    hub: Arc<Shared>,
    dir: PathBuf,
    changed: watch::Receiver<()>,
}

impl std::fmt::Debug for LogHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogHub").field("followed", &locked(&self.0.followed).len()).finish()
    }
}

/// A panic while the lock was held cannot have left a map half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogHub {
    /// A hub that watches nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many directories are watched at the moment.
    pub fn watched(&self) -> usize {
        locked(&self.0.followed).len()
    }

    /// Opens one stream of an attempt, from an offset on. With `follow`, the reader goes on as long as the attempt.
    pub async fn open(
        &self,
        dir: &Path,
        stream: Stream,
        from: u64,
        follow: bool,
    ) -> Result<LogReader, LogError> {
        let place = Place::open(dir, stream, from)?;
        let follower = self.follower(dir, follow).await;
        Ok(LogReader(Following::new(place, dir, follower)))
    }

    /// Opens both streams of an attempt in the order in which their bytes arrived.
    pub async fn open_arrivals(&self, dir: &Path, follow: bool) -> Result<ArrivalReader, LogError> {
        let arrivals = Arrivals::open(dir)?;
        let follower = self.follower(dir, follow).await;
        Ok(ArrivalReader(Following::new(arrivals, dir, follower)))
    }

    /// Opens the lines of both streams of an attempt in the order in which they arrived.
    pub async fn open_lines(&self, dir: &Path, follow: bool) -> Result<LineReader, LogError> {
        Ok(LineReader::new(self.open_arrivals(dir, follow).await?))
    }

    async fn follower(&self, dir: &Path, follow: bool) -> Option<Follower> {
        if !follow {
            return None;
        }
        let (hub, dir) = (Arc::clone(&self.0), dir.to_owned());
        tokio::task::spawn_blocking(move || hub.take_up(dir)).await.ok()
    }
}

impl Shared {
    fn take_up(self: Arc<Self>, dir: PathBuf) -> Follower {
        let mut watcher = locked(&self.watcher);
        let (first, changed) = {
            let mut followed = locked(&self.followed);
            let directory = followed
                .entry(dir.clone())
                .or_insert_with(|| Directory { followers: 0, changed: watch::Sender::new(()) });
            directory.followers += 1;
            (directory.followers == 1, directory.changed.subscribe())
        };
        if first && let Err(error) = self.watch(&mut watcher, &dir) {
            // Followers look again by themselves, only less often.
            warn!(dir = %dir.display(), %error, "cannot watch a log, looking at it every so often instead");
        }
        drop(watcher);
        Follower { hub: self, dir, changed }
    }

    fn watch(&self, watcher: &mut Option<RecommendedWatcher>, dir: &Path) -> notify::Result<()> {
        let watcher = match watcher {
            Some(watcher) => watcher,
            none => {
                // That a follower reads is no event.
                let config = Config::default().with_event_kinds(EventKindMask::CORE);
                none.insert(RecommendedWatcher::new(Hints(Arc::clone(&self.followed)), config)?)
            }
        };
        watcher.watch(dir, RecursiveMode::NonRecursive)
    }

    fn give_up(&self, dir: &Path) {
        let mut watcher = locked(&self.watcher);
        {
            let mut followed = locked(&self.followed);
            let Some(directory) = followed.get_mut(dir) else { return };
            directory.followers -= 1;
            if directory.followers > 0 {
                return;
            }
            followed.remove(dir);
        }
        if let Some(watcher) = &mut *watcher {
            // A directory that was removed meanwhile is not watched any more.
            let _ = watcher.unwatch(dir);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.give_up(&self.dir);
    }
}

impl Follower {
    /// Forgets the hints that came until now; to be called before the files are looked at.
    pub(super) fn forget(&mut self) {
        self.changed.mark_unchanged();
    }

    /// Waits for a hint that came after the last [`Follower::forget`].
    pub(super) async fn hint(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What the watcher calls, in its own thread.
struct Hints(Arc<Mutex<Followed>>);

impl EventHandler for Hints {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        let followed = locked(&self.0);
        match event {
            Ok(event) if !event.need_rescan() => {
                for path in &event.paths {
                    if let Some(directory) = path.parent().and_then(|dir| followed.get(dir)) {
                        directory.changed.send_replace(());
                    }
                }
            }
            // Events were lost (such an event has no paths) or the watcher failed: everybody looks.
            Ok(_) | Err(_) => {
                for directory in followed.values() {
                    directory.changed.send_replace(());
                }
            }
        }
    }
}
