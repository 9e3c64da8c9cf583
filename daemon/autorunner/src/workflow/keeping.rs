//! The keeper as a process of the run: it owns the lock file while the loop lives, and passes on a wish to stop.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::process::{FirstSignal, Launch, ShimCommand, StopLadder};
use engine::{Background, Failure, FailureKind, ProcessSpec, ProcessView, RunContext};
use tokio::sync::watch;

use super::blocking;
use crate::keeper::{KeeperStatus, Mailbox};
use crate::repo::Layout;
use crate::state::{State, Status};

/// How long a keeper may take to give the lock back.
const GRACE: Duration = Duration::from_secs(5);

/// How long a keeper may take to say whether it has the lock. That is a matter of milliseconds, but a machine can be so
/// busy that half a minute was seen to be too short, and a loop that is to work all night must not end by it.
const PATIENCE: Duration = Duration::from_mins(3);

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
                // After a checkpoint each replay asks anew: this one had the lock, and was told to give it back by
                // a daemon that did not live to store the end of the run.
                Said::Status(KeeperStatus::Released) => Ok(None),
                Said::Nothing | Said::Over => {
                    Err(Failure::internal("the keeper of the lock ended at once; see its standard error"))
                }
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

/// The keeper of the loop, and the place of the next one: a keeper can be killed, and then another one takes the
/// lock again.
pub(super) struct Watch<'a> {
    ctx: &'a RunContext,
    command: &'a ShimCommand,
    layout: &'a Layout,
    keeper: Keeper,
    /// Which keeper it is: the run's first is 1. A checkpoint of the loop holds this number.
    number: Arc<AtomicU32>,
    /// Its process, as it was told; none if it was gone before it could say.
    pid: Option<u32>,
}

impl<'a> Watch<'a> {
    /// Starts the keepers of a run up to number `newest`, or takes up what is there of them, and waits until the
    /// newest one has the lock.
    pub(super) async fn begin(
        ctx: &'a RunContext,
        command: &'a ShimCommand,
        layout: &'a Layout,
        newest: u32,
    ) -> Result<Self, Failure> {
        let mut keeper = Keeper::start(ctx, command, layout, 1).await?;
        for number in 2..=newest {
            keeper = Keeper::start(ctx, command, layout, number).await?;
        }
        let pid = ctx.step("take the lock", keeper.holding(ctx)).await?;
        Ok(Self { ctx, command, layout, keeper, number: Arc::new(AtomicU32::new(newest)), pid })
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(super) fn number(&self) -> u32 {
        self.number.load(Ordering::Acquire)
    }

    /// The same for whoever looks while this one is at work.
    pub(super) fn newest(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.number)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Lets another keeper take the lock.
    pub(super) async fn replace(&mut self) -> Result<(), Failure> {
        let number = self.number() + 1;
        self.number.store(number, Ordering::Release);
        self.keeper = Keeper::start(self.ctx, self.command, self.layout, number).await?;
        let name = format!("take the lock again ({number})");
        self.pid = self.ctx.step(&name, self.keeper.holding(self.ctx)).await?;
        Ok(())
    }

    /// Replaces every keeper that is known to be gone.
    ///
    /// The end of a keeper is stored before its successor begins, so a replay comes to the same successors here,
    /// whenever they began.
    pub(super) async fn catch_up(&mut self) -> Result<(), Failure> {
        while self.keeper.has_ended() {
            self.replace().await?;
        }
        Ok(())
    }

    /// Does some work, and meanwhile replaces each keeper as soon as it is gone, so that the lock file never names
    /// a dead process for long.
    ///
    /// The work goes on when no other keeper can take the lock; that failure is told after it.
    pub(super) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (at_work, over) = watch::channel(());
        let work = async move {
            let done = work.await;
            drop(at_work);
            done
        };
        let (done, kept) = tokio::join!(work, self.replace_until(over));
        let done = done?;
        kept.map(|()| done)
    }

    /// Until the other end of `over` is gone.
    async fn replace_until(&mut self, mut over: watch::Receiver<()>) -> Result<(), Failure> {
        loop {
            self.catch_up().await?;
            tokio::select! {
                () = self.keeper.process.ended() => {}
                _ = over.changed() => return Ok(()),
                // It is told to end like everything else of the run.
                () = self.ctx.canceled() => return Ok(()),
            }
            let before = self.pid;
            self.replace().await?;
            self.correct_state(before).await;
        }
    }

    /// The state names the owner of the lock.
    async fn correct_state(&self, before: Option<u32>) {
        let (path, pid) = (self.layout.state(), self.pid);
        let correct = move || {
            let mut state = State::load(&path).map_err(Failure::internal)?;
            if state.status == Status::Running && state.runner_pid == before {
                state.runner_pid = pid;
                state.store(&path).map_err(Failure::internal)?;
            }
            Ok(())
        };
        if let Err(failure) = blocking(correct).await {
            tracing::warn!(run = %self.ctx.id(), %failure, "state.json still names the keeper that is gone");
        }
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
