//! How runs lie in the store: prost messages, and their tables.
//!
//! An active run is three kinds of rows: its record, its start, and a row for each step. When it
//! ends they are packed into the one record. States, options, requests and values are JSON inside
//! the messages: they are unions that grow with every workflow, and an export stays readable.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Attempt, LeaseKey, Origin, Run, RunId, RunState, Start, Step, StepKind, StepState, Usage};
use crate::store::{StoreError, Table};

macro_rules! table {
    ($(#[$doc:meta])* $table:ident = $prefix:literal $name:literal: $key:ty => $value:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $table;
        impl Table for $table {
            const NAME: &'static str = $name;
            const PREFIX: u8 = $prefix;
            type Key = $key;
            type Value = $value;
        }
    };
}
pub(crate) use table;

table! { /// Runs by id; ended ones with everything packed in.
Runs = 0x10 "runs": Uuid => RunRow }
table! { /// Spec and options of active runs.
Starts = 0x11 "starts": Uuid => StartRow }
table! { /// Steps of active runs, by run and ordinal.
Steps = 0x12 "steps": (Uuid, u64) => StepRow }
table! { /// Runs by the number of their status.
ByStatus = 0x13 "runs-by-status": (u64, Uuid) => Mark }
table! { /// Runs by their workflow's kind.
ByKind = 0x14 "runs-by-kind": (String, Uuid) => Mark }
table! { /// Runs by label, as `key=value`.
ByLabel = 0x15 "runs-by-label": (String, Uuid) => Mark }
table! { /// Runs by the client's request id.
Requests = 0x16 "requests": String => RequestRow }
table! { /// Leases by key.
Leases = 0x17 "leases": String => LeaseRow }

/// The value of an index entry: it says nothing that its key does not say.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Mark {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestRow {
    #[prost(bytes = "vec", tag = "1")]
    pub run: Vec<u8>,
    /// SHA-256 over kind, spec and options: the same id with another request is refused.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LeaseRow {
    #[prost(bytes = "vec", tag = "1")]
    pub run: Vec<u8>,
    /// Microseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub taken_at: i64,
}

