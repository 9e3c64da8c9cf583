//! Recording: a trace spine for every Codex that is supervised, while it runs.
//!
//! The published Codex writes none. A workflow tells by a [`Witness`] which thread its Codex works on; from then on
//! the thread's rollout is followed and its records are written into `trace_spine` below the run's Codex home. What
//! is kept between a daemon and the next is the spine itself: the workflow tells of the same work again, and the
//! recorder goes on where the spine ends.

mod git;

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use codex::{Testimony, Witness, Work};
use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use trace::SessionId;
use trace::recording::{Bell, CaughtUp, GitState, Listening, Live, Moment, RecordingError};

/// Processes of Codex that were told of and are not yet looked at. There are never more than slots for runs.
const QUEUE: usize = 1024;

/// How long the end of an iteration waits for its recording at the most. What comes later is recorded all the same.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long git may take at the end.
const GIT_AT_END: Duration = Duration::from_secs(5);

/// Between two looks where every change is told of: for what was missed all the same.
const LOOK: Duration = Duration::from_secs(30);

/// Between two looks at filesystems that tell nothing.
const POLL: Duration = Duration::from_secs(1);

/// Between two tries at the end, while another recorder has the thread.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// Hears of the work of Codex.
#[derive(Debug)]
pub(crate) struct Ear {
    begun: mpsc::Sender<Begun>,
}

/// Work that was told of.
#[derive(Debug)]
struct Begun {
    work: Work,
    ended: oneshot::Receiver<()>,
    done: oneshot::Sender<()>,
}

impl Witness for Ear {
    fn begun(&self, work: Work) -> Box<dyn Testimony> {
        let (ended, hear_end) = oneshot::channel();
        let (tell_done, done) = oneshot::channel();
        let thread = work.thread;
        if let Err(error) = self.begun.try_send(Begun { work, ended: hear_end, done: tell_done }) {
            tracing::warn!(%thread, %error, "a session is not recorded");
        }
        Box::new(Told { ended, done })
    }
}

/// Tells a recording of the end of its process.
struct Told {
    ended: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

impl Testimony for Told {
    fn ended(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            // Where nobody listens, the recording was given up, or the daemon goes down.
            let _ = self.ended.send(());
            if timeout(PATIENCE, self.done).await.is_err() {
                tracing::warn!("the recording of a session takes long, and is not waited for");
            }
        })
    }
}

/// All recordings of the daemon.
pub(crate) struct Recordings {
    begun: mpsc::Receiver<Begun>,
    bell: Bell,
}

impl Recordings {
    /// No recordings yet, and the ear by which they hear of work.
    pub(crate) fn new() -> (Self, Arc<Ear>) {
        let (sender, begun) = mpsc::channel(QUEUE);
        (Self { begun, bell: Bell::new() }, Arc::new(Ear { begun: sender }))
    }

    /// Records until the daemon ends. What is under way then is left as a whole spine.
    pub(crate) async fn run(mut self, stopping: CancellationToken) -> Result<(), String> {
        let mut recordings = JoinSet::new();
        loop {
            tokio::select! {
                Some(begun) = self.begun.recv() => {
                    recordings.spawn(record(begun, self.bell.clone(), stopping.clone()));
                }
                Some(ended) = recordings.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "the recording of a session has failed");
                },
                () = stopping.cancelled() => break,
            }
        }
        while recordings.join_next().await.is_some() {}
        Ok(())
    }
}

/// Records a thread until its process has ended, or the daemon does.
async fn record(begun: Begun, bell: Bell, stopping: CancellationToken) {
    let Begun { work, mut ended, done } = begun;
    let wake = Arc::new(Notify::new());
    let Some(mut recording) = Recording::new(&work, &bell, &wake) else { return };
    let mut git = pin!(git::state(&work.cwd).fuse());
    let mut complained = false;
    let orderly = loop {
        let looked = recording.look(false).await;
        if let Err(error) = &looked {
            if !std::mem::replace(&mut complained, true) {
                tell(&work, error);
            }
            if is_final(error) {
                return;
            }
        }
        let pause = if recording.hears() || looked.is_err() { LOOK } else { POLL };
        tokio::select! {
            // After an error each look begins from the start of the rollout.
            () = wake.notified(), if looked.is_ok() => {}
            () = tokio::time::sleep(pause) => {}
            state = &mut git => recording.desk(|desk| desk.begin = state).await,
            end = &mut ended => break end.is_ok(),
            () = stopping.cancelled() => break false,
        }
    };
    if orderly
        && !git.is_terminated()
        && let Ok(state) = timeout(GIT_AT_END, git).await
    {
        recording.desk(|desk| desk.begin = state).await;
    }
    match recording.end(orderly, &work.cwd).await {
        Ok(()) => tracing::debug!(thread = %work.thread, orderly, "a session was recorded"),
        Err(error) => tell(&work, &error),
    }
    let _ = done.send(());
}

