//! `spindle run ls --external`: runs that other tools keep in watched directories.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use spindle_client::Client;
use spindle_client::v1::{ExternalRun, ListExternalRunsRequest};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::page::PageArgs;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::clean_bytes;
use crate::show::time::{relative, rfc3339, timestamp};
use crate::show::{parsed, some};

#[derive(Serialize)]
struct ExternalView<'a> {
    id: &'a str,
    tool: &'a str,
    title: Option<&'a str>,
    directory: String,
    state: &'a str,
    started_at: Option<String>,
    updated_at: Option<String>,
    finished_at: Option<String>,
    heartbeat_at: Option<String>,
    pid: Option<u32>,
    pid_alive: Option<bool>,
    detail: Value,
}

impl<'a> From<&'a ExternalRun> for ExternalView<'a> {
    fn from(run: &'a ExternalRun) -> Self {
        Self {
            id: &run.id,
            tool: &run.tool,
            title: some(&run.title),
            directory: String::from_utf8_lossy(&run.directory).into_owned(),
            state: &run.state,
            started_at: rfc3339(run.started_at.as_ref()),
            updated_at: rfc3339(run.updated_at.as_ref()),
            finished_at: rfc3339(run.finished_at.as_ref()),
            heartbeat_at: rfc3339(run.heartbeat_at.as_ref()),
            pid: run.pid,
            pid_alive: run.pid_alive,
            detail: parsed(&run.detail_json),
        }
    }
}

/// Lists them.
pub(super) async fn list(app: &App, client: &Client, page: &PageArgs) -> Result<Exit, CtlError> {
    let ask = async |page_size, page_token| {
        let request = ListExternalRunsRequest { page_size, page_token, ..Default::default() };
        let answer = client.watches().list_external_runs(request).await?.into_inner();
        Ok((answer.runs, answer.next_page_token))
    };
    let page = page.collect(ask).await.map_err(calling("list external runs"))?;
    page.show(app, "runs", ExternalView::from, |runs| show(app, runs))
}

fn show(app: &App, runs: &[ExternalRun]) -> Result<(), CtlError> {
    let now = Timestamp::now();
    let mut table = Table::new(["TOOL", "STATE", "STARTED", "SIGN OF LIFE", "PID", "TITLE", "DIRECTORY"]);
    for run in runs {
        let tone = match run.state.as_str() {
            "running" => Tone::Busy,
            "succeeded" => Tone::Good,
            "failed" | "stale" => Tone::Bad,
            _ => Tone::Plain,
        };
        let pid = match (run.pid, run.pid_alive) {
            (Some(pid), Some(false)) => format!("{pid} (dead)"),
            (Some(pid), _) => pid.to_string(),
            (None, _) => String::new(),
        };
        let sign = run.heartbeat_at.as_ref().or(run.updated_at.as_ref());
        table.row([
            run.tool.as_str().into(),
            Cell::new(&run.state, tone),
            relative(timestamp(run.started_at.as_ref()), now).into(),
            relative(timestamp(sign), now).into(),
            pid.into(),
            run.title.as_str().into(),
            clean_bytes(&run.directory).into(),
        ]);
    }
    app.out.table(&table, "no external runs: `spindle watch ls` lists the directories that are watched")
}
