//! How the rest of the daemon talks to the scheduler.

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{HostError, InvalidName, NewSchedule, RecordError, Schedule, TriggerError};

/// How many commands may wait for the scheduler before callers have to wait themselves.
const QUEUE: usize = 64;

/// The most firings that [`SchedulerHandle::upcoming`] looks ahead.
const MOST_UPCOMING: usize = 1000;

/// A handle on the running [`Scheduler`](super::Scheduler). Cheap to clone.
///
/// Where a method takes a `key`, it is a schedule's name, its id, or any beginning of its id that no
/// other schedule shares. What a method changed is durable when it returns.
#[derive(Debug, Clone)]
pub struct SchedulerHandle {
    commands: mpsc::Sender<Command>,
}

/// All schedules.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In the order in which they were added, to the millisecond.
    pub schedules: Vec<Schedule>,
    /// Those that are stored but cannot be understood. They never fire and are kept as they are.
    pub unreadable: Vec<Unreadable>,
}

/// A stored schedule that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its id, if that much can be read.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub error: RecordError,
}

/// A firing to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upcoming {
    /// When.
    pub at: Timestamp,
    /// The schedule's id.
    pub id: Uuid,
    /// The schedule's name.
    pub name: String,
}

/// Why the scheduler did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Neither a name nor the beginning of an id.
    #[error("there is no schedule {key:?}")]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// The beginning of several ids.
    #[error("{key:?} could be any of the schedules {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// The names of the schedules that it fits.
        candidates: Vec<String>,
    },
    /// The schedule is stored but cannot be understood; it can be removed.
    #[error(transparent)]
    Unreadable(RecordError),
    /// The name belongs to another schedule.
    #[error("there is a schedule {name:?} already; remove it first, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name is not one.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The trigger is not valid.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// The engine failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The daemon is shutting down.
    #[error("the scheduler has stopped")]
    Stopped,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, ScheduleError>>;

/// What a handle asks of the scheduler.
#[derive(Debug)]
pub(super) enum Command {
    Add(Box<NewSchedule>, Reply<Schedule>),
    List(Reply<Listing>),
    Show(String, Reply<Schedule>),
    SetEnabled(String, bool, Reply<Schedule>),
    RunNow(String, String, Reply<Uuid>),
    Remove(String, Reply<String>),
    Upcoming(usize, Reply<Vec<Upcoming>>),
}

impl SchedulerHandle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        (Self { commands }, receiver)
    }

    /// Adds a schedule.
    ///
    /// A retry after a lost answer is told [`ScheduleError::NameTaken`].
    pub async fn add(&self, new: NewSchedule) -> Result<Schedule, ScheduleError> {
        self.ask(|reply| Command::Add(Box::new(new), reply)).await
    }

    /// Lists all schedules.
    pub async fn list(&self) -> Result<Listing, ScheduleError> {
        self.ask(Command::List).await
    }

    /// Shows one schedule.
    pub async fn show(&self, key: &str) -> Result<Schedule, ScheduleError> {
        self.ask(|reply| Command::Show(key.to_owned(), reply)).await
    }

    /// Lets a schedule fire for what comes from now on. One that is enabled already stays as it is.
    pub async fn enable(&self, key: &str) -> Result<Schedule, ScheduleError> {
        self.ask(|reply| Command::SetEnabled(key.to_owned(), true, reply)).await
    }

    /// Keeps a schedule from firing. A start that failed and was to be tried again is given up; runs
    /// that were started are left alone.
    pub async fn disable(&self, key: &str) -> Result<Schedule, ScheduleError> {
        self.ask(|reply| Command::SetEnabled(key.to_owned(), false, reply)).await
    }

    /// Starts a schedule's run now, enabled or not, whatever its overlap policy; returns the run.
    ///
    /// Repeating a request with the same `request_id` returns the same run.
    pub async fn run_now(&self, key: &str, request_id: &str) -> Result<Uuid, ScheduleError> {
        self.ask(|reply| Command::RunNow(key.to_owned(), request_id.to_owned(), reply)).await
    }

    /// Removes a schedule and returns its name. Runs that it started are left alone.
    pub async fn remove(&self, key: &str) -> Result<String, ScheduleError> {
        self.ask(|reply| Command::Remove(key.to_owned(), reply)).await
    }

    /// The next `count` firings of all schedules together, in order; 1000 at most.
    pub async fn upcoming(&self, count: usize) -> Result<Vec<Upcoming>, ScheduleError> {
        self.ask(|reply| Command::Upcoming(count.min(MOST_UPCOMING), reply)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ScheduleError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| ScheduleError::Stopped)?;
        answer.await.map_err(|_| ScheduleError::Stopped)?
    }
}
