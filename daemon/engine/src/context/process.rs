//! Processes: child programs as steps, each started at most once.
//!
//! What is to run is stored before it starts and never computed again. After a restart of the
//! daemon the step takes up what it finds: a shim that lives, an exit record, or neither.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::{RunContext, Visit, canceled, decode};
use crate::environment;
use crate::failure::{Failure, FailureKind};
use crate::files::RunFiles;
use crate::logs::LogHub;
use crate::process::record;
use crate::process::supervisor::blocking;
use crate::process::{
    Adoption, Cause, Ended, Exit, ExitStatus, Launch, Lost, OsText, Process, ProcessError, Stdin,
};
use crate::run::{Step, StepKind, StepState, Usage, Variable};

/// What a workflow wants to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and how it is kept.
    pub launch: Launch,
    /// Variables that win over the run's own.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// What the process reads from its standard input; none: as the launch says.
    #[serde(default)]
    pub stdin: Option<OsText>,
}

impl ProcessSpec {
    /// Just a program.
    pub fn new(launch: Launch) -> Self {
        Self { launch, env: Vec::new(), stdin: None }
    }
}

/// A process that has been started, for whoever reads its output while it runs.
#[derive(Debug, Clone)]
pub struct ProcessView {
    /// The attempt's directory.
    pub directory: PathBuf,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// When the attempt began.
    pub started_at: jiff::Timestamp,
    /// Follows what it writes.
    pub logs: LogHub,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// Its exit record.
    pub exit: Exit,
    /// The attempt's directory, with its logs.
    pub directory: PathBuf,
    /// The attempt's number, from 1.
    pub attempt: u32,
}

impl ProcessEnd {
    /// Success is an end by itself with code 0.
    pub fn into_result(self) -> Result<Self, Failure> {
        match self.failure() {
            None => Ok(self),
            Some(failure) => Err(failure),
        }
    }

    /// Why it was no success, if it was none.
    pub fn failure(&self) -> Option<Failure> {
        failure_of(&self.exit)
    }
}

/// A process that runs beside the others until the run ends.
#[derive(Debug, Clone)]
pub struct Background {
    ended: watch::Receiver<bool>,
}

impl Background {
    /// Whether it has ended already, and that is stored. Changes any time: use it inside steps only.
    ///
    /// An end that was seen here is seen by every later replay, from the beginning.
    pub fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Resolves when it has ended and that is stored.
    pub async fn ended(&self) {
        if self.ended.clone().wait_for(|ended| *ended).await.is_err() {
            // Its end could not be stored: nothing may be decided by it.
            std::future::pending::<()>().await;
        }
    }
}

impl RunContext {
    /// Runs a program and waits for its end; anything but an end by itself with code 0 is a
    /// failure of the step.
    pub async fn process(&self, name: &str, spec: ProcessSpec) -> Result<ProcessEnd, Failure> {
        let judge = |end: ProcessEnd| async { end.into_result() };
        self.process_with(name, spec, |_| async {}, judge).await
    }

    /// Runs a program. `observe` may read its output while it runs: it is called again after a
    /// restart of the daemon, is given time to come to the end of the logs, and must bear both.
    /// `judge` makes the step's value, or its failure, of the end; both are part of the step.
    pub async fn process_with<T, O, J>(
        &self,
        name: &str,
        spec: ProcessSpec,
        observe: impl FnOnce(ProcessView) -> O + Send,
        judge: impl FnOnce(ProcessEnd) -> J + Send,
    ) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        O: Future<Output = ()> + Send,
        J: Future<Output = Result<T, Failure>> + Send,
    {
        let known = match self.visit(name, StepKind::Process).await {
            Visit::Done(Ok(value)) => return Ok(decode(self, name, value).await),
            Visit::Done(Err(failure)) => return Err(failure),
            Visit::Begun(step) => Some(step),
            Visit::New => None,
        };
        let (found, view) = self.attach(name, StepKind::Process, known, spec).await?;
        let (end, ()) = tokio::join!(found.ended(), observe(view.clone()));
        let exit = match end? {
            Ended::Exited(exit) => exit,
            Ended::Lost(lost) => return self.lost(name, describe(&lost)).await,
            Ended::NothingRan => {
                return self.lost(name, "its shim ended before the program began".to_owned()).await;
            }
        };
        let end = ProcessEnd { exit: exit.clone(), directory: view.directory, attempt: view.attempt };
        let result = self.judged(&exit, judge(end)).await;
        let (state, value, failure) = match &result {
            Ok(value) => {
                (StepState::Succeeded, Some(serde_json::to_value(value).map_err(Failure::internal)?), None)
            }
            Err(failure) => (state_after(failure), None, Some(failure.clone())),
        };
        self.finish_process(name, &exit, state, value, failure).await?;
        result
    }

