//! The engine's handle: what the daemon's faces call.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::core::commit::{self, Commit};
use crate::core::{Core, NewRun, StartError, Stored, Tx, digest_of};
use crate::drive::drive;
use crate::event::{EventLog, EventStream, NewEvent, Token, WatchError};
use crate::failure::{Failure, FailureKind};
use crate::files::{RunFiles, VALUE_LIMIT};
use crate::logs::LogHub;
use crate::process::supervisor::blocking;
use crate::process::{Process, Supervisor, platform};
use crate::run::tables::{INLINE_LIMIT, START_LIMIT, StartRow, StepRow, to_json};
use crate::run::{LeaseKey, Run, RunId, RunState, Start, StartRun, Step};
use crate::settings::Settings;
use crate::store::{Batch, Reader, Stats, Store, StoreError};
use crate::workflow::{AnyWorkflow, Registry};

/// Runs to start when a run has ended.
pub(crate) type Hooks = dyn Fn(&Run, Timestamp) -> Vec<NewRun> + Send + Sync;

/// What a caller gives to say which runs are started when a run has ended.
pub type OnEnd = Arc<dyn Fn(&Run) -> Vec<StartRun> + Send + Sync>;

/// The engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) core: Mutex<Core>,
    pub(crate) store: Store,
    pub(crate) files: RunFiles,
    pub(crate) log: Arc<EventLog>,
    pub(crate) commits: mpsc::UnboundedSender<Commit>,
    pub(crate) registry: Registry,
    pub(crate) supervisor: Supervisor,
    pub(crate) logs: LogHub,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hooks: Box<Hooks>,
    pub(crate) tasks: TaskTracker,
    /// Set once the store can no longer be written.
    pub(crate) broken: watch::Sender<Option<String>>,
    /// Set once nothing may be decided any longer: the store has failed, or is being closed.
    pub(crate) halted: watch::Sender<bool>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::internal(format!("the store failed: {error}"))
    }
}

impl Engine {
    pub(crate) fn from_shared(shared: Shared, commits: mpsc::UnboundedReceiver<Commit>) -> Self {
        let engine = Self { shared: Arc::new(shared) };
        tokio::spawn(commit::follow_up(engine.clone(), commits));
        engine
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self) -> &Arc<EventLog> {
        &self.shared.log
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn files(&self) -> &RunFiles {
        &self.shared.files
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.shared.supervisor
    }

    pub(crate) fn workflow(&self, kind: &str) -> Option<&Arc<dyn AnyWorkflow>> {
        self.shared.registry.get(kind)
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// The time now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        // The store keeps microseconds: what is told live and what is read later must be alike.
        let now = self.shared.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// The follower of logs.
    pub fn logs(&self) -> &LogHub {
        &self.shared.logs
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.core().settings)
    }

    /// Changes memory and store together; resolves when the change is on disk.
    pub(crate) async fn transact<R, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let shared = &self.shared;
        let permit = shared.store.reserve().await?;
        if self.is_halted() {
            return Err(self.refusal().into());
        }
        let (result, done) = {
            let mut core = self.core();
            let mut tx = Tx::new(&mut core, &shared.store, &shared.files, &*shared.hooks, self.now());
            let result = change(&mut tx)?;
            (result, tx.commit(permit, &shared.log, &shared.commits))
        };
        let stored = done.await.unwrap_or_else(|_| {
            // The runtime is being taken down. The batch may well be stored: from here on nobody must
            // decide anything by what he believes to have failed.
            self.halt();
            Err(StoreError::Closed)
        });
        stored?;
        Ok(result)
    }

    /// Stores another crate's rows together with the events that tell of them: all of it or nothing.
    /// Resolves when it is on disk, and then watchers see the events. Calls that overlap are carried
    /// out in any order; who needs one waits for each.
    ///
    /// A batch or event that no row can hold is refused, and harms nobody else.
    pub async fn commit(&self, mut batch: Batch, events: Vec<NewEvent>) -> Result<(), StoreError> {
        if let Some(defect) = batch.take_defect() {
            return Err(defect);
        }
        for event in &events {
            event.check()?;
        }
        self.transact(|tx| {
            tx.batch.append(batch);
            for event in events {
                tx.event(None, &event.kind, event.data);
            }
            Ok(())
        })
        .await
    }

    /// The reading side of the store, for crates that keep rows of their own in it.
    pub fn reader(&self) -> &Reader {
        self.store().reader()
    }

    /// Starts a run. Resolves when it is on disk; from then on it happens.
    pub async fn start(&self, start: StartRun) -> Result<Run, StartError> {
        let new = self.prepare(start).await?;
        let (made, written) = (new.run.id, new.start_row.files());
        let accepted = self.transact(|tx| tx.accept(new)).await;
        if !written.is_empty()
            && !matches!(accepted, Ok(run) if run == made)
            && !matches!(accepted, Err(StartError::Store(_)))
        {
            self.drop_files(written);
        }
        let run = accepted?;
        match self.active(run) {
            Some((record, _)) => Ok(record),
            // The same request, long ago: it has ended and left memory.
            None => self.record(run).await.map_err(|error| StartError::Refused(Failure::internal(error))),
        }
    }

