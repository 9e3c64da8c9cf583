//! One iteration: Codex as a process of the run, followed while it runs and judged when it has ended.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use engine::process::{FirstSignal, Launch, Limits, StopLadder};
use engine::{Failure, FailureKind, ProcessEnd, ProcessSpec, ProcessView, RunContext, Variable};
use jiff::tz::TimeZone;
use tokio::sync::mpsc;

use super::record::{IterationEnd, Record};
use super::scribe::{Assignment, Seen, timestamp, write_down};
use super::{blocking, verdict};
use crate::config::Runner;

/// How long Codex has after SIGINT to write its last records.
const GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// Lines on their way to a disk that is slow.
const QUEUE: usize = 64;

/// Longest message of the agent that is kept for the next prompt, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// The process of an iteration.
pub(super) fn process(invocation: codex::Invocation, runner: &Runner) -> ProcessSpec {
    let seconds = |limit: Option<u64>| limit.filter(|limit| *limit > 0).map(std::time::Duration::from_secs);
    let mut launch = Launch::new(invocation.program, invocation.cwd).args(invocation.args);
    launch.stop = StopLadder { first_signal: FirstSignal::Int, grace: GRACE };
    launch.limits = Limits {
        wall: seconds(runner.iteration_timeout_seconds),
        idle: seconds(runner.idle_timeout_seconds),
        output: None,
    };
    let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        // A name that is not UTF-8 is none of ours.
        Some(Variable { name: name.into_string().ok()?, value: value.into() })
    };
    let mut spec = ProcessSpec::new(launch);
    spec.env = invocation.env.into_iter().filter_map(variable).collect();
    spec.stdin = Some(String::from_utf8_lossy(&invocation.stdin).into_owned().into());
    spec
}

/// Runs an iteration, or takes it up where it is.
pub(super) async fn run(
    ctx: &RunContext,
    spec: ProcessSpec,
    assignment: Assignment,
) -> Result<IterationEnd, Failure> {
    let name = format!("iteration {}", assignment.iteration);
    let zone = zone(ctx);
    let seen: Arc<Mutex<Option<Seen>>> = Arc::default();
    let observe = |view: ProcessView| {
        let (assignment, seen) = (assignment.clone(), Arc::clone(&seen));
        async move { *seen.lock().unwrap_or_else(PoisonError::into_inner) = follow(view, assignment).await }
    };
    let judge = |end: ProcessEnd| {
        let (seen, iteration) = (Arc::clone(&seen), assignment.iteration);
        async move {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
            let seen =
                seen.ok_or_else(|| Failure::internal(format!("nobody followed iteration {iteration}")))?;
            blocking(move || judge(&end, seen, &zone)).await
        }
    };
    ctx.process_with(&name, spec, observe, judge).await
}

/// Writes down what the process says until it has ended.
async fn follow(view: ProcessView, mut assignment: Assignment) -> Option<Seen> {
    assignment.attempt = view.attempt;
    assignment.started_at = view.started_at;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let writing = tokio::task::spawn_blocking(move || write_down(assignment, receiver));
    match view.logs.open_lines(&view.directory, true).await {
        Ok(mut lines) => loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    if sender.send(line).await.is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(directory = %view.directory.display(), %error, "cannot read what Codex prints");
                    break;
                }
            }
        },
        Err(error) => tracing::error!(directory = %view.directory.display(), %error, "cannot follow Codex"),
    }
    drop(sender);
    match writing.await {
        Ok(mut seen) => {
            // Within the step: a daemon that dies here tells of the thread again.
            if let Some(testimony) = seen.testimony.take() {
                testimony.ended().await;
            }
            Some(seen)
        }
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The daemon goes down; the next one follows from the start.
        Err(_) => std::future::pending().await,
    }
}

/// Decides how the iteration ended and writes that down.
fn judge(end: &ProcessEnd, seen: Seen, zone: &TimeZone) -> Result<IterationEnd, Failure> {
    let facts = verdict::facts(&end.exit);
    let outcome = codex::classify(&seen.transcript, facts, &seen.stderr_tail, None, zone);
    let at = timestamp(end.exit.finished_at);
    let failure = match end.failure() {
        // Codex never began: the shim knows better why.
        Some(failure) if failure.kind == FailureKind::Spawn => Some(failure),
        _ => verdict::failure(&outcome, at),
    };
    let answer = seen.transcript.answer().map(|text| shortened(text).to_owned());
    let usage = seen.transcript.usage(&codex::UsageContext::default());
    let end = IterationEnd {
        run_id: seen.run_id().unwrap_or_default(),
        exit_code: verdict::exit_code(&outcome, facts),
        thread: seen.transcript.started_thread().map(str::to_owned),
        answer,
        tokens: usage.and_then(|usage| usage.run),
        retry_at: outcome.retry_not_before(at),
        failure: failure.clone(),
    };
    seen.close(end.clone(), at).map_err(|error| {
        let text = format!("the iteration could not be written down: {error}");
        Failure::internal(text)
            .with_hint("is the disk full, or the directory .codex-autorunner not writable?")
    })?;
    failure.map_or(Ok(end), Err)
}

/// The end of an answer that is too long to be kept.
pub(super) fn shortened(answer: &str) -> &str {
    let from = answer.len().saturating_sub(LONGEST_ANSWER);
    let start = (from..=answer.len()).find(|at| answer.is_char_boundary(*at));
    &answer[start.unwrap_or_default()..]
}

/// Codex's local time zone, in which it writes reset times.
fn zone(ctx: &RunContext) -> TimeZone {
    let named = ctx.variable("TZ").and_then(|name| name.into_string().ok());
    named.and_then(|name| TimeZone::get(&name).ok()).unwrap_or_else(TimeZone::system)
}

/// How an iteration ended that has ended without success: as its record tells.
pub(super) fn recorded(directory: &Path, iteration: u64, failure: &Failure) -> IterationEnd {
    let record = Record::load(directory).ok().flatten().filter(|record| record.iteration == iteration);
    let run_id = record.as_ref().map_or(0, |record| record.run_id);
    record.and_then(|record| record.end).unwrap_or_else(|| IterationEnd {
        run_id,
        exit_code: crate::state::LOST,
        thread: None,
        answer: None,
        tokens: None,
        retry_at: None,
        failure: Some(failure.clone()),
    })
}
