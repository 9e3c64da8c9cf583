//! Runs that were active and cannot be read back.
//!
//! One such run must not keep the others from going on. It is set aside: shown as failed, with what is wrong and what
//! to do, while its rows stay in the store as they are until a person has it forgotten.

use jiff::Timestamp;

use crate::control::RunError;
use crate::core::Tx;
use crate::engine::Engine;
use crate::failure::{Failure, FailureKind};
use crate::run::tables::{RunRow, Runs, Starts, Steps};
use crate::run::{Origin, Run, RunId, RunState};
use crate::store::{Order, Store, StoreError};

/// What a person can do about it.
const HINT: &str = "its rows are left as they are: a newer program may read them, `spindle daemon export` writes \
                    them down, and `spindle run rm` forgets the run; processes that it had may still be there";

/// Whether an error is about the rows of one run, and not about the store as a whole.
pub(crate) fn is_of_one_run(error: &RunError) -> bool {
    matches!(error, RunError::BadRow(_) | RunError::NotFound(_) | RunError::Store(StoreError::Row { .. }))
}

/// What is shown of a run whose rows cannot be read: as much as there is of its record.
pub(crate) fn unreadable(store: &Store, id: RunId, problem: &RunError) -> Run {
    let problem = match problem {
        RunError::NotFound(_) => "a part of what is stored of it is missing".to_owned(),
        RunError::Store(error) => error.to_string(),
        other => other.to_string(),
    };
    // What can be read of the record was read before; whatever is wrong now was wrong then.
    let row = store.get::<Runs>(&id.0).ok().flatten().unwrap_or_default();
    shown(id, &row, &problem)
}

/// The record of a run, with the problem as its state.
pub(crate) fn shown(id: RunId, row: &RunRow, problem: &str) -> Run {
    let failure =
        Failure::new(FailureKind::Other("unreadable".to_owned()), problem.to_owned()).with_hint(HINT);
    let state = RunState::Failed { failure };
    let mut run = row.read_as(id, state, Origin::Client);
    if row.created_at == 0 {
        // The id tells as well.
        let since_epoch = id.0.get_timestamp().map(|time| time.to_unix());
        let made =
            since_epoch.and_then(|(seconds, _)| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
        run.created_at = made.unwrap_or(run.created_at);
    }
    run
}

impl Engine {
    /// The active runs that could not be read back, each as it is shown.
    pub fn unreadable_runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = self.core().unreadable.values().cloned().collect();
        runs.sort_by_key(|run| run.id);
        runs
    }

    pub(crate) fn unreadable_run(&self, run: RunId) -> Option<Run> {
        self.core().unreadable.get(&run).cloned()
    }
}

impl Tx<'_> {
    /// Deletes what only an active run has.
    pub(crate) fn forget_unreadable(&mut self, run: RunId) -> Result<(), StoreError> {
        self.core.unreadable.remove(&run);
        self.batch.delete::<Starts>(&run.0);
        for key in self.store.keys::<Steps>((run.0, 0)..=(run.0, u64::MAX), Order::Ascending) {
            self.batch.delete::<Steps>(&key?);
        }
        let held = self.core.leases.iter().filter(|(_, lease)| lease.run == run);
        let held: Vec<_> = held.map(|(key, _)| key.clone()).collect();
        for key in held {
            self.release(&key, run);
        }
        Ok(())
    }
}
