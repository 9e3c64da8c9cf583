//! Answering events.

use std::collections::VecDeque;

use jiff::Timestamp;
use uuid::Uuid;

use super::super::{Cause, EventBatch, EventView, Firing, HostError, Schedule, Trigger};
use super::{Backoff, Scheduler};

/// So many events may be consumed without storing it. Reading some of them twice after a crash does no
/// harm, because each schedule stores the last event that it answered; storing each would cost a write
/// to the disk per event of the whole daemon.
const SAVE_EVERY: u64 = 256;

/// The events that were read and wait to be answered.
pub(super) struct Inbox {
    events: VecDeque<EventView>,
    /// The last event that was read, or that the host left out.
    read_up_to: u64,
    /// What is stored of that.
    saved: u64,
    /// The pause after the host failed, in which no event is read or answered.
    backoff: Option<Backoff>,
}

impl Inbox {
    pub(super) fn new(cursor: u64) -> Self {
        Self { events: VecDeque::new(), read_up_to: cursor, saved: cursor, backoff: None }
    }

    pub(super) fn read_up_to(&self) -> u64 {
        self.read_up_to
    }

    /// Whether the host should be asked for events now.
    pub(super) fn wants_more(&self, now: Timestamp) -> bool {
        self.events.is_empty() && self.ready_at(now) <= now
    }

    /// When there is an event to answer, or a pause is over.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ready_at = self.ready_at(now);
        (!self.events.is_empty() || ready_at > now).then_some(ready_at)
    }

    /// The last event with which every schedule is done.
    fn answered(&self) -> u64 {
        match self.events.front() {
            Some(waiting) => (waiting.number - 1).max(self.saved),
            None => self.read_up_to,
        }
    }

    fn ready_at(&self, now: Timestamp) -> Timestamp {
        self.backoff.map_or(now, |backoff| backoff.over_at(now))
    }
}

impl Scheduler {
    /// Takes what the host returned for events.
    pub(super) fn receive(&mut self, batch: Result<EventBatch, HostError>) {
        match batch {
            Ok(batch) => {
                self.inbox.backoff = None;
                let last = batch.events.last().map_or(0, |event| event.number);
                // Twice the same event would be an error of the host; it costs nothing to stand it.
                let read = self.inbox.read_up_to;
                let new = batch.events.into_iter().filter(|event| event.number > read);
                self.inbox.events.extend(new);
                self.inbox.read_up_to = read.max(batch.up_to).max(last);
            }
            Err(error) => {
                tracing::warn!(%error, "events cannot be read; trying again");
                self.pause_events();
            }
        }
    }

    /// Lets every schedule that the oldest event concerns fire for it.
    ///
    /// If the host fails, the event stays, and with it those behind it: what fails here is not a
    /// matter of one schedule. Schedules that have answered it already do not do so again.
    pub(super) async fn answer_event(&mut self) {
        let Some(event) = self.inbox.events.front().cloned() else {
            return;
        };
        for id in self.concerned_by(&event) {
            if self.answer(id, &event).await.is_err() {
                self.pause_events();
                return;
            }
        }
        self.inbox.events.pop_front();
        self.inbox.backoff = None;
        if self.inbox.answered() - self.inbox.saved >= SAVE_EVERY {
            self.save_cursor().await;
        }
    }

    fn pause_events(&mut self) {
        let backoff = Backoff::after(self.inbox.backoff, self.clock.now());
        self.inbox.backoff = Some(backoff);
    }

    fn concerned_by(&self, event: &EventView) -> Vec<Uuid> {
        self.book
            .entries()
            .map(|entry| &entry.schedule)
            .filter(|schedule| self.concerns(schedule, event))
            .map(|schedule| schedule.id)
            .collect()
    }

    fn concerns(&self, schedule: &Schedule, event: &EventView) -> bool {
        let Trigger::Event { kind, filter } = &schedule.trigger else {
            return false;
        };
        schedule.enabled
            && event.number > schedule.last_event
            && !event.lineage.contains(&schedule.id)
            && self.kinds.matches(schedule.id, kind, filter, event)
    }

    /// Lets one schedule fire for an event.
    async fn answer(&mut self, id: Uuid, event: &EventView) -> Result<(), HostError> {
        let Some(entry) = self.book.get(id) else {
            return Ok(());
        };
        let (schedule, notices) = (entry.schedule.clone(), entry.untold.clone());
        let cause = Cause::Event(event.number);
        let firing = Firing::new(id, cause.clone(), event.lineage.clone());
        let mut advanced = schedule.clone();
        advanced.last_event = event.number;
        match self.carry_out(&advanced, firing, notices.clone()).await {
            Ok(stored) => {
                self.book.put(stored);
                Ok(())
            }
            Err(error) => {
                self.fail(schedule, cause, &error, notices, None).await;
                Err(error)
            }
        }
    }

    /// Stores how far events have been answered.
    pub(super) async fn save_cursor(&mut self) {
        let answered = self.inbox.answered();
        if answered <= self.inbox.saved {
            return;
        }
        match self.host.save_cursor(answered).await {
            Ok(()) => self.inbox.saved = answered,
            Err(error) => {
                tracing::warn!(%error, "cannot store how far events were answered; some will be read again");
            }
        }
    }
}