    /// Removes files of a request that came to nothing.
    pub(crate) fn drop_files(&self, names: Vec<String>) {
        if !names.is_empty() {
            let files = self.files().clone();
            tokio::task::spawn_blocking(move || names.iter().for_each(|name| files.remove_value(name)));
        }
    }

    /// Checks a request and puts what is large into files, before any lock is taken.
    pub(crate) async fn prepare(&self, start: StartRun) -> Result<NewRun, StartError> {
        let shared = Arc::clone(&self.shared);
        let large = to_json(&start.spec).len().max(to_json(&start.options).len()) > START_LIMIT;
        let now = self.now();
        if large {
            blocking(move || new_run(&shared.registry, &shared.files, start, now)).await
        } else {
            new_run(&shared.registry, &shared.files, start, now)
        }
    }

    /// Whether a request would be accepted, without starting anything.
    pub fn check(&self, kind: &str, spec: &serde_json::Value) -> Result<(), StartError> {
        leases_of(&self.shared.registry, kind, spec).map(drop)
    }

    /// Takes new settings, and starts what they allow.
    pub async fn reload(&self, settings: Settings) -> Result<(), StoreError> {
        self.transact(|tx| {
            tx.core.settings = Arc::new(settings);
            tx.event(None, "daemon.reloaded", json!({}));
            Ok(())
        })
        .await
    }

    /// Follows the events from number `from` on.
    pub fn events_from(&self, from: u64) -> Result<EventStream, WatchError> {
        let oldest = self.log().oldest();
        if from < oldest {
            return Err(WatchError::Expired { wanted: from, oldest });
        }
        Ok(self.log().follow(from))
    }

    /// Follows the events after a token.
    pub fn events_after(&self, token: Token) -> Result<EventStream, WatchError> {
        let store = self.store().id();
        if token.store != store {
            return Err(WatchError::Foreign { store });
        }
        self.events_from(token.seq + 1)
    }

    /// Follows the events from now on.
    pub fn events(&self) -> EventStream {
        self.log().follow(self.last_event() + 1)
    }

    /// The number of the newest event.
    pub fn last_event(&self) -> u64 {
        self.log().last()
    }

    /// The number of the oldest event that is kept.
    pub fn oldest_event(&self) -> u64 {
        self.log().oldest()
    }

    /// The token of an event of this store.
    pub fn token(&self, seq: u64) -> Token {
        Token { store: self.store().id(), seq }
    }

    /// Gives memory that is free, but kept for later, back to the system: for after much work.
    pub async fn give_memory_back(&self) {
        blocking(platform::give_memory_back).await;
    }

    /// Numbers about the store.
    pub fn store_stats(&self) -> Stats {
        self.store().stats()
    }

