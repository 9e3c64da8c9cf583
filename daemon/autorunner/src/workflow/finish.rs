//! After an iteration: the commit, whether anything changed, and whether the loop goes on.

use engine::{Failure, RunContext};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::AutorunOutput;
use super::course::{Progressed, read};
use super::iteration::recorded;
use super::prepare::{git, load, progress, stop_file, stop_told};
use super::record::IterationEnd;
use crate::config::Config;
use crate::git::{CommitOutcome, Git};
use crate::repo::Layout;
use crate::state::State;
use crate::stop::{self, Decision, ProgressTracker, Situation, StopReason};
use crate::todo;

/// What the step after an iteration found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    /// How it ended.
    pub(super) end: IterationEnd,
    /// What became of the commit, if one was wanted. One that fails does not end the loop.
    pub(super) commit: Option<String>,
    /// Whether the loop goes on.
    pub(super) decision: Decision,
    /// With this iteration.
    pub(super) progress: ProgressTracker,
    /// The TODO counts.
    pub(super) todo: todo::Fingerprint,
    /// When the next iteration begins at the earliest.
    pub(super) pause_until: Timestamp,
}

/// Looks at what the iteration has done.
pub(super) async fn finish(
    ctx: &RunContext,
    layout: &Layout,
    once: bool,
    at: &Progressed,
    result: Result<IterationEnd, Failure>,
) -> Result<Finished, Failure> {
    let name = format!("finish {}", at.next);
    let (directory, run) = (ctx.directory(), ctx.id());
    let (at, layout, git, told) = (at.clone(), layout.clone(), git(ctx, layout.root()), stop_told(ctx));
    let finish = move || {
        let end = result.unwrap_or_else(|failure| recorded(&directory, at.next, &failure));
        let config = load(&layout)?;
        let failed = end.failure.is_some();
        let wanted = config.git.auto_commit && !failed;
        let commit =
            wanted.then(|| commit(&git, &config, &layout, end.run_id, &format!("{run}/{}", end.run_id)));

        let after = progress(&layout, &config, &git)?;
        let todo = after.todo;
        let mut progress = at.progress.clone();
        let unchanged = progress.observe(after);
        let situation = Situation {
            stop_requested: told.or_else(|| stop_file(&layout)),
            elapsed: std::time::Duration::ZERO,
            open_items: todo.open,
            iterations: at.iterations + 1,
            failures_in_a_row: if failed { at.failures_in_a_row + 1 } else { 0 },
            last_exit_code: end.exit_code,
            unchanged_in_a_row: unchanged,
        };
        let decision = stop::after_iteration(&config.runner.limits(once), &situation);
        let pause_until = pause(&config, end.retry_at, Timestamp::now());
        Ok(Finished { end, commit, decision, progress, todo, pause_until })
    };
    read(ctx, &name, finish).await
}

/// Codex may have said that nothing works before some time.
fn pause(config: &Config, retry_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let pause =
        i64::try_from(config.runner.sleep_seconds).map_or(SignedDuration::MAX, SignedDuration::from_secs);
    let usual = now.checked_add(pause).unwrap_or(Timestamp::MAX);
    retry_at.map_or(usual, |at| at.max(usual))
}

fn commit(git: &Git, config: &Config, layout: &Layout, run_id: u64, token: &str) -> String {
    let documents = config.docs.resolve(layout.root());
    match git.commit_documents(&config.git.commit_message(run_id), token, &documents) {
        Ok(CommitOutcome::Committed { commit } | CommitOutcome::AlreadyCommitted { commit }) => {
            format!("committed as {commit}")
        }
        Ok(CommitOutcome::NothingToCommit { ignored }) if ignored.is_empty() => {
            "nothing to commit".to_owned()
        }
        Ok(CommitOutcome::NothingToCommit { .. }) => {
            "nothing to commit: git ignores the documents".to_owned()
        }
        Err(error) => {
            tracing::warn!(repo = %layout.root().display(), %error, "could not commit after an iteration");
            format!("failed: {error}")
        }
    }
}

/// The good end of a loop.
pub(super) async fn conclude(
    ctx: &RunContext,
    layout: &Layout,
    at: &Progressed,
    reason: StopReason,
    todo: todo::Fingerprint,
) -> Result<AutorunOutput, Failure> {
    let output = AutorunOutput {
        iterations: at.iterations,
        reason: reason.to_string(),
        last_exit_code: at.last_exit_code,
        outstanding: todo.open,
        done: todo.done,
        tokens: at.tokens,
    };
    let layout = layout.clone();
    let conclude = move || {
        let mut state = State::load(&layout.state()).map_err(Failure::internal)?;
        state.loop_ended();
        state.store(&layout.state()).map_err(Failure::internal)?;
        if matches!(reason, StopReason::StopRequested { .. }) && layout.stop_file().exists() {
            let removed = std::fs::remove_file(layout.stop_file());
            removed.map_err(|error| {
                Failure::internal(format!("cannot remove the file that asked for a stop: {error}"))
            })?;
        }
        Ok(output)
    };
    read(ctx, "end", conclude).await
}
