//! Waits: for a time, a person, another run. A waiting run has no slot and keeps its leases.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{RunContext, Visit, canceled, decode, either, ending};
use crate::approval::{Approval, Decision, Verdict};
use crate::control::RunError;
use crate::core::{Active, StartError, Stored, Tx, child_outcome};
use crate::failure::{Failure, FailureKind, cut};
use crate::run::tables::to_json;
use crate::run::{
    Origin, RunEvent, RunId, RunState, StartOptions, StartRun, Step, StepKind, StepState, Wait,
};

/// How a sleep ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slept {
    /// The time came.
    Through,
    /// The run was told something (see [`RunContext::told`]) before or during the sleep.
    Told,
}

/// How a child run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildEnd {
    /// Its id.
    pub run: RunId,
    /// The word for its state.
    pub state: String,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// Exit code of its last process.
    pub exit_code: Option<i32>,
    /// Signal that killed its last process.
    pub signal: Option<i32>,
    /// Its output, if that is small.
    pub output: Option<Value>,
}

impl RunContext {
    /// Sleeps until a time, or until the run is told something.
    pub async fn sleep_until(&self, name: &str, until: Timestamp) -> Result<Slept, Failure> {
        let _awaited = self.awaiting(name);
        let until = match self.visit(name, StepKind::Sleep).await {
            Visit::Done(Ok(value)) => return Ok(decode(self, name, value).await),
            Visit::Done(Err(failure)) => return Err(failure),
            Visit::Begun(step) if step.request.is_some() => {
                decode(self, name, step.request.unwrap_or_default()).await
            }
            Visit::Begun(_) | Visit::New => {
                self.suspend(name, StepKind::Sleep, json!(until), Wait::Time { until }).await?;
                until
            }
        };
        let told = async {
            let mut seen = self.shared.seen.clone();
            let _ = seen.wait_for(|seen| !seen.signals.is_empty()).await;
            Some(Slept::Told)
        };
        let over = async {
            self.shared.engine.clock().sleep_until(until).await;
            Some(Slept::Through)
        };
        let ended = async {
            self.canceled().await;
            None
        };
        let slept = either(either(over, told), ended).await;
        self.wake(name, slept.as_ref().map(|slept| json!(slept))).await?;
        slept.ok_or_else(|| self.cancellation())
    }

    /// Asks a person, and waits for the answer, or for the time limit, when `default` is taken.
    pub async fn approval(
        &self,
        name: &str,
        prompt: &str,
        expires_at: Option<Timestamp>,
        default: Verdict,
    ) -> Result<Decision, Failure> {
        let _awaited = self.awaiting(name);
        let approval: Approval = match self.visit(name, StepKind::Approval).await {
            Visit::Done(Ok(value)) => return decision(decode(self, name, value).await),
            Visit::Done(Err(failure)) => return Err(failure),
            Visit::Begun(step) if step.request.is_some() => {
                decode(self, name, step.request.unwrap_or_default()).await
            }
            Visit::Begun(_) | Visit::New => {
                let mut prompt = prompt.to_owned();
                cut(&mut prompt, 2000);
                let approval = Approval {
                    id: uuid::Uuid::now_v7(),
                    run: self.shared.run,
                    step: name.to_owned(),
                    prompt,
                    requested_at: self.shared.engine.now(),
                    expires_at,
                    default,
                    decision: None,
                };
                let wait = Wait::Approval { approval: approval.id };
                self.suspend(name, StepKind::Approval, json!(approval), wait).await?;
                approval
            }
        };
        let limit = async {
            if let Some(at) = approval.expires_at {
                self.shared.engine.clock().sleep_until(at).await;
                // Somebody may have been quicker: then this changes nothing.
                let _ = self.shared.engine.decide(approval.id, approval.default, "time limit", "").await;
            }
            std::future::pending::<()>().await;
        };
        either(self.no_longer_waiting(), limit).await;
        match self.outcome(name, StepKind::Approval) {
            Some(value) => decision(decode(self, name, value).await),
            None => Err(self.cancel_wait(name).await),
        }
    }

