//! Steps in memory and in the batch.

use jiff::Timestamp;
use serde_json::Value;

use super::Stored;
use super::commit::After;
use super::tx::Tx;
use crate::failure::Failure;
use crate::run::tables::Steps;
use crate::run::{RunId, Step, StepKind, StepState};

impl Tx<'_> {
    /// Takes up the last unsuccessful step again, and with it all that was lost or stopped
    /// together with it. Their launches stay as they are stored.
    pub(super) fn clear_last_failure(&mut self, id: RunId) {
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
