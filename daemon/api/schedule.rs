//! The schedule service.

use engine::schedule::{
    Cron, Every, Missed, NewSchedule, Overlap, Schedule, ScheduleError, SchedulerHandle, Start, Trigger,
};
use engine::{Engine, RunId, StartOptions};
use jiff::SignedDuration;
use spindle_client::v1;
use spindle_client::v1::schedule_service_server::ScheduleService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::error::{from_run, from_schedule, from_start, invalid};
use super::template;
use super::view::{self, read_time, time};

/// How many coming times a single schedule shows.
const UPCOMING: usize = 5;

/// Serves schedules.
#[derive(Clone)]
pub(crate) struct Schedules {
    engine: Engine,
    schedules: SchedulerHandle,
}

impl Schedules {
    /// Over an engine and its schedules.
    pub(crate) fn new(engine: Engine, schedules: SchedulerHandle) -> Self {
        Self { engine, schedules }
    }

    async fn read(&self, request: v1::AddScheduleRequest) -> Result<NewSchedule, Status> {
        let asked = template::read(&self.engine, request.template).await?;
        self.engine.check(&asked.kind, &asked.spec).map_err(from_start)?;
        let trigger = request.trigger.and_then(|trigger| trigger.trigger);
        let trigger = trigger.ok_or_else(|| invalid("INVALID_TRIGGER", "the schedule has no trigger"))?;
        let options =
            serde_json::to_vec(&asked.options).map_err(|error| Status::internal(error.to_string()))?;
        Ok(NewSchedule {
            name: request.name,
            trigger: self.trigger(trigger)?,
            start: Start { workflow: asked.kind, spec: asked.spec, options },
            overlap: match v1::Overlap::try_from(request.overlap) {
                Ok(v1::Overlap::Unspecified | v1::Overlap::Skip) => Overlap::Skip,
                Ok(v1::Overlap::Queue) => Overlap::Queue,
                Ok(v1::Overlap::Replace) => Overlap::Replace,
                Err(_) => return Err(invalid("INVALID_TRIGGER", "overlap has an unknown value")),
            },
            missed: match v1::Missed::try_from(request.missed) {
                Ok(v1::Missed::Unspecified | v1::Missed::Once) => Missed::Once,
                Ok(v1::Missed::All) => Missed::All,
                Ok(v1::Missed::Skip) => Missed::Skip,
                Err(_) => return Err(invalid("INVALID_TRIGGER", "missed has an unknown value")),
            },
            enabled: !request.disabled,
        })
    }

    fn trigger(&self, trigger: v1::trigger::Trigger) -> Result<Trigger, Status> {
        let bad = |error: engine::schedule::TriggerError| from_schedule(ScheduleError::Trigger(error));
        Ok(match trigger {
            v1::trigger::Trigger::Cron(cron) => {
                let zone = if cron.time_zone.is_empty() { own_zone() } else { cron.time_zone };
                Trigger::Cron(Cron::new(&cron.expression, &zone).map_err(bad)?)
            }
            v1::trigger::Trigger::Interval(interval) => {
                let every = signed("every", interval.every)?;
                let jitter = signed("jitter", interval.jitter)?;
                let anchor = self.engine.now().checked_add(every);
                let anchor = anchor.map_err(|_| invalid("INVALID_TRIGGER", "the interval is too long"))?;
                Trigger::Every(Every::new(every, jitter, anchor).map_err(bad)?)
            }
            v1::trigger::Trigger::At(at) => Trigger::At(
                read_time(at).ok_or_else(|| invalid("INVALID_TRIGGER", "the time is out of range"))?,
            ),
            v1::trigger::Trigger::Event(event) => {
                let filter = match event.filter_json.trim() {
                    "" => serde_json::json!({}),
                    json => serde_json::from_str(json).map_err(|error| {
                        invalid("INVALID_TRIGGER", format!("the filter is not JSON: {error}"))
                    })?,
                };
                Trigger::Event { kind: event.kind, filter }
            }
        })
    }

    fn view(schedule: &Schedule, upcoming: usize) -> v1::Schedule {
        let options: StartOptions = serde_json::from_slice(&schedule.start.options).unwrap_or_default();
        let start = engine::Start { spec: schedule.start.spec.clone(), options };
        v1::Schedule {
            id: schedule.id.to_string(),
            name: schedule.name.clone(),
            trigger: Some(v1::Trigger { trigger: Some(write_trigger(&schedule.trigger)) }),
            template: Some(template::write(&schedule.start.workflow, &start)),
            overlap: match schedule.overlap {
                Overlap::Skip => v1::Overlap::Skip,
                Overlap::Queue => v1::Overlap::Queue,
                Overlap::Replace => v1::Overlap::Replace,
            }
            .into(),
            missed: match schedule.missed {
                Missed::Once => v1::Missed::Once,
                Missed::All => v1::Missed::All,
                Missed::Skip => v1::Missed::Skip,
            }
            .into(),
            enabled: schedule.enabled,
            created_at: Some(time(schedule.created_at)),
            next_at: schedule.next_at.map(time),
            last_at: schedule.last_at.map(time),
            last_run_id: schedule.last_run.map(|run| run.to_string()).unwrap_or_default(),
            fired: schedule.counts.fired,
            skipped: schedule.counts.skipped,
            last_error: schedule.last_error.clone().unwrap_or_default(),
            upcoming: coming(schedule).take(upcoming).map(time).collect(),
        }
    }
}

