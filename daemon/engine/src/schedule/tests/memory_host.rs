//! A host that keeps everything in memory, and fails on demand.

use std::collections::{BTreeMap, VecDeque};

use prost::Message;
use tokio::sync::watch;

use super::*;

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails and has done nothing.
    Lost,
    /// It is done, but answered with an error.
    Unacknowledged,
    /// The workflow refuses the start.
    Refused,
    /// The daemon dies before it is done.
    CrashBefore,
    /// The daemon dies after it is done.
    CrashAfter,
}

#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: Uuid,
    pub(super) schedule: String,
    pub(super) firing: Firing,
    pub(super) active: bool,
    pub(super) cancel_reason: Option<String>,
}

/// What survives a crash of the daemon, and what the test wants to happen.
#[derive(Default)]
pub(super) struct World {
    /// Encoded, as in the store.
    schedules: BTreeMap<Uuid, Vec<u8>>,
    pub(super) cursor: u64,
    pub(super) runs: Vec<Run>,
    pub(super) notices: Vec<Notice>,
    pub(super) events: Vec<EventView>,
    /// What happens to the next calls of `fire`, in order; `None` is nothing.
    pub(super) fire_faults: VecDeque<Option<Fault>>,
    /// The same for `save`.
    pub(super) save_faults: VecDeque<Option<Fault>>,
    /// So many times, reading events fails.
    pub(super) unreadable_events: u32,
    crashed: bool,
    /// The scheduler waits for an event behind this one.
    waiting_behind: Option<u64>,
}

impl World {
    fn store(&mut self, schedule: &Schedule, notices: &[Notice]) {
        let record = ScheduleRecord::from(schedule).encode_to_vec();
        self.schedules.insert(schedule.id, record);
        self.notices.extend_from_slice(notices);
    }

    fn last_event(&self) -> u64 {
        self.events.last().map_or(0, |event| event.number)
    }
}

pub(super) struct MemoryHost {
    world: watch::Sender<World>,
}

impl MemoryHost {
    pub(super) fn new() -> Self {
        Self { world: watch::Sender::new(World::default()) }
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&World) -> T) -> T {
        at(&self.world.borrow())
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut result = None;
        self.world.send_modify(|world| result = Some(change(world)));
        result.unwrap()
    }

    pub(super) async fn until(&self, condition: impl FnMut(&World) -> bool) {
        let mut changes = self.world.subscribe();
        drop(changes.wait_for(condition).await.unwrap());
    }

    pub(super) async fn crashed(&self) {
        self.until(|world| world.crashed).await;
    }

    /// Waits until the scheduler has answered every event and waits for more.
    pub(super) async fn events_answered(&self) {
        self.until(|world| world.waiting_behind == Some(world.last_event())).await;
    }

    /// What a daemon finds when it starts.
    pub(super) fn stored(&self) -> Stored {
        self.change(|world| {
            world.crashed = false;
            let decode = |bytes: &Vec<u8>| ScheduleRecord::decode(bytes.as_slice()).unwrap();
            Stored { schedules: world.schedules.values().map(decode).collect(), cursor: world.cursor }
        })
    }

    pub(super) fn stored_schedule(&self, name: &str) -> Schedule {
        let schedules = self.stored().schedules.into_iter();
        let mut schedules = schedules.filter_map(|record| Schedule::try_from(record).ok());
        schedules.find(|schedule| schedule.name == name).unwrap()
    }

    pub(super) fn put_record(&self, id: Uuid, record: &ScheduleRecord) {
        self.change(|world| world.schedules.insert(id, record.encode_to_vec()));
    }

    pub(super) fn emit(&self, mut event: EventView) {
        self.change(|world| {
            event.number = world.last_event() + 1;
            world.events.push(event);
        });
    }

    /// Ends a run and tells so as an event.
    pub(super) fn finish(&self, id: Uuid, outcome: RunOutcome) {
        let event = self.change(|world| {
            let run = world.runs.iter_mut().find(|run| run.id == id).unwrap();
            run.active = false;
            let facts = RunFacts {
                id,
                workflow: "exec".to_owned(),
                outcome: Some(outcome),
                labels: BTreeMap::new(),
                schedule: Some(run.schedule.clone()),
            };
            EventView { lineage: run.firing.lineage.clone(), ..run_finished(Some(facts)) }
        });
        self.emit(event);
    }

    /// Does a call, unless a fault is due.
    async fn call<T>(
        &self,
        faults: fn(&mut World) -> &mut VecDeque<Option<Fault>>,
        effect: impl FnOnce(&mut World) -> T,
    ) -> Result<T, HostError> {
        let unavailable = || Err(HostError::Unavailable("the store does not answer".to_owned()));
        let fault = self.change(|world| faults(world).pop_front().flatten());
        match fault {
            None => Ok(self.change(effect)),
            Some(Fault::Lost) => unavailable(),
            Some(Fault::Unacknowledged) => {
                self.change(effect);
                unavailable()
            }
            Some(Fault::Refused) => Err(HostError::Refused("no such workflow".to_owned())),
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::CrashAfter) => {
                self.change(effect);
                self.die().await
            }
        }
    }

    async fn die(&self) -> ! {
        self.change(|world| world.crashed = true);
        std::future::pending().await
    }
}

