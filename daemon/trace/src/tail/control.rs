//! The thread that decides what is watched, scanned and looked at.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::hints::{Hint, Queue};
use super::roots::{self, Root, Spot};
use super::{LastScan, Problem, RootState, RootStatus, Settings, Status};
use crate::source::{self, Catalog, Scan, Store};
use crate::watch::{Held, NotWatched, Rank, Seen, Watches};

/// How long after its last change a directory without events is looked at every so often.
const IN_USE: Duration = Duration::from_mins(15);

/// Scans may take this part of the time where there is no other way to see something new.
const SCAN_SHARE: u32 = 20;

/// What the control thread is told.
#[derive(Debug)]
pub(super) enum Message {
    /// By the watcher.
    Seen(Seen),
    /// By the scanner: what it saw, and how long it took.
    Scanned(Box<Scan>, Duration),
    /// By the handle.
    Rescan,
    /// By the handle.
    Stop,
}

pub(super) struct Control {
    catalog: Arc<Catalog>,
    settings: Settings,
    queue: Arc<Queue>,
    status: Arc<Mutex<Status>>,
    scans: SyncSender<()>,
    roots: Vec<Root>,
    states: HashMap<PathBuf, RootState>,
    watches: Watches,
    /// Directories to look at every so often.
    polled: Vec<PathBuf>,
    /// The directories written to last, as scanned.
    recent: Vec<(SystemTime, PathBuf)>,
    next_scan: Instant,
    next_poll: Instant,
    last_scan: Duration,
    /// Whether the system refused a watch since the last look at what is in use.
    limited: bool,
    limit_told: bool,
    lost: u64,
}

