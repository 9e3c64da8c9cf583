//! `spindle run`: look at runs, follow them, end them.

mod external;
mod logs;
mod ls;
mod watch;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use spindle_client::Client;
use spindle_client::v1::{
    CancelRunRequest, DeleteRunRequest, GetRunRequest, KillRunRequest, ResumeRunRequest, RetryRunRequest, Run,
};
use tonic::Status;

use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exit::Exit;
use crate::follow::{FollowArgs, finished, unless_interrupted, wait, whole_id};
use crate::show::run::{DetailView, RunView, detail, state_word};
use crate::start::fresh_request_id;

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first
    Ls(Box<ls::LsArgs>),
    /// Show everything about a run
    #[command(after_long_help = "Examples:\n  spindle run show 01934f2a\n  \
        spindle --json run show 01934f2a | jq '.steps[] | {name, state}'")]
    Show {
        /// Id of the run, or its beginning
        id: String,
    },
    /// Print events as they happen
    Watch(watch::WatchArgs),
    /// Print what a run's process wrote, byte for byte
    Logs(logs::LogsArgs),
    /// Ask runs to end: first signal, grace, then SIGKILL
    #[command(after_long_help = "Examples:\n  spindle run cancel 01934f2a\n  \
        spindle run cancel --reason 'wrong branch' 01934f2a 01934f2b")]
    Cancel(EndArgs),
    /// End runs at once, with all that they started
    #[command(after_long_help = "Examples:\n  spindle run kill 01934f2a")]
    Kill(EndArgs),
    /// Go on with a failed, canceled or interrupted run; finished steps stay done
    #[command(
        after_long_help = "Examples:\n  spindle run resume 01934f2a\n  spindle run resume --wait 01934f2a"
    )]
    Resume(AgainArgs),
    /// Start a new run with the spec and options of an ended one
    #[command(after_long_help = "Examples:\n  spindle run retry 01934f2a\n  spindle run retry -f 01934f2a")]
    Retry(AgainArgs),
    /// Wait until runs have ended, and pass on how
    #[command(
        after_long_help = "With several runs, the exit code is that of the first that did not succeed.\n\n\
        Examples:\n  spindle run wait 01934f2a && echo well done\n  spindle --json run wait 01934f2a 01934f2b"
    )]
    Wait(IdsArgs),
    /// Forget ended runs: their records and their logs
    #[command(after_long_help = "Examples:\n  spindle run rm 01934f2a\n  \
        spindle --json run ls --state succeeded --all | jq -r '.runs[].id' | xargs spindle run rm")]
    Rm(IdsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct IdsArgs {
    /// Ids of runs, or their beginnings
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// Why; kept with the run
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    runs: IdsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AgainArgs {
    /// Id of the run, or its beginning
    id: String,
    #[command(flatten)]
    follow: FollowArgs,
}

impl RunCommand {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let client = app.client().await?;
        match self {
            Self::Ls(args) => args.perform(app, &client).await,
            Self::Show { id } => show(app, &client, &id).await,
            Self::Watch(args) => args.perform(app, client).await,
            Self::Logs(args) => args.perform(app, client).await,
            Self::Cancel(args) => args.perform(app, &client, "cancel").await,
            Self::Kill(args) => args.perform(app, &client, "kill").await,
            Self::Resume(args) => {
                let request = ResumeRunRequest { run: args.id.clone() };
                let answer = client.runs().resume_run(request).await;
                args.attend(app, &client, "resume", answer.map(tonic::Response::into_inner)).await
            }
            Self::Retry(args) => {
                let request = RetryRunRequest { run: args.id.clone(), request_id: fresh_request_id() };
                let answer = client.runs().retry_run(request).await;
                args.attend(app, &client, "retry", answer.map(tonic::Response::into_inner)).await
            }
            Self::Wait(args) => args.wait(app, &client).await,
            Self::Rm(args) => args.remove(app, &client).await,
        }
    }
}

async fn show(app: &App, client: &Client, id: &str) -> Result<Exit, CtlError> {
    let answer = client.runs().get_run(GetRunRequest { run: id.to_owned() }).await;
    let all = answer.map_err(calling(format!("show run {id}")))?.into_inner();
    let run = all.run.clone().unwrap_or_default();
    if app.out.is_json() {
        app.out.document(&DetailView::new(&all, &run))?;
    } else {
        detail(app.out, &all, &run, Timestamp::now())?;
    }
    Ok(Exit::DONE)
}

impl AgainArgs {
    async fn attend(
        self,
        app: &App,
        client: &Client,
        verb: &str,
        answer: Result<Run, Status>,
    ) -> Result<Exit, CtlError> {
        let run = answer.map_err(calling(format!("{verb} run {}", self.id)))?;
        self.follow.attend(app, client, run).await
    }
}

impl EndArgs {
    async fn perform(self, app: &App, client: &Client, verb: &str) -> Result<Exit, CtlError> {
        let reason = self.reason;
        for_each(app, &self.runs.ids, async |run: String| {
            let what = format!("{verb} run {run}");
            let reason = reason.clone();
            let answer = if verb == "kill" {
                client.runs().kill_run(KillRunRequest { run, reason }).await
            } else {
                client.runs().cancel_run(CancelRunRequest { run, reason }).await
            };
            let run = answer.map_err(calling(what))?.into_inner();
            if app.out.is_json() {
                return app.out.document(&RunView::from(&run));
            }
            let state =
                if run.ending { "is ending".to_owned() } else { format!("is {}", state_word(run.state())) };
            app.out.line(&format!("{} {state}", run.id))
        })
        .await
    }
}

impl IdsArgs {
    /// Waits for all of them in the order given: each is shown as it ends, or
    /// later, so that the output does not depend on chance.
    async fn wait(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let all = self.ids.join(" ");
        unless_interrupted(&all, async {
            let mut exit = Exit::DONE;
            for id in &self.ids {
                let id = whole_id(client, id, "wait for").await?;
                let run = wait(app, client, &id).await?;
                exit = exit.and(finished(app.out, &run)?);
            }
            Ok(exit)
        })
        .await
    }

    async fn remove(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        for_each(app, &self.ids, async |run: String| {
            let what = format!("remove run {run}");
            client.runs().delete_run(DeleteRunRequest { run: run.clone() }).await.map_err(calling(what))?;
            if app.out.is_json() {
                return app.out.document(&serde_json::json!({ "removed": run }));
            }
            app.out.note(&format!("removed {run}"));
            Ok(())
        })
        .await
    }
}

/// Does something to each of several runs. One that fails does not spare the
/// others; the last error decides how the command ends, the rest are shown.
async fn for_each(
    app: &App,
    ids: &[String],
    mut act: impl AsyncFnMut(String) -> Result<(), CtlError>,
) -> Result<Exit, CtlError> {
    let mut exit = Exit::DONE;
    for id in ids {
        if let Err(error) = act(id.clone()).await {
            // Nobody reads on, or nobody answers: the others would fare alike.
            if matches!(error, CtlError::Output(_)) || error.exit() == Exit::NO_DAEMON {
                return Err(error);
            }
            app.out.error(&error);
            exit = exit.and(error.exit());
        }
    }
    Ok(exit)
}