/// JSON in the row itself, or in a file of the run's directory when it is too large for the store.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub inline: Option<Vec<u8>>,
    #[prost(string, optional, tag = "2")]
    pub sha256: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StartRow {
    #[prost(message, optional, tag = "1")]
    pub spec: Option<Payload>,
    #[prost(message, optional, tag = "2")]
    pub options: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RunRow {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: BTreeMap<String, String>,
    #[prost(bytes = "vec", tag = "4")]
    pub state_json: Vec<u8>,
    #[prost(sint32, tag = "5")]
    pub priority: i32,
    #[prost(int64, tag = "6")]
    pub created_at: i64,
    #[prost(int64, optional, tag = "7")]
    pub started_at: Option<i64>,
    #[prost(int64, optional, tag = "8")]
    pub finished_at: Option<i64>,
    #[prost(uint32, tag = "9")]
    pub attempt: u32,
    #[prost(uint32, tag = "10")]
    pub interruptions: u32,
    #[prost(bool, tag = "11")]
    pub begun: bool,
    #[prost(bytes = "vec", tag = "12")]
    pub parent: Vec<u8>,
    #[prost(string, tag = "13")]
    pub parent_step: String,
    #[prost(bytes = "vec", tag = "14")]
    pub schedule: Vec<u8>,
    #[prost(string, optional, tag = "15")]
    pub request_id: Option<String>,
    #[prost(int32, optional, tag = "16")]
    pub exit_code: Option<i32>,
    #[prost(int32, optional, tag = "17")]
    pub signal: Option<i32>,
    #[prost(message, optional, tag = "18")]
    pub usage: Option<UsageRow>,
    #[prost(string, repeated, tag = "19")]
    pub signals: Vec<String>,
    #[prost(uint64, tag = "20")]
    pub steps_dropped: u64,
    #[prost(string, repeated, tag = "21")]
    pub leases: Vec<String>,
    #[prost(message, optional, tag = "22")]
    pub output: Option<Payload>,
    /// Of an ended run: its start and steps.
    #[prost(message, optional, tag = "23")]
    pub packed: Option<Payload>,
    /// The run whose end this one is a hook on.
    #[prost(bytes = "vec", tag = "24")]
    pub hook_of: Vec<u8>,
    /// The ids of the schedules that led to the run, one after the other.
    #[prost(bytes = "vec", tag = "25")]
    pub lineage: Vec<u8>,
}

/// What is packed into the record of an ended run.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PackedRow {
    #[prost(message, optional, tag = "1")]
    pub start: Option<StartRow>,
    #[prost(message, repeated, tag = "2")]
    pub steps: Vec<StepRow>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct UsageRow {
    #[prost(uint64, tag = "1")]
    pub user_us: u64,
    #[prost(uint64, tag = "2")]
    pub system_us: u64,
    #[prost(uint64, tag = "3")]
    pub max_rss_bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StepRow {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    #[prost(uint32, tag = "3")]
    pub state: u32,
    #[prost(message, repeated, tag = "4")]
    pub attempts: Vec<AttemptRow>,
    #[prost(message, optional, tag = "5")]
    pub request: Option<Payload>,
    #[prost(message, optional, tag = "6")]
    pub value: Option<Payload>,
    #[prost(bool, tag = "7")]
    pub archived: bool,
    #[prost(uint32, tag = "8")]
    pub ordinal: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AttemptRow {
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(uint32, tag = "2")]
    pub state: u32,
    #[prost(int64, tag = "3")]
    pub started_at: i64,
    #[prost(int64, optional, tag = "4")]
    pub finished_at: Option<i64>,
    #[prost(int32, optional, tag = "5")]
    pub exit_code: Option<i32>,
    #[prost(int32, optional, tag = "6")]
    pub signal: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub failure_json: Option<Vec<u8>>,
    #[prost(message, optional, tag = "8")]
    pub usage: Option<UsageRow>,
    #[prost(int32, optional, tag = "9")]
    pub pid: Option<i32>,
    #[prost(uint64, tag = "10")]
    pub stdout_bytes: u64,
    #[prost(uint64, tag = "11")]
    pub stderr_bytes: u64,
}

/// A row says something that this version cannot understand.
#[derive(Debug, thiserror::Error)]
#[error("the stored {what} of run {run} cannot be read: {reason}")]
pub struct BadRow {
    /// What was being read.
    pub what: &'static str,
    /// Whose it is.
    pub run: RunId,
    /// What is wrong with it.
    pub reason: String,
}

/// Keeps JSON in the row or, when it is large, in a file. Files are written before the batch
/// that names them.
pub(crate) trait Spill {
    /// A payload for these bytes: in a file if they are more than `limit`. No two parts of a run
    /// share a file, so that it can go with its part: a part is a step's ordinal, or [`WHOLE`].
    fn spill(&self, run: RunId, part: u32, bytes: Vec<u8>, limit: usize) -> Result<Payload, StoreError>;
    /// The bytes of a payload, or why they cannot be had.
    fn load(&self, run: RunId, payload: &Payload) -> Result<Vec<u8>, String>;
}

/// The part of a run that is no step.
pub(crate) const WHOLE: u32 = u32::MAX;

/// Largest JSON kept in the row itself. Two of these and the rest of a row stay under the store's
/// limit of 8 KiB for a value.
pub(crate) const INLINE_LIMIT: usize = 2 * 1024;

/// Largest spec and largest options kept in the row: both have to fit the record of a run that
/// ended before it began, beside the longest name, labels, failure and so on.
pub(crate) const START_LIMIT: usize = 1536;

/// Largest packed part of an ended run's record.
pub(crate) const PACKED_LIMIT: usize = 3 * 1024;

pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // Our own types have string keys only, and no serializer of theirs fails.
    serde_json::to_vec(value).unwrap_or_default()
}

fn from_json<T: DeserializeOwned>(run: RunId, what: &'static str, bytes: &[u8]) -> Result<T, BadRow> {
    serde_json::from_slice(bytes).map_err(|error| BadRow { what, run, reason: error.to_string() })
}

fn time(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

fn id(run: RunId, what: &'static str, bytes: &[u8]) -> Result<Option<Uuid>, BadRow> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = Uuid::from_slice(bytes).map_err(|error| BadRow { what, run, reason: error.to_string() })?;
    Ok(Some(id))
}

impl From<Usage> for UsageRow {
    fn from(usage: Usage) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            user_us: micros(usage.user),
            system_us: micros(usage.system),
            max_rss_bytes: usage.max_rss_bytes,
        }
    }
}

