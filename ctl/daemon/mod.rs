//! `spindle daemon`: start, stop and inspect the daemon.

mod export;
mod logs;
mod show;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;
use spindle_client::v1::{DaemonInfo, PauseRequest, ReloadRequest, ResumeRequest, StopRequest};
use spindle_client::{Client, ConnectError, PROTOCOL};
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::program::run_spindled;
use crate::show::text::clean;

/// A daemon told to stop leaves its processes alone and is gone in 2 s.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// When it stops its runs first, each of them has its grace.
const STOP_RUNS_LIMIT: Duration = Duration::from_mins(5);

const STOP_POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Start the daemon in the background, and return when it is ready
    #[command(after_long_help = "Runs `spindled --detach`. A daemon that runs already is left alone.\n\n\
        Examples:\n  spindle daemon start")]
    Start,
    /// Stop the daemon; the processes of its runs go on
    #[command(after_long_help = "Processes go on with their shims, and the next daemon takes them over. \
        Without a daemon\nthere is nothing to do, and nothing is wrong.\n\n\
        Examples:\n  spindle daemon stop\n  spindle daemon stop --stop-runs")]
    Stop(StopArgs),
    /// Stop and start, as after an upgrade
    #[command(after_long_help = "Runs are not disturbed.\n\nExamples:\n  spindle daemon restart")]
    Restart,
    /// Say in one line how it is; ends with 3 without a daemon
    #[command(after_long_help = "Examples:\n  spindle daemon status || spindle daemon start\n  \
        spindle --json daemon status | jq .running")]
    Status,
    /// Show everything about the daemon
    #[command(after_long_help = "Examples:\n  spindle daemon info\n  spindle --json daemon info")]
    Info,
    /// Print the daemon's own log
    Logs(logs::LogsArgs),
    /// Start no further runs; those under way go on
    #[command(after_long_help = "Survives a restart of the daemon.\n\nExamples:\n  spindle daemon pause")]
    Pause,
    /// Start runs again after a pause
    #[command(after_long_help = "Examples:\n  spindle daemon resume")]
    Resume,
    /// Read the configuration again
    #[command(after_long_help = "A file with mistakes is refused, and the old settings stay.\n\n\
        Examples:\n  spindle config check && spindle daemon reload")]
    Reload,
    /// Write the store to a file as JSON lines, for a backup
    Export(export::ExportArgs),
    /// Read the whole store, with no daemon running, and tell what is wrong with it
    #[command(after_long_help = "Changes nothing. Ends with 1 if something is wrong.\n\n\
        Examples:\n  spindle daemon stop && spindle daemon verify")]
    Verify,
    /// Make a store from an export, with no daemon running; an existing store is left alone
    #[command(
        after_long_help = "Move a damaged store away first: it lies in `store` in the state directory.\n\n\
        Examples:\n  spindle daemon restore spindle-backup.jsonl"
    )]
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// What `spindle daemon export` wrote
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Stop the processes of all runs first
    #[arg(long)]
    stop_runs: bool,
}

impl DaemonCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        match self {
            Self::Start => start(app).await,
            Self::Stop(args) => stop(app, args.stop_runs).await,
            Self::Restart => {
                stop(app, false).await?;
                start(app).await
            }
            Self::Status => show::status(app.out, &info(app, &app.client().await?).await?),
            Self::Info => show::info(app.out, &info(app, &app.client().await?).await?),
            Self::Logs(args) => args.perform(app).await,
            Self::Pause => {
                let answer = app.client().await?.daemon().pause(PauseRequest {}).await;
                changed(app, "pause the daemon", answer)
            }
            Self::Resume => {
                let answer = app.client().await?.daemon().resume(ResumeRequest {}).await;
                changed(app, "resume the daemon", answer)
            }
            Self::Reload => reload(app).await,
            Self::Export(args) => args.perform(app).await,
            Self::Verify => offline(app, &[OsStr::new("verify")]),
            Self::Restore(args) => {
                let file = std::path::absolute(&args.file)?;
                offline(app, &[OsStr::new("restore"), file.as_os_str()])
            }
        }
    }
}

