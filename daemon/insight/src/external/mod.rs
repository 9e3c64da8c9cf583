//! Runs of other tools, in directories that a user registers: told as events, and triggers of schedules.
//!
//! What is known of a run is read from its own files at every start. Stored is only which directories are
//! registered and what was told last, so that a change while the daemon was down is told once, and nothing twice.

mod trigger;

use std::collections::HashSet;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::schedule::EventTrigger;
use engine::store::{Batch, MAX_KEY_BYTES, Order, StoreError};
use engine::{Engine, NewEvent};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trace::rundir::{
    Change, DirectoryStatus, ExternalRun, ExternalState, RunChange, RunDirs, Told, WatchSettings,
};
use trace::tail::RootState;

use crate::store::tables::{ExternalRow, ExternalRuns, WatchedDirectories, WatchedRow};

/// Whoever registers a directory waits at most this long to hear what is in it; the look goes on.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Runs of other tools. Clones are the same.
#[derive(Clone)]
pub struct Externals(Arc<Shared>);

struct Shared {
    engine: Engine,
    /// None once it has ended.
    dirs: Mutex<Option<RunDirs>>,
    told: Mutex<Option<Receiver<Told>>>,
    /// Held while a directory is registered or left.
    registering: tokio::sync::Mutex<()>,
}

/// A registered directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its path.
    pub path: PathBuf,
    /// When it was registered.
    pub added_at: Timestamp,
    /// How changes are noticed.
    pub state: RootState,
    /// How many runs are in it.
    pub runs: usize,
}

