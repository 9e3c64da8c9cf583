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
    ///
    /// What began after that step had failed followed from the failure (a clean-up, say) and leaves the replay: it
    /// is done anew, or not at all. Unless some of it was lost or stopped itself: then the workflow had gone on from
    /// the failure, which stays, and goes on from there.
    pub(super) fn clear_last_failure(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        active.run.finished_at = None;
        active.run.exit_code = None;
        active.run.signal = None;
        let live = |stored: &Stored| !stored.step.archived;
        let last_failed = active.steps.iter().rposition(|s| live(s) && s.step.state == StepState::Failed);
        let failed_at = last_failed.and_then(|place| active.steps[place].step.attempts.last()?.finished_at);
        let follows = |place: usize, stored: &Stored| {
            let begun_at = stored.step.attempts.first().map(|attempt| attempt.started_at);
            last_failed.is_some_and(|failed| place > failed) && begun_at >= failed_at
        };
        let steps = || active.steps.iter().enumerate().filter(|(_, stored)| live(stored));
        let went_on = steps().any(|(place, stored)| stored.is_lost() && follows(place, stored));
        let last_failed = last_failed.filter(|_| !went_on);
        let followed: Vec<bool> = active
            .steps
            .iter()
            .enumerate()
            .map(|(place, stored)| {
                last_failed.is_some() && live(stored) && !stored.is_background() && follows(place, stored)
            })
            .collect();
        let mut files = Vec::new();
        for (place, stored) in active.steps.iter_mut().enumerate() {
            if followed[place] {
                files.extend(stored.archive());
                self.batch.put::<Steps>(&(id.0, u64::from(stored.step.ordinal)), &stored.row);
                continue;
            }
            let background = stored.is_background() && stored.step.state != StepState::Running;
            if stored.step.archived || !(stored.is_lost() || background || Some(place) == last_failed) {
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
        self.remove_values(files);
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
    /// Whether it came to no end of its own.
    fn is_lost(&self) -> bool {
        matches!(self.step.state, StepState::Canceled | StepState::Interrupted)
    }

    fn is_background(&self) -> bool {
        self.step.kind == StepKind::Background
    }

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