    /// A process that was stopped because its run is to end has no outcome to judge.
    async fn judged<T>(
        &self,
        exit: &Exit,
        judge: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.ending() {
            Some(ending) if matches!(exit.cause, Cause::Stopped | Cause::Killed) => Err(canceled(&ending)),
            _ => judge.await,
        }
    }

    /// Starts a program that runs beside the others. It is stopped when the workflow has returned;
    /// when the run is resumed it is started again.
    pub async fn background<O>(
        &self,
        name: &str,
        spec: ProcessSpec,
        observe: impl FnOnce(ProcessView) -> O + Send,
    ) -> Result<Background, Failure>
    where
        O: Future<Output = ()> + Send + 'static,
    {
        let known = match self.visit(name, StepKind::Background).await {
            Visit::Done(_) => return Ok(Background { ended: watch::channel(true).1 }),
            Visit::Begun(step) => Some(step),
            Visit::New => None,
        };
        let (found, view) = self.attach(name, StepKind::Background, known, spec).await?;
        let (ended, background) = watch::channel(false);
        let background = Background { ended: background };
        let observer = observe(view);
        let (context, name) = (self.clone(), name.to_owned());
        self.replay().background.spawn(async move {
            let observer = tokio::spawn(observer);
            let end = found.ended().await;
            // It comes to its end by itself: the logs have one now.
            let _ = observer.await;
            match context.finish_background(&name, end).await {
                Ok(()) => drop(ended.send_replace(true)),
                Err(failure) => {
                    tracing::warn!(run = %context.id(), step = name, %failure, "could not store the end of a process");
                }
            }
        });
        Ok(background)
    }

    async fn finish_background(&self, name: &str, end: Result<Ended, Failure>) -> Result<(), Failure> {
        match end? {
            Ended::Exited(exit) => {
                let value = json!(exit);
                self.finish_process(name, &exit, StepState::Succeeded, Some(value), None).await
            }
            Ended::Lost(lost) => self.finish_lost(name, interrupted(name, &describe(&lost))).await,
            Ended::NothingRan => {
                self.finish_lost(name, interrupted(name, "its shim ended before the program began")).await
            }
        }
    }

    /// Finds the process of a step that was begun, or starts it.
    async fn attach(
        &self,
        name: &str,
        kind: StepKind,
        known: Option<Box<Step>>,
        spec: ProcessSpec,
    ) -> Result<(Found, ProcessView), Failure> {
        let fresh = known.as_ref().is_none_or(|step| !step.attempt_is_open());
        let spec = match &known {
            // Stored when it first started, and never computed again.
            Some(step) => decode(self, name, step.request.clone().unwrap_or_default()).await,
            None => spec,
        };
        if fresh {
            self.refuse_if_ending()?;
            self.begin_process(name, kind, known, &spec).await?;
        }
        let view = self.view(name)?;
        let found = if fresh { None } else { self.adopt(&view).await? };
        let found = match found {
            Some(found) => {
                if let Found::Alive(process) = &found {
                    self.keep(name, kind, process);
                }
                found
            }
            None => match self.launch(name, kind, &view, spec).await {
                Ok(process) => Found::Alive(process),
                Err(failure) => {
                    let stored = failure.clone();
                    let state = state_after(&failure);
                    self.finish_step(name, |step, now| step.finish(now, state, None, Some(stored))).await?;
                    return Err(failure);
                }
            },
        };
        Ok((found, view))
    }

