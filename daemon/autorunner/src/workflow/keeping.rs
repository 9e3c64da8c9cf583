//! The keeper as a process of the run: it owns the lock file while the loop lives, and passes on a wish to stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::process::{FirstSignal, Launch, ShimCommand, StopLadder};
use engine::{Background, Failure, FailureKind, ProcessSpec, ProcessView, RunContext};
use tokio::sync::watch;

use super::blocking;
use crate::keeper::{KeeperStatus, Mailbox};
use crate::repo::Layout;

/// How long a keeper may take to give the lock back.
const GRACE: Duration = Duration::from_secs(5);

/// How long a keeper may take to say whether it has the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// The keeper of a loop.
pub(super) struct Keeper {
    process: Background,
    said: watch::Receiver<Said>,
}

/// What is known of a keeper.
#[derive(Debug, Clone)]
enum Said {
    Nothing,
    Status(KeeperStatus),
    /// It has ended without a word.
    Over,
}

fn mailbox_directory(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("keeper-{number}"))
}

/// The mailboxes of all keepers that a run has had.
pub(super) fn mailboxes(directory: &Path) -> impl Iterator<Item = Mailbox> {
    let numbers = (1..).map(|number| mailbox_directory(directory, number));
    numbers.take_while(|directory| directory.is_dir()).map(Mailbox::new)
}

/// The processes that hold, or have held, the lock for a run.
pub(super) fn pids(directory: &Path) -> Vec<u32> {
    let pid = |mailbox: Mailbox| match mailbox.status() {
        Ok(Some(KeeperStatus::Holding { pid })) => Some(pid),
        _ => None,
    };
    mailboxes(directory).filter_map(pid).collect()
}

impl Keeper {
    /// Starts keeper `number` of the run, or takes it up again.
    pub(super) async fn start(
        ctx: &RunContext,
        command: &ShimCommand,
        layout: &Layout,
        number: u32,
    ) -> Result<Self, Failure> {
        let directory = mailbox_directory(&ctx.directory(), number);
        let mailbox = Mailbox::new(&directory);
        let mut launch = Launch::new(command.program.clone(), layout.root());
        launch.args = command.args.iter().cloned().map(Into::into).collect();
        launch.args.extend([layout.root().into(), ctx.id().to_string().into(), directory.clone().into()]);
        launch.stop = StopLadder { first_signal: FirstSignal::Usr1, grace: GRACE };
        blocking(move || {
            std::fs::create_dir_all(&directory)
                .map_err(|error| Failure::internal(format!("cannot make {}: {error}", directory.display())))
        })
        .await?;
        let (sender, said) = watch::channel(Said::Nothing);
        let listener = ctx.clone();
        let observe = |view: ProcessView| listen(listener, view, mailbox, sender);
        let process = ctx.background(&format!("keeper {number}"), ProcessSpec::new(launch), observe).await?;
        Ok(Self { process, said })
    }

    /// Waits until it has the lock; its pid, or none if it is gone already. Used in a step.
    pub(super) async fn holding(&self, ctx: &RunContext) -> Result<Option<u32>, Failure> {
        let mut said = self.said.clone();
        let heard = said.wait_for(|said| !matches!(said, Said::Nothing));
        let heard = tokio::select! {
            heard = tokio::time::timeout(PATIENCE, heard) => heard,
            () = ctx.canceled() => return Err(Failure::new(FailureKind::Canceled, "stopped before the loop began")),
        };
        match heard {
            Ok(Ok(said)) => match &*said {
                Said::Status(KeeperStatus::Holding { pid }) => Ok(Some(*pid)),
                Said::Status(KeeperStatus::Refused { message }) => {
                    let kind = FailureKind::Other("lock-held".to_owned());
                    let hint = "stop that loop, or wait for it; `spindle auto status` shows who it is";
                    Err(Failure::new(kind, message.clone()).with_hint(hint))
                }
                _ => Err(Failure::internal("the keeper of the lock ended at once; see its standard error")),
            },
            // It was seen to end before: the replay does not start it again.
            Ok(Err(_)) => Ok(None),
            Err(_) => Err(Failure::internal(format!("the keeper did not take the lock within {PATIENCE:?}"))),
        }
    }

    /// Whether it is gone although the loop goes on. Used in a step.
    pub(super) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }
}

/// Follows what the keeper says. Each of its lines comes after the file that it speaks of.
async fn listen(ctx: RunContext, view: ProcessView, mailbox: Mailbox, said: watch::Sender<Said>) {
    match view.logs.open_lines(&view.directory, true).await {
        Ok(mut lines) => {
            while let Ok(Some(_)) = lines.next().await {
                look(&ctx, &mailbox, &said).await;
            }
        }
        Err(error) => {
            tracing::error!(directory = %view.directory.display(), %error, "cannot follow the keeper");
        }
    }
    said.send_if_modified(|said| {
        let silent = matches!(said, Said::Nothing);
        if silent {
            *said = Said::Over;
        }
        silent
    });
}

async fn look(ctx: &RunContext, mailbox: &Mailbox, said: &watch::Sender<Said>) {
    let mailbox = mailbox.clone();
    let looked = blocking(move || Ok((mailbox.status(), mailbox.stop_request())));
    let Ok((status, stop)) = looked.await else { return };
    match status {
        Ok(Some(status)) => drop(said.send_replace(Said::Status(status))),
        Ok(None) => {}
        Err(error) => tracing::error!(run = %ctx.id(), %error, "cannot read what the keeper says"),
    }
    if let Ok(Some(request)) = stop {
        ctx.cancel(&request.by).await;
    }
}
