//! One change of the engine's memory, and the batch that makes it durable.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::commit::{After, Commit};
use super::{Active, Core, Seen, Stored};
use crate::approval::waiting_approvals;
use crate::engine::Hooks;
use crate::event::{Event, EventLog, EventRow, Events};
use crate::failure::{Failure, FailureKind};
use crate::files::RunFiles;
use crate::run::tables::{
    ByKind, ByLabel, ByStatus, LeaseRow, Leases, Mark, PackedRow, Payload, RequestRow, Requests, RunRow,
    Runs, StartRow, Starts, Steps,
};
use crate::run::{
    self, Effect, LeaseKey, Origin, Refused, Run, RunEvent, RunId, RunState, Start, Status, Step, StepKind,
    StepState, Turn, Wait,
};
use crate::store::{Batch, Permit, Store, StoreError};

/// A run that is about to be accepted: checked, its large values in files.
pub(crate) struct NewRun {
    pub(crate) run: Run,
    pub(crate) start: Start,
    pub(crate) start_row: StartRow,
    pub(crate) digest: Vec<u8>,
    /// Refuse, instead of queueing, while somebody else holds one of its leases.
    pub(crate) refuse_if_held: bool,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such workflow.
    #[error("there is no workflow {kind:?}; there are: {known}")]
    UnknownWorkflow {
        /// What was asked for.
        kind: String,
        /// What there is.
        known: String,
    },
    /// The workflow refuses the spec.
    #[error("{0}")]
    Refused(Failure),
    /// The request id has been used for something else.
    #[error("request id {request_id:?} has been used for another request, which made run {run}")]
    RequestIdReused {
        /// The id.
        request_id: String,
        /// What it made.
        run: RunId,
    },
    /// Somebody else holds a lease, and the request said not to wait.
    #[error("{key} is held by run {holder}")]
    LeaseHeld {
        /// The lease.
        key: LeaseKey,
        /// Who has it.
        holder: RunId,
    },
    /// A run to follow does not exist.
    #[error("there is no run {0} to start after")]
    NoPredecessor(RunId),
    /// The store failed.
    #[error("could not store the run")]
    Store(#[from] StoreError),
}

/// One change. Nothing may fail once it has begun to change memory: checks come first.
pub(crate) struct Tx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) now: Timestamp,
    pub(crate) batch: Batch,
    pub(super) after: Vec<After>,
    store: &'a Store,
    files: &'a RunFiles,
    hooks: &'a Hooks,
    events: Vec<Arc<Event>>,
    dirty: BTreeSet<RunId>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        core: &'a mut Core,
        store: &'a Store,
        files: &'a RunFiles,
        hooks: &'a Hooks,
        now: Timestamp,
    ) -> Self {
        Self {
            core,
            now,
            batch: Batch::default(),
            after: Vec::new(),
            store,
            files,
            hooks,
            events: Vec::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Sends the batch to the store. Called under the lock of the core, so that batches, events
    /// and consequences are all in the order of the transactions.
    pub(crate) fn commit(
        mut self,
        permit: Permit,
        log: &EventLog,
        commits: &mpsc::UnboundedSender<Commit>,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        self.dispatch();
        self.trim_events();
        for id in std::mem::take(&mut self.dirty) {
            let Some(active) = self.core.runs.get(&id) else { continue };
            let mut row = RunRow::new(&active.run);
            row.output.clone_from(&active.output);
            if active.run.state.is_ended() {
                row.packed.clone_from(&active.packed);
            }
            self.batch.put::<Runs>(&id.0, &row);
            self.after.push(After::Publish(id, Seen::of(&active.run)));
            if active.run.state.is_ended() {
                self.after.push(After::Forget(id));
            }
        }
        // States are published before tasks start, whatever order they were found in.
        self.after.sort_by_key(|after| !matches!(after, After::Publish(..)));
        for event in &self.events {
            log.remember(Arc::clone(event));
        }
        log.set_oldest(self.core.oldest_seq);
        let (done, waiting) = oneshot::channel();
        let ticket = self.store.commit(permit, self.batch);
        // The receiver lives as long as the engine does.
        let _ = commits.send(Commit { ticket, events: self.events, after: self.after, done });
        waiting
    }

    /// Tells something.
    pub(crate) fn event(&mut self, run: Option<RunId>, kind: &str, data: Value) {
        let seq = self.core.next_seq;
        self.core.next_seq += 1;
        let event = Event { seq, time: self.now, run, kind: kind.to_owned(), data };
        self.batch.put::<Events>(&seq, &EventRow::new(&event));
        self.events.push(Arc::new(event));
    }

    /// Drops the oldest events, some at a time, so that the cost is spread.
    fn trim_events(&mut self) {
        let floor = self.core.next_seq.saturating_sub(self.core.settings.keep_events.max(1)).max(1);
        let target = floor.min(self.core.oldest_seq + 4 * self.events.len() as u64 + 16);
        if self.events.is_empty() || target < self.core.oldest_seq + 16 {
            return;
        }
        for seq in self.core.oldest_seq..target {
            self.batch.delete::<Events>(&seq);
        }
        self.core.oldest_seq = target;
    }

    /// The record of a run was changed by hand.
    pub(crate) fn touch(&mut self, run: RunId) {
        self.dirty.insert(run);
    }

    /// Accepts a run, or answers with the one that the same request made before.
    pub(crate) fn accept(&mut self, mut new: NewRun) -> Result<RunId, StartError> {
        if let Some(known) = self.made_by_same_request(&new)? {
            return Ok(known);
        }
        if new.refuse_if_held
            && let Some((key, holder)) = self.core.obstacle(new.run.id, &new.run.leases)
        {
            return Err(StartError::LeaseHeld { key: key.clone(), holder });
        }
        if let Origin::Parent { run, .. } | Origin::Hook(run) = &new.run.origin
            && let Some(ancestor) = self.core.runs.get(run)
        {
            new.run.lineage.clone_from(&ancestor.run.lineage);
        }
        let verdict = self.predecessors(&new.start)?;
        new.run.state = RunState::accepted(!new.start.options.after.is_empty());

        let id = new.run.id;
        self.write_indexes(&new);
        self.event(Some(id), "run.created", created(&new.run));
        self.core.adopt(Active::new(new.run, Arc::new(new.start), new.start_row, Vec::new()));
        self.dirty.insert(id);
        if let Some(event) = verdict {
            // It has just been accepted as waiting for these runs.
            let _ = self.transition(id, event);
        }
        Ok(id)
    }

    fn made_by_same_request(&self, new: &NewRun) -> Result<Option<RunId>, StartError> {
        let Some(request_id) = &new.run.request_id else { return Ok(None) };
        // The stored hash first: JSON that was read back need not be written as it was before.
        let stored = self.store.get::<Requests>(request_id)?;
        let stored = stored.and_then(|row| Some((RunId(Uuid::from_slice(&row.run).ok()?), row.digest)));
        let known = stored.or_else(|| {
            let run = self.core.requests.get(request_id)?;
            let active = self.core.runs.get(run)?;
            Some((*run, digest_of(&active.run, &active.start)))
        });
        match known {
            None => Ok(None),
            Some((run, digest)) if digest != new.digest => {
                Err(StartError::RequestIdReused { request_id: request_id.clone(), run })
            }
            Some((run, _)) => Ok(Some(run)),
        }
    }

    fn write_indexes(&mut self, new: &NewRun) {
        let (run, id) = (&new.run, new.run.id.0);
        self.batch.put::<Starts>(&id, &new.start_row);
        self.batch.put::<ByStatus>(&(run.state.status().number(), id), &Mark {});
        self.batch.put::<ByKind>(&(run.kind.clone(), id), &Mark {});
        for (key, value) in &run.labels {
            self.batch.put::<ByLabel>(&(format!("{key}={value}"), id), &Mark {});
        }
        if let Some(request) = &run.request_id {
            let row = RequestRow { run: id.as_bytes().to_vec(), digest: new.digest.clone() };
            self.batch.put::<Requests>(request, &row);
        }
    }

    /// What the runs to follow say already: nothing, go, or give up.
    fn predecessors(&self, start: &Start) -> Result<Option<RunEvent>, StartError> {
        let mut all_done = !start.options.after.is_empty();
        for after in &start.options.after {
            let state = match self.core.runs.get(&after.run) {
                Some(active) => active.run.state.clone(),
                None => match self.store.get::<Runs>(&after.run.0)? {
                    Some(row) => {
                        row.read(after.run).map_err(|e| StartError::Refused(Failure::internal(e)))?.state
                    }
                    None => return Err(StartError::NoPredecessor(after.run)),
                },
            };
            if !state.is_ended() {
                all_done = false;
            } else if !after.outcomes.contains(&state.status()) {
                return Ok(Some(RunEvent::PredecessorFailed(not_as_wanted(after.run, &state))));
            }
        }
        Ok(all_done.then_some(RunEvent::PredecessorsDone))
    }

    /// Moves a run and does what follows from it.
    pub(crate) fn transition(&mut self, id: RunId, event: RunEvent) -> Result<(), Refused> {
        let gone = Refused { state: "over", wanted: "changed" };
        let active = self.core.runs.get_mut(&id).ok_or(gone)?;
        let retry = match &event {
            RunEvent::Returned(run::Verdict::Retry { failure, .. } | run::Verdict::GoOn(failure)) => {
                Some(failure.clone())
            }
            _ => None,
        };
        let (state, effects) = run::step(&active.run.state, event, active.run.begun)?;
        let before = std::mem::replace(&mut active.run.state, state.clone());
        let kind = active.run.kind.clone();
        let priority = active.run.priority;
        if matches!(state, RunState::Running { .. }) && !active.run.begun {
            active.run.begun = true;
            active.run.started_at = Some(self.now);
        }
        if state.is_ended() {
            active.run.finished_at = Some(self.now);
        }

        if matches!(before, RunState::Queued { until: Turn::After }) {
            self.core.follow_no_longer(id);
        }
        self.recount(&kind, &before, &state);
        let place = (Reverse(priority), id);
        if matches!(state, RunState::Queued { until: Turn::Slot }) {
            self.core.queue.insert(place);
        } else {
            self.core.queue.remove(&place);
        }
        if before.status() != state.status() {
            self.batch.delete::<ByStatus>(&(before.status().number(), id.0));
            self.batch.put::<ByStatus>(&(state.status().number(), id.0), &Mark {});
        }
        if before != state {
            self.tell(id, &before, &state, retry.as_ref());
        }
        self.dirty.insert(id);
        for effect in effects {
            self.apply(id, &effect);
        }
        Ok(())
    }

    fn recount(&mut self, kind: &str, before: &RunState, after: &RunState) {
        let (was, is) = (before.status() == Status::Running, after.status() == Status::Running);
        let count = self.core.running.entry(kind.to_owned()).or_default();
        match (was, is) {
            (false, true) => *count += 1,
            (true, false) => *count = count.saturating_sub(1),
            _ => {}
        }
    }

    fn tell(&mut self, id: RunId, before: &RunState, state: &RunState, retry: Option<&Failure>) {
        let Some(active) = self.core.runs.get(&id) else { return };
        let run = &active.run;
        let (kind, data) = match state {
            RunState::Queued { .. } if before.is_ended() => ("run.resumed", json!({})),
            RunState::Queued { until: Turn::Retry { at } } => {
                ("run.retrying", json!({ "at": at, "attempt": run.attempt + 1, "failure": retry }))
            }
            RunState::Queued { .. } if retry.is_some() => {
                ("run.interrupted", json!({ "failure": retry, "goes_on": true }))
            }
            RunState::Queued { .. } => ("run.queued", json!({})),
            RunState::Running { ending: Some(ending) } => {
                ("run.ending", json!({ "kill": ending.kill, "reason": ending.reason }))
            }
            RunState::Running { ending: None } => ("run.started", json!({ "attempt": run.attempt })),
            RunState::Waiting { on } => ("run.waiting", json!({ "on": on })),
            _ => ("run.finished", finished(run)),
        };
        self.event(Some(id), kind, data);
    }

    fn apply(&mut self, id: RunId, effect: &Effect) {
        match effect {
            Effect::Run | Effect::Cancel | Effect::Kill => self.after.push(After::Start(id)),
            Effect::AlarmAt(at) => {
                if let Some(active) = self.core.runs.get_mut(&id) {
                    active.run.attempt += 1;
                }
                self.after.push(After::Alarm(id, *at));
            }
            Effect::ClearLastFailure => self.clear_last_failure(id),
            Effect::Finish => self.finish(id),
            Effect::Unpack => self.unpack(id),
        }
    }

    /// Takes up the last unsuccessful step again, and with it all that was lost or stopped
    /// together with it. Their launches stay as they are stored.
    fn clear_last_failure(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        active.run.finished_at = None;
        active.run.exit_code = None;
        active.run.signal = None;
        let live = |stored: &Stored| !stored.step.archived;
        let last_failed = active.steps.iter().rposition(|s| live(s) && s.step.state == StepState::Failed);
        for (place, stored) in active.steps.iter_mut().enumerate() {
            let lost = matches!(stored.step.state, StepState::Canceled | StepState::Interrupted);
            let background =
                stored.step.kind == StepKind::Background && stored.step.state != StepState::Running;
            if stored.step.archived || !(lost || background || Some(place) == last_failed) {
                continue;
            }
            stored.step.state = StepState::Running;
            stored.step.value = None;
            if matches!(stored.step.kind, StepKind::Approval | StepKind::Child | StepKind::Sleep) {
                stored.step.request = None;
            }
            stored.row.refresh(&stored.step);
            self.batch.put::<Steps>(&(id.0, u64::from(stored.step.ordinal)), &stored.row);
        }
    }

    /// The run has ended: one value remains of it.
    fn finish(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        let leases = std::mem::take(&mut active.run.leases);
        let ordinals: Vec<u32> = active.steps.iter().map(|stored| stored.step.ordinal).collect();
        let run = active.run.clone();

        if self.core.runs.get(&id).is_some_and(|active| active.packed.is_none()) {
            self.pack_unbegun(id);
        }
        self.batch.delete::<Starts>(&id.0);
        for ordinal in ordinals {
            self.batch.delete::<Steps>(&(id.0, u64::from(ordinal)));
        }
        for key in leases {
            if self.core.leases.get(&key).is_some_and(|lease| lease.run == id) {
                self.release(&key, id);
            }
        }
        self.core.approvals.retain(|_, approval| approval.run != id);
        self.core.kept += 1;
        self.release_followers(&run);
        let output = self.core.runs.get(&id).and_then(|active| small_output(active.output.as_ref()?));
        self.answer_parent(&run, output.as_ref());
        self.start_hooks(&run);
    }

    /// Sets the alarm of a retry again, after a restart.
    pub(crate) fn alarm(&mut self, run: RunId, at: Timestamp) {
        self.after.push(After::Alarm(run, at));
    }

    /// Looks again, after a restart or when one of them has ended, whether the runs to follow have
    /// ended.
    pub(crate) fn look_at_predecessors(&mut self, run: RunId) {
        let Some(start) = self.core.runs.get(&run).map(|active| Arc::clone(&active.start)) else { return };
        let event = match self.predecessors(&start) {
            Ok(event) => event,
            Err(error) => {
                let text = format!("the runs to follow cannot be asked for their outcome: {error}");
                Some(RunEvent::PredecessorFailed(Failure::new(FailureKind::Dependency, text)))
            }
        };
        if let Some(event) = event {
            let _ = self.transition(run, event);
        }
    }

    /// A run that ends without ever having begun has nothing but its start to pack, which always
    /// fits the record. All others are packed by their tasks, who may write a file for it.
    fn pack_unbegun(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        let packed = PackedRow { start: Some(active.start_row.clone()), steps: Vec::new() };
        active.packed = Some(Payload { inline: Some(prost::Message::encode_to_vec(&packed)), sha256: None });
    }

    pub(crate) fn release(&mut self, key: &LeaseKey, holder: RunId) {
        self.core.leases.remove(key);
        self.batch.delete::<Leases>(&key.0);
        self.event(Some(holder), "lease.released", json!({ "key": key }));
    }

    pub(super) fn put_lease(&mut self, key: &LeaseKey, run: RunId) {
        let row = LeaseRow { run: run.0.as_bytes().to_vec(), taken_at: self.now.as_microsecond() };
        self.batch.put::<Leases>(&key.0, &row);
    }

    fn release_followers(&mut self, ended: &Run) {
        for follower in self.core.followers.get(&ended.id).cloned().unwrap_or_default() {
            self.look_at_predecessors(follower);
        }
    }

    /// A child's end is the outcome of its parent's step.
    fn answer_parent(&mut self, child: &Run, output: Option<&Value>) {
        let Origin::Parent { run: parent, step } = &child.origin else { return };
        let Some(active) = self.core.runs.get_mut(parent) else { return };
        let waits =
            matches!(&active.run.state, RunState::Waiting { on: Wait::Child { run } } if *run == child.id);
        let waiting = |stored: &&mut Stored| {
            let step = &stored.step;
            !step.archived && step.kind == StepKind::Child && step.state == StepState::Running
        };
        if let Some(stored) = active.steps.iter_mut().filter(waiting).find(|stored| stored.step.name == *step)
        {
            stored.finish(self.now, StepState::Succeeded, Some(child_outcome(child, output)), None);
            let key = (parent.0, u64::from(stored.step.ordinal));
            self.batch.put::<Steps>(&key, &stored.row);
            // A parent that does not wait at the moment is to look at it as well.
            self.dirty.insert(*parent);
        }
        if waits {
            let _ = self.transition(*parent, RunEvent::Woken);
        }
    }

    fn start_hooks(&mut self, ended: &Run) {
        if matches!(ended.origin, Origin::Hook(_)) {
            return;
        }
        for hook in (self.hooks)(ended, self.now) {
            if let Err(error) = self.accept(hook) {
                self.event(Some(ended.id), "hook.failed", json!({ "error": error.to_string() }));
            }
        }
    }

    /// An ended run goes on: its rows are active again. The engine has read them into memory.
    fn unpack(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        let packed = active.packed.take();
        self.batch.put::<Starts>(&id.0, &active.start_row);
        for stored in &active.steps {
            self.batch.put::<Steps>(&(id.0, u64::from(stored.step.ordinal)), &stored.row);
        }
        if let Some(request) = &active.run.request_id {
            self.core.requests.insert(request.clone(), id);
        }
        let waiting = waiting_approvals(active);
        self.core.approvals.extend(waiting.into_iter().map(|approval| (approval.id, approval)));
        self.core.kept = self.core.kept.saturating_sub(1);
        self.remove_values(packed.and_then(|packed| packed.sha256).into_iter().collect());
    }

    /// Removes files that no row names once the batch is on disk.
    pub(crate) fn remove_values(&mut self, files: Vec<String>) {
        if !files.is_empty() {
            self.after.push(After::RemoveValues(files));
        }
    }

    /// Forgets the oldest archived steps beyond a number.
    pub(crate) fn trim_archive(&mut self, run: RunId, keep: usize) {
        let Some(active) = self.core.runs.get_mut(&run) else { return };
        let archived = active.steps.iter().filter(|stored| stored.step.archived).count();
        let mut surplus = archived.saturating_sub(keep);
        let mut directories = Vec::new();
        let (batch, files) = (&mut self.batch, self.files);
        active.steps.retain(|stored| {
            let drop = surplus > 0 && stored.step.archived;
            if drop {
                surplus -= 1;
                batch.delete::<Steps>(&(run.0, u64::from(stored.step.ordinal)));
                let attempts = stored.step.attempts.iter();
                directories
                    .extend(attempts.map(|attempt| files.attempt(run, stored.step.ordinal, attempt.number)));
            }
            !drop
        });
        let dropped = archived.saturating_sub(keep) as u64;
        if dropped > 0 {
            active.run.steps_dropped += dropped;
            self.dirty.insert(run);
            self.after.push(After::Remove(directories));
        }
    }

    /// Takes over how a process ended into the record of its run, in the batch of its step.
    pub(crate) fn note_exit(&mut self, run: RunId, step: &Step) {
        if !matches!(step.kind, StepKind::Process | StepKind::Background) {
            return;
        }
        let (Some(active), Some(attempt)) = (self.core.runs.get_mut(&run), step.attempts.last()) else {
            return;
        };
        active.run.usage.add(attempt.usage);
        if step.kind == StepKind::Process {
            (active.run.exit_code, active.run.signal) = (attempt.exit_code, attempt.signal);
        }
        self.dirty.insert(run);
    }

    /// Stores a step that is new or has changed.
    pub(crate) fn put_step(&mut self, run: RunId, stored: Stored) {
        let Some(active) = self.core.runs.get_mut(&run) else { return };
        self.batch.put::<Steps>(&(run.0, u64::from(stored.step.ordinal)), &stored.row);
        match active.steps.binary_search_by_key(&stored.step.ordinal, |s| s.step.ordinal) {
            Ok(place) => active.steps[place] = stored,
            Err(place) => active.steps.insert(place, stored),
        }
    }
}

impl Stored {
    /// Gives a step its outcome. Only for small values: see [`Stored`].
    pub(crate) fn finish(
        &mut self,
        now: Timestamp,
        state: StepState,
        value: Option<Value>,
        failure: Option<Failure>,
    ) {
        self.step.finish(now, state, value, failure);
        self.row.refresh(&self.step);
    }

    /// Takes a finished step out of the replay: what it was asked and what came of it is of no
    /// use any longer, that it was there is. Returns the files that it named.
    pub(crate) fn archive(&mut self) -> Vec<String> {
        let files = self.row.files();
        self.step.archived = true;
        self.step.request = None;
        self.step.value = None;
        self.row.refresh(&self.step);
        files
    }
}

fn not_as_wanted(run: RunId, state: &RunState) -> Failure {
    let text = format!("run {run}, which this one was to follow, is {}", state.word());
    Failure::new(FailureKind::Dependency, text)
}

fn created(run: &Run) -> Value {
    json!({ "kind": run.kind, "name": run.name, "labels": run.labels })
}

fn finished(run: &Run) -> Value {
    json!({
        "kind": run.kind,
        "name": run.name,
        "labels": run.labels,
        "state": run.state.word(),
        "failure": run.state.failure(),
        "exit_code": run.exit_code,
        "signal": run.signal,
        "lineage": run.lineage,
    })
}

/// What a run returned, if that is small enough to be kept in its record.
fn small_output(output: &Payload) -> Option<Value> {
    serde_json::from_slice(output.inline.as_deref()?).ok()
}

/// What a parent's step is told of a child's end.
pub(crate) fn child_outcome(child: &Run, output: Option<&Value>) -> Value {
    json!({
        "run": child.id,
        "state": child.state.word(),
        "failure": child.state.failure(),
        "exit_code": child.exit_code,
        "signal": child.signal,
        "output": output,
    })
}

/// What a request asked for, in a hash: a retry must ask for the same.
pub(crate) fn digest_of(run: &Run, start: &Start) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let asked = json!({ "kind": run.kind, "spec": start.spec, "options": start.options });
    Sha256::digest(crate::run::tables::to_json(&asked)).to_vec()
}
