//! The engine's handle: what the daemon's faces call.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::approval::{Approval, Decision, Verdict};
use crate::clock::Clock;
use crate::core::commit::{self, Commit};
use crate::core::{Core, NewRun, StartError, Stored, Tx, digest_of};
use crate::drive::drive;
use crate::event::{EventLog, EventStream, NewEvent, Token, WatchError};
use crate::failure::{Failure, FailureKind, cut};
use crate::files::{RunFiles, VALUE_LIMIT};
use crate::logs::LogHub;
use crate::process::supervisor::blocking;
use crate::process::{Process, Supervisor};
use crate::run::tables::{INLINE_LIMIT, START_LIMIT, StartRow, StepRow, to_json};
use crate::run::{
    Ending, LeaseKey, Refused, Run, RunEvent, RunId, RunState, Start, StartRun, Step, StepState, Turn,
};
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

/// Why a call about a run was refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NotFound(String),
    /// The prefix fits several runs.
    #[error("{prefix:?} fits more than one run: {}", candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was typed.
        prefix: String,
        /// The first few that it fits.
        candidates: Vec<RunId>,
    },
    /// What was typed is no id.
    #[error(transparent)]
    InvalidId(#[from] crate::run::InvalidId),
    /// The run is not in a state for it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The run is over: there is nothing to end.
    #[error("run {run} {} already", match *state { "succeeded" => "has succeeded", "failed" => "has failed", "canceled" => "was canceled", _ => "was interrupted" })]
    Over {
        /// The run.
        run: RunId,
        /// The word for its state.
        state: &'static str,
    },
    /// Another run holds a lease that this one needs to go on.
    #[error("{key} is held by run {holder}")]
    LeaseHeld {
        /// The lease.
        key: LeaseKey,
        /// Who has it.
        holder: RunId,
    },
    /// There is no such approval.
    #[error("there is no approval {0} that waits")]
    NoApproval(Uuid),
    /// There is no such lease.
    #[error("nobody holds {0}")]
    NoLease(LeaseKey),
    /// A stored record cannot be read.
    #[error(transparent)]
    BadRow(#[from] crate::run::BadRow),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The engine is going down.
    #[error("the daemon is shutting down")]
    Closed,
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

    /// Asks a run to end by the stop ladder of its processes.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<(), RunError> {
        self.end(run, false, reason).await
    }

    /// Ends a run and its processes at once.
    pub async fn kill(&self, run: RunId, reason: &str) -> Result<(), RunError> {
        self.end(run, true, reason).await
    }

    async fn end(&self, run: RunId, kill: bool, reason: &str) -> Result<(), RunError> {
        let mut reason = reason.to_owned();
        cut(&mut reason, Failure::LONGEST);
        let ending = Ending { kill, reason };
        if self.active(run).is_none() {
            let state = self.record(run).await?.state;
            return Err(RunError::Over { run, state: state.word() });
        }
        self.transition(run, RunEvent::EndRequested(ending)).await
    }

    pub(crate) async fn transition(&self, run: RunId, event: RunEvent) -> Result<(), RunError> {
        self.transact(|tx| Ok(tx.transition(run, event)?)).await
    }

    /// Begins the attempt that waits for this time.
    pub(crate) async fn retry_now(&self, run: RunId, at: Timestamp) -> Result<(), RunError> {
        let waiting = RunState::Queued { until: Turn::Retry { at } };
        self.transact(|tx| {
            if tx.core.runs.get(&run).is_some_and(|active| active.run.state == waiting) {
                tx.transition(run, RunEvent::RetryDue)?;
            }
            Ok(())
        })
        .await
    }

    /// Goes on with a run that ended without success: finished steps keep their values.
    pub async fn resume(&self, run: RunId) -> Result<(), RunError> {
        if self.unreadable_run(run).is_some() {
            return Err(Refused { state: "unreadable", wanted: "resumed" }.into());
        }
        let unpacked = self.unpack(run).await?;
        self.transact(|tx| {
            if let Some(active) = tx.core.runs.get(&run)
                && !active.run.state.is_ended()
            {
                return Err(Refused { state: active.run.state.word(), wanted: "resumed" }.into());
            }
            if let Some((key, holder)) = tx.core.obstacle(run, &unpacked.run.leases) {
                return Err(RunError::LeaseHeld { key: key.clone(), holder });
            }
            if unpacked.run.state == RunState::Succeeded {
                return Err(Refused { state: "succeeded", wanted: "resumed" }.into());
            }
            let mut unpacked = unpacked;
            unpacked.run.attempt += 1;
            unpacked.run.signals.clear();
            tx.core.adopt(unpacked);
            Ok(tx.transition(run, RunEvent::Resumed)?)
        })
        .await
    }

    /// Tells a run something; its workflow reads it by `RunContext::told`. Telling twice is telling
    /// once.
    pub async fn tell(&self, run: RunId, signal: &str) -> Result<(), RunError> {
        self.transact(|tx| {
            let active = tx.core.runs.get_mut(&run).ok_or_else(|| RunError::NotFound(run.to_string()))?;
            if active.run.state.is_ended() {
                return Err(Refused { state: active.run.state.word(), wanted: "told anything" }.into());
            }
            if active.run.signals.len() >= 16 || signal.len() > 64 {
                return Err(Refused { state: "told enough", wanted: "told more" }.into());
            }
            if !active.run.signals.iter().any(|known| known == signal) {
                active.run.signals.push(signal.to_owned());
                tx.touch(run);
                tx.event(Some(run), "run.told", json!({ "signal": signal }));
            }
            Ok(())
        })
        .await
    }

    /// Decides an approval. The first decision stands.
    pub async fn decide(
        &self,
        id: Uuid,
        verdict: Verdict,
        by: &str,
        comment: &str,
    ) -> Result<Approval, RunError> {
        self.transact(|tx| {
            let mut approval = tx.core.approvals.remove(&id).ok_or(RunError::NoApproval(id))?;
            let (mut by, mut comment) = (by.to_owned(), comment.to_owned());
            cut(&mut by, 200);
            cut(&mut comment, 1000);
            let decision = Decision { verdict, at: tx.now, by, comment };
            tx.event(Some(approval.run), "approval.decided", json!({ "approval": id, "decision": decision }));
            approval.decision = Some(decision);
            let (run, step, now) = (approval.run, approval.step.clone(), tx.now);
            let value = json!(approval);
            tx.change_step(run, &step, |step| {
                step.finish(now, StepState::Succeeded, Some(value), None);
                // The value says it all again, and a row has no room for both.
                step.request = None;
            });
            // A run that is being canceled, or is at work beside, does not wait: it is to look at it.
            tx.wake(run);
            tx.touch(run);
            Ok(approval)
        })
        .await
    }

    /// The approvals that wait, oldest first.
    pub fn approvals(&self) -> Vec<Approval> {
        let mut all: Vec<_> = self.core().approvals.values().cloned().collect();
        all.sort_by_key(|approval| approval.id);
        all
    }

    /// Starts no further runs until [`Engine::unpause`]. Survives a restart.
    pub async fn pause(&self) -> Result<(), StoreError> {
        self.set_paused(true).await
    }

    /// Starts runs again.
    pub async fn unpause(&self) -> Result<(), StoreError> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> Result<(), StoreError> {
        self.transact(|tx| {
            if tx.core.paused != paused {
                tx.core.paused = paused;
                crate::recover::put_paused(&mut tx.batch, paused);
                tx.event(None, if paused { "daemon.paused" } else { "daemon.unpaused" }, json!({}));
            }
            Ok(())
        })
        .await
    }

    /// Whether no further runs are started.
    pub fn is_paused(&self) -> bool {
        self.core().paused
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