    /// Starts another run and waits for its end.
    pub async fn child(
        &self,
        name: &str,
        kind: &str,
        spec: Value,
        options: StartOptions,
    ) -> Result<ChildEnd, Failure> {
        let _awaited = self.awaiting(name);
        match self.visit(name, StepKind::Child).await {
            Visit::Done(Ok(value)) => return Ok(decode(self, name, value).await),
            Visit::Done(Err(failure)) => return Err(failure),
            Visit::Begun(step) if step.request.is_some() => self.take_up_child(name).await?,
            Visit::Begun(_) | Visit::New => self.start_child(name, kind, spec, options).await?,
        }
        self.no_longer_waiting().await;
        if let Some(value) = self.outcome(name, StepKind::Child) {
            return Ok(decode(self, name, value).await);
        }
        // This run is asked to end: so is the child, and its end is waited for.
        let ending = self.ending();
        if let (Some(child), Some(ending)) = (self.child_of(name), ending) {
            let engine = &self.shared.engine;
            let asked = if ending.kill {
                engine.kill(child, "its parent was killed").await
            } else {
                engine.cancel(child, "its parent was canceled").await
            };
            if asked.is_ok() {
                let _ = engine.wait(child).await;
            }
        }
        Err(self.cancel_wait(name).await)
    }

    fn child_of(&self, name: &str) -> Option<RunId> {
        serde_json::from_value(self.request(name)?["run"].clone()).ok()
    }

    /// A child that has ended while its parent was over, and could not be told, has its outcome in
    /// its own record.
    async fn take_up_child(&self, name: &str) -> Result<(), Failure> {
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let Some(child) = self.child_of(name) else { return Ok(()) };
        if engine.active(child).is_some_and(|(record, _)| !record.state.is_ended()) {
            return Ok(());
        }
        let value = match engine.detail(child).await {
            Ok(detail) => {
                child_outcome(&detail.run, detail.run.output.as_ref().filter(|o| to_json(o).len() <= 512))
            }
            Err(RunError::NotFound(_)) => {
                return Err(Failure::new(FailureKind::Dependency, format!("child run {child} is gone")));
            }
            Err(error) => return Err(Failure::internal(error)),
        };
        engine
            .transact(|tx| {
                let now = tx.now;
                tx.change_step(run, name, |step| {
                    if step.state == StepState::Running {
                        step.finish(now, StepState::Succeeded, Some(value), None);
                    }
                });
                tx.wake(run);
                Ok::<_, Failure>(())
            })
            .await
    }

