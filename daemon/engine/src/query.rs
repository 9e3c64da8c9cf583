//! Looking at runs: one, a page of them, and the end of one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::control::RunError;
use crate::core::{Active, Seen, Stored};
use crate::engine::Engine;
use crate::event::Events;
use crate::run::tables::{self, ByKind, ByLabel, ByStatus, PackedRow, Payload, RunRow, Runs};
use crate::run::{IdPrefix, LeaseKey, Run, RunId, RunState, Start, StartOptions, Status, Step, Turn};
use crate::store::{Order, Store, StoreError};
use crate::unreadable::shown;

/// A run with all that is recorded of it.
#[derive(Debug, Clone)]
pub struct RunDetail {
    /// The run, with its output.
    pub run: Run,
    /// Its spec and options.
    pub start: Start,
    /// Its steps, in the order in which they began.
    pub steps: Vec<Step>,
    /// The directory with its logs; `steps` are in subdirectories (see [`Engine::attempt_directory`]).
    pub directory: PathBuf,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In one of these states; empty: in any.
    pub states: Vec<Status>,
    /// Of this workflow.
    pub kind: Option<String>,
    /// With all of these labels.
    pub labels: BTreeMap<String, String>,
    /// With this in the name, whatever its case.
    pub name: Option<String>,
    /// Made at this time or later.
    pub created_after: Option<Timestamp>,
    /// Made before this time.
    pub created_before: Option<Timestamp>,
}

/// A page of runs.
#[derive(Debug, Clone)]
pub struct Page {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Where the next page begins: with the first run older than this one.
    pub next: Option<RunId>,
}

/// How many records one page may look at: a filter that fits few runs gives short pages rather
/// than slow ones.
const LOOK_AT: usize = 5000;

/// The sign of life of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// When this was looked up.
    pub time: Timestamp,
    /// Whether a process of it is known to live: not so while it waits without one, nor in the first
    /// moments after a restart, until its processes are found again.
    pub process_alive: bool,
    /// Bytes of output so far.
    pub output_bytes: u64,
    /// When output last grew.
    pub last_output: Option<Timestamp>,
}

/// A lease, with who has it and who wants it.
#[derive(Debug, Clone)]
pub struct LeaseView {
    /// The resource.
    pub key: LeaseKey,
    /// Its holder.
    pub run: RunId,
    /// Since when.
    pub taken_at: Timestamp,
    /// The holder's state.
    pub holder_state: Status,
    /// Queued runs that want it, in the order in which they will get it.
    pub waiting: Vec<RunId>,
}

impl Engine {
    /// The run that an id or a prefix means.
    pub async fn resolve(&self, text: &str) -> Result<RunId, RunError> {
        let prefix: IdPrefix = text.parse()?;
        let active = {
            let core = self.core();
            core.runs.keys().copied().filter(|id| prefix.range().contains(&id.0)).take(6).collect::<Vec<_>>()
        };
        let store = self.store().clone();
        let range = prefix.range();
        let found = tokio::task::spawn_blocking(move || {
            store.keys::<Runs>(range, Order::Ascending).take(6).collect::<Result<Vec<_>, _>>()
        });
        let mut candidates =
            found.await.map_err(|_| RunError::Closed)??.into_iter().map(RunId).collect::<Vec<_>>();
        candidates.extend(active);
        candidates.sort();
        candidates.dedup();
        match candidates.as_slice() {
            [] => Err(RunError::NotFound(text.to_owned())),
            [one] => Ok(*one),
            _ => Err(RunError::Ambiguous { prefix: text.to_owned(), candidates }),
        }
    }

    /// An active run, from memory.
    pub(crate) fn active(&self, run: RunId) -> Option<(Run, Arc<Start>)> {
        self.core().runs.get(&run).map(|active| (active.run.clone(), Arc::clone(&active.start)))
    }

    /// A run as a list shows it.
    pub async fn record(&self, run: RunId) -> Result<Run, RunError> {
        if let Some((record, _)) = self.active(run) {
            return Ok(record);
        }
        if let Some(record) = self.unreadable_run(run) {
            return Ok(record);
        }
        let row = self.row(run).await?;
        Ok(row.read(run)?)
    }

    async fn row(&self, run: RunId) -> Result<RunRow, RunError> {
        let store = self.store().clone();
        let row = tokio::task::spawn_blocking(move || store.get::<Runs>(&run.0));
        row.await.map_err(|_| RunError::Closed)??.ok_or_else(|| RunError::NotFound(run.to_string()))
    }

