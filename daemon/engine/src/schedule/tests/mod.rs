//! The scheduler as a whole, on a clock set by hand and a host in memory.
#![allow(clippy::unwrap_used)]

mod commands;
mod crashes;
mod events;
mod memory_host;
mod timed;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::memory_host::{Fault, MemoryHost};
use super::*;
use crate::clock::{BoxFuture, Clock, FakeClock};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A daemon with its scheduler, its world, and the clock on its wall.
struct Daemon {
    clock: Arc<FakeClock>,
    host: Arc<MemoryHost>,
    kinds: EventTriggers,
    handle: SchedulerHandle,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Daemon {
    /// Starts in an empty world.
    fn start(now: &str) -> Self {
        Self::start_in(MemoryHost::new(), at(now), EventTriggers::default())
    }

    fn start_in(host: MemoryHost, now: Timestamp, kinds: EventTriggers) -> Self {
        let (clock, host) = (Arc::new(FakeClock::new(now)), Arc::new(host));
        let stop = CancellationToken::new();
        let (scheduler, handle) = Scheduler::new(host.clone(), clock.clone(), kinds.clone(), host.stored());
        let task = tokio::spawn(scheduler.run(stop.clone()));
        Self { clock, host, kinds, handle, task, stop }
    }

    /// Kills the daemon, lets `down` pass, and starts it again.
    async fn restart_after(&mut self, down: SignedDuration) {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.clock.advance(down);
        let (scheduler, handle) =
            Scheduler::new(self.host.clone(), self.clock.clone(), self.kinds.clone(), self.host.stored());
        self.handle = handle;
        self.stop = CancellationToken::new();
        self.task = tokio::spawn(scheduler.run(self.stop.clone()));
    }

    async fn add(&self, name: &str, trigger: Trigger) -> Schedule {
        self.add_with(name, trigger, Missed::Once, Overlap::Queue).await
    }

    async fn add_with(&self, name: &str, trigger: Trigger, missed: Missed, overlap: Overlap) -> Schedule {
        let new = NewSchedule { overlap, missed, ..new_schedule(name, trigger) };
        self.handle.add(new).await.unwrap()
    }

    /// An hourly trigger whose phase begins now.
    fn hourly(&self) -> Trigger {
        Trigger::Every(Every::new(HOUR, SignedDuration::ZERO, self.clock.now()).unwrap())
    }

    /// Moves the clock and waits until everything due has been done.
    async fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
        self.settle().await;
    }

    /// Waits until everything due has been done.
    async fn settle(&self) {
        within_deadline(self.host.events_answered()).await;
        within_deadline(self.clock.all_asleep()).await;
    }

    /// The occurrences that got a run, in the order in which the runs were started.
    fn fired(&self) -> Vec<String> {
        self.host.look(|world| {
            let causes = world.runs.iter().map(|run| &run.firing.cause);
            causes
                .map(|cause| match cause {
                    Cause::Time(time) => time.strftime("%d %H:%M").to_string(),
                    Cause::Event(number) => format!("event {number}"),
                    Cause::Command(request) => format!("command {request}"),
                })
                .collect()
        })
    }

    fn notices(&self) -> Vec<Notice> {
        self.host.look(|world| world.notices.clone())
    }

    async fn show(&self, name: &str) -> Schedule {
        self.handle.show(name).await.unwrap()
    }
}

fn new_schedule(name: &str, trigger: Trigger) -> NewSchedule {
    NewSchedule {
        name: name.to_owned(),
        trigger,
        start: Start {
            workflow: "exec".to_owned(),
            spec: json!({"command": ["true"]}),
            options: vec![1, 2, 3],
        },
        overlap: Overlap::Queue,
        missed: Missed::Once,
        enabled: true,
    }
}

fn run_finished(run: Option<RunFacts>) -> EventView {
    EventView {
        number: 0,
        time: Timestamp::UNIX_EPOCH,
        kind: "run.finished".to_owned(),
        run,
        lineage: Vec::new(),
        data: Value::Null,
    }
}

/// Waits for something that comes by itself; a test that would hang fails instead.
async fn within_deadline<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}
