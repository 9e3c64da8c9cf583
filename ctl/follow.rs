//! Staying with a run after it was started: wait for its end, show its output.

use std::time::Duration;

use clap::Args;
use spindle_client::v1::{GetRunRequest, LogStream, ReadLogRequest, Run};
use spindle_client::watch::is_terminal;
use spindle_client::{Client, LogReader};
use tokio::time::sleep;
use tonic::Status;

use crate::app::App;
use crate::error::{CtlError, calling, is_gone, status_reason};
use crate::exit::{Exit, outcome};
use crate::show::Out;
use crate::show::run::{RunView, verdict};
use crate::show::text::clean;

/// How often a queued run is asked whether it has a process by now.
const FIRST_PROCESS: Duration = Duration::from_millis(250);

/// Whether to stay.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FollowArgs {
    /// Wait for its end and pass on its exit code
    #[arg(long)]
    pub(crate) wait: bool,

    /// Show its output while waiting: what it writes to standard output and
    /// standard error goes to ours (with --json: both to standard error)
    #[arg(short, long)]
    pub(crate) follow: bool,
}

impl FollowArgs {
    /// Whether the command returns only when the run has ended.
    pub(crate) fn stays(self) -> bool {
        self.wait || self.follow
    }

    /// Shows a run that was just started, and stays with it if asked to.
    pub(crate) async fn attend(self, app: &App, client: &Client, run: Run) -> Result<Exit, CtlError> {
        let follow = self.follow;
        self.attend_with(
            app,
            client,
            run,
            async |id: &str| {
                if follow { output(app, client, id).await } else { Ok(()) }
            },
        )
        .await
    }

    /// The same, with the caller's own way to show the output.
    pub(crate) async fn attend_with(
        self,
        app: &App,
        client: &Client,
        run: Run,
        show: impl AsyncFnOnce(&str) -> Result<(), CtlError>,
    ) -> Result<Exit, CtlError> {
        if !self.stays() {
            started(app.out, &run)?;
            return Ok(Exit::DONE);
        }
        if self.follow {
            app.out.note(&format!("run {}", run.id));
        } else if !app.out.is_json() {
            app.out.line(&run.id)?;
        }
        // Boxed: streams are large, and most commands never come here.
        let work = Box::pin(async {
            show(&run.id).await?;
            wait(app, client, &run.id).await
        });
        let ended = unless_interrupted(&run.id, work).await?;
        finished(app.out, &ended)
    }
}

/// The whole id of a run. A beginning that fits one run now may fit two by the
/// time a call is made again after a cut.
pub(crate) async fn whole_id(client: &Client, id: &str, verb: &str) -> Result<String, CtlError> {
    const WHOLE: usize = 36;
    if id.len() == WHOLE {
        return Ok(id.to_owned());
    }
    let answer = client.runs().get_run(GetRunRequest { run: id.to_owned() }).await;
    let run = answer.map_err(calling(format!("{verb} run {}", clean(id))))?.into_inner().run;
    Ok(run.map_or_else(|| id.to_owned(), |run| run.id))
}

/// Waits for a run's end, whatever becomes of the daemon.
pub(crate) async fn wait(app: &App, client: &Client, run: &str) -> Result<Run, CtlError> {
    client.wait_run(run, &mut app.wait_patiently()).await.map_err(|status| {
        // By now the run is known: a code of our own could pass for the child's.
        if is_gone(&status) {
            return CtlError::Lost { run: run.to_owned() };
        }
        calling(format!("wait for run {run}"))(status)
    })
}

/// Lets Ctrl-C end the waiting, not the run.
pub(crate) async fn unless_interrupted<T>(
    run: &str,
    work: impl Future<Output = Result<T, CtlError>>,
) -> Result<T, CtlError> {
    tokio::select! {
        biased;
        signal = tokio::signal::ctrl_c() => {
            signal?;
            Err(CtlError::Detached { run: run.to_owned() })
        }
        result = work => result,
    }
}

/// Shows a run that goes on without us.
pub(crate) fn started(out: Out, run: &Run) -> Result<(), CtlError> {
    if out.is_json() {
        return out.document(&RunView::from(run));
    }
    out.line(&run.id)?;
    // What a loop's Codex prints is for programs; its own log is for people.
    if run.kind == "autorun" {
        out.note("follow it with `spindle auto log -f`");
    } else {
        out.note(&format!("follow it with `spindle run logs -f {}`", run.id));
    }
    Ok(())
}

/// Shows how a run ended, and gives the code that passes it on.
pub(crate) fn finished(out: Out, run: &Run) -> Result<Exit, CtlError> {
    if out.is_json() {
        out.document(&RunView::from(run))?;
        return Ok(outcome(run));
    }
    let kind = run.failure.as_ref().map_or("", |failure| failure.kind.as_str());
    // A child that failed has said so itself; all else the user hears from us.
    if matches!(kind, "" | "exit" | "signal") {
        out.note(&verdict(run));
    } else {
        out.warn(&verdict(run));
    }
    Ok(outcome(run))
}

/// Copies both streams of a run to ours until it has ended.
async fn output(app: &App, client: &Client, run: &str) -> Result<(), CtlError> {
    let copy = async |stream| copy(app, client, run, stream).await;
    tokio::try_join!(copy(LogStream::Stdout), copy(LogStream::Stderr))?;
    Ok(())
}

async fn copy(app: &App, client: &Client, run: &str, stream: LogStream) -> Result<(), CtlError> {
    let request =
        ReadLogRequest { run: run.to_owned(), stream: stream.into(), follow: true, ..Default::default() };
    loop {
        let mut reader = LogReader::new(client.clone(), request.clone(), app.wait_patiently());
        match pour(app, &mut reader, stream).await? {
            Ok(()) => return Ok(()),
            Err(status) if is_gone(&status) => return Err(CtlError::Lost { run: run.to_owned() }),
            Err(status) if status_reason(&status) != "NO_SUCH_STEP" => {
                return Err(calling(format!("read the log of run {run}"))(status));
            }
            Err(_no_process_yet) => {
                let answer = client.runs().get_run(GetRunRequest { run: run.to_owned() }).await;
                let ended = answer
                    .is_ok_and(|detail| detail.into_inner().run.is_none_or(|run| is_terminal(run.state())));
                if ended {
                    return Ok(());
                }
                sleep(FIRST_PROCESS).await;
            }
        }
    }
}

/// The outer error is ours, the inner the daemon's.
async fn pour(app: &App, reader: &mut LogReader, stream: LogStream) -> Result<Result<(), Status>, CtlError> {
    loop {
        match reader.next().await {
            Ok(Some(chunk)) if stream == LogStream::Stderr || app.out.is_json() => {
                Out::error_bytes(&chunk.data);
            }
            Ok(Some(chunk)) => app.out.bytes(&chunk.data)?,
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status)),
        }
    }
}