    /// A run with all that is recorded of it.
    pub async fn detail(&self, run: RunId) -> Result<RunDetail, RunError> {
        let directory = self.files().run(run);
        if let Some((mut detail, output)) = self.active_detail(run, &directory) {
            // Just ended, and not yet gone from memory.
            if let Some(output) = output {
                let files = self.files().clone();
                let read = tokio::task::spawn_blocking(move || {
                    tables::read_payload(run, "output", Some(&output), &files)
                });
                detail.run.output = read.await.map_err(|_| RunError::Closed)??;
            }
            return Ok(detail);
        }
        if let Some(run) = self.unreadable_run(run) {
            let start = Start { spec: serde_json::Value::Null, options: StartOptions::default() };
            return Ok(RunDetail { run, start, steps: Vec::new(), directory });
        }
        let row = self.row(run).await?;
        let files = self.files().clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut record = row.read(run)?;
            record.output = row.read_output(run, &files)?;
            let packed = row.unpack(run, &files)?;
            let start = packed.start.clone().unwrap_or_default().read(run, &files)?;
            let steps = packed.steps.iter().map(|step| step.read(run, &files)).collect::<Result<_, _>>()?;
            Ok::<_, RunError>(RunDetail { run: record, start, steps, directory })
        });
        read.await.map_err(|_| RunError::Closed)?
    }

    fn active_detail(&self, run: RunId, directory: &Path) -> Option<(RunDetail, Option<Payload>)> {
        let core = self.core();
        let active = core.runs.get(&run)?;
        let steps: Vec<Step> = active.steps.iter().map(|stored| stored.step.clone()).collect();
        let live = active.processes.as_ref().map(|live| live.borrow().clone()).unwrap_or_default();
        let (run, start, output) = (active.run.clone(), active.start.as_ref().clone(), active.output.clone());
        drop(core);
        let mut detail = RunDetail { run, start, steps, directory: directory.to_owned() };
        for step in detail.steps.iter_mut().filter(|step| !step.archived) {
            if let (Some(process), Some(attempt)) = (live.get(&step.name), step.attempts.last_mut()) {
                attempt.pid = process.pid();
            }
        }
        Some((detail, output))
    }

    /// The directory of an attempt at a step.
    pub fn attempt_directory(&self, run: RunId, step: &Step, attempt: u32) -> PathBuf {
        self.files().attempt(run, step.ordinal, attempt)
    }

    /// An ended run as it was active: its rows read back.
    pub(crate) async fn unpack(&self, run: RunId) -> Result<Active, RunError> {
        {
            let core = self.core();
            if let Some(active) = core.runs.get(&run) {
                // Not yet gone from memory, or not ended at all, which the caller will see.
                let (record, start) = (active.run.clone(), Arc::clone(&active.start));
                let mut again = Active::new(record, start, active.start_row.clone(), active.steps.clone());
                again.packed.clone_from(&active.packed);
                again.run.leases = self.leases_of(&again);
                return Ok(again);
            }
        }
        let row = self.row(run).await?;
        let files = self.files().clone();
        let read = tokio::task::spawn_blocking(move || {
            let record = row.read(run)?;
            let packed: PackedRow = row.unpack(run, &files)?;
            let start_row = packed.start.unwrap_or_default();
            let start = start_row.read(run, &files)?;
            let stored = |row: crate::run::tables::StepRow| Ok(Stored { step: row.read(run, &files)?, row });
            let steps = packed.steps.into_iter().map(stored).collect::<Result<_, crate::run::BadRow>>()?;
            let mut active = Active::new(record, Arc::new(start), start_row, steps);
            active.packed.clone_from(&row.packed);
            Ok::<_, RunError>(active)
        });
        let mut active = read.await.map_err(|_| RunError::Closed)??;
        active.run.leases = self.leases_of(&active);
        Ok(active)
    }

    /// The leases that a run needs, which an ended one has given up.
    fn leases_of(&self, active: &Active) -> Vec<LeaseKey> {
        let workflow = self.workflow(&active.run.kind);
        // A spec that was accepted once may be refused today (a repository that is gone): then the
        // workflow says so when it runs.
        let mut leases =
            workflow.and_then(|workflow| workflow.check(&active.start.spec).ok()).unwrap_or_default();
        leases.extend(active.start.options.leases.iter().cloned());
        leases.sort();
        leases.dedup();
        leases
    }

    /// Resolves when a run has ended, or when that cannot be stored any longer: then it may take as long as a person
    /// takes to make room on the disk, who must be told.
    pub async fn wait(&self, run: RunId) -> Result<Run, RunError> {
        let seen = self.core().runs.get(&run).map(|active| active.seen.subscribe());
        if let Some(mut seen) = seen {
            // The sender goes when the run leaves memory: after its end.
            tokio::select! {
                biased;
                _ = seen.wait_for(|Seen { state, .. }| state.is_ended()) => {}
                _ = self.store_broken() => return Err(self.refusal().into()),
            }
        }
        self.record(run).await
    }

    /// A page of runs, newest first.
    pub async fn list(&self, filter: Filter, limit: usize, before: Option<RunId>) -> Result<Page, RunError> {
        let store = self.store().clone();
        let wanted = filter.clone();
        let found =
            tokio::task::spawn_blocking(move || page(&store, &wanted, limit, before.map(|run| run.0)));
        let (rows, next) = found.await.map_err(|_| RunError::Closed)??;
        let mut runs = Vec::with_capacity(rows.len());
        let core = self.core();
        for (id, row) in rows {
            // Memory is newer than what was read.
            let run = match core.runs.get(&id) {
                Some(active) => active.run.clone(),
                None => match core.unreadable.get(&id) {
                    Some(run) => run.clone(),
                    None => row.read(id).unwrap_or_else(|error| shown(id, &row, &error.to_string())),
                },
            };
            if filter.fits(&run) {
                runs.push(run);
            }
        }
        Ok(Page { runs, next: next.map(RunId) })
    }

    /// The sign of life of a run that is under way.
    pub fn heartbeat(&self, run: RunId) -> Option<Heartbeat> {
        let time = self.now();
        let live = self.live(run)?;
        let mut heartbeat = Heartbeat { time, process_alive: false, output_bytes: 0, last_output: None };
        for process in live {
            let beat = process.heartbeat();
            heartbeat.process_alive |= beat.alive;
            heartbeat.output_bytes += beat.stdout_bytes + beat.stderr_bytes;
            let grown = beat.last_output.and_then(|time| Timestamp::try_from(time).ok());
            heartbeat.last_output = heartbeat.last_output.max(grown);
        }
        Some(heartbeat)
    }

    /// All leases, by key.
    pub fn leases(&self) -> Vec<LeaseView> {
        let core = self.core();
        let mut all: Vec<_> = core
            .leases
            .iter()
            .map(|(key, lease)| {
                let wants =
                    |run: &&RunId| core.runs.get(run).is_some_and(|active| active.run.leases.contains(key));
                LeaseView {
                    key: key.clone(),
                    run: lease.run,
                    taken_at: lease.taken_at,
                    holder_state: core
                        .runs
                        .get(&lease.run)
                        .map_or(Status::Interrupted, |a| a.run.state.status()),
                    waiting: core.queue.iter().map(|(_, run)| run).filter(wants).copied().collect(),
                }
            })
            .collect();
        all.sort_by(|one, other| one.key.cmp(&other.key));
        all
    }

    /// What a run waits for, in words; empty when it does not wait.
    pub fn waiting_for(&self, run: &Run) -> String {
        match &run.state {
            RunState::Queued { until: Turn::Slot } => {
                let core = self.core();
                if core.paused {
                    return "the daemon to go on (it is paused)".to_owned();
                }
                match core.obstacle(run.id, &run.leases) {
                    Some((key, holder)) => format!("{key}, held by run {holder}"),
                    None => "a slot".to_owned(),
                }
            }
            RunState::Queued { until: Turn::After } => {
                let start = self.active(run.id).map(|(_, start)| start);
                let runs = start.iter().flat_map(|start| &start.options.after);
                let names: Vec<_> = runs.map(|after| after.run.to_string()).collect();
                format!("run {}", names.join(", "))
            }
            RunState::Queued { until: Turn::Retry { at } } => format!("its next attempt at {at:.0}"),
            RunState::Waiting { on: crate::run::Wait::Time { until } } => format!("{until:.0}"),
            RunState::Waiting { on: crate::run::Wait::Approval { approval } } => {
                format!("approval {approval}")
            }
            RunState::Waiting { on: crate::run::Wait::Child { run } } => format!("child run {run}"),
            _ => String::new(),
        }
    }

    /// How many runs are queued, running and waiting.
    pub fn counts(&self) -> [usize; 3] {
        let core = self.core();
        [Status::Queued, Status::Running, Status::Waiting].map(|status| core.count(status))
    }

    /// How many runs of a kind are running.
    pub fn running_of(&self, kind: &str) -> usize {
        self.core().running.get(kind).copied().unwrap_or_default()
    }

    /// The kinds of run that the engine knows.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.registry().kinds().collect()
    }

    /// The run that holds a lease.
    pub fn holder(&self, key: &LeaseKey) -> Option<RunId> {
        self.core().leases.get(key).map(|lease| lease.run)
    }

    /// The numbers of the oldest and newest event in the store, 0 and 0 for none.
    pub(crate) fn event_range(store: &Store) -> Result<(u64, u64), StoreError> {
        let first = store.keys::<Events>(.., Order::Ascending).next().transpose()?;
        let last = store.keys::<Events>(.., Order::Descending).next().transpose()?;
        Ok((first.unwrap_or_default(), last.unwrap_or_default()))
    }
}

