//! Runs of pipelines: `.runs/<task>/cli/<run>/manifest.json` and `.heartbeat` beside it.

use std::time::Duration;

use super::fields::{self, Fields};
use super::survey::RunFiles;
use super::{ExternalRun, ExternalState, Heartbeat, Tool};

/// Constants of the tool that it copies into every manifest.
const INTERVAL: Duration = Duration::from_secs(5);
const STALE_AFTER: Duration = Duration::from_secs(30);

/// A run whose single command has no heartbeat after the first.
const WITHOUT_HEARTBEAT: &str = "exec";

pub(super) fn read(files: &RunFiles<'_>, manifest: Fields<'_>) -> Option<ExternalRun> {
    let id = manifest.text("run_id")?;
    let status = manifest.word("status")?;
    let state = match status {
        "queued" | "in_progress" => ExternalState::Running,
        "succeeded" => ExternalState::Succeeded,
        "failed" => ExternalState::Failed,
        "cancelled" | "canceled" => ExternalState::Canceled,
        _ => ExternalState::Unknown,
    };
    let pipeline = manifest.text("pipeline_title").or_else(|| manifest.text("pipeline_id"));
    let task = manifest.text("task_slug").or_else(|| manifest.text("task_id"));
    let title = match (task, pipeline) {
        (Some(task), Some(pipeline)) => format!("{task}: {pipeline}"),
        (one, other) => one.or(other).unwrap_or_else(|| id.clone()),
    };
    let beats = status == "in_progress" && manifest.word("pipeline_id") != Some(WITHOUT_HEARTBEAT);
    Some(ExternalRun {
        tool: Tool::Orchestrator,
        directory: files.directory.to_owned(),
        title: fields::shown(&title)?,
        state,
        started_at: manifest.time("started_at"),
        updated_at: manifest.time("updated_at"),
        finished_at: manifest.time("completed_at"),
        heartbeat: beats.then(|| heartbeat(files, manifest)).flatten(),
        process: None,
        detail: manifest.text("status_detail").or_else(|| (status == "queued").then(|| "queued".to_owned())),
        id,
    })
}

/// The youngest sign of life: the manifest's lags behind the file's in a long stage.
fn heartbeat(files: &RunFiles<'_>, manifest: Fields<'_>) -> Option<Heartbeat> {
    let file = files.second.as_deref().and_then(fields::time).or(files.second_at);
    // A clock that went wrong: one from the future would be young for ever, and is as young as what is seen now.
    let at = [manifest.time("heartbeat_at"), file].into_iter().flatten().max()?.min(files.now);
    let seconds = |name, default| match manifest.number(name).map(u64::try_from) {
        Some(Ok(seconds)) if seconds > 0 => Duration::from_secs(seconds),
        _ => default,
    };
    Some(Heartbeat {
        at,
        interval: seconds("heartbeat_interval_seconds", INTERVAL),
        stale_after: seconds("heartbeat_stale_after_seconds", STALE_AFTER),
    })
}
