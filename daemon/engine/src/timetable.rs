//! What schedules ask of the engine: to start their runs, and to keep them.

use serde_json::json;
use uuid::Uuid;

use crate::clock::BoxFuture;
use crate::control::RunError;
use crate::core::{StartError, Tx};
use crate::engine::Engine;
use crate::event::{Event, WatchError};
use crate::recover::{FactRow, Facts};
use crate::run::tables::table;
use crate::run::{After, Origin, RunId, StartOptions, StartRun, Status};
use crate::schedule::{
    ActiveRun, Cause, EventBatch, EventTriggers, EventView, Firing, Host, HostError, Notice, RunFacts,
    RunOutcome, Schedule, ScheduleRecord, Scheduler, SchedulerHandle, Stored,
};
use crate::store::{MAX_VALUE_BYTES, Order, StoreError, Table};

table! { /// Schedules by id.
Schedules = 0x30 "schedules": Uuid => ScheduleRecord }

const CURSOR: &str = "schedules-have-seen";

/// The label that says which schedule started a run.
pub const SCHEDULE_LABEL: &str = "schedule";

impl Engine {
    /// The schedules: the task that fires them, and the handle to change them.
    pub async fn schedules(&self, triggers: EventTriggers) -> Result<(Scheduler, SchedulerHandle), RunError> {
        let (store, last) = (self.store().clone(), self.last_event());
        let read = tokio::task::spawn_blocking(move || {
            let rows = store.scan::<Schedules>(.., Order::Ascending);
            let schedules: Vec<ScheduleRecord> =
                rows.map(|row| row.map(|(_, record)| record)).collect::<Result<_, _>>()?;
            let cursor = match store.get::<Facts>(&CURSOR.to_owned())? {
                Some(fact) => fact.number,
                // A daemon that died before it stored this has left the schedules themselves to tell.
                None => schedules.iter().map(|schedule| schedule.last_event).min().unwrap_or(last),
            };
            Ok::<_, StoreError>(Stored { schedules, cursor })
        });
        let stored = read.await.map_err(|_| RunError::Closed)??;
        Ok(Scheduler::new(std::sync::Arc::new(self.clone()), self.clock().clone(), triggers, stored))
    }

    async fn fire_schedule(
        &self,
        advanced: &Schedule,
        firing: &Firing,
        notices: &[Notice],
    ) -> Result<Uuid, HostError> {
        let start = start_of(advanced, firing)?;
        let new = self.prepare(start).await.map_err(refused)?;
        let (made, written) = (new.run.id, new.start_row.files());
        let record = match record_of(&advanced.started(made.0)) {
            Ok(record) => record,
            Err(error) => {
                self.drop_files(written);
                return Err(error);
            }
        };
        let accepted = self.transact(|tx| {
            let run = tx.accept(new)?;
            let data = json!({ "schedule": advanced.name, "run": run, "cause": cause(&firing.cause) });
            tx.event(Some(run), "schedule.fired", data);
            tx.tell_notices(advanced, notices);
            // The same occurrence, fired before: its run is the one that is there.
            let record = if run == made { record } else { ScheduleRecord::from(&advanced.started(run.0)) };
            tx.batch.put::<Schedules>(&advanced.id, &record);
            Ok::<_, StartError>(run)
        });
        let accepted = accepted.await;
        // Whether a batch that failed is stored is not known: its files stay.
        if !matches!(accepted, Ok(run) if run == made) && !matches!(accepted, Err(StartError::Store(_))) {
            self.drop_files(written);
        }
        accepted.map(|run| run.0).map_err(refused)
    }

    async fn save_schedule(&self, schedule: &Schedule, notices: &[Notice]) -> Result<(), HostError> {
        let record = record_of(schedule)?;
        let done = self.transact(|tx| {
            tx.batch.put::<Schedules>(&schedule.id, &record);
            tx.tell_notices(schedule, notices);
            Ok::<_, StoreError>(())
        });
        done.await.map_err(unavailable)
    }

    async fn events_for_schedules(&self, after: u64) -> Result<EventBatch, HostError> {
        let from = (after + 1).max(self.oldest_event());
        let mut stream = self.events_from(from).map_err(unavailable)?;
        let events = loop {
            match stream.next().await {
                Ok(events) => break events,
                // Trimmed while it was behind: what is left is what there is.
                Err(WatchError::Expired { oldest, .. }) => {
                    stream = self.events_from(oldest).map_err(unavailable)?;
                }
                Err(error) => return Err(unavailable(error)),
            }
        };
        let up_to = events.last().map_or(after, |event| event.seq);
        Ok(EventBatch { events: events.iter().filter_map(|event| view(event)).collect(), up_to })
    }
}

