//! A schedule as it is stored.
//!
//! A value of the store's table of schedules, whose key is the schedule's id. The messages are
//! written by hand; a tag, once released, keeps its meaning for ever.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::{Counts, Cron, Every, Missed, Overlap, Schedule, Start, Trigger, TriggerError};

/// A schedule as it is stored.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScheduleRecord {
    /// The 16 bytes of the id.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// The unique name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What makes the schedule fire; always present.
    #[prost(oneof = "TriggerRecord", tags = "3, 4, 5, 6")]
    pub trigger: Option<TriggerRecord>,
    /// The kind of the workflow that it starts.
    #[prost(string, tag = "7")]
    pub workflow: String,
    /// The workflow's specification, JSON.
    #[prost(string, tag = "8")]
    pub spec: String,
    /// Environment, labels and further options of a start, encoded by whoever starts runs.
    #[prost(bytes = "vec", tag = "11")]
    pub start: Vec<u8>,
    /// When runs would overlap: 0 skip, 1 queue, 2 replace.
    #[prost(enumeration = "Overlap", tag = "12")]
    pub overlap: i32,
    /// When occurrences were missed: 0 once, 1 all, 2 skip.
    #[prost(enumeration = "Missed", tag = "13")]
    pub missed: i32,
    /// Whether the schedule fires.
    #[prost(bool, tag = "14")]
    pub enabled: bool,
    /// When it was added; always present.
    #[prost(message, optional, tag = "15")]
    pub created_at: Option<Seconds>,
    /// The occurrence that is to come.
    #[prost(message, optional, tag = "16")]
    pub next_at: Option<Seconds>,
    /// The occurrence whose start failed and is tried again.
    #[prost(message, optional, tag = "17")]
    pub pending: Option<Seconds>,
    /// When the last run was started.
    #[prost(message, optional, tag = "18")]
    pub last_at: Option<Seconds>,
    /// The 16 bytes of the last run's id; empty before the first.
    #[prost(bytes = "vec", tag = "19")]
    pub last_run_id: Vec<u8>,
    /// The last event that the schedule has answered, or has no interest in.
    #[prost(uint64, tag = "20")]
    pub last_event: u64,
    /// Why the last start failed; empty after one that succeeded.
    #[prost(string, tag = "21")]
    pub last_error: String,
    /// Runs started.
    #[prost(uint64, tag = "22")]
    pub count_fired: u64,
    /// Firings dropped because a run was active.
    #[prost(uint64, tag = "23")]
    pub count_skipped: u64,
    /// Occurrences missed.
    #[prost(uint64, tag = "24")]
    pub count_missed: u64,
}

/// What makes a schedule fire, as it is stored.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum TriggerRecord {
    /// See [`Trigger::Cron`].
    #[prost(message, tag = "3")]
    Cron(CronRecord),
    /// See [`Trigger::Every`].
    #[prost(message, tag = "4")]
    Every(EveryRecord),
    /// See [`Trigger::At`].
    #[prost(message, tag = "5")]
    At(Seconds),
    /// See [`Trigger::Event`].
    #[prost(message, tag = "6")]
    Event(EventRecord),
}

/// A cron trigger.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CronRecord {
    /// The expression as it was given.
    #[prost(string, tag = "1")]
    pub expression: String,
    /// The IANA name of the time zone.
    #[prost(string, tag = "2")]
    pub time_zone: String,
}

/// An interval trigger; every field is always present.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct EveryRecord {
    /// The time between occurrences.
    #[prost(message, optional, tag = "1")]
    pub interval: Option<Seconds>,
    /// The longest delay of an occurrence.
    #[prost(message, optional, tag = "2")]
    pub jitter: Option<Seconds>,
    /// When the first occurrence is due.
    #[prost(message, optional, tag = "3")]
    pub anchor: Option<Seconds>,
}

/// An event trigger.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EventRecord {
    /// The kind of trigger.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its filter, JSON.
    #[prost(string, tag = "2")]
    pub filter: String,
}

/// A length of time, or a point in time as the length since 1970-01-01T00:00:00Z. Exact: an
/// occurrence that lost its nanoseconds would look as if it were yet to come.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Seconds {
    /// Whole seconds, towards zero.
    #[prost(sint64, tag = "1")]
    pub whole: i64,
    /// Nanoseconds, of the same sign.
    #[prost(sint32, tag = "2")]
    pub nanos: i32,
}

/// Why a stored schedule cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A field is missing or out of range, which no released version writes.
    #[error("the stored schedule {name:?} has no valid {field}")]
    Field {
        /// The schedule's name, as far as known.
        name: String,
        /// The field.
        field: &'static str,
    },
    /// The trigger was valid once and is no more (a time zone was removed from the database), or comes
    /// from a newer version.
    #[error("the trigger of the stored schedule {name:?} cannot be used: {source}")]
    Trigger {
        /// The schedule's name.
        name: String,
        /// What is wrong with it.
        source: TriggerError,
    },
}

impl From<Timestamp> for Seconds {
    fn from(time: Timestamp) -> Self {
        Self { whole: time.as_second(), nanos: time.subsec_nanosecond() }
    }
}

impl From<SignedDuration> for Seconds {
    fn from(length: SignedDuration) -> Self {
        Self { whole: length.as_secs(), nanos: length.subsec_nanos() }
    }
}

