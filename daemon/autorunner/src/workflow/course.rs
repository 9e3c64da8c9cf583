//! The course of a loop: from its beginning, or from its last checkpoint, to its end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use engine::{Failure, FailureKind, ProcessSpec, RunContext};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::finish::{self, Finished};
use super::iteration;
use super::keeping::Watch;
use super::prepare::{self, Plan, Prepared};
use super::scribe::{Assignment, Watching};
use super::{Autorun, AutorunOutput, blocking};
use crate::driver::FoundCodex;
use crate::repo::Layout;
use crate::stop::{Decision, ProgressTracker, StopReason};
use crate::todo;

/// All that a loop knows between two iterations. Stored as its checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progressed {
    /// The run's attempt that has come so far. A later one means that the run was resumed.
    pub(super) attempt: u32,
    /// When the loop began, or was resumed.
    pub(super) started_at: Timestamp,
    /// Place of the next iteration in the run, from 1.
    pub(super) next: u64,
    /// Iterations that have ended.
    pub(super) iterations: u64,
    /// Number of the last iteration in the repository.
    pub(super) last_run_id: u64,
    /// Exit code of the last iteration.
    pub(super) last_exit_code: Option<i32>,
    /// Failed iterations in a row.
    pub(super) failures_in_a_row: u32,
    /// The last failure, as long as no iteration has succeeded since.
    pub(super) last_failure: Option<Failure>,
    /// What the repository was like after the last iteration.
    pub(super) progress: ProgressTracker,
    /// The last message of the last iteration.
    pub(super) previous: Option<String>,
    /// Tokens used so far.
    pub(super) tokens: u64,
    /// The Codex of the last iteration.
    pub(super) codex: Option<FoundCodex>,
    /// Keepers that the run has needed.
    pub(super) keepers: u32,
    /// The end without success that the loop has come to.
    pub(super) failed: Option<Failure>,
}

/// Works through the loop.
pub(super) async fn run(
    ctx: &RunContext,
    autorun: &Autorun,
    layout: &Layout,
    once: bool,
) -> Result<AutorunOutput, Failure> {
    let restored = ctx.restored::<Progressed>().await;
    let keepers = restored.as_ref().map_or(1, |at| at.keepers);
    // Before anything is read that another loop could still change.
    let mut watch = Watch::begin(ctx, &autorun.keeper, layout, keepers).await?;
    let mut at = match restored {
        Some(at) => at,
        None => prepare::begin(ctx, layout).await?,
    };
    loop {
        if let Some(failure) = at.failed.take() {
            at = resumed(ctx, at, failure).await?;
        }
        match prepare::prepare(ctx, autorun, layout, once, &at, watch.keeper()).await? {
            Prepared::Stop { reason, todo } => {
                return finish::conclude(ctx, layout, &at, reason, todo).await;
            }
            Prepared::KeeperLost => watch.replace().await?,
            Prepared::Go(plan) => {
                watch.catch_up().await?;
                let (pid, number) = (watch.pid(), watch.newest());
                let iteration = Box::pin(iterate(ctx, autorun, layout, once, &mut at, *plan, pid, &number));
                if let Some((reason, todo)) = watch.during(iteration).await? {
                    return finish::conclude(ctx, layout, &at, reason, todo).await;
                }
            }
        }
        at.keepers = watch.number();
        ctx.checkpoint(&at).await?;
    }
}