    /// Goes once around through the store: resolves when all that was committed before is on disk.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.transact(|_| Ok(())).await
    }

    /// Writes the store as JSON lines.
    pub async fn export(&self, to: PathBuf) -> Result<(), StoreError> {
        self.store().export(to).await.map(drop)
    }

    /// Resolves, with the reason, when the store can no longer be written: processes go on with
    /// their shims, and the daemon should be started anew once the cause is mended.
    pub async fn store_broken(&self) -> String {
        let mut broken = self.shared.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Why the store can no longer be written, if it cannot.
    pub fn store_problem(&self) -> Option<String> {
        self.shared.broken.borrow().clone()
    }

    /// Asks every active run to end and resolves when all have.
    pub async fn stop_all(&self, reason: &str) {
        let active: Vec<RunId> = self.core().runs.keys().copied().collect();
        for run in &active {
            // It may have ended in the meantime.
            let _ = self.cancel(*run, reason).await;
        }
        for run in active {
            let _ = self.wait(run).await;
        }
    }

    /// Marks the store's end as clean. Processes go on with their shims, and the tasks of runs
    /// decide nothing any more: the next engine takes the runs up where the store has them.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.halt();
        let store = self.store().clone();
        tokio::task::spawn_blocking(move || store.close()).await.map_err(|_| StoreError::Closed)?
    }

    /// Why nothing is decided any longer: the store has failed, which is an answer, or the daemon goes down, which
    /// is none: the next daemon gives it.
    pub(crate) fn refusal(&self) -> StoreError {
        let failed = || self.store_problem().map(|_| StoreError::ReadOnly(Arc::new(StoreError::Closed)));
        self.store().problem().or_else(failed).unwrap_or(StoreError::Closed)
    }

    fn halt(&self) {
        self.shared.halted.send_replace(true);
    }

    pub(crate) fn is_halted(&self) -> bool {
        *self.shared.halted.borrow()
    }

    /// Resolves when nothing may be decided any longer.
    pub(crate) async fn halted(&self) {
        // The sender lives as long as the engine.
        let _ = self.shared.halted.subscribe().wait_for(|halted| *halted).await;
    }

    pub(crate) fn report_store_failure(&self, error: &StoreError) {
        let asked_for = self.is_halted() && matches!(error, StoreError::Closed);
        self.halt();
        if asked_for {
            return;
        }
        let first = self.shared.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert_with(|| error.to_string());
            first
        });
        if first {
            tracing::error!(%error, "the store can no longer be written; running processes go on");
        }
    }

    /// Starts the task of a run that has none.
    pub(crate) fn start_task(&self, run: RunId) {
        let seen = {
            let mut core = self.core();
            let Some(active) = core.runs.get_mut(&run) else { return };
            if active.has_task || active.run.state.is_ended() {
                return;
            }
            active.has_task = true;
            active.seen.subscribe()
        };
        self.shared.tasks.spawn(drive(self.clone(), run, seen));
    }

    /// A step with its row: large values are in files when this resolves.
    pub(crate) async fn store_values(&self, run: RunId, step: Step) -> Result<Stored, Failure> {
        let files = self.shared.files.clone();
        let length = |json: &Option<serde_json::Value>| json.as_ref().map_or(0, |json| to_json(json).len());
        let length = length(&step.request).max(length(&step.value));
        if length <= INLINE_LIMIT {
            return Ok(Stored { row: StepRow::small(&step), step });
        }
        if length as u64 > VALUE_LIMIT {
            return Err(too_large(&format!("the value of step {:?}", step.name)));
        }
        let made =
            blocking(move || Ok::<_, StoreError>(Stored { row: StepRow::new(run, &step, &files)?, step }));
        Ok(made.await?)
    }

    /// Lets the sign of life of a run be looked up.
    pub(crate) fn show_processes(&self, run: RunId, processes: watch::Receiver<HashMap<String, Process>>) {
        if let Some(active) = self.core().runs.get_mut(&run) {
            active.processes = Some(processes);
        }
    }

    /// The processes of a run that has a task.
    pub(crate) fn live(&self, run: RunId) -> Option<Vec<Process>> {
        let processes = self.core().runs.get(&run)?.processes.clone()?;
        let live = processes.borrow().values().cloned().collect();
        Some(live)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }
}

/// The leases that a workflow asks for, if it accepts the spec.
fn leases_of(registry: &Registry, kind: &str, spec: &serde_json::Value) -> Result<Vec<LeaseKey>, StartError> {
    let Some(workflow) = registry.get(kind) else {
        let known = registry.kinds().collect::<Vec<_>>().join(", ");
        return Err(StartError::UnknownWorkflow { kind: kind.to_owned(), known });
    };
    workflow.check(spec).map_err(StartError::Refused)
}

/// What is larger could be written, but would not be read back.
pub(crate) fn too_large(what: &str) -> Failure {
    Failure::new(FailureKind::Invalid, format!("{what} is larger than {VALUE_LIMIT} bytes"))
}

/// Checks a request and makes the records of it.
pub(crate) fn new_run(
    registry: &Registry,
    files: &RunFiles,
    start: StartRun,
    now: Timestamp,
) -> Result<NewRun, StartError> {
    let StartRun { request_id, kind, spec, options, origin, lineage, refuse_if_held } = start;
    crate::limits::check(request_id.as_deref(), &options).map_err(StartError::Refused)?;
    if to_json(&spec).len() as u64 > VALUE_LIMIT {
        return Err(StartError::Refused(too_large("the spec")));
    }
    let mut leases = leases_of(registry, &kind, &spec)?;
    leases.extend(options.leases.iter().cloned());
    leases.sort();
    leases.dedup();
    crate::limits::check_leases(&leases).map_err(StartError::Refused)?;
    let run = Run {
        id: RunId::generate(),
        kind,
        name: options.name.clone(),
        labels: options.labels.clone(),
        state: RunState::accepted(!options.after.is_empty()),
        priority: options.priority,
        created_at: now,
        started_at: None,
        finished_at: None,
        attempt: 1,
        interruptions: 0,
        begun: false,
        origin,
        lineage,
        request_id,
        exit_code: None,
        signal: None,
        usage: crate::run::Usage::default(),
        signals: Vec::new(),
        steps_dropped: 0,
        leases,
        output: None,
    };
    let start = Start { spec, options };
    let start_row = StartRow::new(run.id, &start, files)?;
    let digest = digest_of(&run, &start);
    Ok(NewRun { run, start, start_row, digest, refuse_if_held })
}