impl Host for MemoryHost {
    fn fire<'a>(
        &'a self,
        advanced: &'a Schedule,
        firing: &'a Firing,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<Uuid, HostError>> {
        Box::pin(self.call(
            |world| &mut world.fire_faults,
            |world| {
                let known = world.runs.iter().find(|run| run.firing.request_id == firing.request_id);
                let id = known.map_or_else(Uuid::now_v7, |run| run.id);
                if known.is_none() {
                    world.runs.push(Run {
                        id,
                        schedule: advanced.name.clone(),
                        firing: firing.clone(),
                        active: true,
                        cancel_reason: None,
                    });
                }
                world.store(&advanced.started(id), notices);
                id
            },
        ))
    }

    fn save<'a>(
        &'a self,
        schedule: &'a Schedule,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(self.call(|world| &mut world.save_faults, |world| world.store(schedule, notices)))
    }

    fn remove(&self, schedule: Uuid) -> BoxFuture<'_, Result<(), HostError>> {
        self.change(|world| world.schedules.remove(&schedule));
        Box::pin(async { Ok(()) })
    }

    fn active_runs_of(&self, schedule: Uuid) -> BoxFuture<'_, Result<Vec<ActiveRun>, HostError>> {
        let active = self.look(|world| {
            let runs = world.runs.iter();
            let runs = runs.filter(|run| run.active && run.firing.lineage.last() == Some(&schedule));
            runs.map(|run| ActiveRun { id: run.id, request_id: run.firing.request_id.clone() }).collect()
        });
        Box::pin(async { Ok(active) })
    }

    fn cancel<'a>(&'a self, run: Uuid, reason: &'a str) -> BoxFuture<'a, Result<(), HostError>> {
        self.change(|world| {
            let run = world.runs.iter_mut().find(|known| known.id == run).unwrap();
            run.cancel_reason = Some(reason.to_owned());
        });
        Box::pin(async { Ok(()) })
    }

    fn next_events(&self, after: u64) -> BoxFuture<'_, Result<EventBatch, HostError>> {
        Box::pin(async move {
            let _waiting = Waiting::behind(self, after);
            self.until(|world| world.last_event() > after).await;
            if self.look(|world| world.unreadable_events > 0) {
                self.change(|world| world.unreadable_events -= 1);
                return Err(HostError::Unavailable("the log cannot be read".to_owned()));
            }
            Ok(self.look(|world| {
                let events = world.events.iter().filter(|event| event.number > after);
                EventBatch { events: events.cloned().collect(), up_to: world.last_event() }
            }))
        })
    }

    fn save_cursor(&self, event: u64) -> BoxFuture<'_, Result<(), HostError>> {
        self.change(|world| world.cursor = event);
        Box::pin(async { Ok(()) })
    }
}

/// Says that the scheduler waits for events, for as long as it does.
struct Waiting<'a>(&'a MemoryHost);

impl<'a> Waiting<'a> {
    fn behind(host: &'a MemoryHost, event: u64) -> Self {
        host.change(|world| world.waiting_behind = Some(event));
        Self(host)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change(|world| world.waiting_behind = None);
    }
}
