//! The task that owns all schedules and fires them.

mod book;
mod commands;
mod events;
mod firing;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::book::Book;
use self::events::Inbox;
use super::handle::Command;
use super::{EventTriggers, Host, ScheduleRecord, SchedulerHandle};
use crate::clock::Clock;

/// The pause after the first failure; each further one doubles it.
const SHORTEST_BACKOFF: SignedDuration = SignedDuration::from_secs(1);

/// The longest pause between two attempts.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(5);

/// What the store holds for the scheduler when the daemon starts.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Every schedule.
    pub schedules: Vec<ScheduleRecord>,
    /// What [`Host::save_cursor`] stored last. Before it was called at all: the event that was answered last by the
    /// schedule that is behind the others, and without schedules, the number of the last event there is.
    pub cursor: u64,
}

/// The task that owns all schedules and fires them.
pub struct Scheduler {
    host: Arc<dyn Host>,
    clock: Arc<dyn Clock>,
    kinds: EventTriggers,
    book: Book,
    inbox: Inbox,
    commands: mpsc::Receiver<Command>,
}

impl Scheduler {
    /// A scheduler for what is stored, and the handle on it. Nothing happens before it is
    /// [run](Self::run).
    ///
    /// A schedule that cannot be understood stops nothing: it is told in
    /// [`Listing::unreadable`](super::Listing::unreadable) and stays in the store.
    pub fn new(
        host: Arc<dyn Host>,
        clock: Arc<dyn Clock>,
        kinds: EventTriggers,
        stored: Stored,
    ) -> (Self, SchedulerHandle) {
        let (handle, commands) = SchedulerHandle::new();
        let scheduler = Self {
            host,
            clock,
            kinds,
            book: Book::read(stored.schedules),
            inbox: Inbox::new(stored.cursor),
            commands,
        };
        (scheduler, handle)
    }

    /// Fires schedules until `stop` is cancelled or every handle is gone.
    ///
    /// Between any two calls to the host the future can be dropped, or the process killed: a
    /// scheduler made from what is stored goes on where this one was.
    pub async fn run(mut self, stop: CancellationToken) {
        let (host, clock) = (self.host.clone(), self.clock.clone());
        loop {
            let wake_at = self.wake_at();
            let hungry = self.inbox.wants_more(clock.now());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                () = clock.sleep_until(wake_at) => self.work().await,
                batch = host.next_events(self.inbox.read_up_to()), if hungry => self.receive(batch),
            }
        }
        self.save_cursor().await;
    }

    /// When there is something to do that nobody has to ask for.
    fn wake_at(&self) -> Timestamp {
        let now = self.clock.now();
        let schedules = self.book.entries().filter_map(|entry| entry.wake_at(now));
        schedules.chain(self.inbox.wake_at(now)).min().unwrap_or(Timestamp::MAX)
    }

    /// Does one thing that is due: one occurrence, else one event. One only, so that commands need
    /// not wait for a long row of them.
    async fn work(&mut self) {
        let now = self.clock.now();
        let first =
            self.book.entries().filter_map(|entry| Some((entry.wake_at(now)?, entry.schedule.id))).min();
        match first {
            Some((time, schedule)) if time <= now => self.fire_due(schedule).await,
            _ => self.answer_event().await,
        }
    }
}

/// A pause after failures.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    failures: u32,
    since: Timestamp,
    until: Timestamp,
}

impl Backoff {
    /// The pause after one more failure.
    fn after(previous: Option<Self>, now: Timestamp) -> Self {
        let failures = previous.map_or(0, |backoff| backoff.failures);
        let pause = SHORTEST_BACKOFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACKOFF);
        Self {
            failures: failures + 1,
            since: now,
            until: now.saturating_add(pause).unwrap_or(Timestamp::MAX),
        }
    }

    /// When the pause is over. A clock that was set back ends it: it might take years otherwise.
    fn over_at(self, now: Timestamp) -> Timestamp {
        if now < self.since { now } else { self.until }
    }
}
