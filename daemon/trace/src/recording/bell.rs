//! Telling that a rollout may have grown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::SessionId;
use crate::source::{Store, days_of, thread_of_rollout};
use crate::watch::{RootState, Seen, Watches};

/// Watches the directories of rollouts for those who record them, all with one instance of the system's watcher.
/// Clones are the same bell.
///
/// It rings too often rather than too seldom, and not at all on filesystems that tell nothing; see
/// [`Listening::watch`].
#[derive(Clone, Default)]
pub struct Bell {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// None as long as nobody listens. Never held by the watcher's own thread.
    watches: Mutex<Option<Watches>>,
    listeners: Arc<Mutex<Listeners>>,
}

#[derive(Default)]
struct Listeners {
    last: u64,
    by_id: HashMap<u64, Listener>,
}

struct Listener {
    thread: SessionId,
    ring: Box<dyn Fn() + Send + Sync>,
}

/// Somebody who wants to hear of a rollout, until this is dropped.
pub struct Listening {
    shared: Arc<Shared>,
    id: u64,
    home: PathBuf,
    thread: SessionId,
}

impl Bell {
    /// A bell that nobody listens to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `ring` when the rollout of a thread may have appeared or grown, in a thread that must not be kept
    /// waiting. Nothing is watched before [`Listening::watch`].
    pub fn listen(
        &self,
        home: &Path,
        thread: &SessionId,
        ring: impl Fn() + Send + Sync + 'static,
    ) -> Listening {
        let mut listeners = lock(&self.shared.listeners);
        listeners.last += 1;
        let id = listeners.last;
        listeners.by_id.insert(id, Listener { thread: thread.clone(), ring: Box::new(ring) });
        Listening { shared: Arc::clone(&self.shared), id, home: home.to_owned(), thread: thread.clone() }
    }
}

impl Listening {
    /// Watches the directory of the rollout, or, as long as it was not found, where it may appear. To be called
    /// before looking, and again until it was found. Says whether everything that happens there rings; else it is
    /// for the caller to look every so often.
    pub fn watch(&self, rollout: Option<&Path>) -> bool {
        let directories = match rollout.and_then(Path::parent) {
            Some(directory) => vec![directory.to_owned()],
            None => days_of(&self.home, &self.thread),
        };
        let directories =
            if directories.is_empty() { vec![Store::Rollouts.below(&self.home)] } else { directories };
        let mut watches = lock(&self.shared.watches);
        let watches = watches.get_or_insert_with(|| {
            let listeners = Arc::clone(&self.shared.listeners);
            Watches::new(0, false, move |seen| tell(&lock(&listeners), &seen))
        });
        let mut hears = true;
        for directory in directories {
            let held = watches.hold_root(&directory);
            // One that is not there yet is told of by the one above it.
            hears &= !matches!(RootState::of(&directory, &held), RootState::Polled(_));
        }
        hears
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut watches = lock(&self.shared.watches);
        let mut listeners = lock(&self.shared.listeners);
        let listener = listeners.by_id.remove(&self.id);
        let silent = listeners.by_id.is_empty();
        drop(listeners);
        // Directories of days are few, so they stay watched until nobody listens at all.
        if silent {
            *watches = None;
        }
        drop(listener);
    }
}

fn tell(listeners: &Listeners, seen: &Seen) {
    let thread = match seen {
        Seen::Appeared(path) | Seen::Changed(path) | Seen::Vanished(path) => {
            path.file_name().and_then(|name| thread_of_rollout(name.to_str()?))
        }
        // Anything may have happened.
        Seen::Lost | Seen::Failed(_) => None,
    };
    let concerned =
        listeners.by_id.values().filter(|listener| thread.as_ref().is_none_or(|of| *of == listener.thread));
    for listener in concerned {
        (listener.ring)();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock was held cannot have left a map half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
