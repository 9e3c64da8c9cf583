//! `spindle auto`: let Codex work through a repository's TODO list.

mod show;

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use spindle_client::Client;
use spindle_client::v1::{
    CheckRepositoryRequest, GetLoopRequest, InitRepositoryRequest, KillLoopRequest, LoopLogChunk, LoopStatus,
    ReadLoopLogRequest, StartLoopRequest, StopLoopRequest,
};
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::absolute;
use crate::exit::Exit;
use crate::follow::{FollowArgs, unless_interrupted};
use crate::show::Out;
use crate::show::text::{clean, clean_bytes};
use crate::start::{StartArgs, fresh_request_id};

/// How long the rest of a loop's log may take once the loop has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum AutoCommand {
    /// Prepare a repository: seed .codex-autorunner/ and keep what exists
    #[command(
        after_long_help = "Examples:\n  spindle auto init\n  spindle auto init --repo ~/project --git-init"
    )]
    Init {
        #[command(flatten)]
        at: RepoArgs,
        /// Write every file anew; backups of documents stay beside them
        #[arg(long)]
        force: bool,
        /// Make it a git repository if it is none
        #[arg(long)]
        git_init: bool,
    },
    /// Start the loop: iterations until the TODO list is done
    #[command(
        after_long_help = "Like exec it prints the id of the run and returns; with --wait or --follow it stays, \
        and ends\nwith a code that is not 0 when the last iteration failed.\n\n\
        Examples:\n  spindle auto run\n  spindle auto run --repo ~/project --follow"
    )]
    Run(LoopArgs),
    /// Start a single iteration
    #[command(after_long_help = "Examples:\n  spindle auto once --wait && git log -1")]
    Once(LoopArgs),
    /// Show how the loop is doing
    #[command(
        after_long_help = "Examples:\n  spindle auto status\n  spindle --json auto status | jq .outstanding"
    )]
    Status(RepoArgs),
    /// Let the iteration under way finish, then end the loop
    #[command(after_long_help = "Examples:\n  spindle auto stop --repo ~/project")]
    Stop(RepoArgs),
    /// End the loop and its Codex now
    #[command(after_long_help = "Examples:\n  spindle auto kill --repo ~/project")]
    Kill(RepoArgs),
    /// Clear what a dead loop left behind, then start
    #[command(after_long_help = "Examples:\n  spindle auto resume\n  spindle auto resume --once --wait")]
    Resume {
        #[command(flatten)]
        start: LoopArgs,
        /// Stop after one iteration
        #[arg(long)]
        once: bool,
    },
    /// Print the text log: the last iteration, another one, or the last lines
    #[command(after_long_help = "Examples:\n  spindle auto log\n  spindle auto log --run 3\n  \
        spindle auto log --tail 50 -f")]
    Log {
        #[command(flatten)]
        at: RepoArgs,
        /// One iteration, by its number
        #[arg(long, value_name = "N", conflicts_with = "tail")]
        run: Option<u64>,
        /// The last lines of the whole log
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
        /// Go on as it grows
        #[arg(short, long)]
        follow: bool,
    },
    /// Check that a loop could succeed here; ends with 1 if it could not
    #[command(after_long_help = "Examples:\n  spindle auto doctor\n  spindle auto doctor --repo ~/project")]
    Doctor(RepoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RepoArgs {
    /// Any path inside the repository
    #[arg(long, value_name = "PATH", default_value = ".", hide_default_value = true)]
    repo: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct LoopArgs {
    #[command(flatten)]
    at: RepoArgs,
    #[command(flatten)]
    options: StartArgs,
    #[command(flatten)]
    follow: FollowArgs,
    /// A name for this request: starting twice with it starts one loop
    #[arg(long, value_name = "TEXT")]
    request_id: Option<String>,
}

impl RepoArgs {
    fn bytes(&self) -> Result<Vec<u8>, CtlError> {
        Ok(absolute(&self.repo)?.into_os_string().into_vec())
    }
}

impl AutoCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        let mut service = client.autorunner();
        match self {
            Self::Init { at, force, git_init } => init(app, &client, &at, force, git_init).await,
            Self::Run(args) => args.start(app, &client, false, false).await,
            Self::Once(args) => args.start(app, &client, true, false).await,
            Self::Resume { start, once } => start.start(app, &client, once, true).await,
            Self::Status(at) => {
                let answer = service.get_loop(GetLoopRequest { repo: at.bytes()? }).await;
                show::status(app.out, &told("show the loop", answer)?)
            }
            Self::Stop(at) => {
                let status =
                    told("stop the loop", service.stop_loop(StopLoopRequest { repo: at.bytes()? }).await)?;
                app.out.note("the loop ends after the iteration under way");
                show::after_end(app.out, &status)
            }
            Self::Kill(at) => {
                let status =
                    told("kill the loop", service.kill_loop(KillLoopRequest { repo: at.bytes()? }).await)?;
                app.out.note("the loop and its Codex were told to end");
                show::after_end(app.out, &status)
            }
            Self::Log { at, run, tail, follow } => {
                let request =
                    ReadLoopLogRequest { repo: at.bytes()?, iteration: run, tail, follow, offset: None };
                match log(app, &client, request).await {
                    Err(CtlError::Detached { .. }) => Ok(Exit::INTERRUPTED),
                    result => result,
                }
            }
            Self::Doctor(at) => {
                let answer = service.check_repository(CheckRepositoryRequest { repo: at.bytes()? }).await;
                show::checks(app.out, &answer.map_err(calling("check the repository"))?.into_inner().checks)
            }
        }
    }
}

