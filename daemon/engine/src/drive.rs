//! The task of a run: it runs the workflow and brings the run to its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::Value;

use crate::context::RunContext;
use crate::core::Seen;
use crate::engine::{Engine, too_large};
use crate::failure::{Failure, FailureKind};
use crate::files::VALUE_LIMIT;
use crate::process::supervisor::blocking;
use crate::run::tables::{PackedRow, Spill, StepRow, WHOLE, to_json};
use crate::run::{OnInterrupt, Run, RunEvent, RunId, Start, Verdict};

/// How long a workflow may take to settle what lies outside.
const SETTLE: Duration = Duration::from_secs(30);

/// Runs a run's workflow until the run has ended, or is queued to begin anew.
pub(crate) async fn drive(engine: Engine, run: RunId, seen: tokio::sync::watch::Receiver<Seen>) {
    let Some((record, start)) = engine.active(run) else { return };
    let context = RunContext::new(engine.clone(), run, seen);
    engine.show_processes(run, context.processes());
    let work = work(&engine, &context, &record, &start);
    let mut result = tokio::select! {
        biased;
        // Nothing can be stored any longer, so nothing may be decided: processes go on with their
        // shims, and the next daemon takes the run up where the store has it.
        () = engine.halted() => return,
        result = work => result,
    };
    if engine.is_halted() {
        return;
    }
    if let Err(failure) = context.close().await {
        // A replay that did not do what is stored cannot be trusted in its result either, unless
        // it broke off on its own account.
        if result.is_ok() {
            result = Err(failure);
        }
    }
    let (output, outcome) = match result {
        Ok(value) if to_json(&value).len() as u64 > VALUE_LIMIT => {
            (None, Err(too_large("what the workflow returned")))
        }
        Ok(value) => (Some(value), Ok(())),
        Err(mut failure) => {
            failure.shorten(Failure::LONGEST);
            (None, Err(failure))
        }
    };
    let outcome = outcome.map_err(|failure| context.asked_to_end().unwrap_or(failure));
    let verdict = verdict(&engine, run, &start, outcome.clone());
    if !matches!(verdict, Verdict::GoOn(_)) {
        settle(&engine, run, &start, outcome).await;
    }
    if let Err(failure) = conclude(&engine, run, output, verdict).await
        && !engine.is_halted()
    {
        tracing::error!(%run, %failure, "could not store the end of a run");
    }
}

async fn work(engine: &Engine, context: &RunContext, record: &Run, start: &Start) -> Result<Value, Failure> {
    let Some(workflow) = engine.workflow(&record.kind) else {
        let text = format!("this daemon knows no workflow {:?}", record.kind);
        return Err(Failure::new(FailureKind::Invalid, text));
    };
    let work = AssertUnwindSafe(workflow.run(context, start.spec.clone())).catch_unwind();
    tokio::select! {
        biased;
        failure = context.broken() => Err(failure),
        result = work => result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))),
        failure = context.out_of_patience() => Err(failure),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Failure::new(FailureKind::Panic, format!("the workflow panicked: {text}"))
}

/// What is to become of the run, by its result and its policies.
fn verdict(engine: &Engine, run: RunId, start: &Start, outcome: Result<(), Failure>) -> Verdict {
    let Err(failure) = outcome else { return Verdict::Succeed };
    let Some((record, _)) = engine.active(run) else { return Verdict::Fail(failure) };
    if failure.kind == FailureKind::Interrupted {
        let default = || engine.workflow(&record.kind).map(|workflow| workflow.on_interrupt());
        let policy = start.options.on_interrupt.or_else(default).unwrap_or(OnInterrupt::Hold);
        let may = record.interruptions < engine.settings().max_interruptions;
        return if policy == OnInterrupt::Resume && may {
            Verdict::GoOn(failure)
        } else {
            Verdict::Hold(failure)
        };
    }
    // Good enough to spread attempts, and nothing is decided by it that a replay would repeat.
    let jitter = f64::from(uuid::Uuid::now_v7().as_fields().3[7]) / f64::from(u8::MAX);
    match start.options.retry.pause_after(record.attempt, &failure, jitter) {
        Some(pause) => {
            let pause = jiff::SignedDuration::try_from(pause).unwrap_or(jiff::SignedDuration::from_secs(300));
            let at = engine.now().checked_add(pause).unwrap_or(jiff::Timestamp::MAX);
            Verdict::Retry { failure, at }
        }
        None => Verdict::Fail(failure),
    }
}

async fn settle(engine: &Engine, run: RunId, start: &Start, outcome: Result<(), Failure>) {
    let Some((record, _)) = engine.active(run) else { return };
    let Some(workflow) = engine.workflow(&record.kind) else { return };
    let directory = engine.files().run(run);
    let work = workflow.settle(&record, &directory, start.spec.clone(), outcome);
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(SETTLE, work).await {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => tracing::error!(%run, failure = %panicked(panic.as_ref()), "settling failed"),
        Err(_) => tracing::error!(%run, "settling took too long and was given up"),
    }
}

/// Packs the run and moves it on.
async fn conclude(
    engine: &Engine,
    run: RunId,
    output: Option<Value>,
    verdict: Verdict,
) -> Result<(), Failure> {
    let steps: Vec<StepRow> = {
        let core = engine.core();
        let steps =
            core.runs.get(&run).map(|active| active.steps.iter().map(|stored| stored.row.clone()).collect());
        steps.unwrap_or_default()
    };
    let Some(start) = engine.core().runs.get(&run).map(|active| active.start_row.clone()) else {
        return Ok(());
    };
    let packed = PackedRow { start: Some(start), steps };
    let files = engine.files().clone();
    let made = blocking(move || {
        let output = output.map(|output| files.spill(run, WHOLE, to_json(&output), 512)).transpose()?;
        Ok::<_, crate::store::StoreError>((packed.pack(run, &files)?, output))
    });
    let (packed, output) = made.await.inspect_err(|error| {
        // Without these files the run cannot end: a new daemon tries again when there is room.
        engine.report_store_failure(error);
    })?;
    let done = engine.transact(|tx| {
        let Some(active) = tx.core.runs.get_mut(&run) else { return Ok::<_, Failure>(()) };
        active.packed = Some(packed);
        active.output = output;
        active.has_task = false;
        if matches!(verdict, Verdict::GoOn(_)) {
            active.run.interruptions += 1;
        }
        // The task is the only one that brings a running run to its end.
        tx.transition(run, RunEvent::Returned(verdict)).map_err(Failure::internal)?;
        // Packed in case that it was to end after all.
        if let Some(active) = tx.core.runs.get_mut(&run).filter(|active| !active.run.state.is_ended()) {
            let unused = active.packed.take().and_then(|packed| packed.sha256);
            tx.remove_values(unused.into_iter().collect());
        }
        Ok(())
    });
    done.await
}