/// Starts the thread that scans when it is asked to. It ends with the sender.
pub(super) fn scanner(
    catalog: Arc<Catalog>,
    queue: Arc<Queue>,
    control: Sender<Message>,
) -> io::Result<SyncSender<()>> {
    let (ask, asked) = mpsc::sync_channel(1);
    let scan = move || {
        let mut first = true;
        while asked.recv().is_ok() {
            let start = Instant::now();
            let scan = catalog.scan(&mut |id| queue.session(id));
            if std::mem::take(&mut first) {
                queue.push(Hint::Rescan);
            }
            if control.send(Message::Scanned(Box::new(scan), start.elapsed())).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("trace-scan".to_owned()).spawn(scan)?;
    Ok(ask)
}

impl Control {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        settings: Settings,
        queue: Arc<Queue>,
        status: Arc<Mutex<Status>>,
        control: Sender<Message>,
        scans: SyncSender<()>,
    ) -> Self {
        let roots = roots::of(&catalog);
        let watches = Watches::new(settings.watches, settings.polling, {
            let (catalog, queue, roots) = (Arc::clone(&catalog), Arc::clone(&queue), roots.clone());
            move |seen| at_once(&catalog, &queue, &roots, &control, seen)
        });
        let now = Instant::now();
        Self {
            catalog,
            settings,
            queue,
            status,
            scans,
            roots,
            states: HashMap::new(),
            watches,
            polled: Vec::new(),
            recent: Vec::new(),
            next_scan: now,
            next_poll: now,
            last_scan: Duration::ZERO,
            limited: false,
            limit_told: false,
            lost: 0,
        }
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        self.watch_roots();
        loop {
            self.tell();
            let next =
                if self.polled.is_empty() { self.next_scan } else { self.next_scan.min(self.next_poll) };
            match messages.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Message::Rescan) => self.scan(),
                Ok(Message::Scanned(scan, took)) => self.scanned(*scan, took),
                Ok(Message::Seen(seen)) => self.seen(seen),
                Err(RecvTimeoutError::Timeout) => self.tick(),
            }
        }
        self.queue.close();
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_poll {
            self.next_poll = now + self.settings.poll_every;
            for directory in self.polled.clone() {
                self.visit(&directory);
            }
        }
        if now >= self.next_scan {
            self.watch_roots();
            self.scan();
        }
    }

    /// Asks for a scan. One that runs may have passed what this is about, so one more may wait.
    fn scan(&mut self) {
        match self.scans.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                self.problem(Problem::WatcherFailed("no scanner".to_owned()));
            }
        }
        self.next_scan = Instant::now() + self.until_next_scan();
    }

    /// Where a root is polled, only scans see what is new in it, so they come as often as their cost allows.
    fn until_next_scan(&self) -> Duration {
        let polling = self.states.values().any(|state| matches!(state, RootState::Polled(_)));
        if polling {
            let affordable = self.last_scan.saturating_mul(SCAN_SHARE);
            self.settings.poll_every.max(affordable).min(self.settings.rescan_every)
        } else {
            self.settings.rescan_every
        }
    }

    fn scanned(&mut self, scan: Scan, took: Duration) {
        self.last_scan = took;
        self.recent.clone_from(&scan.recent);
        self.locked(|status| {
            status.scan = Some(LastScan { at: SystemTime::now(), took, seen: scan });
        });
        self.watch_recent();
        self.next_scan = Instant::now() + self.until_next_scan();
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Appeared(path) => self.appeared(&path),
            Seen::Vanished(path) => {
                self.watches.release_below(&path);
                self.appeared(&path);
            }
            Seen::Changed(path) => match roots::spot(&self.roots, &path).0 {
                // Its mode may have changed: what could not be read may be readable.
                Spot::Root => {
                    self.watch_roots();
                    self.scan();
                }
                Spot::Directory => self.adopt(&path, SystemTime::now()),
                _ => {}
            },
            Seen::Lost => {
                self.lost += 1;
                self.problem(Problem::EventsLost);
                self.watch_roots();
                self.scan();
            }
            Seen::Failed(why) => {
                self.lost += 1;
                self.problem(Problem::WatcherFailed(why));
                self.watch_roots();
                self.scan();
            }
        }
    }

    /// A directory came or went.
    fn appeared(&mut self, path: &Path) {
        match roots::spot(&self.roots, path).0 {
            Spot::Root => {
                self.watch_roots();
                self.scan();
            }
            Spot::Directory if path.is_dir() => self.adopt(path, SystemTime::now()),
            Spot::Directory => {
                // A thread that is gone is seen by looking; a day, by the scanner who knows what was there.
                self.visit(path);
                if !self.roots.iter().any(|root| root.store == Store::Spines && path.starts_with(&root.path))
                {
                    self.scan();
                }
            }
            _ => {}
        }
    }

    /// Watches a directory and what lies below it, and looks at it afterwards.
    fn adopt(&mut self, directory: &Path, at: SystemTime) {
        let watched = self.hold(directory, Rank::Used(at));
        if watched.is_err() && !self.polled.iter().any(|polled| polled == directory) {
            self.polled.push(directory.to_owned());
        }
        let mut below = self.visit(directory);
        // From above: what is made meanwhile in one that is not watched yet is found by looking at it.
        below.sort();
        for directory in below {
            if self.hold(&directory, Rank::Used(at)) == Ok(Held::Since) {
                self.visit(&directory);
            }
        }
    }

    /// Looks at a directory, and returns those that it saw below.
    fn visit(&self, directory: &Path) -> Vec<PathBuf> {
        match roots::spot(&self.roots, directory) {
            (Spot::Directory | Spot::Root, Some(root)) => {
                self.catalog.visit(root.store, root.home, directory, &mut |id| self.queue.session(id))
            }
            _ => Vec::new(),
        }
    }

    fn hold(&mut self, directory: &Path, rank: Rank) -> Result<Held, NotWatched> {
        let held = self.watches.hold(directory, rank);
        if held == Err(NotWatched::Limit) {
            self.limited = true;
            if !std::mem::replace(&mut self.limit_told, true) {
                self.problem(Problem::WatchLimit { watched: self.watches.len() });
            }
        }
        held
    }

    /// Makes sure that each root is watched, and the directory above it.
    fn watch_roots(&mut self) {
        let mut fresh = false;
        for root in self.roots.clone() {
            let held = self.watches.hold_root(&root.path);
            fresh |= held == Ok(Held::Since);
            let state = RootState::of(&root.path, &held);
            let before = self.states.insert(root.path.clone(), state.clone());
            if let RootState::Polled(why) = &state
                && before.as_ref() != Some(&state)
            {
                self.problem(Problem::Polled { root: root.path, why: why.clone() });
            }
        }
        if fresh {
            self.scan();
        }
    }

    /// Watches what is in use, as far as the budget goes, and notes what has to be polled instead.
    fn watch_recent(&mut self) {
        self.limited = false;
        for (directory, rank) in self.wanted() {
            // What cannot be watched is polled, if it is in use.
            if self.hold(&directory, rank) == Ok(Held::Since) {
                self.visit(&directory);
            }
        }
        self.limit_told = self.limited;
        let now = SystemTime::now();
        let in_use = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < IN_USE) || at > now;
        let recent: Vec<PathBuf> = self
            .recent
            .iter()
            .filter(|(at, _)| in_use(*at))
            .map(|(_, directory)| directory.clone())
            .collect();
        self.polled = recent.into_iter().filter(|directory| !self.hears(directory)).collect();
    }

    /// Whether everything that happens in a directory has an event.
    fn hears(&self, directory: &Path) -> bool {
        let root = roots::spot(&self.roots, directory).1;
        self.watches.holds(directory)
            && root.is_some_and(|root| self.states.get(&root.path) == Some(&RootState::Watched))
    }

    /// What is worth a watch: the youngest days, and what was written to last.
    fn wanted(&self) -> Vec<(PathBuf, Rank)> {
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        let days = self
            .roots
            .iter()
            .filter(|root| root.store != Store::Spines)
            .flat_map(|root| youngest(&root.path));
        let now = SystemTime::now();
        let days = days.map(|day| (day, Rank::Used(now)));
        let recent = self.recent.iter().take(self.settings.watches);
        let recent = recent.map(|(at, directory)| (directory.clone(), Rank::Used(*at)));
        for (directory, rank) in days.chain(recent) {
            if self.roots.iter().all(|root| root.path != directory) && seen.insert(directory.clone()) {
                wanted.push((directory, rank));
            }
        }
        wanted
    }

    fn problem(&self, problem: Problem) {
        self.queue.push(Hint::Problem(problem));
    }

    fn tell(&self) {
        let root = |root: &Root| RootStatus {
            path: root.path.clone(),
            state: self.states.get(&root.path).cloned().unwrap_or(RootState::Absent),
        };
        self.locked(|status| {
            status.roots = self.roots.iter().map(root).collect();
            status.watched = self.watches.len();
            status.polled = self.polled.len();
            status.lost = self.lost;
        });
    }

    fn locked(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is done with an event in the watcher's own thread, because it must not wait: a write becomes a hint.
fn at_once(catalog: &Catalog, queue: &Queue, roots: &[Root], control: &Sender<Message>, seen: Seen) {
    if let Seen::Appeared(path) | Seen::Vanished(path) | Seen::Changed(path) = &seen {
        match roots::spot(roots, path) {
            (Spot::Segment(id, name), Some(root)) => {
                if !matches!(seen, Seen::Vanished(_)) {
                    catalog.hear_of_segment(&id, root.home, name);
                }
                return queue.session(&id);
            }
            (Spot::Rollout(id, path), Some(root)) => {
                match &seen {
                    Seen::Vanished(_) => catalog.hear_of_loss(&id, path),
                    _ => catalog.hear_of_rollout(&id, root.home, root.store == Store::Archive, path),
                }
                return queue.session(&id);
            }
            (Spot::Bundle(id, directory), Some(root)) => {
                if !matches!(seen, Seen::Vanished(_)) {
                    catalog.hear_of_bundle(&id, root.home, directory);
                }
                return queue.session(&id);
            }
            (Spot::Foreign, _) => return,
            _ => {}
        }
    }
    // Where nobody listens, the tail is about to stop.
    let _ = control.send(Message::Seen(seen));
}

/// The youngest year below a root, its youngest month, and that one's youngest day.
fn youngest(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    while found.len() < 3 {
        let directory = found.last().map_or(root, PathBuf::as_path);
        let Ok(entries) = fs::read_dir(directory) else { break };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        match names.filter(|name| source::part_of_date(name)).max() {
            Some(name) => found.push(directory.join(name)),
            None => break,
        }
    }
    found
}
