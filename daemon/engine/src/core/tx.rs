//! One change of the engine's memory, and the batch that makes it durable.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::commit::{After, Commit};
use super::{Core, Seen};
use crate::engine::Hooks;
use crate::event::{Event, EventLog, EventRow, Events};
use crate::failure::{Failure, FailureKind};
use crate::files::RunFiles;
use crate::run::tables::{ByStatus, LeaseRow, Leases, Mark, RunRow, Runs};
use crate::run::{self, Effect, LeaseKey, Refused, Run, RunEvent, RunId, RunState, Status, Turn};
use crate::store::{Batch, Permit, Store, StoreError};

/// One change. Nothing may fail once it has begun to change memory: checks come first.
pub(crate) struct Tx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) now: Timestamp,
    pub(crate) batch: Batch,
    pub(super) after: Vec<After>,
    pub(crate) store: &'a Store,
    pub(super) files: &'a RunFiles,
    pub(super) hooks: &'a Hooks,
    pub(super) events: Vec<Arc<Event>>,
    pub(super) dirty: BTreeSet<RunId>,
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
    pub(super) fn trim_events(&mut self) {
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

    pub(super) fn recount(&mut self, kind: &str, before: &RunState, after: &RunState) {
        let (was, is) = (before.status() == Status::Running, after.status() == Status::Running);
        let count = self.core.running.entry(kind.to_owned()).or_default();
        match (was, is) {
            (false, true) => *count += 1,
            (true, false) => *count = count.saturating_sub(1),
            _ => {}
        }
    }

    pub(super) fn tell(&mut self, id: RunId, before: &RunState, state: &RunState, retry: Option<&Failure>) {
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

    pub(super) fn apply(&mut self, id: RunId, effect: &Effect) {
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

    pub(crate) fn release(&mut self, key: &LeaseKey, holder: RunId) {
        self.core.leases.remove(key);
        self.batch.delete::<Leases>(&key.0);
        self.event(Some(holder), "lease.released", json!({ "key": key }));
    }

    pub(super) fn put_lease(&mut self, key: &LeaseKey, run: RunId) {
        let row = LeaseRow { run: run.0.as_bytes().to_vec(), taken_at: self.now.as_microsecond() };
        self.batch.put::<Leases>(&key.0, &row);
    }
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