impl From<Option<UsageRow>> for Usage {
    fn from(row: Option<UsageRow>) -> Self {
        let row = row.unwrap_or_default();
        Self {
            user: Duration::from_micros(row.user_us),
            system: Duration::from_micros(row.system_us),
            max_rss_bytes: row.max_rss_bytes,
        }
    }
}

impl RunRow {
    pub(crate) fn new(run: &Run) -> Self {
        let (mut parent, mut parent_step, mut schedule, mut hook_of) =
            (vec![], String::new(), vec![], vec![]);
        match &run.origin {
            Origin::Client => {}
            Origin::Parent { run, step } => {
                parent = run.0.as_bytes().to_vec();
                parent_step.clone_from(step);
            }
            Origin::Schedule(id) => schedule = id.as_bytes().to_vec(),
            Origin::Hook(run) => hook_of = run.0.as_bytes().to_vec(),
        }
        Self {
            kind: run.kind.clone(),
            name: run.name.clone(),
            labels: run.labels.clone(),
            state_json: to_json(&run.state),
            priority: run.priority,
            created_at: run.created_at.as_microsecond(),
            started_at: run.started_at.map(Timestamp::as_microsecond),
            finished_at: run.finished_at.map(Timestamp::as_microsecond),
            attempt: run.attempt,
            interruptions: run.interruptions,
            begun: run.begun,
            parent,
            parent_step,
            schedule,
            hook_of,
            lineage: run.lineage.iter().flat_map(|id| *id.as_bytes()).collect(),
            request_id: run.request_id.clone(),
            exit_code: run.exit_code,
            signal: run.signal,
            usage: Some(run.usage.into()),
            signals: run.signals.clone(),
            steps_dropped: run.steps_dropped,
            leases: run.leases.iter().map(|key| key.0.clone()).collect(),
            output: None,
            packed: None,
        }
    }

    /// The record; its output is read by [`RunRow::read_output`], when it is wanted.
    pub(crate) fn read(&self, run: RunId) -> Result<Run, BadRow> {
        let origin = if let Some(parent) = id(run, "parent", &self.parent)? {
            Origin::Parent { run: RunId(parent), step: self.parent_step.clone() }
        } else if let Some(schedule) = id(run, "schedule", &self.schedule)? {
            Origin::Schedule(schedule)
        } else if let Some(of) = id(run, "hook", &self.hook_of)? {
            Origin::Hook(RunId(of))
        } else {
            Origin::Client
        };
        let state = from_json(run, "state", &self.state_json)?;
        Ok(self.read_as(run, state, origin))
    }