    /// Watches over a living process in a task of its own, so that it is stopped when the run is to
    /// end even if the workflow no longer waits for it.
    fn keep(&self, name: &str, kind: StepKind, process: &Process) {
        self.shared.live.send_modify(|live| {
            live.insert(name.to_owned(), process.clone());
        });
        let (context, name, process) = (self.clone(), name.to_owned(), process.clone());
        tokio::spawn(async move {
            context.stop_when_asked(kind, &process).await;
            context.shared.live.send_modify(|live| {
                // The name may belong to another process by now.
                if live.get(&name).is_some_and(|known| known.dir() == process.dir()) {
                    live.remove(&name);
                }
            });
        });
    }

    /// Stores that an attempt begins. From here on it runs at most once.
    async fn begin_process(
        &self,
        name: &str,
        kind: StepKind,
        known: Option<Box<Step>>,
        spec: &ProcessSpec,
    ) -> Result<(), Failure> {
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let now = engine.now();
        let step = match known {
            Some(mut step) => {
                step.begin_attempt(now);
                *step
            }
            None => Step::begun(self.take_ordinal(), name, kind, Some(json!(spec)), now),
        };
        let stored = engine.store_values(run, step).await?;
        let done = engine.transact(|tx| {
            let attempt = stored.step.attempts.last().map(|attempt| attempt.number);
            let data = json!({ "step": name, "kind": kind.word(), "attempt": attempt });
            tx.event(Some(run), "step.started", data);
            tx.put_step(run, stored);
            Ok::<_, Failure>(())
        });
        done.await
    }

    fn view(&self, name: &str) -> Result<ProcessView, Failure> {
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let core = engine.core();
        let step = core.runs.get(&run).and_then(|active| active.step(name));
        let attempt = step.and_then(|step| Some((step.ordinal, step.attempts.last()?)));
        let Some((ordinal, attempt)) = attempt else {
            return Err(Failure::internal(format!("process {name:?} of run {run} is not in memory")));
        };
        Ok(ProcessView {
            directory: engine.files().attempt(run, ordinal, attempt.number),
            attempt: attempt.number,
            started_at: attempt.started_at,
            logs: engine.logs().clone(),
        })
    }

    /// What a shim of before has left; none: nothing ran.
    async fn adopt(&self, view: &ProcessView) -> Result<Option<Found>, Failure> {
        let adoption =
            self.shared.engine.supervisor().adopt(&view.directory).await.map_err(process_failed)?;
        Ok(match adoption {
            Adoption::NothingRan => None,
            Adoption::Alive(process) => Some(Found::Alive(process)),
            Adoption::Exited(exit) => Some(Found::Ended(Ended::Exited(exit))),
            Adoption::Lost(lost) => Some(Found::Ended(Ended::Lost(lost))),
        })
    }