    async fn start_child(
        &self,
        name: &str,
        kind: &str,
        spec: Value,
        options: StartOptions,
    ) -> Result<(), Failure> {
        self.refuse_if_ending()?;
        let run = self.shared.run;
        let start = StartRun {
            request_id: None,
            kind: kind.to_owned(),
            spec,
            options,
            origin: Origin::Parent { run, step: name.to_owned() },
            lineage: Vec::new(),
            refuse_if_held: false,
        };
        let engine = &self.shared.engine;
        let new = engine.prepare(start).await.map_err(refused)?;
        let child = new.run.id;
        let mut new = Some(new);
        let mut begin = |tx: &mut Tx<'_>| {
            let Some(new) = tx.can_wait(run).then(|| new.take()).flatten() else { return Ok(false) };
            tx.accept(new)?;
            let mut step = tx.begin_step(run, name, StepKind::Child, json!({ "run": child }));
            if let Some(ended) = tx.core.runs.get(&child).filter(|active| active.run.state.is_ended()) {
                let outcome = child_outcome(&ended.run, None);
                step.finish(tx.now, StepState::Succeeded, Some(outcome), None);
                tx.put_step(run, step);
                return Ok(true);
            }
            tx.put_step(run, step);
            tx.event(Some(run), "step.started", json!({ "step": name, "kind": "child", "child": child }));
            // A parent that is asked to end does not wait.
            let _ = tx.transition(run, RunEvent::Suspended(Wait::Child { run: child }));
            Ok::<_, StartError>(true)
        };
        while !engine.transact(&mut begin).await.map_err(refused)? {
            self.has_slot_or_waits().await;
        }
        Ok(())
    }

    /// Stores a wait and gives up the slot, in one batch.
    async fn suspend(&self, name: &str, kind: StepKind, request: Value, on: Wait) -> Result<(), Failure> {
        self.refuse_if_ending()?;
        let run = self.shared.run;
        let begin = |tx: &mut Tx<'_>| {
            if let Some(ending) = tx.core.runs.get(&run).and_then(|active| ending(&active.run.state)) {
                return Err(canceled(&ending));
            }
            if !tx.can_wait(run) {
                return Ok(false);
            }
            let step = tx.begin_step(run, name, kind, request.clone());
            tx.put_step(run, step);
            tx.event(Some(run), "step.started", json!({ "step": name, "kind": kind.word() }));
            if kind == StepKind::Approval
                && let Ok(approval) = serde_json::from_value::<Approval>(request.clone())
            {
                let data = json!({ "approval": approval.id, "prompt": approval.prompt, "expires_at": approval.expires_at });
                tx.event(Some(run), "approval.requested", data);
                tx.core.approvals.insert(approval.id, approval);
            }
            let _ = tx.transition(run, RunEvent::Suspended(on.clone()));
            Ok::<_, Failure>(true)
        };
        // Resolves when the new state is seen: what follows watches for the end of it.
        while !self.shared.engine.transact(&begin).await? {
            self.has_slot_or_waits().await;
        }
        Ok(())
    }

    /// Stores the end of a sleep (none: it was cut off) and waits for a slot.
    async fn wake(&self, name: &str, value: Option<Value>) -> Result<(), Failure> {
        let run = self.shared.run;
        let canceled = self.ending().map(|ending| canceled(&ending));
        let done = self.shared.engine.transact(|tx| {
            let now = tx.now;
            let state = if value.is_some() { StepState::Succeeded } else { StepState::Canceled };
            tx.change_step(run, name, |step| step.finish(now, state, value, canceled));
            tx.wake(run);
            Ok::<_, Failure>(())
        });
        done.await?;
        self.has_slot().await
    }

    async fn cancel_wait(&self, name: &str) -> Failure {
        let failure = self.cancellation();
        let (run, stored) = (self.shared.run, failure.clone());
        let done = self.shared.engine.transact(|tx| {
            let now = tx.now;
            tx.change_step(run, name, |step| step.finish(now, StepState::Canceled, None, Some(stored)));
            Ok::<_, Failure>(())
        });
        done.await.err().unwrap_or(failure)
    }

    /// Resolves when the run has a slot again, or is asked to end.
    async fn has_slot(&self) -> Result<(), Failure> {
        let mut seen = self.shared.seen.clone();
        let _ = seen.wait_for(|seen| matches!(seen.state, RunState::Running { .. })).await;
        Ok(())
    }

    /// Resolves when the run may begin to wait: not while it has been woken from other waits and has no slot yet.
    async fn has_slot_or_waits(&self) {
        let mut seen = self.shared.seen.clone();
        let _ = seen.wait_for(|seen| !matches!(seen.state, RunState::Queued { .. })).await;
    }

    async fn no_longer_waiting(&self) {
        let mut seen = self.shared.seen.clone();
        loop {
            let (runs, ends) = {
                let seen = seen.borrow_and_update();
                (matches!(seen.state, RunState::Running { .. }), ending(&seen.state).is_some())
            };
            // The state in which it waits may not be visible yet; a step with an outcome is enough. The core is
            // asked after the view is given back: who publishes a view has the core already.
            if runs && (ends || !self.waits()) || seen.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether something that the run waits for is still without an outcome.
    fn waits(&self) -> bool {
        let core = self.shared.engine.core();
        core.runs.get(&self.shared.run).is_some_and(|active| active.open_waits().next().is_some())
    }

    /// The value that somebody else has given to a step that waits.
    fn outcome(&self, name: &str, kind: StepKind) -> Option<Value> {
        let core = self.shared.engine.core();
        let step = core.runs.get(&self.shared.run)?.step(name)?;
        (step.kind == kind && step.state == StepState::Succeeded)
            .then(|| step.value.clone().unwrap_or_default())
    }

    fn request(&self, name: &str) -> Option<Value> {
        self.shared.engine.core().runs.get(&self.shared.run)?.step(name)?.request.clone()
    }

    fn cancellation(&self) -> Failure {
        let ending = self.ending();
        ending.map_or_else(|| Failure::internal("a wait ended without a reason"), |ending| canceled(&ending))
    }
}

fn decision(approval: Approval) -> Result<Decision, Failure> {
    approval.decision.ok_or_else(|| Failure::internal("the approval has an outcome and no decision"))
}

fn refused(error: StartError) -> Failure {
    match error {
        StartError::Refused(failure) => failure,
        other => Failure::new(FailureKind::Invalid, other.to_string()),
    }
}

impl Active {
    /// The steps in which the run waits for something that has not come yet.
    fn open_waits(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().map(|stored| &stored.step).filter(|step| {
            let waits = matches!(step.kind, StepKind::Approval | StepKind::Child | StepKind::Sleep);
            let open = !step.archived && step.state == StepState::Running;
            waits && open && !self.given_up.contains(&step.name)
        })
    }
}

/// Stands for a workflow that waits: when it no longer does (the wait lost a race against something else), the run
/// must not be kept waiting by it.
struct Awaited<'a> {
    context: &'a RunContext,
    name: &'a str,
}

