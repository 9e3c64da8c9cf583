//! The face that the engine shows to a workflow.
//!
//! A [`RunContext`] makes the replay rules true: steps are known by name, a finished step returns
//! its stored value, a name used twice fails the run, and what was stored and is not visited again
//! fails it as diverged. A workflow cannot get around them: when one is broken, the future that it
//! waits on never resolves, and the engine ends the run.

mod process;
mod step;
mod wait;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::core::Seen;
use crate::engine::Engine;
use crate::failure::{Failure, FailureKind};
use crate::logs::LogHub;
use crate::process::Process;
use crate::run::{Ending, Run, RunId, RunState, Step, StepKind, StepState};

pub use process::{Background, ProcessEnd, ProcessSpec, ProcessView};
pub use wait::{ChildEnd, Slept};

/// The longest name of a step, in bytes.
const NAME_LIMIT: usize = 200;

/// How long a workflow may clean up after a cancel, counted from the end of its last process.
const CANCEL_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may after a kill, whatever its processes do.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// What a workflow sees of its run and of the engine. Clones are the same context.
#[derive(Clone)]
pub struct RunContext {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    run: RunId,
    /// The run as far as it is durable.
    seen: watch::Receiver<Seen>,
    replay: Mutex<Replay>,
    /// Processes under way, by step.
    live: watch::Sender<HashMap<String, Process>>,
    /// Processes that are being started.
    launching: TaskTracker,
    /// Why the replay cannot go on, once it cannot.
    broken: watch::Sender<Option<Failure>>,
    /// The workflow has returned: background processes are to end.
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Replay {
    visited: HashSet<String>,
    background: JoinSet<()>,
}

/// What the store knows of a step that the replay has come to.
enum Visit {
    /// Its outcome.
    Done(Result<Value, Failure>),
    /// That it was begun.
    Begun(Box<Step>),
    /// Nothing.
    New,
}

impl RunContext {
    pub(crate) fn new(engine: Engine, run: RunId, seen: watch::Receiver<Seen>) -> Self {
        let shared = Shared {
            engine,
            run,
            seen,
            replay: Mutex::default(),
            live: watch::Sender::default(),
            launching: TaskTracker::new(),
            broken: watch::Sender::default(),
            closing: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.shared.run
    }

    /// The directory of the run, for the files that a workflow wants to keep with it.
    pub fn directory(&self) -> PathBuf {
        self.shared.engine.files().run(self.shared.run)
    }

    /// The run's own variables, as its processes get them: captured from the client or set on
    /// purpose. Secrets are not among them. Fixed when the run was accepted.
    pub fn variable(&self, name: &str) -> Option<std::ffi::OsString> {
        let core = self.shared.engine.core();
        let options = &core.runs.get(&self.shared.run)?.start.options;
        let find = |list: &[crate::run::Variable]| {
            list.iter().rfind(|variable| variable.name == name).map(|variable| variable.value.as_os_str().to_owned())
        };
        find(&options.env).or_else(|| find(&options.environment))
    }

    /// Resolves when the run is asked to end. New processes, waits and children then fail with
    /// [`FailureKind::Canceled`]; steps can still be used to clean up, for a while.
    pub async fn canceled(&self) {
        // The sender lives in the engine, which outlives every context.
        let mut seen = self.shared.seen.clone();
        let _ = seen.wait_for(|seen| ending(&seen.state).is_some()).await;
    }

    /// Asks the run to end, as its user could. For workflows that are told so from outside.
    pub async fn cancel(&self, reason: &str) {
        let _ = self.shared.engine.cancel(self.shared.run, reason).await;
    }

    /// What others have told the run by [`Engine::tell`] so far. Changes any time: use it inside
    /// steps only.
    pub fn told(&self) -> Vec<String> {
        self.shared.seen.borrow().signals.clone()
    }

    fn replay(&self) -> MutexGuard<'_, Replay> {
        self.shared.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end that was asked for, if one was.
    fn ending(&self) -> Option<Ending> {
        ending(&self.shared.seen.borrow().state)
    }

    /// Why the run ends without success, whatever its workflow says of it, if it was asked to.
    pub(crate) fn asked_to_end(&self) -> Option<Failure> {
        self.ending().as_ref().map(canceled)
    }

    fn refuse_if_ending(&self) -> Result<(), Failure> {
        self.ending().map_or(Ok(()), |ending| Err(canceled(&ending)))
    }

    /// Comes to a step: marks it as visited and looks up what the store knows of it.
    async fn visit(&self, name: &str, kind: StepKind) -> Visit {
        if name.len() > NAME_LIMIT {
            let text = format!("the name of a step has {} bytes; at most {NAME_LIMIT} fit", name.len());
            return self.break_off(Failure::new(FailureKind::Invalid, text)).await;
        }
        if !self.replay().visited.insert(name.to_owned()) {
            return self.break_off(diverged(format!("the step name {name:?} is used twice"))).await;
        }
        let step = self.shared.engine.core().runs.get(&self.shared.run).and_then(|run| run.step(name).cloned());
        let Some(step) = step else { return Visit::New };
        if step.kind != kind {
            let text =
                format!("{name:?} was stored as a {} and is now used as a {}", step.kind.word(), kind.word());
            return self.break_off(diverged(text)).await;
        }
        match step.state {
            StepState::Running => Visit::Begun(Box::new(step)),
            StepState::Succeeded => Visit::Done(Ok(step.value.unwrap_or_default())),
            StepState::Failed | StepState::Canceled => Visit::Done(Err(failure_of(&step))),
            // A process beside the others was no loss when it was lost, and is none now.
            StepState::Interrupted if kind == StepKind::Background => Visit::Done(Err(failure_of(&step))),
            StepState::Interrupted => self.break_off(failure_of(&step)).await,
        }
    }

    /// Ends the replay here: the workflow's future is dropped by whoever drives it.
    async fn break_off<T>(&self, failure: Failure) -> T {
        self.shared.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert(failure);
            first
        });
        std::future::pending().await
    }