/// Whether another try would end in the same way.
fn is_final(error: &RecordingError) -> bool {
    match error {
        RecordingError::Foreign(_)
        | RecordingError::Rewritten(_)
        | RecordingError::NoThread(_)
        | RecordingError::Full(_) => true,
        RecordingError::Busy(_) | RecordingError::Io { .. } => false,
    }
}

fn tell(work: &Work, error: &RecordingError) {
    let thread = work.thread;
    match error {
        // A Codex that writes a spine needs none of ours.
        RecordingError::Foreign(_) => tracing::debug!(%thread, %error, "a session is not recorded"),
        RecordingError::Rewritten(_)
        | RecordingError::NoThread(_)
        | RecordingError::Full(_)
        | RecordingError::Busy(_)
        | RecordingError::Io { .. } => {
            tracing::warn!(%thread, %error, "a session is not recorded, or not all of it");
        }
    }
}

/// The recording of one thread.
struct Recording {
    /// None while somebody else has it.
    desk: Option<Desk>,
}

/// All that needs a thread that may block.
struct Desk {
    live: Live,
    listening: Listening,
    /// Whether the directory of the rollout itself is watched.
    found: bool,
    /// Whether every change is told of.
    hears: bool,
    /// Git's state at the beginning, until it is recorded.
    begin: Option<GitState>,
    /// Tells the processes of the thread apart.
    process: String,
}

impl Recording {
    fn new(work: &Work, bell: &Bell, wake: &Arc<Notify>) -> Option<Self> {
        let thread: SessionId = work.thread.to_string().parse().ok()?;
        let wake = Arc::clone(wake);
        let desk = Desk {
            listening: bell.listen(&work.home, &thread, move || wake.notify_one()),
            live: Live::new(&work.home, thread),
            found: false,
            hears: false,
            begin: None,
            // In milliseconds: what is stored of the time is less than what the clock gives.
            process: work.started_at.as_millisecond().to_string(),
        };
        Some(Self { desk: Some(desk) })
    }

    fn hears(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.hears)
    }

    /// Works at the desk on a thread that may block.
    async fn desk<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Desk) -> T + Send + 'static) -> T {
        let Some(mut desk) = self.desk.take() else { return std::future::pending().await };
        let done = tokio::task::spawn_blocking(move || {
            let value = work(&mut desk);
            (desk, value)
        });
        match done.await {
            Ok((desk, value)) => {
                self.desk = Some(desk);
                value
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The daemon goes down.
            Err(_) => std::future::pending().await,
        }
    }

    async fn look(&mut self, thoroughly: bool) -> Result<(), RecordingError> {
        self.desk(move |desk| desk.look(thoroughly)).await
    }

    /// Records what is left, and closes the spine. `orderly`: the process has ended.
    async fn end(mut self, orderly: bool, cwd: &Path) -> Result<(), RecordingError> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.look(true).await {
            let busy = matches!(error, RecordingError::Busy(_));
            if !(busy && orderly && Instant::now() < deadline) {
                return Err(error);
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        let state = if orderly { timeout(GIT_AT_END, git::state(cwd)).await.ok().flatten() } else { None };
        let closed = self.desk(move |desk| {
            if let Some(state) = state {
                desk.live.git(&state, &desk.process, Moment::End)?;
            }
            desk.live.close().map(drop)
        });
        closed.await
    }
}

impl Desk {
    fn look(&mut self, thoroughly: bool) -> Result<(), RecordingError> {
        // Before the look, so that nothing comes between the two.
        if !self.found {
            self.hears = self.listening.watch(None);
        }
        let mut caught_up = self.live.catch_up(thoroughly)?;
        if !self.found && self.live.rollout().is_some() {
            self.found = true;
            self.hears = self.listening.watch(self.live.rollout());
            caught_up = self.live.catch_up(false)?;
        }
        if caught_up == CaughtUp::Recorded
            && let Some(state) = self.begin.take()
        {
            self.live.git(&state, &self.process, Moment::Begin)?;
        }
        Ok(())
    }
}
