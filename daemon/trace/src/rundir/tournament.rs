//! Runs of tournaments: `runs/<slug>/run.json`. There is no field for the state: the sections that exist say it.

use super::fields::{self, Fields};
use super::survey::RunFiles;
use super::{ExternalRun, ExternalState, Tool};

pub(super) fn read(files: &RunFiles<'_>, run: Fields<'_>) -> Option<ExternalRun> {
    // Many things are called `run.json`.
    if !(run.get("variants").is_array() && run.get("artifacts").is_object()) {
        return None;
    }
    let name = fields::shown(&files.directory.file_name()?.to_string_lossy())?;
    let (watch, gates) = (run.get("watch"), run.get("gates"));
    let (state, stage) = state(run);
    let finished_at = match state {
        ExternalState::Running | ExternalState::Unknown | ExternalState::Stale => None,
        _ => gates.time("completed_at").or_else(|| watch.time("ended_at")),
    };
    let times = [
        run.time("updated_at"),
        run.time("created_at"),
        watch.time("started_at"),
        watch.time("ended_at"),
        run.get("harvest").time("completed_at"),
        run.get("selection").time("recorded_at"),
        run.get("selection").time("confirmed_at"),
        gates.time("completed_at"),
    ];
    Some(ExternalRun {
        tool: Tool::Tournament,
        id: run.text("run_id").unwrap_or_else(|| name.clone()),
        directory: files.directory.to_owned(),
        title: run.text("task_id").unwrap_or(name),
        state,
        started_at: run.time("created_at").or_else(|| watch.time("started_at")),
        updated_at: times.into_iter().flatten().max(),
        finished_at,
        heartbeat: None,
        process: None,
        detail: watch.text("error").or_else(|| Some(stage.to_owned())),
    })
}

fn state(run: Fields<'_>) -> (ExternalState, &'static str) {
    match run.get("gates").word("status") {
        Some("passed") => return (ExternalState::Succeeded, "gates passed"),
        Some("failed") => return (ExternalState::Failed, "gates failed"),
        _ => {}
    }
    match run.get("watch").word("status") {
        Some("error") => return (ExternalState::Failed, "watch failed"),
        Some("timeout") => return (ExternalState::Failed, "watch timed out"),
        _ => {}
    }
    let stage = if run.get("selection").is_object() {
        "selected"
    } else if run.get("harvest").is_object() {
        "harvested"
    } else {
        match run.get("watch").word("status") {
            Some("ready") => "ready",
            Some(_) => "watching",
            None => "created",
        }
    };
    (ExternalState::Running, stage)
}
