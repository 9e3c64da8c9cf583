//! Watching registered directories for runs of other tools.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use super::layout::LAYOUTS;
use super::survey::Survey;
use super::{ExternalRun, ExternalState};
use crate::tail::RootState;
use crate::watch::{Held, Rank, Seen, Watches};

/// How long it waits for more of the same after a directory was made.
const SETTLE: Duration = Duration::from_millis(20);

/// How directories are watched.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// After what time everything is looked at again, although no event says so.
    pub rescan_every: Duration,
    /// The same where no events come.
    pub poll_every: Duration,
    /// How often it is asked whether processes live.
    pub processes_every: Duration,
    /// How many directories are watched at most, besides those that are registered.
    pub watches: usize,
    /// Whether to do without events.
    pub polling: bool,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            rescan_every: Duration::from_mins(1),
            poll_every: Duration::from_secs(5),
            processes_every: Duration::from_secs(2),
            watches: 512,
            polling: false,
        }
    }
}

/// What the thread tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something happened to a run.
    Run(Box<RunChange>),
    /// A registered directory was looked at for the first time, or what could not be looked into before was; the
    /// runs in it were told.
    Looked {
        /// The registered directory.
        registered: PathBuf,
        /// What could not be looked into: it itself, where there is no such directory. What was known to lie there
        /// may still do.
        unseen: Vec<PathBuf>,
    },
}

/// Something happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunChange {
    /// The registered directory.
    pub registered: PathBuf,
    /// The run as it is now; as it was last, when it is gone.
    pub run: ExternalRun,
    /// What happened.
    pub change: Change,
}

/// What happened to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was there when its directory was looked at first.
    Found,
    /// It is new.
    Appeared,
    /// It ended, well or not.
    Finished,
    /// Its heartbeat is too old.
    HeartbeatStale,
    /// Its process is gone, and its files do not know.
    ProcessDead,
    /// It was stale and lives.
    Back,
    /// Any other change of its state, such as a finished one that was resumed.
    StateChanged {
        /// The state before.
        from: ExternalState,
    },
    /// Its files are gone, or its directory is not registered any more. Not told while that is away as a whole.
    Gone,
}

/// A registered directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryStatus {
    /// Its path.
    pub path: PathBuf,
    /// How changes are noticed.
    pub state: RootState,
    /// The runs in it.
    pub runs: Vec<ExternalRun>,
}

/// A thread that watches registered directories until it is dropped.
#[derive(Debug)]
pub struct RunDirs {
    control: Sender<Message>,
    status: Arc<Mutex<BTreeMap<PathBuf, DirectoryStatus>>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Seen(Seen),
    /// With who waits for the first look.
    Add(PathBuf, SyncSender<()>),
    Remove(PathBuf),
    Rescan,
    Stop,
}

impl RunDirs {
    /// Begins to watch; returns at once. Changes come for as long as it lives. Paths must be absolute.
    pub fn start(directories: Vec<PathBuf>, settings: WatchSettings) -> io::Result<(Self, Receiver<Told>)> {
        let (control, messages) = mpsc::channel();
        let (tell, changes) = mpsc::channel();
        let status = Arc::default();
        let worker = Worker::new(directories, settings, control.clone(), tell, Arc::clone(&status));
        let thread =
            thread::Builder::new().name("trace-rundirs".to_owned()).spawn(move || worker.run(&messages))?;
        Ok((Self { control, status, thread: Some(thread) }, changes))
    }

    /// Registers a directory, which need not exist yet. The receiver hears when it was looked at.
    pub fn add(&self, directory: PathBuf) -> Receiver<()> {
        let (looked, waiting) = mpsc::sync_channel(1);
        // Where nobody listens, the thread has ended, and the receiver knows it.
        let _ = self.control.send(Message::Add(directory, looked));
        waiting
    }

    /// Watches a directory no more; its runs are told as gone.
    pub fn remove(&self, directory: PathBuf) {
        let _ = self.control.send(Message::Remove(directory));
    }

    /// Looks at everything now.
    pub fn rescan(&self) {
        let _ = self.control.send(Message::Rescan);
    }

    /// The registered directories and their runs, as they were looked at last.
    pub fn status(&self) -> Vec<DirectoryStatus> {
        lock(&self.status).values().cloned().collect()
    }
}

impl Drop for RunDirs {
    fn drop(&mut self) {
        let _ = self.control.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    settings: WatchSettings,
    directories: BTreeMap<PathBuf, Directory>,
    watches: Watches,
    tell: Sender<Told>,
    status: Arc<Mutex<BTreeMap<PathBuf, DirectoryStatus>>>,
    next_processes: Instant,
}

/// A registered directory.
struct Directory {
    survey: Survey,
    state: RootState,
    /// The runs as they were told; none before the first look.
    told: Option<BTreeMap<PathBuf, ExternalRun>>,
    /// What could not be looked into.
    unseen: Vec<PathBuf>,
    next_look: Instant,
}

impl Directory {
    fn new(path: &Path) -> Self {
        Self {
            survey: Survey::new(path),
            state: RootState::Absent,
            told: None,
            unseen: Vec::new(),
            next_look: Instant::now(),
        }
    }