/// The times to come, as far as the trigger knows them.
fn coming(schedule: &Schedule) -> impl Iterator<Item = jiff::Timestamp> {
    let next = |at: &jiff::Timestamp| schedule.trigger.next_after(schedule.id, *at);
    std::iter::successors(schedule.next_at, next)
}

/// The time zone of the machine, by its IANA name.
fn own_zone() -> String {
    jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

fn signed(what: &str, time: Option<prost_types::Duration>) -> Result<SignedDuration, Status> {
    let time = time.unwrap_or_default();
    let whole =
        SignedDuration::from_secs(time.seconds).checked_add(SignedDuration::from_nanos(time.nanos.into()));
    whole.ok_or_else(|| invalid("INVALID_TRIGGER", format!("{what} is out of range")))
}

fn unsigned(time: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: time.as_secs(), nanos: time.subsec_nanos() }
}

fn write_trigger(trigger: &Trigger) -> v1::trigger::Trigger {
    match trigger {
        Trigger::Cron(cron) => v1::trigger::Trigger::Cron(v1::CronTrigger {
            expression: cron.expression().to_owned(),
            time_zone: cron.time_zone().to_owned(),
        }),
        Trigger::Every(every) => v1::trigger::Trigger::Interval(v1::IntervalTrigger {
            every: Some(unsigned(every.interval())),
            jitter: Some(unsigned(every.jitter())),
        }),
        Trigger::At(at) => v1::trigger::Trigger::At(time(*at)),
        Trigger::Event { kind, filter } => v1::trigger::Trigger::Event(v1::EventTrigger {
            kind: kind.clone(),
            filter_json: filter.to_string(),
        }),
    }
}

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn add_schedule(
        &self,
        request: Request<v1::AddScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let request = request.into_inner();
        let replace = request.replace;
        let new = self.read(request).await?;
        if replace {
            match self.schedules.remove(&new.name).await {
                Ok(_) | Err(ScheduleError::NotFound { .. }) => {}
                Err(error) => return Err(from_schedule(error)),
            }
        }
        let schedule = self.schedules.add(new).await.map_err(from_schedule)?;
        Ok(Response::new(Self::view(&schedule, UPCOMING)))
    }

    async fn list_schedules(
        &self,
        _: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        let listing = self.schedules.list().await.map_err(from_schedule)?;
        let readable = listing.schedules.iter().map(|schedule| Self::view(schedule, 0));
        let unreadable = listing.unreadable.iter().map(|one| v1::Schedule {
            id: one.id.map(|id| id.to_string()).unwrap_or_default(),
            name: one.name.clone(),
            last_error: one.error.to_string(),
            ..v1::Schedule::default()
        });
        Ok(Response::new(v1::ListSchedulesResponse { schedules: readable.chain(unreadable).collect() }))
    }

    async fn get_schedule(
        &self,
        request: Request<v1::GetScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let schedule = self.schedules.show(&request.get_ref().schedule).await.map_err(from_schedule)?;
        Ok(Response::new(Self::view(&schedule, UPCOMING)))
    }

    async fn enable_schedule(
        &self,
        request: Request<v1::EnableScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let schedule = self.schedules.enable(&request.get_ref().schedule).await.map_err(from_schedule)?;
        Ok(Response::new(Self::view(&schedule, UPCOMING)))
    }

    async fn disable_schedule(
        &self,
        request: Request<v1::DisableScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let schedule = self.schedules.disable(&request.get_ref().schedule).await.map_err(from_schedule)?;
        Ok(Response::new(Self::view(&schedule, 0)))
    }

    async fn run_schedule(
        &self,
        request: Request<v1::RunScheduleRequest>,
    ) -> Result<Response<v1::Run>, Status> {
        let request_id = Uuid::now_v7().to_string();
        let run =
            self.schedules.run_now(&request.get_ref().schedule, &request_id).await.map_err(from_schedule)?;
        let run = self.engine.record(RunId(run)).await.map_err(from_run)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    async fn delete_schedule(
        &self,
        request: Request<v1::DeleteScheduleRequest>,
    ) -> Result<Response<v1::DeleteScheduleResponse>, Status> {
        self.schedules.remove(&request.get_ref().schedule).await.map_err(from_schedule)?;
        Ok(Response::new(v1::DeleteScheduleResponse {}))
    }
}
