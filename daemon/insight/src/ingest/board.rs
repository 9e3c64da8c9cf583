//! The board: what is known of every session while the daemon runs, and who is at work on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use trace::SessionId;
use trace::source::Catalog;

use super::queue::{Queue, Urgency};
use super::session::Live;
use crate::view::Progress;

/// How many sessions are kept in memory after they were read, because they may be written again soon.
const IN_MEMORY: usize = 512;

/// All sessions.
#[derive(Default)]
pub(crate) struct Board {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_id: HashMap<SessionId, Entry>,
    in_memory: usize,
    clock: u64,
}

/// A session.
struct Entry {
    catalog: Arc<Catalog>,
    work: Work,
    urgency: Urgency,
    /// What its files were like when they had been read to the end; 0 if that is not known.
    read: u64,
    settled: bool,
    gone: bool,
    deadline: Option<Timestamp>,
    live: Option<Box<Live>>,
    /// Whether all that there was has been read since the daemon began: what comes now is news.
    watched: bool,
    used: u64,
    trackers: Vec<Arc<Tracker>>,
}

/// Who is at work on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Idle,
    Queued,
    /// It is being read or stored.
    Busy,
    /// The same, and there is more to do afterwards.
    BusyAgain,
}

/// What a worker is given.
pub(crate) struct Job {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) watched: bool,
    pub(crate) live: Option<Box<Live>>,
}

/// What became of a session's turn.
pub(crate) struct Outcome {
    pub(crate) live: Option<Box<Live>>,
    /// What its files were like, if they have been read to the end.
    pub(crate) read: Option<u64>,
    pub(crate) settled: bool,
    pub(crate) gone: bool,
    /// When it is to be looked at again.
    pub(crate) deadline: Option<Timestamp>,
    /// Whether nothing is known of it any more.
    pub(crate) forgotten: bool,
}

impl Outcome {
    /// Nothing more is done about a session until its files change.
    pub(crate) fn given_up(read: Option<u64>) -> Self {
        let read = read.or(Some(0));
        Self { live: None, read, settled: true, gone: false, deadline: None, forgotten: false }
    }
}

/// How often those who follow an ingest are woken before its end. Waking them for each session, of which a
/// thousand are read in a second, costs more than telling them is worth.
const TOLD_EVERY: Duration = Duration::from_millis(50);

/// Follows an ingest that somebody waits for.
pub(crate) struct Tracker {
    begun: Instant,
    progress: watch::Sender<Progress>,
}

impl Tracker {
    pub(crate) fn new() -> (Arc<Self>, watch::Receiver<Progress>) {
        let (progress, receiver) = watch::channel(Progress::default());
        (Arc::new(Self { begun: Instant::now(), progress }), receiver)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_if_modified(|progress| {
            change(progress);
            let elapsed = self.begun.elapsed();
            let due = progress.is_done() || elapsed >= progress.elapsed + TOLD_EVERY;
            if due {
                progress.elapsed = elapsed;
            }
            due
        });
    }
}

/// Numbers of the board.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) sessions: u64,
    pub(crate) open: u64,
    pub(crate) gone: u64,
    pub(crate) in_memory: u64,
}

impl Board {
    /// Takes a session as the store has it.
    pub(crate) fn put(
        &self,
        id: SessionId,
        catalog: &Arc<Catalog>,
        read: u64,
        gone: bool,
        settles_at: Option<Timestamp>,
    ) {
        let deadline = settles_at.filter(|_| !gone);
        let entry = Entry { read, settled: settles_at.is_none(), gone, deadline, ..Entry::new(catalog) };
        self.entries().by_id.insert(id, entry);
    }

    /// Asks for a session to be read, once, however many ask. With `read` only if its files are not as they were
    /// when they were read. Says whether it will be.
    pub(crate) fn ask(
        &self,
        queue: &Queue,
        id: &SessionId,
        catalog: &Arc<Catalog>,
        urgency: Urgency,
        read: Option<u64>,
        tracker: Option<&Arc<Tracker>>,
    ) -> bool {
        let mut entries = self.entries();
        let entry = entries.by_id.entry(id.clone()).or_insert_with(|| Entry::new(catalog));
        entry.catalog = Arc::clone(catalog);
        if entry.work == Work::Idle && !entry.gone && read == Some(entry.read) {
            return false;
        }
        entry.trackers.extend(tracker.cloned());
        match entry.work {
            Work::Idle => {
                entry.work = Work::Queued;
                entry.urgency = urgency;
                queue.push(id.clone(), urgency);
            }
            Work::Busy => {
                entry.work = Work::BusyAgain;
                entry.urgency = urgency;
            }
            Work::Queued | Work::BusyAgain => {}
        }
        true
    }