impl RunContext {
    fn awaiting<'a>(&'a self, name: &'a str) -> Awaited<'a> {
        if let Some(active) = self.shared.engine.core().runs.get_mut(&self.shared.run) {
            active.given_up.remove(name);
        }
        Awaited { context: self, name }
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let (engine, run) = (&self.context.shared.engine, self.context.shared.run);
        {
            let mut core = engine.core();
            let Some(active) = core.runs.get_mut(&run) else { return };
            if !active.open_waits().any(|step| step.name == self.name) {
                return;
            }
            active.given_up.insert(self.name.to_owned());
        }
        let engine = engine.clone();
        // Outside of a runtime everything comes to its end anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let woken = engine.transact(|tx| {
                    tx.wake(run);
                    Ok::<_, Failure>(())
                });
                // The daemon goes down: the next one sees it given up as well.
                let _ = woken.await;
            });
        }
    }
}

/// What a step that waits, waits for.
fn wait_of(step: &Step) -> Option<Wait> {
    let request = step.request.clone()?;
    Some(match step.kind {
        StepKind::Sleep => Wait::Time { until: serde_json::from_value(request).ok()? },
        StepKind::Approval => {
            Wait::Approval { approval: serde_json::from_value(request["id"].clone()).ok()? }
        }
        StepKind::Child => Wait::Child { run: serde_json::from_value(request["run"].clone()).ok()? },
        _ => return None,
    })
}

impl Stored {
    /// A step whose values are small enough for its row.
    pub(crate) fn small(step: Step) -> Self {
        let row = crate::run::tables::StepRow::small(&step);
        Self { step, row }
    }
}

impl Tx<'_> {
    /// Whether the run is in a state in which it can begin to wait: at work, or waiting for something else.
    fn can_wait(&self, run: RunId) -> bool {
        let state = self.core.runs.get(&run).map(|active| &active.run.state);
        matches!(state, Some(RunState::Running { .. } | RunState::Waiting { .. }))
    }

    /// Something that the run waited for has come. It goes on when nothing else is open: until then it needs no
    /// slot, and if it took one, a child that it waits for might never get its own.
    pub(crate) fn wake(&mut self, run: RunId) {
        let Some(active) = self.core.runs.get(&run) else { return };
        let RunState::Waiting { on } = &active.run.state else { return };
        let open: Vec<Wait> = active.open_waits().filter_map(wait_of).collect();
        match open.first() {
            None => drop(self.transition(run, RunEvent::Woken)),
            Some(_) if open.contains(on) => {}
            Some(next) => {
                let next = next.clone();
                let _ = self.transition(run, RunEvent::Suspended(next));
            }
        }
    }

    /// A step that begins now: anew, or once more if it is known.
    pub(crate) fn begin_step(&mut self, run: RunId, name: &str, kind: StepKind, request: Value) -> Stored {
        let active = self.core.runs.get_mut(&run);
        let known = active.as_ref().and_then(|active| active.step(name).cloned());
        let mut step = if let Some(mut step) = known {
            step.begin_attempt(self.now);
            step
        } else {
            Step::begun(active.map_or(0, Active::take_ordinal), name, kind, None, self.now)
        };
        step.request = Some(request);
        Stored::small(step)
    }

    /// Changes a step that is in memory and has small values only.
    pub(crate) fn change_step(&mut self, run: RunId, name: &str, change: impl FnOnce(&mut Step)) {
        let step = self.core.runs.get(&run).and_then(|active| active.step(name).cloned());
        if let Some(mut step) = step {
            change(&mut step);
            self.put_step(run, Stored::small(step));
        }
    }
}