    /// The record, with what else is known of its state and its origin.
    pub(crate) fn read_as(&self, run: RunId, state: RunState, origin: Origin) -> Run {
        Run {
            id: run,
            kind: self.kind.clone(),
            name: self.name.clone(),
            labels: self.labels.clone(),
            state,
            priority: self.priority,
            created_at: time(self.created_at),
            started_at: self.started_at.map(time),
            finished_at: self.finished_at.map(time),
            attempt: self.attempt,
            interruptions: self.interruptions,
            begun: self.begun,
            origin,
            lineage: self.lineage.as_chunks::<16>().0.iter().map(|id| Uuid::from_bytes(*id)).collect(),
            request_id: self.request_id.clone(),
            exit_code: self.exit_code,
            signal: self.signal,
            usage: self.usage.into(),
            signals: self.signals.clone(),
            steps_dropped: self.steps_dropped,
            leases: self.leases.iter().cloned().map(LeaseKey).collect(),
            output: None,
        }
    }
}

impl RunRow {
    pub(crate) fn read_output(
        &self,
        run: RunId,
        files: &impl Spill,
    ) -> Result<Option<serde_json::Value>, BadRow> {
        read_payload(run, "output", self.output.as_ref(), files)
    }

    /// What is packed into the record of an ended run.
    pub(crate) fn unpack(&self, run: RunId, files: &impl Spill) -> Result<PackedRow, BadRow> {
        let Some(packed) = &self.packed else { return Ok(PackedRow::default()) };
        let bad = |reason| BadRow { what: "packed record", run, reason };
        let bytes = files.load(run, packed).map_err(bad)?;
        prost::Message::decode(bytes.as_slice()).map_err(|error: prost::DecodeError| bad(error.to_string()))
    }

    /// The files that this ended run's record names, directly or in what is packed.
    pub(crate) fn files(&self, packed: &PackedRow) -> Vec<String> {
        let start = packed.start.iter().flat_map(StartRow::files);
        let steps = packed.steps.iter().flat_map(StepRow::files);
        named([&self.output, &self.packed]).into_iter().chain(start).chain(steps).collect()
    }
}

impl PackedRow {
    /// Packs an ended run's start and steps, into a file if they are too much for the record.
    pub(crate) fn pack(self, run: RunId, files: &impl Spill) -> Result<Payload, StoreError> {
        files.spill(run, WHOLE, prost::Message::encode_to_vec(&self), PACKED_LIMIT)
    }
}

impl StartRow {
    /// The files that it names.
    pub(crate) fn files(&self) -> Vec<String> {
        named([&self.spec, &self.options])
    }

    pub(crate) fn new(run: RunId, start: &Start, files: &impl Spill) -> Result<Self, StoreError> {
        Ok(Self {
            spec: Some(files.spill(run, WHOLE, to_json(&start.spec), START_LIMIT)?),
            options: Some(files.spill(run, WHOLE, to_json(&start.options), START_LIMIT)?),
        })
    }

    pub(crate) fn read(&self, run: RunId, files: &impl Spill) -> Result<Start, BadRow> {
        Ok(Start {
            spec: read_payload(run, "spec", self.spec.as_ref(), files)?.unwrap_or_default(),
            options: read_payload(run, "options", self.options.as_ref(), files)?.unwrap_or_default(),
        })
    }
}

pub(crate) fn read_payload<T: DeserializeOwned>(
    run: RunId,
    what: &'static str,
    payload: Option<&Payload>,
    files: &impl Spill,
) -> Result<Option<T>, BadRow> {
    let Some(payload) = payload else { return Ok(None) };
    let bytes = files.load(run, payload).map_err(|reason| BadRow { what, run, reason })?;
    from_json(run, what, &bytes).map(Some)
}

/// The files that payloads name.
fn named<'a>(payloads: impl IntoIterator<Item = &'a Option<Payload>>) -> Vec<String> {
    payloads.into_iter().filter_map(|payload| payload.as_ref()?.sha256.clone()).collect()
}

impl StepRow {
    /// The files that it names.
    pub(crate) fn files(&self) -> Vec<String> {
        named([&self.request, &self.value])
    }

