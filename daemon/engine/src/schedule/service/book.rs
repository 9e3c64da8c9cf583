//! The schedules in memory.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::Timestamp;
use uuid::Uuid;

use super::super::{Listing, Notice, Schedule, ScheduleError, ScheduleRecord, Unreadable, Upcoming};
use super::Backoff;

/// All schedules.
pub(super) struct Book {
    /// By id, which begins with the millisecond in which a schedule was added.
    entries: BTreeMap<Uuid, Entry>,
    unreadable: Vec<Unreadable>,
}

/// A schedule that can fire.
pub(super) struct Entry {
    /// As it is stored.
    pub(super) schedule: Schedule,
    /// The pause it makes after a failure of the host.
    pub(super) backoff: Option<Backoff>,
    /// Notices that could not be stored yet; they go with whatever is stored next.
    pub(super) untold: Vec<Notice>,
}

impl Entry {
    /// When its next occurrence, or its next attempt at one, is due.
    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let due = if self.schedule.pending.is_some() { Some(now) } else { self.schedule.next_at }?;
        match self.backoff {
            Some(backoff) => Some(backoff.over_at(now).max(due)),
            None => Some(due),
        }
    }
}

/// What a key was found to mean.
pub(super) enum Found<'a> {
    Schedule(&'a Schedule),
    Unreadable(&'a Unreadable),
}

impl Found<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Schedule(schedule) => &schedule.name,
            Self::Unreadable(unreadable) => &unreadable.name,
        }
    }

    fn id(&self) -> Option<Uuid> {
        match self {
            Self::Schedule(schedule) => Some(schedule.id),
            Self::Unreadable(unreadable) => unreadable.id,
        }
    }
}

impl Book {
    /// Reads what is stored.
    pub(super) fn read(records: Vec<ScheduleRecord>) -> Self {
        let mut book = Self { entries: BTreeMap::new(), unreadable: Vec::new() };
        for record in records {
            let (id, name) = (Uuid::from_slice(&record.id).ok(), record.name.clone());
            match Schedule::try_from(record) {
                Ok(schedule) => book.put(schedule),
                Err(error) => {
                    tracing::error!(%error, "a stored schedule cannot be understood; it is kept and will not fire");
                    book.unreadable.push(Unreadable { id, name, error });
                }
            }
        }
        book
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Takes the state of a schedule as it was stored last; what held it up is over.
    pub(super) fn put(&mut self, schedule: Schedule) {
        self.put_off(schedule, None, Vec::new());
    }

    /// Takes the state of a schedule after a failure, with what could not be told about it.
    pub(super) fn put_off(&mut self, schedule: Schedule, backoff: Option<Backoff>, untold: Vec<Notice>) {
        let entry = Entry { schedule, backoff, untold };
        self.entries.insert(entry.schedule.id, entry);
    }

    /// Takes the state of a schedule that was stored for a reason of its own; what holds it up, if
    /// anything, goes on doing so.
    pub(super) fn update(&mut self, schedule: Schedule) {
        if let Some(entry) = self.entries.get_mut(&schedule.id) {
            entry.schedule = schedule;
        }
    }

    pub(super) fn forget(&mut self, id: Uuid) {
        self.entries.remove(&id);
        self.unreadable.retain(|unreadable| unreadable.id != Some(id));
    }

    pub(super) fn listing(&self) -> Listing {
        Listing {
            schedules: self.entries().map(|entry| entry.schedule.clone()).collect(),
            unreadable: self.unreadable.clone(),
        }
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.all().any(|found| found.name() == name)
    }

    fn all(&self) -> impl Iterator<Item = Found<'_>> {
        let schedules = self.entries().map(|entry| Found::Schedule(&entry.schedule));
        schedules.chain(self.unreadable.iter().map(Found::Unreadable))
    }

    /// Finds a schedule by its name, or by its id or a beginning of it, with or without hyphens. A
    /// name comes first: it may well look like the beginning of an id.
    pub(super) fn find(&self, key: &str) -> Result<Found<'_>, ScheduleError> {
        if let Some(found) = self.all().find(|found| found.name() == key) {
            return Ok(found);
        }
        let prefix = key.replace('-', "").to_ascii_lowercase();
        let mut found: Vec<Found<'_>> = Vec::new();
        if !prefix.is_empty() {
            found.extend(
                self.all().filter(|found| {
                    found.id().is_some_and(|id| id.simple().to_string().starts_with(&prefix))
                }),
            );
        }
        match found.len() {
            0 => Err(ScheduleError::NotFound { key: key.to_owned() }),
            1 => Ok(found.remove(0)),
            _ => {
                let names = found.iter().map(|found| found.name().to_owned());
                let mut candidates: Vec<String> = names.collect();
                candidates.sort();
                Err(ScheduleError::Ambiguous { key: key.to_owned(), candidates })
            }
        }
    }

    /// Finds a schedule that can be used.
    pub(super) fn find_usable(&self, key: &str) -> Result<&Schedule, ScheduleError> {
        match self.find(key)? {
            Found::Schedule(schedule) => Ok(schedule),
            Found::Unreadable(unreadable) => Err(ScheduleError::Unreadable(unreadable.error.clone())),
        }
    }

    /// The next `count` firings by time, of all schedules together.
    pub(super) fn upcoming(&self, count: usize) -> Vec<Upcoming> {
        let mut heads: BinaryHeap<Reverse<(Timestamp, Uuid)>> = self
            .entries()
            .filter_map(|entry| Some(Reverse((entry.schedule.next_at?, entry.schedule.id))))
            .collect();
        let mut upcoming = Vec::new();
        while upcoming.len() < count
            && let Some(Reverse((at, id))) = heads.pop()
            && let Some(Entry { schedule, .. }) = self.entries.get(&id)
        {
            upcoming.push(Upcoming { at, id, name: schedule.name.clone() });
            let next = schedule.trigger.next_after(id, at);
            heads.extend(next.map(|next| Reverse((next, id))));
        }
        upcoming
    }
}