/// Why a directory was not registered or left, or the watch failed.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// The path cannot be registered.
    #[error("{path:?} cannot be watched: {problem}")]
    InvalidPath {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// It is registered already.
    #[error("{0:?} is watched already")]
    Exists(PathBuf),
    /// It is not registered.
    #[error("{0:?} is not watched")]
    NotFound(PathBuf),
    /// The thread that watches could not be started.
    #[error("directories cannot be watched")]
    Watch(#[source] std::io::Error),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The daemon is ending.
    #[error("the watch of directories has ended")]
    Closed,
}

impl Externals {
    /// Takes up the directories that are registered, and begins to look at them.
    pub async fn open(engine: Engine) -> Result<Self, ExternalError> {
        let reader = engine.reader().clone();
        let open = move || {
            let rows = reader.scan::<WatchedDirectories>(.., Order::Ascending);
            let paths = rows.map(|row| Ok(path_of(row?.0))).collect::<Result<_, StoreError>>()?;
            RunDirs::start(paths, WatchSettings::default()).map_err(ExternalError::Watch)
        };
        let (dirs, told) = tokio::task::spawn_blocking(open).await.map_err(|_| ExternalError::Closed)??;
        Ok(Self(Arc::new(Shared {
            engine,
            dirs: Mutex::new(Some(dirs)),
            told: Mutex::new(Some(told)),
            registering: tokio::sync::Mutex::default(),
        })))
    }

    /// Tells of changes as events until it is told to stop.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ExternalError> {
        let told = lock(&self.0.told).take().ok_or(ExternalError::Closed)?;
        let (sender, mut coming) = mpsc::unbounded_channel();
        // It ends with the thread that watches.
        let forward = move || told.into_iter().all(|told| sender.send(told).is_ok());
        let forwarding = tokio::task::spawn_blocking(forward);
        let result = loop {
            let told = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                told = coming.recv() => told,
            };
            let done = match told {
                Some(Told::Run(change)) => self.tell(*change).await,
                Some(Told::Looked { registered, unseen }) => self.settle(registered, &unseen).await,
                None => Err(ExternalError::Closed),
            };
            if done.is_err() {
                break done;
            }
        };
        let dirs = lock(&self.0.dirs).take();
        let _ = tokio::task::spawn_blocking(move || drop(dirs)).await;
        let _ = forwarding.await;
        result
    }

    /// Registers a directory, by its absolute path; it need not exist yet.
    pub async fn add(&self, path: PathBuf) -> Result<Watched, ExternalError> {
        let invalid = |problem| ExternalError::InvalidPath { path: path.clone(), problem };
        if !path.is_absolute() {
            return Err(invalid("it is not absolute"));
        }
        if path.as_os_str().len() > MAX_KEY_BYTES / 2 {
            return Err(invalid("it is too long"));
        }
        if tokio::fs::metadata(&path).await.is_ok_and(|there| !there.is_dir()) {
            return Err(invalid("it is no directory"));
        }
        let path = plain(&path).await;
        let _registering = self.0.registering.lock().await;
        if self.row(&path)?.is_some() {
            return Err(ExternalError::Exists(path));
        }
        let row = WatchedRow { added_at: self.0.engine.now().as_microsecond(), looked: false };
        let mut batch = Batch::new();
        batch.put::<WatchedDirectories>(&key(&path), &row);
        self.0.engine.commit(batch, Vec::new()).await?;
        let looked = self.dirs(|dirs| dirs.add(path.clone()))?;
        let _ = tokio::task::spawn_blocking(move || looked.recv_timeout(FIRST_LOOK)).await;
        let status = self.status()?.into_iter().find(|status| status.path == path);
        Ok(watched(path, &row, status.as_ref()))
    }

    /// Leaves a directory. Runs that no other one has are forgotten, and nothing is told of it.
    pub async fn remove(&self, path: &Path) -> Result<(), ExternalError> {
        let path = plain(path).await;
        let _registering = self.0.registering.lock().await;
        if self.row(&path)?.is_none() {
            return Err(ExternalError::NotFound(path));
        }
        let mut batch = Batch::new();
        batch.delete::<WatchedDirectories>(&key(&path));
        let others: Vec<_> = self.status()?.into_iter().filter(|other| other.path != path).collect();
        for (directory, row) in self.rows_of(&path)? {
            let has = |other: &&DirectoryStatus| other.runs.iter().any(|run| run.directory == directory);
            match others.iter().find(has) {
                // What was told of it stays known.
                Some(other) => {
                    let row = ExternalRow { registered: key(&other.path), ..row };
                    batch.put::<ExternalRuns>(&key(&directory), &row);
                }
                None => batch.delete::<ExternalRuns>(&key(&directory)),
            }
        }
        self.0.engine.commit(batch, Vec::new()).await?;
        self.dirs(|dirs| dirs.remove(path))
    }

    /// The registered directories, by path.
    pub fn watched(&self) -> Result<Vec<Watched>, ExternalError> {
        let status = self.status()?;
        let rows = self.0.engine.reader().scan::<WatchedDirectories>(.., Order::Ascending);
        rows.map(|row| {
            let (path, row) = row?;
            let path = path_of(path);
            let status = status.iter().find(|status| status.path == path);
            Ok(watched(path, &row, status))
        })
        .collect()
    }

    /// The runs in all registered directories, as they were looked at last; each once.
    pub fn runs(&self) -> Result<Vec<ExternalRun>, ExternalError> {
        let mut seen = HashSet::new();
        let all = self.status()?.into_iter().flat_map(|status| status.runs);
        Ok(all.filter(|run| seen.insert(run.directory.clone())).collect())
    }

    /// The triggers `external.finished`, `external.stale` and `path.changed`.
    pub fn triggers() -> Vec<Arc<dyn EventTrigger>> {
        trigger::all()
    }

    fn status(&self) -> Result<Vec<DirectoryStatus>, ExternalError> {
        self.dirs(RunDirs::status)
    }

    fn dirs<T>(&self, ask: impl FnOnce(&RunDirs) -> T) -> Result<T, ExternalError> {
        lock(&self.0.dirs).as_ref().map(ask).ok_or(ExternalError::Closed)
    }

    fn row(&self, path: &Path) -> Result<Option<WatchedRow>, StoreError> {
        self.0.engine.reader().get::<WatchedDirectories>(&key(path))
    }

    /// What was told of the runs of a registered directory.
    fn rows_of(&self, registered: &Path) -> Result<Vec<(PathBuf, ExternalRow)>, StoreError> {
        let rows = self.0.engine.reader().scan::<ExternalRuns>(.., Order::Ascending);
        let rows = rows.map(|row| row.map(|(directory, row)| (path_of(directory), row)));
        rows.filter(|row| row.as_ref().is_ok_and(|(_, row)| row.registered == key(registered))).collect()
    }

    /// Stores a change and tells of it.
    async fn tell(&self, told: RunChange) -> Result<(), ExternalError> {
        let RunChange { registered, run, change } = told;
        let directory = key(&run.directory);
        let Some(watched) = self.row(&registered)? else { return Ok(()) };
        if directory.len() > MAX_KEY_BYTES / 2 {
            tracing::warn!(directory = ?run.directory, "a run of another tool lies too deep to be told of");
            return Ok(());
        }
        let before = self.0.engine.reader().get::<ExternalRuns>(&directory)?;
        let from = before.as_ref().and_then(|row| state_of(&row.state));
        let kinds: Vec<&'static str> = match (change, from) {
            (Change::Found, None) if !watched.looked => Vec::new(),
            (Change::Found | Change::Appeared, None) => {
                // It may have come to its end, or have died, before anybody could look.
                let over = run.state.is_final() || run.state == ExternalState::Stale;
                std::iter::once("external.appeared").chain(over.then(|| kind(&run, None))).collect()
            }
            (Change::Gone, None) => return Ok(()),
            (Change::Gone, Some(_)) => vec!["external.gone"],
            (_, Some(from)) if from == run.state && !ended_again(before.as_ref(), &run) => Vec::new(),
            // Its files cannot be read since the start, which is no change of the run.
            (Change::Found, Some(_)) if run.state == ExternalState::Unknown => return Ok(()),
            (_, from) => vec![kind(&run, from)],
        };
        let mut batch = Batch::new();
        if change == Change::Gone {
            batch.delete::<ExternalRuns>(&directory);
        } else {
            let row = row_of(&registered, &run);
            if before.as_ref() == Some(&row) {
                return Ok(());
            }
            batch.put::<ExternalRuns>(&directory, &row);
        }
        let event =
            |kind: &'static str| NewEvent { kind: kind.to_owned(), data: data(&registered, &run, from) };
        self.0.engine.commit(batch, kinds.into_iter().map(event).collect()).await?;
        Ok(())
    }

    /// Once a directory has been looked at: what was there at the last start and is not any more is gone, unless it
    /// lies where nobody could look, and what is found at the next start is new.
    async fn settle(&self, registered: PathBuf, unseen: &[PathBuf]) -> Result<(), ExternalError> {
        let Some(mut row) = self.row(&registered)? else { return Ok(()) };
        let status = self.status()?.into_iter().find(|status| status.path == registered);
        let Some(DirectoryStatus { runs, state, .. }) = status else { return Ok(()) };
        let there: HashSet<PathBuf> = runs.into_iter().map(|run| run.directory).collect();
        let (mut batch, mut events) = (Batch::new(), Vec::new());
        for (directory, row) in self.rows_of(&registered)? {
            // It may be away again by now.
            let seen = state != RootState::Absent && !unseen.iter().any(|path| directory.starts_with(path));
            if seen && !there.contains(&directory) {
                batch.delete::<ExternalRuns>(&key(&directory));
                let data = data_of_row(&registered, &directory, &row);
                events.push(NewEvent { kind: "external.gone".to_owned(), data });
            }
        }
        if !row.looked {
            row.looked = true;
            batch.put::<WatchedDirectories>(&key(&registered), &row);
        }
        if !batch.is_empty() {
            self.0.engine.commit(batch, events).await?;
        }
        Ok(())
    }
}