    pub(crate) fn new(run: RunId, step: &Step, files: &impl Spill) -> Result<Self, StoreError> {
        let spill = |json: &Option<serde_json::Value>| {
            json.as_ref().map(|json| files.spill(run, step.ordinal, to_json(json), INLINE_LIMIT)).transpose()
        };
        Ok(Self {
            name: step.name.clone(),
            kind: number_of(&StepKind::ALL, step.kind),
            state: number_of(&StepState::ALL, step.state),
            attempts: step.attempts.iter().map(AttemptRow::new).collect(),
            request: spill(&step.request)?,
            value: spill(&step.value)?,
            archived: step.archived,
            ordinal: step.ordinal,
        })
    }

    /// The row of a step whose values are small.
    pub(crate) fn small(step: &Step) -> Self {
        let mut row = Self {
            name: step.name.clone(),
            kind: number_of(&StepKind::ALL, step.kind),
            request: step.request.as_ref().map(|json| Payload { inline: Some(to_json(json)), sha256: None }),
            ordinal: step.ordinal,
            ..Self::default()
        };
        row.refresh(step);
        row
    }

    /// Takes over state, attempts and small values of the step as it is now.
    pub(crate) fn refresh(&mut self, step: &Step) {
        let inline = |json: &serde_json::Value| Payload { inline: Some(to_json(json)), sha256: None };
        self.state = number_of(&StepState::ALL, step.state);
        self.attempts = step.attempts.iter().map(AttemptRow::new).collect();
        if step.request.is_none() {
            self.request = None;
        }
        self.value = step.value.as_ref().map(inline);
        self.archived = step.archived;
    }

    pub(crate) fn read(&self, run: RunId, files: &impl Spill) -> Result<Step, BadRow> {
        Ok(Step {
            ordinal: self.ordinal,
            name: self.name.clone(),
            kind: numbered(&StepKind::ALL, self.kind, run, "kind of step")?,
            state: numbered(&StepState::ALL, self.state, run, "state of step")?,
            attempts: self.attempts.iter().map(|row| row.read(run)).collect::<Result<_, _>>()?,
            request: read_payload(run, "request of step", self.request.as_ref(), files)?,
            value: read_payload(run, "value of step", self.value.as_ref(), files)?,
            archived: self.archived,
        })
    }
}

impl AttemptRow {
    fn new(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            state: number_of(&StepState::ALL, attempt.state),
            started_at: attempt.started_at.as_microsecond(),
            finished_at: attempt.finished_at.map(Timestamp::as_microsecond),
            exit_code: attempt.exit_code,
            signal: attempt.signal,
            failure_json: attempt.failure.as_ref().map(to_json),
            usage: Some(attempt.usage.into()),
            pid: attempt.pid,
            stdout_bytes: attempt.stdout_bytes,
            stderr_bytes: attempt.stderr_bytes,
        }
    }

    fn read(&self, run: RunId) -> Result<Attempt, BadRow> {
        let failure = self.failure_json.as_deref().map(|json| from_json(run, "failure", json)).transpose()?;
        Ok(Attempt {
            number: self.number,
            state: numbered(&StepState::ALL, self.state, run, "state of attempt")?,
            started_at: time(self.started_at),
            finished_at: self.finished_at.map(time),
            exit_code: self.exit_code,
            signal: self.signal,
            failure,
            usage: self.usage.into(),
            pid: self.pid,
            stdout_bytes: self.stdout_bytes,
            stderr_bytes: self.stderr_bytes,
        })
    }
}

/// The place of a value in its list of all, from 1; the lists only ever grow at their ends.
fn number_of<T: PartialEq + Copy>(all: &[T], value: T) -> u32 {
    let place = all.iter().position(|one| *one == value).unwrap_or_default();
    u32::try_from(place + 1).unwrap_or_default()
}

fn numbered<T: Copy>(all: &[T], number: u32, run: RunId, what: &'static str) -> Result<T, BadRow> {
    let place = usize::try_from(number).unwrap_or_default().wrapping_sub(1);
    all.get(place).copied().ok_or_else(|| BadRow {
        what,
        run,
        reason: format!("{number} means nothing here"),
    })
}
