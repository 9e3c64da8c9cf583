//! The daemon's tasks, in one registry: each has a name and a policy for its failure, and one that
//! has ended shows.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use spindle_client::v1;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What happens when a task ends before the daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnEnd {
    /// The daemon ends too, with a failure: a service manager starts it anew, and nothing is lost.
    StopDaemon,
    /// It shows in `spindle daemon info`, and the daemon goes on.
    Show,
}

/// The registry. Clones are the same registry.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    known: Arc<Mutex<BTreeMap<&'static str, State>>>,
    failed: Arc<Mutex<Option<String>>>,
}

#[derive(Default, Clone)]
struct State {
    ended: bool,
    error: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    /// No tasks; canceling the token is the word for all of them to end.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), stopping, known: Arc::default(), failed: Arc::default() }
    }

    /// Starts a task.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        on_end: OnEnd,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        locked(&self.known).insert(name, State::default());
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let result = std::panic::AssertUnwindSafe(work).catch_unwind().await;
            let error = match result {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error,
                Err(_) => "it panicked".to_owned(),
            };
            tasks.ended(name, on_end, &error);
        });
    }

    fn ended(&self, name: &'static str, on_end: OnEnd, error: &str) {
        locked(&self.known).insert(name, State { ended: true, error: error.to_owned() });
        if self.stopping.is_cancelled() {
            return;
        }
        tracing::error!(task = name, error, "a task has ended before its time");
        if on_end == OnEnd::StopDaemon {
            locked(&self.failed).get_or_insert(format!("the task {name:?} has ended: {error}"));
            self.stopping.cancel();
        }
    }

    /// Why the daemon was stopped by one of its tasks, if it was.
    pub(crate) fn failure(&self) -> Option<String> {
        locked(&self.failed).clone()
    }

    /// All tasks, by name.
    pub(crate) fn list(&self) -> Vec<v1::TaskInfo> {
        let known = locked(&self.known);
        let info = |(name, state): (&&'static str, &State)| v1::TaskInfo {
            name: (*name).to_owned(),
            running: !state.ended,
            last_error: state.error.clone(),
        };
        known.iter().map(info).collect()
    }

    /// Resolves when all have ended; cancel the token first.
    pub(crate) async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