impl Filter {
    fn fits(&self, run: &Run) -> bool {
        let name = self.name.as_ref().map(|name| name.to_lowercase());
        (self.states.is_empty() || self.states.contains(&run.state.status()))
            && self.kind.as_ref().is_none_or(|kind| *kind == run.kind)
            && self.labels.iter().all(|(key, value)| run.labels.get(key) == Some(value))
            && name.is_none_or(|name| run.name.to_lowercase().contains(&name))
            && self.created_after.is_none_or(|time| run.created_at >= time)
            && self.created_before.is_none_or(|time| run.created_at < time)
    }

    /// The ids that may fit, newest first, by the index that leaves the fewest to look at.
    fn candidates(
        &self,
        store: &Store,
        before: Option<Uuid>,
    ) -> Box<dyn Iterator<Item = Result<Uuid, StoreError>>> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let within = |first: u64| {
            let last =
                before.map_or(Bound::Included((first, Uuid::max())), |id| Bound::Excluded((first, id)));
            (Bound::Included((first, Uuid::nil())), last)
        };
        let named = |name: String| {
            let last = match before {
                Some(id) => Bound::Excluded((name.clone(), id)),
                None => Bound::Included((name.clone(), Uuid::max())),
            };
            (Bound::Included((name, Uuid::nil())), last)
        };
        if let Some((key, value)) = self.labels.iter().next() {
            let keys = store.keys::<ByLabel>(named(format!("{key}={value}")), Order::Descending);
            return Box::new(keys.map(|key| key.map(|(_, id)| id)));
        }
        if !self.states.is_empty() {
            let lists = self.states.iter().map(|state| {
                let keys = store.keys::<ByStatus>(within(state.number()), Order::Descending);
                keys.map(|key| key.map(|(_, id)| id)).peekable()
            });
            return Box::new(newest_first(lists.collect()));
        }
        if let Some(kind) = &self.kind {
            let keys = store.keys::<ByKind>(named(kind.clone()), Order::Descending);
            return Box::new(keys.map(|key| key.map(|(_, id)| id)));
        }
        Box::new(store.keys::<Runs>((Bound::Unbounded, end), Order::Descending))
    }
}