    /// Gives a session to a worker.
    pub(crate) fn take(&self, id: &SessionId) -> Option<Job> {
        let mut entries = self.entries();
        let entry = entries.by_id.get_mut(id)?;
        entry.work = Work::Busy;
        let job =
            Job { catalog: Arc::clone(&entry.catalog), watched: entry.watched, live: entry.live.take() };
        if job.live.is_some() {
            entries.in_memory -= 1;
        }
        Some(job)
    }

    /// Takes a session back.
    pub(crate) fn give_back(&self, queue: &Queue, id: &SessionId, outcome: Outcome) {
        let mut entries = self.entries();
        let Some(entry) = entries.by_id.get_mut(id) else { return };
        let again = entry.work == Work::BusyAgain || outcome.read.is_none();
        if again {
            entry.work = Work::Queued;
            queue.push(id.clone(), entry.urgency);
        } else {
            entry.work = Work::Idle;
            for tracker in entry.trackers.drain(..) {
                tracker.update(|progress| progress.sessions_done += 1);
            }
        }
        entry.read = outcome.read.unwrap_or_default();
        entry.watched |= outcome.read.is_some();
        entry.settled = outcome.settled;
        entry.gone = outcome.gone;
        entry.deadline = outcome.deadline;
        if outcome.forgotten && !again {
            entries.by_id.remove(id);
        } else if let Some(live) = outcome.live {
            entries.keep(id, live);
        }
    }

    /// Asks for the sessions whose deadline is this one.
    pub(crate) fn due(&self, queue: &Queue, id: &SessionId, at: Timestamp) {
        let mut entries = self.entries();
        let Some(entry) = entries.by_id.get_mut(id).filter(|entry| entry.deadline == Some(at)) else {
            return;
        };
        entry.deadline = None;
        match entry.work {
            Work::Idle => {
                entry.work = Work::Queued;
                queue.push(id.clone(), Urgency::Backlog);
            }
            Work::Busy => entry.work = Work::BusyAgain,
            Work::Queued | Work::BusyAgain => {}
        }
    }

    /// What gathers of a long session's bytes is told to those who wait for it.
    pub(crate) fn told(&self, id: &SessionId, bytes: u64) {
        if let Some(entry) = self.entries().by_id.get(id) {
            for tracker in &entry.trackers {
                tracker.update(|progress| progress.bytes_done += bytes);
            }
        }
    }

    /// Sessions of a catalog: with whether they are known to be gone, and when they are due to settle.
    pub(crate) fn of(&self, catalog: &Arc<Catalog>) -> Vec<(SessionId, bool, Option<Timestamp>)> {
        let entries = self.entries();
        let mine = entries.by_id.iter().filter(|(_, entry)| Arc::ptr_eq(&entry.catalog, catalog));
        mine.map(|(id, entry)| (id.clone(), entry.gone, entry.deadline)).collect()
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let entries = self.entries();
        let count =
            |test: fn(&Entry) -> bool| entries.by_id.values().filter(|entry| test(entry)).count() as u64;
        Numbers {
            sessions: entries.by_id.len() as u64,
            open: count(|entry| !entry.settled),
            gone: count(|entry| entry.gone),
            in_memory: entries.in_memory as u64,
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Changes under the lock are simple and do not panic half-way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(catalog: &Arc<Catalog>) -> Self {
        Self {
            catalog: Arc::clone(catalog),
            work: Work::Idle,
            urgency: Urgency::Backlog,
            read: 0,
            settled: false,
            gone: false,
            deadline: None,
            live: None,
            watched: false,
            used: 0,
            trackers: Vec::new(),
        }
    }
}

impl Entries {
    fn keep(&mut self, id: &SessionId, live: Box<Live>) {
        self.clock += 1;
        let clock = self.clock;
        let Some(entry) = self.by_id.get_mut(id) else { return };
        entry.live = Some(live);
        entry.used = clock;
        self.in_memory += 1;
        if self.in_memory > IN_MEMORY {
            // An eighth at a time, so that looking for them costs little.
            let mut used: Vec<_> =
                self.by_id.values().filter(|entry| entry.live.is_some()).map(|entry| entry.used).collect();
            used.sort_unstable();
            let limit = used.get(IN_MEMORY / 8).copied().unwrap_or(clock);
            for entry in self.by_id.values_mut().filter(|entry| entry.used <= limit) {
                if entry.live.take().is_some() {
                    self.in_memory -= 1;
                }
            }
        }
    }
}
