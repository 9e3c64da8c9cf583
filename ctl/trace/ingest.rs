//! `spindle trace ingest`: read what is new now.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{IngestProgress, IngestRequest, IngestTotals};

use super::view::path_bytes;
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::absolute;
use crate::exit::Exit;
use crate::show::size;
use crate::show::text::count;

const AFTER_HELP: &str = "\
The daemon reads what Codex writes by itself, as it is written. This command is
for those who want to know when it is done, and for homes that are not watched.

Examples:
  spindle trace ingest --wait
  spindle --json trace ingest --codex-home /srv/archive/codex --wait
  spindle trace ingest /srv/archive/codex/sessions/2026/11 --wait";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct IngestArgs {
    /// Only what lies here: a Codex home, or within one a rollout, the directory of a thread or one with many
    paths: Vec<PathBuf>,

    /// Only this Codex home; one that is not watched is read once [default: all that are watched]
    #[arg(long, value_name = "DIR")]
    codex_home: Option<PathBuf>,

    /// Wait until all that is there now has been read
    #[arg(long)]
    wait: bool,
}

#[derive(Serialize)]
struct TotalsView {
    sessions: u64,
    records: u64,
    bytes: u64,
    signals: u64,
    findings: u64,
}

impl From<IngestTotals> for TotalsView {
    fn from(totals: IngestTotals) -> Self {
        Self {
            sessions: totals.sessions,
            records: totals.records,
            bytes: totals.bytes,
            signals: totals.signals,
            findings: totals.findings,
        }
    }
}

impl IngestArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let home = self.codex_home.map(|home| absolute(&home)).transpose()?;
        let paths = self.paths.iter().map(|path| absolute(path).map(path_bytes)).collect::<Result<_, _>>()?;
        let codex_home = home.map(path_bytes).unwrap_or_default();
        let request = IngestRequest { codex_home, paths, wait: self.wait };
        let answer = client.traces().ingest(request).await.map_err(calling("read traces"))?;
        let mut progress = answer.into_inner();
        let bar = progress_bar(app);
        let mut totals = IngestTotals::default();
        while let Some(step) = progress.message().await.map_err(calling("read traces"))? {
            if let Some(last) = step.totals {
                totals = last;
            }
            show(&bar, &step);
        }
        bar.finish_and_clear();
        if app.out.is_json() {
            app.out.document(&TotalsView::from(totals))?;
            return Ok(Exit::DONE);
        }
        app.out.line(&format!(
            "{}, {}, {}, {}, {}",
            count(totals.sessions, "session"),
            count(totals.records, "record"),
            size(totals.bytes),
            count(totals.signals, "signal"),
            count(totals.findings, "finding")
        ))?;
        if totals.findings > 0 {
            app.out.note("`spindle trace verify` lists what could not be read");
        }
        Ok(Exit::DONE)
    }
}

/// On a terminal only; indicatif sees to that.
fn progress_bar(app: &App) -> ProgressBar {
    let target =
        if app.out.is_talkative() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let template = "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    // The template is a constant; were it wrong, the plain style would do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, step: &IngestProgress) {
    bar.set_length(step.total_bytes.max(step.bytes));
    bar.set_position(step.bytes);
}