impl From<&Schedule> for ScheduleRecord {
    fn from(schedule: &Schedule) -> Self {
        let Schedule { start, counts, .. } = schedule;
        Self {
            id: schedule.id.as_bytes().to_vec(),
            name: schedule.name.clone(),
            trigger: Some(TriggerRecord::from(&schedule.trigger)),
            workflow: start.workflow.clone(),
            spec: start.spec.to_string(),
            start: start.options.clone(),
            overlap: schedule.overlap.into(),
            missed: schedule.missed.into(),
            enabled: schedule.enabled,
            created_at: Some(schedule.created_at.into()),
            next_at: schedule.next_at.map(Seconds::from),
            pending: schedule.pending.map(Seconds::from),
            last_at: schedule.last_at.map(Seconds::from),
            last_run_id: schedule.last_run.map_or_else(Vec::new, |run| run.as_bytes().to_vec()),
            last_event: schedule.last_event,
            last_error: schedule.last_error.clone().unwrap_or_default(),
            count_fired: counts.fired,
            count_skipped: counts.skipped,
            count_missed: counts.missed,
        }
    }
}

impl From<&Trigger> for TriggerRecord {
    fn from(trigger: &Trigger) -> Self {
        match trigger {
            Trigger::Cron(cron) => Self::Cron(CronRecord {
                expression: cron.expression().to_owned(),
                time_zone: cron.time_zone().to_owned(),
            }),
            Trigger::Every(every) => Self::Every(EveryRecord {
                interval: Some(every.interval().into()),
                jitter: Some(every.jitter().into()),
                anchor: Some(every.anchor().into()),
            }),
            Trigger::At(time) => Self::At((*time).into()),
            Trigger::Event { kind, filter } => {
                Self::Event(EventRecord { kind: kind.clone(), filter: filter.to_string() })
            }
        }
    }
}

impl TryFrom<ScheduleRecord> for Schedule {
    type Error = RecordError;

    fn try_from(record: ScheduleRecord) -> Result<Self, RecordError> {
        let reader = Reader { name: &record.name };
        let last_run = Some(&record.last_run_id).filter(|id| !id.is_empty());
        Ok(Self {
            id: reader.uuid(&record.id, "id")?,
            trigger: reader.trigger(record.trigger.as_ref())?,
            start: Start {
                spec: reader.json(&record.spec, "spec")?,
                workflow: record.workflow,
                options: record.start,
            },
            overlap: record.overlap.try_into().map_err(|_| reader.invalid("overlap policy"))?,
            missed: record.missed.try_into().map_err(|_| reader.invalid("missed policy"))?,
            enabled: record.enabled,
            created_at: reader.time(record.created_at, "time of creation")?,
            next_at: reader.optional_time(record.next_at, "next time")?,
            pending: reader.optional_time(record.pending, "pending time")?,
            last_at: reader.optional_time(record.last_at, "last time")?,
            last_run: last_run.map(|id| reader.uuid(id, "last run")).transpose()?,
            last_event: record.last_event,
            last_error: Some(record.last_error).filter(|error| !error.is_empty()),
            counts: Counts {
                fired: record.count_fired,
                skipped: record.count_skipped,
                missed: record.count_missed,
            },
            name: record.name,
        })
    }
}

/// Reads the fields of the record of this name.
struct Reader<'a> {
    name: &'a str,
}

impl Reader<'_> {
    fn invalid(&self, field: &'static str) -> RecordError {
        RecordError::Field { name: self.name.to_owned(), field }
    }

    fn uuid(&self, bytes: &[u8], field: &'static str) -> Result<Uuid, RecordError> {
        Uuid::from_slice(bytes).map_err(|_| self.invalid(field))
    }

    fn json(&self, text: &str, field: &'static str) -> Result<Value, RecordError> {
        serde_json::from_str(text).map_err(|_| self.invalid(field))
    }

    fn time(&self, time: Option<Seconds>, field: &'static str) -> Result<Timestamp, RecordError> {
        time.and_then(|time| Timestamp::new(time.whole, time.nanos).ok()).ok_or_else(|| self.invalid(field))
    }

    fn optional_time(
        &self,
        time: Option<Seconds>,
        field: &'static str,
    ) -> Result<Option<Timestamp>, RecordError> {
        time.map(|time| self.time(Some(time), field)).transpose()
    }

    fn length(&self, length: Option<Seconds>, field: &'static str) -> Result<SignedDuration, RecordError> {
        length
            .filter(|length| length.nanos.abs() < 1_000_000_000)
            .map(|length| SignedDuration::new(length.whole, length.nanos))
            .ok_or_else(|| self.invalid(field))
    }

    fn trigger(&self, trigger: Option<&TriggerRecord>) -> Result<Trigger, RecordError> {
        let unusable = |source| RecordError::Trigger { name: self.name.to_owned(), source };
        Ok(match trigger.ok_or_else(|| self.invalid("trigger"))? {
            TriggerRecord::Cron(cron) => {
                Trigger::Cron(Cron::new(&cron.expression, &cron.time_zone).map_err(unusable)?)
            }
            TriggerRecord::Every(every) => {
                let interval = self.length(every.interval, "interval")?;
                let jitter = self.length(every.jitter, "jitter")?;
                let anchor = self.time(every.anchor, "anchor")?;
                Trigger::Every(Every::new(interval, jitter, anchor).map_err(unusable)?)
            }
            TriggerRecord::At(time) => Trigger::At(self.time(Some(*time), "time")?),
            TriggerRecord::Event(event) => {
                Trigger::Event { kind: event.kind.clone(), filter: self.json(&event.filter, "filter")? }
            }
        })
    }
}