/// Runs the iteration that was prepared, and pauses after it. Why the loop ends, if it does so well.
#[expect(clippy::too_many_arguments, reason = "what an iteration needs of its loop")]
async fn iterate(
    ctx: &RunContext,
    autorun: &Autorun,
    layout: &Layout,
    once: bool,
    at: &mut Progressed,
    plan: Plan,
    runner_pid: Option<u32>,
    keepers: &AtomicU32,
) -> Result<Option<(StopReason, todo::Fingerprint)>, Failure> {
    if plan.attempt > at.attempt {
        at.begin_again(plan.attempt, plan.now);
    }
    let assignment = Assignment {
        layout: layout.clone(),
        directory: ctx.directory(),
        iteration: at.next,
        attempt: 1,
        started_at: plan.now,
        last_run_id: at.last_run_id,
        runner_pid,
        snapshot: plan.snapshot,
        witness: witness(ctx, autorun, layout, asked_for_bundles(&plan.process)),
        usage: codex::UsageContext { version: plan.codex.version, ..codex::UsageContext::default() },
    };
    at.codex = Some(plan.codex);
    let result = iteration::run(ctx, plan.process, assignment).await;
    if let Err(failure) = &result
        && matches!(failure.kind, FailureKind::Canceled | FailureKind::Killed)
    {
        // A resumed loop begins another iteration: this one's prompt will be out of date.
        at.next += 1;
        at.keepers = keepers.load(Ordering::Acquire);
        ctx.checkpoint(at).await?;
        return Err(failure.clone());
    }
    let Finished { end, decision, progress, todo, pause_until, .. } =
        finish::finish(ctx, layout, once, at, result).await?;
    at.count(end, progress);
    match decision {
        Decision::Stop(reason) => {
            let failure = match &reason {
                StopReason::NoProgress { .. } => Some(
                    Failure::new(FailureKind::Other("no-progress".to_owned()), reason.to_string()).with_hint(
                        "look at the last iterations (`spindle auto log`), make the TODO clearer, then `spindle auto resume`",
                    ),
                ),
                // Also a limit that is reached with an iteration that failed: the exit code must tell.
                _ => at.last_failure.clone(),
            };
            at.failed = failure;
            Ok(at.failed.is_none().then_some((reason, todo)))
        }
        Decision::Continue => {
            ctx.sleep_until(&format!("pause {}", at.next - 1), pause_until).await?;
            Ok(None)
        }
    }
}

/// Who is told of the threads of the run's Codex, if its home can be known.
fn witness(
    ctx: &RunContext,
    autorun: &Autorun,
    layout: &Layout,
    bundles: Option<PathBuf>,
) -> Option<Watching> {
    let witness = autorun.witness.clone()?;
    let cwd = layout.root().to_owned();
    let home = codex::home_of(|name| ctx.variable(name), &cwd)?;
    let lineage = ctx.record()?.lineage;
    Some(Watching { witness, home, cwd, run: ctx.id(), lineage, bundles })
}

/// Where a process is asked to write rollout trace bundles. What the run's own environment says is not among these
/// variables: they are those that this workflow adds.
fn asked_for_bundles(process: &ProcessSpec) -> Option<PathBuf> {
    let asked = process.env.iter().find(|variable| variable.name == codex::BUNDLES_VARIABLE)?;
    Some(asked.value.clone().into())
}

/// Fails the run, unless somebody has resumed it since the failure.
async fn resumed(ctx: &RunContext, mut at: Progressed, failure: Failure) -> Result<Progressed, Failure> {
    let (context, failed_in) = (ctx.clone(), at.attempt);
    let verdict = async move {
        match context.record() {
            Some(run) if run.attempt > failed_in => Ok((run.attempt, Timestamp::now())),
            _ => Err(failure),
        }
    };
    let (attempt, now) = ctx.step(&format!("end after iteration {}", at.next - 1), verdict).await?;
    at.begin_again(attempt, now);
    Ok(at)
}

impl Progressed {
    /// The run was resumed: its limits count anew.
    fn begin_again(&mut self, attempt: u32, now: Timestamp) {
        self.attempt = attempt;
        self.started_at = now;
        self.failures_in_a_row = 0;
        self.iterations = 0;
        self.last_failure = None;
        self.progress.forget_idleness();
    }

    fn count(&mut self, end: super::record::IterationEnd, progress: ProgressTracker) {
        self.next += 1;
        self.iterations += 1;
        self.last_run_id = self.last_run_id.max(end.run_id);
        self.last_exit_code = Some(end.exit_code);
        self.failures_in_a_row = if end.failure.is_some() { self.failures_in_a_row + 1 } else { 0 };
        self.last_failure = end.failure;
        self.progress = progress;
        // An iteration that said nothing leaves what the one before has said.
        self.previous = end.answer.or(self.previous.take());
        self.tokens += end.tokens.map_or(0, |tokens| tokens.total());
    }
}

/// Reads files in a step.
pub(super) async fn read<T>(
    ctx: &RunContext,
    name: &str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure>
where
    T: Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    ctx.step(name, blocking(work)).await
}