    /// When the first heartbeat will be stale, if none comes.
    fn next_stale(&self) -> Option<(Timestamp, &Path)> {
        let running = self.survey.runs().filter(|(run, _)| run.state == ExternalState::Running);
        let beating =
            running.filter_map(|(run, _)| Some((run.heartbeat?.stale_at(), run.directory.as_path())));
        beating.min()
    }

    fn names_a_process(&self) -> bool {
        self.survey
            .runs()
            .any(|(run, _)| run.process.as_ref().is_some_and(|process| process.alive == Some(true)))
    }
}

impl Worker {
    fn new(
        directories: Vec<PathBuf>,
        settings: WatchSettings,
        control: Sender<Message>,
        tell: Sender<Told>,
        status: Arc<Mutex<BTreeMap<PathBuf, DirectoryStatus>>>,
    ) -> Self {
        let watches = Watches::new(settings.watches, settings.polling, move |seen| {
            // Where nobody listens, the thread is about to end.
            let _ = control.send(Message::Seen(seen));
        });
        let directories = directories.into_iter().map(|path| (path.clone(), Directory::new(&path))).collect();
        Self { settings, directories, watches, tell, status, next_processes: Instant::now() }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            self.on_time();
            match messages.recv_timeout(self.until_next()) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Message::Add(path, looked)) => {
                    self.directories.entry(path.clone()).or_insert_with(|| Directory::new(&path));
                    self.look(&path);
                    let _ = looked.send(());
                }
                Ok(Message::Remove(path)) => self.remove(&path),
                Ok(Message::Rescan | Message::Seen(Seen::Lost | Seen::Failed(_))) => {
                    for directory in self.directories.values_mut() {
                        directory.next_look = Instant::now();
                    }
                }
                Ok(Message::Seen(Seen::Appeared(path) | Seen::Vanished(path))) => self.seen(&path, true),
                Ok(Message::Seen(Seen::Changed(path))) => self.seen(&path, false),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// How long nothing is to be done. At most a second while a heartbeat is waited for: the clock may jump.
    fn until_next(&self) -> Duration {
        let now = Instant::now();
        let look =
            self.directories.values().map(|directory| directory.next_look.saturating_duration_since(now));
        let processes = self.directories.values().any(Directory::names_a_process);
        let processes = processes.then(|| self.next_processes.saturating_duration_since(now));
        let clock = Timestamp::now();
        let stale = self.directories.values().filter_map(Directory::next_stale).map(|(at, _)| {
            let left = Duration::try_from(at.duration_since(clock)).unwrap_or_default();
            // Not before: a timer has a finer grain than it has precision.
            left.saturating_add(Duration::from_millis(1)).min(Duration::from_secs(1))
        });
        look.chain(processes).chain(stale).min().unwrap_or(self.settings.rescan_every)
    }

    /// Does what is due.
    fn on_time(&mut self) {
        let now = Instant::now();
        let due = self.directories.iter().filter(|(_, directory)| directory.next_look <= now);
        for path in due.map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.look(&path);
        }
        let clock = Timestamp::now();
        // The file is the truth: it is read before its run is called stale.
        let stale = self.directories.iter().filter_map(|(path, directory)| {
            let (at, run) = directory.next_stale()?;
            (at <= clock).then(|| (path.clone(), run.to_owned()))
        });
        for (path, run) in stale.collect::<Vec<_>>() {
            self.look_at(&path, &run);
        }
        if self.next_processes <= now {
            self.next_processes = now + self.settings.processes_every;
            let named = self.directories.iter_mut().filter(|(_, directory)| directory.names_a_process());
            let paths: Vec<PathBuf> = named
                .map(|(path, directory)| {
                    directory.survey.judge(clock);
                    path.clone()
                })
                .collect();
            for path in paths {
                self.compare(&path);
            }
        }
    }

