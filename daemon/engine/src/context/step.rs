//! Steps in the daemon, events told once, and checkpoints of loops.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{RunContext, Visit, decode};
use crate::core::{Active, Stored};
use crate::failure::{Failure, FailureKind};
use crate::run::tables::{Steps, to_json};
use crate::run::{Step, StepKind, StepState};

/// How many steps from before the last checkpoint are kept to be looked at.
const ARCHIVE: usize = 100;

/// The largest data of an event, in bytes of JSON.
const EVENT_LIMIT: usize = 6 * 1024;

impl RunContext {
    /// Does some work in the daemon and stores its outcome. Done at least once: when the daemon
    /// dies in the middle it is done again, so it must be idempotent.
    pub async fn step<T, F>(&self, name: &str, work: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Failure>>,
    {
        match self.visit(name, StepKind::Code).await {
            Visit::Done(Ok(value)) => return Ok(decode(self, name, value).await),
            Visit::Done(Err(failure)) => return Err(failure),
            Visit::Begun(_) | Visit::New => {}
        }
        self.begin_in_memory(name);
        let result = work.await;
        let (state, value, failure) = match &result {
            Ok(value) => {
                (StepState::Succeeded, Some(serde_json::to_value(value).map_err(Failure::internal)?), None)
            }
            Err(failure) => (StepState::Failed, None, Some(failure.clone())),
        };
        self.finish_step(name, |step, now| step.finish(now, state, value, failure)).await?;
        result
    }

    /// Tells something, once, however often the code comes here.
    pub async fn emit(&self, key: &str, kind: &str, data: Value) -> Result<(), Failure> {
        let name = format!("emit {key}");
        if to_json(&data).len() > EVENT_LIMIT {
            let text = format!("the data of event {kind:?} has more than {EVENT_LIMIT} bytes");
            return Err(Failure::new(FailureKind::Invalid, text));
        }
        if let Visit::Done(_) = self.visit(&name, StepKind::Event).await {
            return Ok(());
        }
        let run = self.shared.run;
        let done = self.shared.engine.transact(|tx| {
            let ordinal = tx.core.runs.get_mut(&run).map_or(0, Active::take_ordinal);
            let mut step = Step::begun(ordinal, &name, StepKind::Event, None, tx.now);
            step.finish(tx.now, StepState::Succeeded, None, None);
            tx.put_step(run, Stored::small(step));
            tx.event(Some(run), kind, data);
            Ok::<_, Failure>(())
        });
        done.await
    }

    /// The state that the last [`RunContext::checkpoint`] stored, if there was one.
    pub async fn restored<T: DeserializeOwned>(&self) -> Option<T> {
        let value = {
            let core = self.shared.engine.core();
            let steps = &core.runs.get(&self.shared.run)?.steps;
            let found = steps.iter().rfind(|stored| stored.step.kind == StepKind::Checkpoint);
            found?.step.value.clone()?
        };
        Some(decode(self, "checkpoint", value).await)
    }

    /// Stores the state of a loop. Finished steps from before are no longer part of the replay,
    /// which starts from here: their names may be used again, and only the newest are kept to be
    /// looked at.
    pub async fn checkpoint<T: Serialize>(&self, state: &T) -> Result<(), Failure> {
        let value = serde_json::to_value(state).map_err(Failure::internal)?;
        let run = self.shared.run;
        let now = self.shared.engine.now();
        let mut step = Step::begun(self.take_ordinal(), "checkpoint", StepKind::Checkpoint, None, now);
        step.finish(now, StepState::Succeeded, Some(value), None);
        let stored = self.shared.engine.store_values(run, step).await?;

        let visited = self.replay().visited.clone();
        let mut archived = Vec::new();
        let done = self.shared.engine.transact(|tx| {
            let Some(active) = tx.core.runs.get_mut(&run) else { return Ok::<_, Failure>(()) };
            let mut files = Vec::new();
            for old in &mut active.steps {
                let finished = old.step.state != StepState::Running && old.step.kind != StepKind::Background;
                if !old.step.archived
                    && finished
                    && (old.step.kind == StepKind::Checkpoint || visited.contains(&old.step.name))
                {
                    files.extend(old.archive());
                    tx.batch.put::<Steps>(&(run.0, u64::from(old.step.ordinal)), &old.row);
                    archived.push(old.step.name.clone());
                }
            }
            tx.remove_values(files);
            tx.put_step(run, stored);
            tx.trim_archive(run, ARCHIVE);
            Ok(())
        });
        done.await?;
        let mut replay = self.replay();
        for name in archived {
            replay.visited.remove(&name);
        }
        Ok(())
    }

    /// Shows a step as running. Nothing is stored: if the daemon dies, the step was never begun.
    fn begin_in_memory(&self, name: &str) {
        let now = self.shared.engine.now();
        let mut core = self.shared.engine.core();
        let Some(active) = core.runs.get_mut(&self.shared.run) else { return };
        let mut known = active.steps.iter_mut().filter(|stored| !stored.step.archived);
        if let Some(again) = known.rfind(|stored| stored.step.name == name) {
            again.step.begin_attempt(now);
            return;
        }
        let step = Step::begun(active.take_ordinal(), name, StepKind::Code, None, now);
        active.steps.push(Stored::small(step));
    }

    /// Stores the outcome of a step that is in memory.
    pub(super) async fn finish_step(
        &self,
        name: &str,
        change: impl FnOnce(&mut Step, jiff::Timestamp),
    ) -> Result<(), Failure> {
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let step = engine.core().runs.get(&run).and_then(|active| active.step(name).cloned());
        let Some(mut step) = step else {
            return Err(Failure::internal(format!("step {name:?} of run {run} is not in memory")));
        };
        change(&mut step, engine.now());
        let stored = engine.store_values(run, step).await?;
        let done = engine.transact(|tx| {
            let data = json!({
                "step": stored.step.name,
                "kind": stored.step.kind.word(),
                "state": stored.step.state.word(),
                "attempt": stored.step.attempts.last().map(|attempt| attempt.number),
                "failure": stored.step.attempts.last().and_then(|attempt| attempt.failure.clone()),
            });
            tx.event(Some(run), "step.finished", data);
            tx.note_exit(run, &stored.step);
            tx.put_step(run, stored);
            Ok::<_, Failure>(())
        });
        done.await
    }
}
