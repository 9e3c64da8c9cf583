//! What is asked of runs that are there, and of the engine as a whole.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::approval::{Approval, Decision, Verdict};
use crate::engine::Engine;
use crate::failure::{Failure, cut};
use crate::run::{Ending, LeaseKey, Refused, RunEvent, RunId, RunState, StepState, Turn};
use crate::store::StoreError;

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

impl Engine {
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
}