    fn seen(&mut self, path: &Path, names_changed: bool) {
        let mut due = Vec::new();
        for (registered, directory) in &mut self.directories {
            if registered.starts_with(path) {
                directory.next_look = Instant::now();
                continue;
            }
            if !path.starts_with(registered) {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let parent = path.parent().unwrap_or(path);
            if LAYOUTS.iter().any(|layout| layout.tells(name)) {
                due.push((registered.clone(), parent.to_owned()));
            } else if (names_changed
                && (parent == registered || directory.survey.passed.iter().any(|passed| passed == parent)))
                || directory.survey.passed.iter().any(|passed| passed == path)
            {
                directory.next_look = directory.next_look.min(Instant::now() + SETTLE);
            }
        }
        if names_changed && !path.exists() {
            self.watches.release_below(path);
        }
        for (registered, run) in due {
            self.look_at(&registered, &run);
        }
    }

    /// Looks at one run, or at all if it is none that is known.
    fn look_at(&mut self, registered: &Path, run: &Path) {
        let Some(directory) = self.directories.get_mut(registered) else { return };
        if directory.survey.look_at(run, Timestamp::now()) {
            self.compare(registered);
        } else {
            directory.next_look = directory.next_look.min(Instant::now() + SETTLE);
        }
    }

    /// Looks at a registered directory, and at what is in it again if it was not watched before.
    fn look(&mut self, registered: &Path) {
        let Some(directory) = self.directories.get_mut(registered) else { return };
        let held = self.watches.hold_root(registered);
        directory.state = RootState::of(registered, &held);
        for _ in 0..4 {
            directory.survey.look(Timestamp::now());
            let mut since = false;
            let now = SystemTime::now();
            for passed in &directory.survey.passed {
                since |= self.watches.hold(passed, Rank::Used(now)) == Ok(Held::Since);
            }
            for (run, written) in directory.survey.runs() {
                let at = if run.state.is_final() { written } else { now };
                since |= self.watches.hold(&run.directory, Rank::Used(at)) == Ok(Held::Since);
            }
            // What was made before its directory was watched has no event.
            if !since {
                break;
            }
        }
        let polled = matches!(directory.state, RootState::Polled(_));
        let every = if polled { self.settings.poll_every } else { self.settings.rescan_every };
        directory.next_look = Instant::now() + every;
        let first = directory.told.is_none();
        let unseen = match directory.state {
            RootState::Absent => vec![registered.to_owned()],
            RootState::Watched | RootState::Polled(_) => directory.survey.unreadable.clone(),
        };
        let before = std::mem::replace(&mut directory.unseen, unseen.clone());
        self.compare(registered);
        if first || before.iter().any(|path| !unseen.contains(path)) {
            // Where nobody listens, nothing has to be told; so too below.
            let _ = self.tell.send(Told::Looked { registered: registered.to_owned(), unseen });
        }
    }

    /// Tells what is different from what was told.
    fn compare(&mut self, registered: &Path) {
        let Some(directory) = self.directories.get_mut(registered) else { return };
        let first = directory.told.is_none();
        let before = directory.told.take().unwrap_or_default();
        let now: BTreeMap<PathBuf, ExternalRun> =
            directory.survey.runs().map(|(run, _)| (run.directory.clone(), run.clone())).collect();
        let told = now.clone();
        let state = directory.state.clone();
        directory.told = Some(now);
        let mut changes = Vec::new();
        for (path, run) in &told {
            match before.get(path) {
                None if first => changes.push((run.clone(), Change::Found)),
                None => {
                    changes.push((run.clone(), Change::Appeared));
                    if run.state.is_final() {
                        changes.push((run.clone(), Change::Finished));
                    }
                }
                Some(was) => changes.extend(change(was, run).map(|change| (run.clone(), change))),
            }
        }
        // A directory that is away as a whole may be a disk that is not mounted.
        if state != RootState::Absent {
            let gone = before.into_iter().filter(|(path, _)| !told.contains_key(path));
            changes.extend(gone.map(|(_, run)| (run, Change::Gone)));
        }
        // First, so that who is told finds it so.
        let status =
            DirectoryStatus { path: registered.to_owned(), state, runs: told.into_values().collect() };
        lock(&self.status).insert(registered.to_owned(), status);
        for (run, change) in changes {
            self.tell(registered, run, change);
        }
    }

    /// Tells of a change, once where registered directories overlap.
    fn tell(&self, registered: &Path, run: ExternalRun, change: Change) {
        let knows = |directory: &Directory| {
            directory.told.as_ref().is_some_and(|told| told.contains_key(&run.directory))
        };
        let mut earlier = self.directories.iter().take_while(|(path, _)| path.as_path() < registered);
        if !earlier.any(|(_, directory)| knows(directory)) {
            let change = RunChange { registered: registered.to_owned(), run, change };
            let _ = self.tell.send(Told::Run(Box::new(change)));
        }
    }

    fn remove(&mut self, registered: &Path) {
        let Some(directory) = self.directories.remove(registered) else { return };
        for run in directory.told.unwrap_or_default().into_values() {
            self.tell(registered, run, Change::Gone);
        }
        self.watches.release_below(registered);
        lock(&self.status).remove(registered);
        // Another one may lie below it or around it.
        for directory in self.directories.values_mut() {
            directory.next_look = Instant::now();
        }
    }
}

/// What happened between two looks at a run.
fn change(was: &ExternalRun, is: &ExternalRun) -> Option<Change> {
    use ExternalState::{Running, Stale};
    let change = match (was.state, is.state) {
        // It was started and has ended between the two looks.
        (before, now) if before == now && was.ended_before(is.finished_at) => Change::Finished,
        (before, now) if before == now => return None,
        (_, now) if now.is_final() => Change::Finished,
        (_, Stale) if is.process.as_ref().is_some_and(|process| process.alive == Some(false)) => {
            Change::ProcessDead
        }
        (_, Stale) => Change::HeartbeatStale,
        (Stale, Running) => Change::Back,
        (from, _) => Change::StateChanged { from },
    };
    Some(change)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held cannot have left the map half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
