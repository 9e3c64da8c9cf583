//! The loop of an autorunner: `.codex-autorunner/state.json` and `lock`.

use serde_json::Value;

use super::fields::{self, Fields};
use super::survey::RunFiles;
use super::{ExternalProcess, ExternalRun, ExternalState, Tool};

/// The exit code that `kill` leaves.
const KILLED: i64 = 137;

pub(super) fn read(files: &RunFiles<'_>, state: Fields<'_>) -> Option<ExternalRun> {
    let status = state.word("status")?;
    let repository = files.directory.parent()?.file_name()?.to_string_lossy();
    let name = fields::shown(&repository)?;
    let lock = files.second.as_deref().and_then(lock);
    let run = state.number("last_run_id");
    // Seeded, and never run: there is nothing to tell of.
    if run.is_none() && lock.is_none() && status == "idle" {
        return None;
    }
    let code = state.number("last_exit_code");
    let ended = match (status, code) {
        ("running", _) => ExternalState::Running,
        ("idle", _) => ExternalState::Succeeded,
        ("error", Some(KILLED)) => ExternalState::Canceled,
        ("error", _) => ExternalState::Failed,
        _ => ExternalState::Unknown,
    };
    // The lock of a loop that did well is looked at: it may be between two runs. That of one that failed is left over.
    let lock = lock.filter(|_| matches!(ended, ExternalState::Running | ExternalState::Succeeded));
    let own = || u32::try_from(state.number("runner_pid")?).ok();
    let process = lock.or_else(|| {
        own().filter(|_| ended == ExternalState::Running).map(|pid| ExternalProcess {
            pid,
            host: None,
            alive: None,
        })
    });
    let running = ended == ExternalState::Running;
    let finished_at = state.time("last_run_finished_at").filter(|_| !running);
    Some(ExternalRun {
        tool: Tool::Autorunner,
        id: name.clone(),
        directory: files.directory.to_owned(),
        title: name,
        state: ended,
        started_at: state.time("last_run_started_at"),
        updated_at: finished_at.or_else(|| state.time("last_run_started_at")),
        finished_at,
        heartbeat: None,
        process,
        detail: run.map(|run| match code {
            Some(code) if !running => format!("run {run}, exit code {code}"),
            _ => format!("run {run}"),
        }),
    })
}

/// Whom a lock names: a bare number, or one line of JSON with the host.
fn lock(text: &str) -> Option<ExternalProcess> {
    let text = text.trim();
    if let Ok(pid) = text.parse() {
        return Some(ExternalProcess { pid, host: None, alive: None });
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let lock = Fields::of(&value);
    let pid = u32::try_from(lock.number("pid")?).ok()?;
    Some(ExternalProcess { pid, host: lock.text("host"), alive: None })
}
