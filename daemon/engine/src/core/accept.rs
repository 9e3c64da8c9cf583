//! Accepting a run: the request that made it, its indexes, and the runs that it is to follow.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Active;
use super::tx::Tx;
use crate::failure::{Failure, FailureKind};
use crate::run::tables::{ByKind, ByLabel, ByStatus, Mark, RequestRow, Requests, Runs, StartRow, Starts};
use crate::run::{LeaseKey, Origin, Run, RunEvent, RunId, RunState, Start};
use crate::store::StoreError;

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

impl Tx<'_> {
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

    pub(super) fn made_by_same_request(&self, new: &NewRun) -> Result<Option<RunId>, StartError> {
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

    pub(super) fn write_indexes(&mut self, new: &NewRun) {
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
    pub(super) fn predecessors(&self, start: &Start) -> Result<Option<RunEvent>, StartError> {
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
}

fn not_as_wanted(run: RunId, state: &RunState) -> Failure {
    let text = format!("run {run}, which this one was to follow, is {}", state.word());
    Failure::new(FailureKind::Dependency, text)
}

fn created(run: &Run) -> Value {
    json!({ "kind": run.kind, "name": run.name, "labels": run.labels })
}

/// What a request asked for, in a hash: a retry must ask for the same.
pub(crate) fn digest_of(run: &Run, start: &Start) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let asked = json!({ "kind": run.kind, "spec": start.spec, "options": start.options });
    Sha256::digest(crate::run::tables::to_json(&asked)).to_vec()
}
