//! The end of a run: one value remains of it, and those that wait for it go on. And its resumption.

use serde_json::{Value, json};

use super::Stored;
use super::tx::Tx;
use crate::approval::waiting_approvals;
use crate::run::tables::{PackedRow, Payload, Starts, Steps};
use crate::run::{Origin, Run, RunId, StepKind, StepState};

impl Tx<'_> {
    /// The run has ended: one value remains of it.
    pub(super) fn finish(&mut self, id: RunId) {
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

    /// A run that ends without ever having begun has nothing but its start to pack, which always
    /// fits the record. All others are packed by their tasks, who may write a file for it.
    pub(super) fn pack_unbegun(&mut self, id: RunId) {
        let Some(active) = self.core.runs.get_mut(&id) else { return };
        let packed = PackedRow { start: Some(active.start_row.clone()), steps: Vec::new() };
        active.packed = Some(Payload { inline: Some(prost::Message::encode_to_vec(&packed)), sha256: None });
    }

    pub(super) fn release_followers(&mut self, ended: &Run) {
        for follower in self.core.followers.get(&ended.id).cloned().unwrap_or_default() {
            self.look_at_predecessors(follower);
        }
    }

    /// A child's end is the outcome of its parent's step.
    pub(super) fn answer_parent(&mut self, child: &Run, output: Option<&Value>) {
        let Origin::Parent { run: parent, step } = &child.origin else { return };
        let Some(active) = self.core.runs.get_mut(parent) else { return };
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
        self.wake(*parent);
    }

    pub(super) fn start_hooks(&mut self, ended: &Run) {
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
    pub(super) fn unpack(&mut self, id: RunId) {
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
