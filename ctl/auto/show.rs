//! A loop, its status and its checks, for programs and for people.

use serde::Serialize;
use spindle_client::v1::{Check, LoopStatus};

use crate::error::CtlError;
use crate::exit::Exit;
use crate::show::run::{RunView, state_word};
use crate::show::table::Tone;
use crate::show::text::{clean, clean_bytes};
use crate::show::{Out, some};

#[derive(Serialize)]
struct LoopView<'a> {
    repo: String,
    status: &'a str,
    last_run_id: Option<u64>,
    last_exit_code: Option<i32>,
    last_run_started_at: Option<&'a str>,
    last_run_finished_at: Option<&'a str>,
    runner_pid: Option<i32>,
    outstanding: u32,
    done: u32,
    run: Option<RunView<'a>>,
    stop_requested: bool,
    lock: Option<&'a str>,
}

impl<'a> From<&'a LoopStatus> for LoopView<'a> {
    fn from(status: &'a LoopStatus) -> Self {
        Self {
            repo: String::from_utf8_lossy(&status.repo).into_owned(),
            status: &status.status,
            last_run_id: status.last_run_id,
            last_exit_code: status.last_exit_code,
            last_run_started_at: some(&status.last_run_started_at),
            last_run_finished_at: some(&status.last_run_finished_at),
            runner_pid: status.runner_pid,
            outstanding: status.outstanding,
            done: status.done,
            run: status.run.as_ref().map(RunView::from),
            stop_requested: status.stop_requested,
            lock: some(&status.lock),
        }
    }
}

/// The eight lines that scripts of the earlier tool read, then what is ours.
fn lines(status: &LoopStatus) -> Vec<String> {
    fn or_none<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "None".to_owned(), |value| clean(&value.to_string()))
    }
    let mut lines = vec![
        format!("Repo: {}", clean_bytes(&status.repo)),
        format!("Status: {}", clean(&status.status)),
        format!("Last run id: {}", or_none(status.last_run_id)),
        format!("Last exit code: {}", or_none(status.last_exit_code)),
        format!("Last start: {}", or_none(some(&status.last_run_started_at))),
        format!("Last finish: {}", or_none(some(&status.last_run_finished_at))),
        format!("Runner pid: {}", or_none(status.runner_pid)),
        format!("Outstanding TODO items: {}", status.outstanding),
    ];
    if let Some(run) = &status.run {
        lines.push(format!("Run: {} ({})", run.id, state_word(run.state())));
    }
    if status.stop_requested {
        lines.push("Stop requested: yes".to_owned());
    }
    if !status.lock.is_empty() {
        lines.push(format!("Lock: {}", clean(&status.lock)));
    }
    lines
}

/// How the loop is doing.
pub(super) fn status(out: Out, status: &LoopStatus) -> Result<Exit, CtlError> {
    if out.is_json() {
        out.document(&LoopView::from(status))?;
    } else {
        lines(status).iter().try_for_each(|line| out.line(line))?;
    }
    Ok(Exit::DONE)
}

/// The loop after it was told to end: a document, or nothing but the note.
pub(super) fn after_end(out: Out, loop_status: &LoopStatus) -> Result<Exit, CtlError> {
    if out.is_json() { status(out, loop_status) } else { Ok(Exit::DONE) }
}

#[derive(Serialize)]
struct ChecksView<'a> {
    checks: Vec<CheckView<'a>>,
}

#[derive(Serialize)]
struct CheckView<'a> {
    id: &'a str,
    status: &'a str,
    message: &'a str,
    fix: Option<&'a str>,
}

impl<'a> From<&'a Check> for CheckView<'a> {
    fn from(check: &'a Check) -> Self {
        Self { id: &check.id, status: &check.status, message: &check.message, fix: some(&check.fix) }
    }
}

/// What the doctor found; an error among it is a failure.
pub(super) fn checks(out: Out, checks: &[Check]) -> Result<Exit, CtlError> {
    if out.is_json() {
        out.document(&ChecksView { checks: checks.iter().map(CheckView::from).collect() })?;
    } else {
        for check in checks {
            let tone = match check.status.as_str() {
                "ok" => Tone::Good,
                "error" => Tone::Bad,
                _ => Tone::Busy,
            };
            let status = out.paint(&format!("{:7}", clean(&check.status)), tone);
            out.line(&format!("{status}  {}: {}", clean(&check.id), clean(&check.message)))?;
            if !check.fix.is_empty() {
                out.line(&format!("         {}", clean(&check.fix)))?;
            }
        }
    }
    let failed = checks.iter().any(|check| check.status == "error");
    if !failed {
        out.note("Doctor check passed");
    }
    Ok(if failed { Exit::FAILED } else { Exit::DONE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_eight_lines_that_scripts_know() {
        let status = LoopStatus {
            repo: b"/r".to_vec(),
            status: "idle".into(),
            last_run_id: Some(3),
            last_exit_code: Some(0),
            last_run_started_at: "2026-11-21T11:30:00Z".into(),
            outstanding: 2,
            ..LoopStatus::default()
        };
        assert_eq!(
            lines(&status),
            [
                "Repo: /r",
                "Status: idle",
                "Last run id: 3",
                "Last exit code: 0",
                "Last start: 2026-11-21T11:30:00Z",
                "Last finish: None",
                "Runner pid: None",
                "Outstanding TODO items: 2",
            ]
        );
    }
}