    /// Stored steps that the replay has not come to.
    fn unvisited(&self) -> Vec<String> {
        let visited = self.replay().visited.clone();
        let core = self.shared.engine.core();
        let Some(active) = core.runs.get(&self.shared.run) else { return Vec::new() };
        let steps = active.steps.iter().map(|stored| &stored.step);
        let live = steps.filter(|step| !step.archived && step.kind != StepKind::Checkpoint);
        live.filter(|step| !visited.contains(&step.name)).map(|step| step.name.clone()).collect()
    }

    /// The processes under way, by step.
    pub(crate) fn processes(&self) -> watch::Receiver<HashMap<String, Process>> {
        self.shared.live.subscribe()
    }

    /// Resolves, with the reason, when the replay has broken off.
    pub(crate) async fn broken(&self) -> Failure {
        let mut broken = self.shared.broken.subscribe();
        match broken.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some(failure)) => failure,
            _ => std::future::pending().await,
        }
    }

    /// Resolves when the workflow, having been asked to end, has been given time enough.
    pub(crate) async fn out_of_patience(&self) -> Failure {
        self.canceled().await;
        let killed = async {
            let mut seen = self.shared.seen.clone();
            let _ = seen.wait_for(|seen| ending(&seen.state).is_some_and(|ending| ending.kill)).await;
            tokio::time::sleep(KILL_PATIENCE).await;
        };
        let canceled_long_ago = async {
            loop {
                self.no_process_lives().await;
                tokio::time::sleep(CANCEL_PATIENCE).await;
                if self.shared.live.borrow().is_empty() {
                    return;
                }
            }
        };
        either(killed, canceled_long_ago).await;
        self.asked_to_end().unwrap_or_else(|| Failure::internal("a run lost its patience without a reason"))
    }

    async fn no_process_lives(&self) {
        let mut live = self.shared.live.subscribe();
        // The sender lives as long as this context.
        let _ = live.wait_for(HashMap::is_empty).await;
    }

    /// After the workflow has returned or was dropped: ends what it left running and says whether
    /// it did all that is stored.
    pub(crate) async fn close(&self) -> Result<(), Failure> {
        self.shared.closing.send_replace(true);
        let mut background = std::mem::take(&mut self.replay().background);
        while background.join_next().await.is_some() {}

        self.shared.launching.close();
        self.shared.launching.wait().await;
        let unvisited = self.unvisited();
        self.end_orphans().await;
        if unvisited.is_empty() {
            return Ok(());
        }
        Err(diverged(format!("these steps are stored, and the replay did not come to them: {}", unvisited.join(", "))))
    }

    /// The engine's follower of logs, for reading what processes write while they run.
    pub fn logs(&self) -> &LogHub {
        self.shared.engine.logs()
    }

    /// The run as it is recorded. Changes any time: use it inside steps only.
    pub fn record(&self) -> Option<Run> {
        self.shared.engine.core().runs.get(&self.shared.run).map(|active| active.run.clone())
    }
}

fn ending(state: &RunState) -> Option<Ending> {
    match state {
        RunState::Running { ending } => ending.clone(),
        _ => None,
    }
}

fn canceled(ending: &Ending) -> Failure {
    let kind = if ending.kill { FailureKind::Killed } else { FailureKind::Canceled };
    Failure::new(kind, ending.reason.clone())
}

fn diverged(message: String) -> Failure {
    Failure::new(FailureKind::Diverged, message)
        .with_hint("the workflow's code changed under a stored run, or it decides on something outside its steps")
}

fn failure_of(step: &Step) -> Failure {
    let stored = step.attempts.last().and_then(|attempt| attempt.failure.clone());
    stored.unwrap_or_else(|| Failure::internal(format!("step {:?} failed, and no reason is stored", step.name)))
}

/// Decodes a stored value. One that does not decode means that the workflow's types changed.
async fn decode<T: serde::de::DeserializeOwned>(context: &RunContext, name: &str, value: Value) -> T {
    match serde_json::from_value(value) {
        Ok(value) => value,
        Err(error) => {
            let text = format!("the stored value of step {name:?} is not of the type expected: {error}");
            context.break_off(diverged(text)).await
        }
    }
}

/// Waits for the first of the two.
async fn either<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    tokio::select! { value = first => value, value = second => value }
}