type Candidates<I> = Vec<std::iter::Peekable<I>>;

/// Merges lists that are each newest first.
fn newest_first<I: Iterator<Item = Result<Uuid, StoreError>>>(
    mut lists: Candidates<I>,
) -> impl Iterator<Item = Result<Uuid, StoreError>> {
    std::iter::from_fn(move || {
        let newest = |list: &mut std::iter::Peekable<I>| match list.peek() {
            Some(Ok(id)) => Some(*id),
            // An error comes first, so that it is told.
            Some(Err(_)) => Some(Uuid::max()),
            None => None,
        };
        let place = (0..lists.len()).filter_map(|at| Some((newest(&mut lists[at])?, at))).max()?.1;
        lists[place].next()
    })
}

type Rows = (Vec<(RunId, RunRow)>, Option<Uuid>);

fn page(store: &Store, filter: &Filter, limit: usize, before: Option<Uuid>) -> Result<Rows, StoreError> {
    let mut rows = Vec::new();
    let mut last = None;
    for (looked_at, id) in filter.candidates(store, before).enumerate() {
        let id = id?;
        if rows.len() == limit || looked_at == LOOK_AT {
            return Ok((rows, last));
        }
        last = Some(id);
        let row = match store.get::<Runs>(&id) {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            // Shown as what it is.
            Err(StoreError::Row { .. }) => RunRow::default(),
            Err(error) => return Err(error),
        };
        // States of active runs are judged by memory, later.
        let fits = row.read(RunId(id)).map_or(true, |run| !run.state.is_ended() || filter.fits(&run));
        if fits {
            rows.push((RunId(id), row));
        }
    }
    Ok((rows, None))
}