    async fn launch(
        &self,
        name: &str,
        kind: StepKind,
        view: &ProcessView,
        spec: ProcessSpec,
    ) -> Result<Process, Failure> {
        self.refuse_if_ending()?;
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let options = engine.core().runs.get(&run).map(|active| Arc::clone(&active.start));
        let Some(start) = options else {
            return Err(Failure::internal(format!("run {run} is not in memory")));
        };
        let env = environment::compose(&start.options, &spec.env, run).await?;
        let mut launch = spec.launch;
        let directory = view.directory.clone();
        let input = spec.stdin;
        let stdin = RunFiles::stdin(&directory);
        if input.is_some() {
            launch.stdin = Stdin::File(stdin.clone().into());
        }
        let written = blocking(move || {
            // What is here from an attempt of which nothing ran is of no use to anybody.
            match std::fs::remove_dir_all(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if let Some(run) = directory.parent() {
                std::fs::create_dir_all(run)?;
            }
            match input {
                Some(input) => std::fs::write(stdin, input.as_bytes()),
                None => Ok(()),
            }
        });
        written.await.map_err(|error| {
            Failure::internal(format!("could not make the directory {}: {error}", view.directory.display()))
        })?;
        // A shim that is being started cannot be called back: even if nobody waits for it any longer,
        // it must be found when the run ends.
        let (context, name, directory) = (self.clone(), name.to_owned(), view.directory.clone());
        let started = self.shared.launching.spawn(async move {
            let process = context.shared.engine.supervisor().start(&directory, &launch, env).await?;
            context.keep(&name, kind, &process);
            Ok(process)
        });
        match started.await {
            Ok(started) => started.map_err(|error: ProcessError| process_failed(error)),
            // The runtime is being taken down: no outcome.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(error) => Err(Failure::internal(error)),
        }
    }

    /// Waits for the end of a process; passes on that the run is to end, or (in the background)
    /// that the workflow has returned.
    async fn stop_when_asked(&self, kind: StepKind, process: &Process) {
        let background = kind == StepKind::Background;
        let mut seen = self.shared.seen.clone();
        let mut closing = self.shared.closing.subscribe();
        let (mut stopped, mut killed) = (false, false);
        loop {
            let ending = self.ending();
            let kill = ending.as_ref().is_some_and(|ending| ending.kill);
            // A background process outlives the others, so that they can rely on it to the end.
            let stop = if background { *closing.borrow() } else { ending.is_some() };
            if kill && !killed {
                process.kill();
                killed = true;
            } else if stop && !stopped {
                process.stop();
                stopped = true;
            }
            tokio::select! {
                _ = process.wait() => break,
                Ok(()) = seen.changed() => {}
                Ok(()) = closing.changed(), if background => {}
            }
        }
    }

    /// A process was lost: the run is interrupted, whatever its workflow thinks.
    async fn lost<T>(&self, name: &str, what: String) -> Result<T, Failure> {
        let failure = interrupted(name, &what);
        self.finish_lost(name, failure.clone()).await?;
        self.break_off(failure).await
    }

    async fn finish_lost(&self, name: &str, failure: Failure) -> Result<(), Failure> {
        self.finish_step(name, |step, now| step.finish(now, StepState::Interrupted, None, Some(failure)))
            .await
    }

    async fn finish_process(
        &self,
        name: &str,
        exit: &Exit,
        state: StepState,
        value: Option<serde_json::Value>,
        failure: Option<Failure>,
    ) -> Result<(), Failure> {
        let pid = self.pid_of(name).await;
        self.finish_step(name, |step, now| {
            step.finish(now, state, value, failure);
            if let Some(attempt) = step.attempts.last_mut() {
                (attempt.exit_code, attempt.signal) = codes(exit);
                attempt.usage = usage(exit);
                attempt.pid = pid.or(attempt.pid);
                attempt.stdout_bytes = exit.stdout.bytes;
                attempt.stderr_bytes = exit.stderr.bytes;
            }
        })
        .await
    }

    /// Who the process was, by what its shim has recorded: when it started nobody knew it yet.
    async fn pid_of(&self, name: &str) -> Option<i32> {
        let path = self.view(name).ok()?.directory.join(record::PROCESS);
        let read = blocking(move || record::read::<record::ProcessRecord>(&path)).await;
        read.ok()?.map(|process| process.child.pid)
    }

    /// Ends processes that no replay will come to: they belong to a run that broke off.
    pub(super) async fn end_orphans(&self) {
        let (engine, run) = (&self.shared.engine, self.shared.run);
        let open: Vec<Step> = {
            let core = engine.core();
            let steps = core.runs.get(&run).map(|active| active.steps.clone()).unwrap_or_default();
            let process = |step: &Step| matches!(step.kind, StepKind::Process | StepKind::Background);
            steps.into_iter().map(|s| s.step).filter(|step| process(step) && step.attempt_is_open()).collect()
        };
        for step in open {
            let live = self.shared.live.borrow().get(&step.name).cloned();
            let found = match (live, self.view(&step.name)) {
                (Some(process), _) => Some(Found::Alive(process)),
                (None, Ok(view)) => self.adopt(&view).await.ok().flatten(),
                (None, Err(_)) => None,
            };
            if let Some(Found::Alive(process)) = found {
                process.kill();
                if let Err(error) = process.wait().await {
                    tracing::warn!(%run, step = step.name, %error, "could not see a process end");
                }
            }
            let failure = Failure::new(FailureKind::Killed, "its run ended without it");
            let _ = self
                .finish_step(&step.name, |step, now| {
                    step.finish(now, StepState::Canceled, None, Some(failure));
                })
                .await;
        }
    }
}

/// A process that was started or found.
enum Found {
    Alive(Process),
    Ended(Ended),
}

impl Found {
    async fn ended(self) -> Result<Ended, Failure> {
        match self {
            Self::Alive(process) => match process.wait().await {
                // The runtime is being taken down, and the process goes on: no outcome.
                Err(ProcessError::Unwatched { .. }) => std::future::pending().await,
                ended => ended.map_err(process_failed),
            },
            Self::Ended(ended) => Ok(ended),
        }
    }
}

fn interrupted(name: &str, what: &str) -> Failure {
    Failure::new(FailureKind::Interrupted, format!("the process of step {name:?} was lost: {what}"))
        .with_hint("`spindle run resume` takes the step up again")
}

fn describe(lost: &Lost) -> String {
    let pid = lost.process.child.pid;
    match lost.swept.len() {
        0 => format!("its shim is gone without a record of how process {pid} ended"),
        1 => format!("its shim is gone; what was left of process {pid} has been killed"),
        swept => {
            format!("its shim is gone; {swept} processes that process {pid} had become have been killed")
        }
    }
}

fn process_failed(error: impl std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::internal(text)
}

fn state_after(failure: &Failure) -> StepState {
    match failure.kind {
        FailureKind::Canceled | FailureKind::Killed => StepState::Canceled,
        _ => StepState::Failed,
    }
}

/// Exit code and signal of a process, as far as it has them.
fn codes(exit: &Exit) -> (Option<i32>, Option<i32>) {
    match &exit.status {
        ExitStatus::Code(code) | ExitStatus::SpawnFailed { code, .. } => (Some(*code), None),
        ExitStatus::Signal(signal) => (None, Some(*signal)),
        ExitStatus::NotStarted | ExitStatus::ShimFailed { .. } => (None, None),
    }
}

/// What a process used.
fn usage(exit: &Exit) -> Usage {
    Usage { user: exit.usage.user, system: exit.usage.system, max_rss_bytes: exit.usage.max_rss_bytes }
}

fn failure_of(exit: &Exit) -> Option<Failure> {
    let (kind, text) = match (&exit.cause, &exit.status) {
        (_, ExitStatus::SpawnFailed { message, .. }) => (FailureKind::Spawn, message.clone()),
        (_, ExitStatus::ShimFailed { message }) => (FailureKind::Internal, message.clone()),
        (Cause::WallLimit, _) => (FailureKind::Timeout, "it ran for longer than its limit".to_owned()),
        (Cause::IdleLimit, _) => {
            (FailureKind::IdleTimeout, "it wrote nothing for longer than its limit".to_owned())
        }
        (Cause::OutputLimit, _) => (FailureKind::OutputLimit, "it wrote more than its limit".to_owned()),
        (Cause::Killed, _) => (FailureKind::Killed, "it was killed".to_owned()),
        (Cause::Stopped, _) | (_, ExitStatus::NotStarted) => {
            (FailureKind::Canceled, "it was stopped".to_owned())
        }
        (Cause::Ended, ExitStatus::Code(0)) => return None,
        (Cause::Ended, ExitStatus::Code(code)) => (FailureKind::Exit, format!("it exited with code {code}")),
        (Cause::Ended, ExitStatus::Signal(signal)) => {
            (FailureKind::Signal, format!("signal {signal} ended it"))
        }
    };
    Some(Failure::new(kind, text))
}