fn told(what: &str, answer: Result<Response<LoopStatus>, Status>) -> Result<LoopStatus, CtlError> {
    answer.map(Response::into_inner).map_err(calling(what))
}

async fn init(
    app: &App,
    client: &Client,
    at: &RepoArgs,
    force: bool,
    git_init: bool,
) -> Result<Exit, CtlError> {
    let request = InitRepositoryRequest { repo: at.bytes()?, force, git_init };
    let answer = client.autorunner().init_repository(request).await;
    let done = answer.map_err(calling("prepare the repository"))?.into_inner();
    if app.out.is_json() {
        let repo = String::from_utf8_lossy(&done.repo);
        app.out.document(&json!({ "repo": repo, "written": done.written, "kept": done.kept }))?;
        return Ok(Exit::DONE);
    }
    for (verb, files) in [("wrote", &done.written), ("kept", &done.kept)] {
        for file in files {
            app.out.line(&format!("{verb} {}", clean(file)))?;
        }
    }
    app.out.note(&format!("prepared {}; now fill .codex-autorunner/TODO.md", clean_bytes(&done.repo)));
    Ok(Exit::DONE)
}

impl LoopArgs {
    async fn start(self, app: &App, client: &Client, once: bool, resume: bool) -> Result<Exit, CtlError> {
        let repo = self.at.bytes()?;
        let request = StartLoopRequest {
            repo: repo.clone(),
            once,
            resume,
            request_id: self.request_id.unwrap_or_else(fresh_request_id),
            options: Some(self.options.options(app.out)),
        };
        let mut patience = App::retry_briefly();
        let run = loop {
            match client.autorunner().start_loop(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => patience.after(status).await.map_err(calling("start the loop"))?,
            }
        };
        let follow = self.follow.follow;
        self.follow
            .attend_with(app, client, run, async |id: &str| {
                if follow { follow_log(app, client, repo, id).await } else { Ok(()) }
            })
            .await
    }
}

/// Shows the loop's text log for as long as the loop lasts.
async fn follow_log(app: &App, client: &Client, repo: Vec<u8>, run: &str) -> Result<(), CtlError> {
    // From here on, not what earlier loops wrote.
    let request = ReadLoopLogRequest { repo, iteration: None, tail: Some(0), follow: true, offset: None };
    let mut copied = Box::pin(async {
        match copy_log(app, client, request).await {
            // A log that cannot be read is no reason to stop waiting.
            Err(error @ CtlError::Call { .. }) => {
                app.out.error(&error);
                Ok(())
            }
            result => result,
        }
    });
    tokio::select! {
        result = &mut copied => return result,
        ended = crate::follow::wait(app, client, run) => ended?,
    };
    // The log ends with the loop, but for what is still on its way.
    timeout(LAST_WORDS, copied).await.unwrap_or(Ok(()))
}

async fn log(app: &App, client: &Client, request: ReadLoopLogRequest) -> Result<Exit, CtlError> {
    unless_interrupted("", copy_log(app, client, request)).await?;
    Ok(Exit::DONE)
}

/// Copies the log; a follower goes on after a cut where it was cut off.
async fn copy_log(app: &App, client: &Client, mut request: ReadLoopLogRequest) -> Result<(), CtlError> {
    let mut patience = app.wait_patiently();
    loop {
        let answer = client.autorunner().read_loop_log(request.clone()).await;
        let ended = match answer {
            Ok(answer) => {
                patience.answered();
                pour(app.out, answer.into_inner(), &mut request.offset).await?
            }
            Err(status) => Err(status),
        };
        let Err(status) = ended else { return Ok(()) };
        if !request.follow {
            return Err(calling("read the log")(status));
        }
        patience.after(status).await.map_err(calling("read the log"))?;
    }
}

/// Tells how far it came. The outer error is ours, the inner the daemon's.
async fn pour(
    out: Out,
    mut chunks: Streaming<LoopLogChunk>,
    end: &mut Option<u64>,
) -> Result<Result<(), Status>, CtlError> {
    loop {
        match chunks.message().await {
            Ok(Some(chunk)) => {
                if out.is_json() {
                    Out::error_bytes(&chunk.data);
                } else {
                    out.bytes(&chunk.data)?;
                }
                *end = Some(chunk.end);
            }
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        }
    }
}
