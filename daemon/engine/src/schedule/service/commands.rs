//! Obeying the handle.

use uuid::Uuid;

use super::super::entry::check_name;
use super::super::handle::Command;
use super::super::{Cause, Firing, NewSchedule, Schedule, ScheduleError, Trigger, TriggerError};
use super::Scheduler;
use super::book::Found;

impl Scheduler {
    /// Does what a command says and answers it. That nobody waits for the answer any more changes
    /// nothing.
    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Add(new, reply) => drop(reply.send(self.add(*new).await)),
            Command::List(reply) => drop(reply.send(Ok(self.book.listing()))),
            Command::Show(key, reply) => {
                drop(reply.send(self.book.find_usable(&key).cloned()));
            }
            Command::SetEnabled(key, enabled, reply) => {
                drop(reply.send(self.set_enabled(&key, enabled).await));
            }
            Command::RunNow(key, request_id, reply) => {
                drop(reply.send(self.run_now(&key, request_id).await));
            }
            Command::Remove(key, reply) => drop(reply.send(self.remove(&key).await)),
            Command::Upcoming(count, reply) => drop(reply.send(Ok(self.book.upcoming(count)))),
        }
    }

    async fn add(&mut self, new: NewSchedule) -> Result<Schedule, ScheduleError> {
        check_name(&new.name)?;
        if self.book.has_name(&new.name) {
            return Err(ScheduleError::NameTaken { name: new.name });
        }
        let now = self.clock.now();
        match &new.trigger {
            Trigger::At(time) if *time <= now => {
                return Err(TriggerError::InThePast { time: *time }.into());
            }
            Trigger::Event { kind, filter } => self.kinds.check(kind, filter)?,
            Trigger::At(_) | Trigger::Cron(_) | Trigger::Every(_) => {}
        }
        let schedule = Schedule::new(self.new_id(), new, now, self.inbox.read_up_to());
        self.host.save(&schedule, &[]).await?;
        self.book.put(schedule.clone());
        Ok(schedule)
    }

    /// A UUID of version 7 by the engine's clock.
    fn new_id(&self) -> Uuid {
        let now = self.clock.now();
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
        Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
    }

    async fn set_enabled(&mut self, key: &str, enabled: bool) -> Result<Schedule, ScheduleError> {
        let mut schedule = self.book.find_usable(key)?.clone();
        if schedule.enabled == enabled {
            return Ok(schedule);
        }
        if enabled {
            schedule.enable(self.clock.now(), self.inbox.read_up_to());
            if let Trigger::At(time) = schedule.trigger
                && schedule.next_at.is_none()
            {
                return Err(TriggerError::InThePast { time }.into());
            }
        } else {
            schedule.disable();
        }
        self.host.save(&schedule, &[]).await?;
        self.book.put(schedule.clone());
        Ok(schedule)
    }

    async fn run_now(&mut self, key: &str, request_id: String) -> Result<Uuid, ScheduleError> {
        let schedule = self.book.find_usable(key)?.clone();
        let firing = Firing::new(schedule.id, Cause::Command(request_id), Vec::new());
        let started = self.start(&schedule, &firing, &[]).await?;
        let run = started.last_run;
        self.book.update(started);
        run.ok_or(ScheduleError::Stopped)
    }

    async fn remove(&mut self, key: &str) -> Result<String, ScheduleError> {
        let (id, name) = match self.book.find(key)? {
            Found::Schedule(schedule) => (schedule.id, schedule.name.clone()),
            Found::Unreadable(unreadable) => {
                let id = unreadable.id.ok_or_else(|| ScheduleError::Unreadable(unreadable.error.clone()))?;
                (id, unreadable.name.clone())
            }
        };
        self.host.remove(id).await?;
        self.book.forget(id);
        Ok(name)
    }
}