/// Only `spindled` knows its store, and it can read it without running.
fn offline(app: &App, words: &[&OsStr]) -> Result<Exit, CtlError> {
    let json = if app.out.is_json() { &[OsStr::new("--json")][..] } else { &[] };
    run_spindled(app, &[words, json].concat())
}

/// Asks the daemon who it is, and says so when it is of another version.
async fn info(app: &App, client: &Client) -> Result<DaemonInfo, CtlError> {
    let info = client.info().await.map_err(calling("ask the daemon"))?;
    if info.protocol != PROTOCOL {
        app.out.warn(&format!(
            "the daemon is {} and speaks protocol {}; this spindle is {} and speaks {PROTOCOL}: `spindle daemon restart`",
            clean(&info.version),
            info.protocol,
            env!("CARGO_PKG_VERSION"),
        ));
    }
    Ok(info)
}

async fn start(app: &App) -> Result<Exit, CtlError> {
    if let Ok(client) = app.client().await {
        let info = info(app, &client).await?;
        app.out.note(&format!("the daemon runs already (process {})", info.pid));
        return show_json(app, &info);
    }
    let exit = run_spindled(app, &["--detach"])?;
    if exit != Exit::DONE {
        return Ok(exit);
    }
    let info = info(app, &app.client().await?).await?;
    app.out.note(&format!("the daemon is ready (process {})", info.pid));
    show_json(app, &info)
}

fn show_json(app: &App, info: &DaemonInfo) -> Result<Exit, CtlError> {
    if app.out.is_json() { show::info(app.out, info) } else { Ok(Exit::DONE) }
}

async fn stop(app: &App, stop_runs: bool) -> Result<Exit, CtlError> {
    let client = match app.client().await {
        Err(CtlError::Connect(ConnectError::NoDaemon { .. })) => {
            app.out.note("no daemon runs");
            return Ok(Exit::DONE);
        }
        client => client?,
    };
    let pid = client.info().await.map_err(calling("ask the daemon"))?.pid;
    let limit = if stop_runs { STOP_RUNS_LIMIT } else { STOP_LIMIT };
    let mut request = Request::new(StopRequest { stop_runs });
    request.set_timeout(limit);
    match client.daemon().stop(request).await {
        // It may be gone before it could answer.
        Ok(_) => {}
        Err(status) if spindle_client::reconnect::is_cut(&status) => {}
        Err(status) => return Err(calling("stop the daemon")(status)),
    }
    let deadline = Instant::now() + limit;
    while is_alive(pid) {
        if Instant::now() > deadline {
            return Err(CtlError::WillNotStop { pid, seconds: limit.as_secs() });
        }
        sleep(STOP_POLL).await;
    }
    app.out.note("the daemon has stopped");
    Ok(Exit::DONE)
}

/// Whether a process of ours is there and has not ended.
fn is_alive(pid: i32) -> bool {
    match kill(Pid::from_raw(pid), None) {
        Ok(()) => !is_zombie(pid),
        // Another user's: the number has gone to another process.
        Err(error) => !matches!(error, Errno::ESRCH | Errno::EPERM),
    }
}

/// A process that has ended and was not collected by its parent. Where there
/// is no /proc, nothing is known to be one.
fn is_zombie(pid: i32) -> bool {
    // The name in the second field may contain anything, blanks and brackets too.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

fn changed(app: &App, what: &str, answer: Result<Response<DaemonInfo>, Status>) -> Result<Exit, CtlError> {
    show::status(app.out, &answer.map_err(calling(what))?.into_inner())
}

async fn reload(app: &App) -> Result<Exit, CtlError> {
    let answer = app.client().await?.daemon().reload(ReloadRequest {}).await;
    let needs_restart = answer.map_err(calling("reload the configuration"))?.into_inner().needs_restart;
    if app.out.is_json() {
        app.out.document(&json!({ "needs_restart": needs_restart }))?;
    } else if needs_restart.is_empty() {
        app.out.note("the configuration is in force");
    } else {
        let keys = clean(&needs_restart.join(", "));
        app.out.warn(&format!("in force, but for what needs `spindle daemon restart`: {keys}"));
    }
    Ok(Exit::DONE)
}