/// A path as it is registered: `/a/`, `/a/.` and `/a` are one, and so is `/b/../a`, where `/b` is no link. Runs are
/// known by where they lie, and filters of schedules name that.
async fn plain(path: &Path) -> PathBuf {
    let parts: Vec<_> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return parts.into_iter().collect();
    };
    let (above, below) = parts.split_at(last + 1);
    let above: PathBuf = above.iter().collect();
    // What is not there yet is kept as it was typed.
    let above = tokio::fs::canonicalize(&above).await.unwrap_or(above);
    above.components().chain(below.iter().copied()).collect()
}

/// The kind of the event that tells of a new state.
fn kind(run: &ExternalRun, from: Option<ExternalState>) -> &'static str {
    let dead = run.process.as_ref().is_some_and(|process| process.alive == Some(false));
    match (from, run.state) {
        (_, state) if state.is_final() => "external.finished",
        (_, ExternalState::Stale) if dead => "external.process_dead",
        (_, ExternalState::Stale) => "external.heartbeat_stale",
        (Some(ExternalState::Stale), ExternalState::Running) => "external.back",
        _ => "external.state_changed",
    }
}

fn data(registered: &Path, run: &ExternalRun, from: Option<ExternalState>) -> Value {
    json!({
        "tool": run.tool, "id": run.id, "title": run.title, "state": run.state, "from": from,
        "directory": run.directory.to_string_lossy(), "watch": registered.to_string_lossy(), "detail": run.detail,
    })
}

fn data_of_row(registered: &Path, directory: &Path, row: &ExternalRow) -> Value {
    json!({
        "tool": row.tool, "id": row.id, "title": row.title, "state": row.state, "from": row.state,
        "directory": directory.to_string_lossy(), "watch": registered.to_string_lossy(), "detail": null,
    })
}

fn row_of(registered: &Path, run: &ExternalRun) -> ExternalRow {
    ExternalRow {
        registered: key(registered),
        state: run.state.to_string(),
        tool: run.tool.to_string(),
        id: run.id.clone(),
        title: run.title.clone(),
        finished_at: run.finished_at.map_or(0, Timestamp::as_microsecond),
    }
}

/// Whether a run that had ended when it was told last has ended once more.
fn ended_again(before: Option<&ExternalRow>, run: &ExternalRun) -> bool {
    let ended = before.map_or(0, |row| row.finished_at);
    run.state.is_final() && ended != 0 && run.finished_at.is_some_and(|at| at.as_microsecond() > ended)
}

fn state_of(text: &str) -> Option<ExternalState> {
    serde_json::from_value(Value::from(text)).ok()
}

fn watched(path: PathBuf, row: &WatchedRow, status: Option<&DirectoryStatus>) -> Watched {
    Watched {
        path,
        added_at: Timestamp::from_microsecond(row.added_at).unwrap_or_default(),
        state: status.map_or(RootState::Absent, |status| status.state.clone()),
        runs: status.map_or(0, |status| status.runs.len()),
    }
}

fn key(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

fn path_of(key: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(key))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it holds is put in or taken out as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