impl Host for Engine {
    fn fire<'a>(
        &'a self,
        advanced: &'a Schedule,
        firing: &'a Firing,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<Uuid, HostError>> {
        Box::pin(self.fire_schedule(advanced, firing, notices))
    }

    fn save<'a>(
        &'a self,
        schedule: &'a Schedule,
        notices: &'a [Notice],
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(self.save_schedule(schedule, notices))
    }

    fn remove(&self, schedule: Uuid) -> BoxFuture<'_, Result<(), HostError>> {
        Box::pin(async move {
            let done = self.transact(|tx| {
                tx.batch.delete::<Schedules>(&schedule);
                tx.event(None, "schedule.removed", json!({ "id": schedule }));
                Ok::<_, StoreError>(())
            });
            done.await.map_err(unavailable)
        })
    }

    fn active_runs_of(&self, schedule: Uuid) -> BoxFuture<'_, Result<Vec<ActiveRun>, HostError>> {
        let core = self.core();
        let mine = core.runs.values().map(|active| &active.run);
        let mine = mine.filter(|run| !run.state.is_ended() && run.origin == Origin::Schedule(schedule));
        let mut runs: Vec<_> = mine
            .map(|run| ActiveRun { id: run.id.0, request_id: run.request_id.clone().unwrap_or_default() })
            .collect();
        runs.sort_by_key(|run| run.id);
        Box::pin(async { Ok(runs) })
    }

    fn cancel<'a>(&'a self, run: Uuid, reason: &'a str) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            match Engine::cancel(self, RunId(run), reason).await {
                Ok(()) | Err(RunError::Refused(_) | RunError::Over { .. } | RunError::NotFound(_)) => Ok(()),
                Err(error) => Err(unavailable(error)),
            }
        })
    }

    fn next_events(&self, after: u64) -> BoxFuture<'_, Result<EventBatch, HostError>> {
        Box::pin(self.events_for_schedules(after))
    }

    fn save_cursor(&self, event: u64) -> BoxFuture<'_, Result<(), HostError>> {
        Box::pin(async move {
            let done = self.transact(|tx| {
                tx.batch.put::<Facts>(&CURSOR.to_owned(), &FactRow { number: event });
                Ok::<_, StoreError>(())
            });
            done.await.map_err(unavailable)
        })
    }
}

impl Tx<'_> {
    fn tell_notices(&mut self, schedule: &Schedule, notices: &[Notice]) {
        for notice in notices {
            let name = &schedule.name;
            let (kind, data) = match notice {
                Notice::Skipped { cause: why, active } => {
                    ("schedule.skipped", json!({ "schedule": name, "cause": cause(why), "active": active }))
                }
                Notice::Missed(dropped) => {
                    ("schedule.missed", json!({ "schedule": name, "missed": format!("{dropped:?}") }))
                }
                Notice::Refused { cause: why, problem } => {
                    ("schedule.refused", json!({ "schedule": name, "cause": cause(why), "problem": problem }))
                }
                Notice::Failed { cause: why, problem } => {
                    ("schedule.failed", json!({ "schedule": name, "cause": cause(why), "problem": problem }))
                }
            };
            self.event(None, kind, data);
        }
    }
}

/// The row of a schedule, if it fits.
fn record_of(schedule: &Schedule) -> Result<ScheduleRecord, HostError> {
    let record = ScheduleRecord::from(schedule);
    if prost::Message::encoded_len(&record) > MAX_VALUE_BYTES {
        let text = "the schedule is too large to be stored; a shorter command or fewer variables fit";
        return Err(HostError::Refused(text.to_owned()));
    }
    Ok(record)
}

fn start_of(schedule: &Schedule, firing: &Firing) -> Result<StartRun, HostError> {
    let mut options: StartOptions = match schedule.start.options.as_slice() {
        [] => StartOptions::default(),
        json => serde_json::from_slice(json)
            .map_err(|error| HostError::Refused(format!("its stored options cannot be read: {error}")))?,
    };
    options.labels.insert(SCHEDULE_LABEL.to_owned(), schedule.name.clone());
    if let Some(run) = firing.after {
        options.after.push(After {
            run: RunId(run),
            outcomes: Status::ALL.into_iter().filter(|status| status.is_ended()).collect(),
        });
    }
    Ok(StartRun {
        request_id: Some(firing.request_id.clone()),
        kind: schedule.start.workflow.clone(),
        spec: schedule.start.spec.clone(),
        options,
        origin: Origin::Schedule(schedule.id),
        lineage: firing.lineage.clone(),
        refuse_if_held: false,
    })
}

/// Only the ends of runs can set off the built-in trigger; other crates' events pass as they are.
fn view(event: &Event) -> Option<EventView> {
    if event.kind.starts_with("schedule.") || event.kind.starts_with("step.") {
        return None;
    }
    let data = &event.data;
    let facts = |run: RunId| {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let labels: std::collections::BTreeMap<String, String> =
            serde_json::from_value(data["labels"].clone()).unwrap_or_default();
        RunFacts {
            id: run.0,
            workflow: text("kind"),
            outcome: serde_json::from_value::<RunOutcome>(data["state"].clone()).ok(),
            schedule: labels.get(SCHEDULE_LABEL).cloned(),
            labels,
        }
    };
    Some(EventView {
        number: event.seq,
        time: event.time,
        kind: event.kind.clone(),
        run: event.run.map(facts),
        lineage: serde_json::from_value(data["lineage"].clone()).unwrap_or_default(),
        data: data.clone(),
    })
}

fn cause(cause: &Cause) -> serde_json::Value {
    match cause {
        Cause::Time(at) => json!({ "time": at }),
        Cause::Event(number) => json!({ "event": number }),
        Cause::Command(_) => json!({ "command": true }),
    }
}

fn refused(error: StartError) -> HostError {
    match error {
        StartError::Store(error) => unavailable(error),
        other => HostError::Refused(other.to_string()),
    }
}

fn unavailable(error: impl std::fmt::Display) -> HostError {
    HostError::Unavailable(error.to_string())
}
