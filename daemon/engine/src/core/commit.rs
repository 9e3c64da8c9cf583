//! What happens after a batch is on disk, in the order of the batches.
//!
//! One task waits for each batch in turn and only then lets the world see it. A client that hangs
//! up in the middle of its call changes nothing: the consequences of its transaction do not hang
//! on its future.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::Seen;
use crate::engine::Engine;
use crate::event::Event;
use crate::files::RunFiles;
use crate::run::RunId;
use crate::store::{StoreError, Ticket};

/// What is to be done after a batch is on disk.
#[derive(Debug)]
pub(crate) enum After {
    /// Let the run's task and those who wait see the state.
    Publish(RunId, Seen),
    /// Start the run's task, if it has none.
    Start(RunId),
    /// Try again at a time.
    Alarm(RunId, Timestamp),
    /// An ended run need not be in memory any longer.
    Forget(RunId),
    /// Directories of steps that nothing names any longer.
    Remove(Vec<PathBuf>),
    /// Files of values that nothing names any longer.
    RemoveValues(Vec<String>),
}

/// A transaction on its way to the disk.
pub(crate) struct Commit {
    pub(crate) ticket: Ticket,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) after: Vec<After>,
    pub(crate) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Carries out what follows from commits, until the engine is dropped.
pub(crate) async fn follow_up(engine: Engine, mut commits: mpsc::UnboundedReceiver<Commit>) {
    while let Some(commit) = commits.recv().await {
        match commit.ticket.await {
            Ok(()) => {
                if let Some(last) = commit.events.last() {
                    engine.log().publish(last.seq);
                }
                commit.events.iter().for_each(|event| log(event));
                for after in commit.after {
                    carry_out(&engine, after);
                }
                // Nobody need be waiting.
                let _ = commit.done.send(Ok(()));
            }
            // The store is closed to writing for good: nothing of this transaction is shown.
            Err(error) => {
                engine.report_store_failure(&error);
                let _ = commit.done.send(Err(error));
            }
        }
    }
}

/// Tells the daemon's log what happened: the lives of runs and schedules for everybody, the rest
/// for whoever looks closer.
fn log(event: &Event) {
    let run = event.run.map(tracing::field::display);
    let (kind, data) = (event.kind.as_str(), &event.data);
    let state = data["state"].as_str();
    if kind.starts_with("step.") {
        tracing::debug!(run, step = data["step"].as_str(), state, "{kind}");
    } else if kind.starts_with("lease.") || kind == "run.queued" {
        tracing::debug!(run, key = data["key"].as_str(), "{kind}");
    } else {
        let failure = data["failure"]["message"].as_str();
        tracing::info!(run, state, failure, name = data["name"].as_str(), "{kind}");
    }
}

fn carry_out(engine: &Engine, after: After) {
    match after {
        After::Publish(run, seen) => {
            // Under the core's lock: so whoever looks at a view must not want the core meanwhile.
            if let Some(active) = engine.core().runs.get(&run) {
                active.seen.send_replace(seen);
            }
        }
        After::Start(run) => engine.start_task(run),
        After::Alarm(run, at) => {
            let (engine, clock) = (engine.clone(), engine.clock().clone());
            tokio::spawn(async move {
                clock.sleep_until(at).await;
                // Canceled or killed meanwhile: then there is nothing to retry, or something else at
                // another time.
                let _ = engine.retry_now(run, at).await;
            });
        }
        After::Forget(run) => {
            let mut core = engine.core();
            if core.runs.get(&run).is_some_and(|active| active.run.state.is_ended()) {
                core.forget(run);
            }
        }
        After::RemoveValues(names) => {
            let files = engine.files().clone();
            tokio::task::spawn_blocking(move || names.iter().for_each(|name| files.remove_value(name)));
        }
        After::Remove(paths) => {
            tokio::task::spawn_blocking(move || {
                for path in paths {
                    if let Err(error) = RunFiles::remove_attempt(&path) {
                        tracing::debug!(path = %path.display(), %error, "could not remove a directory");
                    }
                }
            });
        }
    }
}
