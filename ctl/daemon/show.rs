//! The daemon's state, for programs and for people.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use spindle_client::v1::DaemonInfo;

use crate::error::CtlError;
use crate::exit::Exit;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::clean;
use crate::show::time::{local, relative, rfc3339, rough, seconds, timestamp};
use crate::show::{Out, size, some};

#[derive(Serialize)]
struct InfoView<'a> {
    version: &'a str,
    protocol: u32,
    pid: i32,
    started_at: Option<String>,
    uptime_seconds: Option<f64>,
    state_dir: &'a str,
    socket: &'a str,
    config_file: Option<&'a str>,
    store_id: &'a str,
    paused: bool,
    queued: u32,
    running: u32,
    waiting: u32,
    slots: u32,
    workflows: Vec<WorkflowView<'a>>,
    last_seq: u64,
    store: Option<StoreView>,
    tasks: Vec<TaskView<'a>>,
    log: &'a str,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct WorkflowView<'a> {
    kind: &'a str,
    slots: u32,
    running: u32,
}

#[derive(Serialize)]
struct StoreView {
    size_bytes: u64,
    commits: u64,
    syncs: u64,
    queue_depth: u32,
}

#[derive(Serialize)]
struct TaskView<'a> {
    name: &'a str,
    running: bool,
    last_error: Option<&'a str>,
}

impl<'a> From<&'a DaemonInfo> for InfoView<'a> {
    fn from(info: &'a DaemonInfo) -> Self {
        let workflows = info.workflows.iter().map(|workflow| WorkflowView {
            kind: &workflow.kind,
            slots: workflow.slots,
            running: workflow.running,
        });
        let tasks = info.tasks.iter().map(|task| TaskView {
            name: &task.name,
            running: task.running,
            last_error: some(&task.last_error),
        });
        Self {
            version: &info.version,
            protocol: info.protocol,
            pid: info.pid,
            started_at: rfc3339(info.started_at.as_ref()),
            uptime_seconds: seconds(info.uptime.as_ref()),
            state_dir: &info.state_dir,
            socket: &info.socket,
            config_file: some(&info.config_file),
            store_id: &info.store_id,
            paused: info.paused,
            queued: info.queued,
            running: info.running,
            waiting: info.waiting,
            slots: info.slots,
            workflows: workflows.collect(),
            last_seq: info.last_seq,
            store: info.store.map(|store| StoreView {
                size_bytes: store.size_bytes,
                commits: store.commits,
                syncs: store.syncs,
                queue_depth: store.queue_depth,
            }),
            tasks: tasks.collect(),
            log: &info.log,
            warnings: &info.warnings,
        }
    }
}

/// One line, and what is wrong.
pub(super) fn status(out: Out, info: &DaemonInfo) -> Result<Exit, CtlError> {
    if out.is_json() {
        out.document(&InfoView::from(info))?;
        return Ok(Exit::DONE);
    }
    let state = if info.paused { out.paint("paused", Tone::Bad) } else { out.paint("running", Tone::Good) };
    out.line(&format!(
        "{state}: spindled {}, process {}, {}; {} of {} slots busy, {} queued, {} waiting",
        clean(&info.version),
        info.pid,
        up(info),
        info.running,
        info.slots,
        info.queued,
        info.waiting,
    ))?;
    warnings(out, info);
    Ok(Exit::DONE)
}

/// Everything.
pub(super) fn info(out: Out, info: &DaemonInfo) -> Result<Exit, CtlError> {
    if out.is_json() {
        return status(out, info);
    }
    let started = timestamp(info.started_at.as_ref());
    let store = info.store.as_ref();
    out.pairs(&[
        ("version", clean(&info.version)),
        ("protocol", info.protocol.to_string()),
        ("process", info.pid.to_string()),
        ("started", format!("{} ({})", local(started), relative(started, Timestamp::now()))),
        ("state", if info.paused { "paused" } else { "running" }.to_owned()),
        ("runs", format!("{} running, {} queued, {} waiting", info.running, info.queued, info.waiting)),
        ("slots", info.slots.to_string()),
        ("state dir", clean(&info.state_dir)),
        ("socket", clean(&info.socket)),
        ("config", clean(&info.config_file)),
        ("log", clean(&info.log)),
        ("store", store.map_or_else(String::new, |store| size(store.size_bytes))),
        ("store id", clean(&info.store_id)),
        ("last event", info.last_seq.to_string()),
    ])?;
    if !info.workflows.is_empty() {
        out.line("")?;
        let mut table = Table::new(["WORKFLOW", "RUNNING", "SLOTS"]);
        for workflow in &info.workflows {
            let slots = if workflow.slots == 0 { "-".to_owned() } else { workflow.slots.to_string() };
            table.row([workflow.kind.as_str().into(), workflow.running.to_string().into(), slots.into()]);
        }
        out.table(&table, "")?;
    }
    if !info.tasks.is_empty() {
        out.line("")?;
        let mut table = Table::new(["TASK", "STATE", "LAST ERROR"]);
        for task in &info.tasks {
            let state = if task.running { ("running", Tone::Good) } else { ("ended", Tone::Bad) };
            table.row([
                task.name.as_str().into(),
                Cell::new(state.0, state.1),
                task.last_error.as_str().into(),
            ]);
        }
        out.table(&table, "")?;
    }
    warnings(out, info);
    Ok(Exit::DONE)
}

fn warnings(out: Out, info: &DaemonInfo) {
    for warning in &info.warnings {
        out.warn(&format!("warning: {}", clean(warning)));
    }
}

fn up(info: &DaemonInfo) -> String {
    info.uptime.as_ref().map_or_else(
        || "just started".to_owned(),
        |span| format!("up {}", rough(SignedDuration::from_secs(span.seconds))),
    )
}
