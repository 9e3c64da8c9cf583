//! `spindle watch`: directories where other tools keep runs.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::{AddWatchRequest, ListWatchesRequest, RemoveWatchRequest, Watch};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::absolute;
use crate::exit::Exit;
use crate::show::some;
use crate::show::table::{Cell, Table, Tone};
use crate::show::text::{clean_bytes, count};
use crate::show::time::{local, rfc3339, timestamp};

#[derive(Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// Watch a directory
    #[command(after_long_help = "\
What lies there is recognised: .runs/TASK/cli/RUN/manifest.json, runs/SLUG/run.json,
.codex-autorunner/state.json, tasks/ID/meta.json. Nothing of it is ever written.

Examples:
  spindle watch add ~/project
  spindle run ls --external")]
    Add {
        /// The directory; it need not exist yet
        path: PathBuf,
    },
    /// List watched directories
    #[command(after_long_help = "Examples:\n  spindle watch ls\n  spindle --json watch ls")]
    Ls,
    /// Watch a directory no longer
    #[command(after_long_help = "Examples:\n  spindle watch rm ~/project")]
    Rm {
        /// The directory
        path: PathBuf,
    },
}

#[derive(Serialize)]
struct WatchView<'a> {
    path: String,
    added_at: Option<String>,
    method: &'a str,
    problem: Option<&'a str>,
    runs: u32,
}

impl<'a> From<&'a Watch> for WatchView<'a> {
    fn from(watch: &'a Watch) -> Self {
        Self {
            path: String::from_utf8_lossy(&watch.path).into_owned(),
            added_at: rfc3339(watch.added_at.as_ref()),
            method: &watch.method,
            problem: some(&watch.problem),
            runs: watch.runs,
        }
    }
}

#[derive(Serialize)]
struct WatchesView<'a> {
    watches: Vec<WatchView<'a>>,
}

impl WatchCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        match self {
            Self::Add { path } => add(app, &client, &path).await,
            Self::Ls => list(app, &client).await,
            Self::Rm { path } => {
                let what = format!("stop watching {}", path.display());
                let request = RemoveWatchRequest { path: bytes(&path)? };
                client.watches().remove_watch(request).await.map_err(calling(what))?;
                Ok(Exit::DONE)
            }
        }
    }
}

async fn add(app: &App, client: &Client, path: &std::path::Path) -> Result<Exit, CtlError> {
    let what = format!("watch {}", path.display());
    let answer = client.watches().add_watch(AddWatchRequest { path: bytes(path)? }).await;
    let watch = answer.map_err(calling(what))?.into_inner();
    if app.out.is_json() {
        app.out.document(&WatchView::from(&watch))?;
        return Ok(Exit::DONE);
    }
    app.out.note(&format!("watching {}: {} found", clean_bytes(&watch.path), count(watch.runs, "run")));
    if !watch.problem.is_empty() {
        app.out.warn(&watch.problem);
    }
    Ok(Exit::DONE)
}

async fn list(app: &App, client: &Client) -> Result<Exit, CtlError> {
    let answer = client.watches().list_watches(ListWatchesRequest {}).await;
    let watches = answer.map_err(calling("list watched directories"))?.into_inner().watches;
    if app.out.is_json() {
        app.out.document(&WatchesView { watches: watches.iter().map(WatchView::from).collect() })?;
        return Ok(Exit::DONE);
    }
    let mut table = Table::new(["DIRECTORY", "METHOD", "RUNS", "ADDED", "PROBLEM"]);
    for watch in &watches {
        table.row([
            clean_bytes(&watch.path).into(),
            watch.method.as_str().into(),
            watch.runs.to_string().into(),
            local(timestamp(watch.added_at.as_ref())).into(),
            Cell::new(&watch.problem, Tone::Bad),
        ]);
    }
    app.out.table(&table, "no directory is watched: `spindle watch add PATH`")?;
    Ok(Exit::DONE)
}

fn bytes(path: &std::path::Path) -> Result<Vec<u8>, CtlError> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(absolute(path)?.into_os_string().into_vec())
}
