//! `spindle trace stats`: what is watched, read and stored.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{GetTraceStatsRequest, TraceHome, TraceStats};

use super::view::path_text;
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::count;
use crate::show::time::{relative, rfc3339, seconds, timestamp};
use crate::show::{size, some};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  spindle trace stats\n  spindle --json trace stats | jq .homes")]
pub(crate) struct StatsArgs {}

#[derive(Serialize)]
struct StatsView<'a> {
    sessions: u64,
    unsettled: u64,
    signals: u64,
    records: u64,
    bytes: u64,
    findings: u64,
    queued: u64,
    last_scan: Option<String>,
    last_scan_seconds: Option<f64>,
    last_change: u64,
    homes: Vec<HomeView<'a>>,
}

#[derive(Serialize)]
struct HomeView<'a> {
    path: String,
    exists: bool,
    method: &'a str,
    problem: Option<&'a str>,
    watched_directories: u64,
}

impl<'a> From<&'a TraceStats> for StatsView<'a> {
    fn from(stats: &'a TraceStats) -> Self {
        let home = |home: &'a TraceHome| HomeView {
            path: path_text(&home.path),
            exists: home.exists,
            method: &home.method,
            problem: some(&home.problem),
            watched_directories: home.watched_directories,
        };
        Self {
            sessions: stats.sessions,
            unsettled: stats.unsettled,
            signals: stats.signals,
            records: stats.records,
            bytes: stats.bytes,
            findings: stats.findings,
            queued: stats.queued,
            last_scan: rfc3339(stats.last_scan.as_ref()),
            last_scan_seconds: seconds(stats.last_scan_took.as_ref()),
            last_change: stats.last_change,
            homes: stats.homes.iter().map(home).collect(),
        }
    }
}

impl StatsArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let answer = client.traces().get_trace_stats(GetTraceStatsRequest {}).await;
        let stats = answer.map_err(calling("show the state of traces"))?.into_inner();
        if app.out.is_json() {
            app.out.document(&StatsView::from(&stats))?;
            return Ok(Exit::DONE);
        }
        let waiting = if stats.queued == 0 { String::new() } else { count(stats.queued, "session") };
        app.out.pairs(&[
            ("sessions", format!("{}, {} of them live", stats.sessions, stats.unsettled)),
            ("signals", stats.signals.to_string()),
            ("read", format!("{}, {}", count(stats.records, "record"), size(stats.bytes))),
            ("findings", stats.findings.to_string()),
            ("to be read", waiting),
            ("last scan", relative(timestamp(stats.last_scan.as_ref()), Timestamp::now())),
        ])?;
        let mut table = Table::new(["HOME", "METHOD", "DIRECTORIES", "PROBLEM"]);
        for home in &stats.homes {
            let method = if home.exists { home.method.as_str() } else { "waiting" };
            table.row([
                path_text(&home.path).into(),
                method.into(),
                home.watched_directories.to_string().into(),
                Cell::new(&home.problem, Tone::Bad),
            ]);
        }
        app.out.line("")?;
        app.out.table(&table, "no Codex home is watched")?;
        Ok(Exit::DONE)
    }
}
