//! Tasks of workspaces: `tasks/<task>/meta.json`.

use super::fields::Fields;
use super::survey::RunFiles;
use super::{ExternalRun, ExternalState, Tool};

pub(super) fn read(files: &RunFiles<'_>, meta: Fields<'_>) -> Option<ExternalRun> {
    // Many things are called `meta.json`.
    let id = meta.text("taskId").filter(|_| meta.get("runs").is_array())?;
    let status = meta.word("status")?;
    let state = match status {
        "creating" | "running" | "stopping" | "reviewing" | "pushing" => ExternalState::Running,
        "completed" => ExternalState::Succeeded,
        "failed" => ExternalState::Failed,
        "stopped" => ExternalState::Canceled,
        _ => ExternalState::Unknown,
    };
    let last = meta.get("runs").last();
    let prompt = ["lastPrompt", "initialPrompt"].iter().find_map(|name| meta.text(name));
    Some(ExternalRun {
        tool: Tool::Workspaces,
        directory: files.directory.to_owned(),
        title: prompt.or_else(|| last.text("prompt")).unwrap_or_else(|| id.clone()),
        state,
        started_at: last.time("startedAt").or_else(|| meta.time("createdAt")),
        updated_at: meta.time("updatedAt"),
        finished_at: last.time("finishedAt").filter(|_| state.is_final()),
        heartbeat: None,
        process: None,
        detail: meta
            .text("error")
            .or_else(|| Some(status.to_owned()).filter(|status| status != "running" && !state.is_final())),
        id,
    })
}
