//! Hooks: what a run's end leads to, as a run of its own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use engine::process::OsText;
use engine::{Origin, Run, StartOptions, StartRun, Variable, Workflow as _};
use exec::{Exec, ExecSpec};
use serde_json::{Value, json};
use spindle_client::environment;

use crate::config::Hook;

/// More of a run's output than this, in bytes of JSON, is left out: what a command reads is stored.
const LARGEST_OUTPUT: usize = 64 << 10;

impl Hook {
    /// The run to start when this one has ended; none: the hook is not for it. Hooks count from 0.
    pub(crate) fn on_end(&self, number: usize, run: &Run) -> Option<StartRun> {
        if !self.is_for(run) {
            return None;
        }
        let cwd = self.cwd.clone().or_else(std::env::home_dir).unwrap_or_else(|| "/".into());
        let mut spec = ExecSpec::new(self.command.iter().map(String::as_str), cwd.as_os_str());
        spec.timeout = Some(self.timeout);
        spec.stdin = Some(OsText::from(format!("{}\n", to_json(run)).as_str()));
        // There is no client whose environment it could have.
        let captured = environment::capture(std::env::vars_os());
        let environment = captured.into_iter().map(|variable| Variable {
            name: variable.name,
            value: OsString::from_vec(variable.value).into(),
        });
        let name = format!("hook {} of {} {}", number + 1, run.kind, run.id);
        Some(StartRun {
            request_id: None,
            kind: Exec::KIND.to_owned(),
            spec: serde_json::to_value(spec).ok()?,
            options: StartOptions { name, environment: environment.collect(), ..StartOptions::default() },
            origin: Origin::Hook(run.id),
            lineage: run.lineage.clone(),
            refuse_if_held: false,
        })
    }
}

/// An ended run, with the names that `spindle --json run show` gives to the same things.
fn to_json(run: &Run) -> Value {
    let failure = run.state.failure().map(
        |failure| json!({ "kind": failure.kind.as_str(), "message": failure.message, "hint": failure.hint }),
    );
    let (parent, schedule) = match &run.origin {
        Origin::Client => (None, None),
        Origin::Parent { run, .. } | Origin::Hook(run) => (Some(run.to_string()), None),
        Origin::Schedule(id) => (None, Some(id)),
    };
    let usage = &run.usage;
    let output = run.output.as_ref().filter(|output| output.to_string().len() <= LARGEST_OUTPUT);
    json!({
        "id": run.id.to_string(),
        "kind": run.kind,
        "name": if run.name.is_empty() { None } else { Some(&run.name) },
        "labels": run.labels,
        "state": run.state.status().word(),
        "exit_code": run.exit_code,
        "signal": run.signal,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "failure": failure,
        "attempt": run.attempt,
        "parent_id": parent,
        "schedule_id": schedule,
        "usage": {
            "user_seconds": usage.user.as_secs_f64(),
            "system_seconds": usage.system.as_secs_f64(),
            "max_rss_bytes": usage.max_rss_bytes,
        },
        "output": output,
    })
}
