//! What is recorded of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{LeaseKey, Origin, RunId, RunState, StartOptions};
use crate::failure::Failure;

/// A run, without its spec and steps: what a list shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The kind of its workflow.
    pub kind: String,
    /// A name for people; may be empty.
    pub name: String,
    /// Labels to find it by.
    pub labels: BTreeMap<String, String>,
    /// Where it is.
    pub state: RunState,
    /// Higher starts earlier.
    pub priority: i32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its workflow was first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The attempt it is at, from 1.
    pub attempt: u32,
    /// How often it has gone on by itself after its process was lost.
    pub interruptions: u32,
    /// Whether its workflow has ever been started.
    pub begun: bool,
    /// Where it comes from.
    pub origin: Origin,
    /// The schedules that led to it, oldest first: none of them is set off by its end.
    pub lineage: Vec<Uuid>,
    /// The client's own id for the request.
    pub request_id: Option<String>,
    /// How the last process ended: its exit code.
    pub exit_code: Option<i32>,
    /// How the last process ended: the signal that killed it.
    pub signal: Option<i32>,
    /// What its processes used, all together.
    pub usage: Usage,
    /// What other tools and people have told it (see `RunContext::told`).
    pub signals: Vec<String>,
    /// Steps forgotten by checkpoints.
    pub steps_dropped: u64,
    /// The leases that it holds while it lives.
    pub leases: Vec<LeaseKey>,
    /// What its workflow returned. Only read for a single run: it may be large.
    pub output: Option<Value>,
}

/// Spec and options: fixed when the run is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The workflow's spec.
    pub spec: Value,
    /// What is common to all workflows.
    pub options: StartOptions,
}

/// A named unit inside a run whose outcome is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its place in the order in which steps were begun, from 0; names its directory too.
    pub ordinal: u32,
    /// Its name, unique within a replay.
    pub name: String,
    /// What it is.
    pub kind: StepKind,
    /// How it is.
    pub state: StepState,
    /// Every try at it, oldest first.
    pub attempts: Vec<Attempt>,
    /// What was stored when it began and is never computed again: a process's launch, the time
    /// that a sleep ends, the id of an approval or a child.
    pub request: Option<Value>,
    /// The stored outcome.
    pub value: Option<Value>,
    /// Before the last checkpoint: kept to be looked at, no part of the replay.
    pub archived: bool,
}

/// Attempts at one step that are kept; the oldest go first.
const ATTEMPTS: usize = 10;

impl Step {
    /// A step that has just begun, at its first attempt.
    pub(crate) fn begun(
        ordinal: u32,
        name: &str,
        kind: StepKind,
        request: Option<Value>,
        now: Timestamp,
    ) -> Self {
        Self {
            ordinal,
            name: name.to_owned(),
            kind,
            state: StepState::Running,
            attempts: vec![Attempt::begun(1, now)],
            request,
            value: None,
            archived: false,
        }
    }

    /// Begins another attempt.
    pub(crate) fn begin_attempt(&mut self, now: Timestamp) {
        let number = self.attempts.last().map_or(0, |attempt| attempt.number) + 1;
        if self.attempts.len() == ATTEMPTS {
            self.attempts.remove(0);
        }
        for failure in self.attempts.iter_mut().filter_map(|attempt| attempt.failure.as_mut()) {
            failure.shorten(100);
        }
        self.attempts.push(Attempt::begun(number, now));
        self.state = StepState::Running;
    }

    /// Whether the last attempt has no outcome yet.
    pub(crate) fn attempt_is_open(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.state == StepState::Running)
    }

    /// Gives the step its outcome.
    pub(crate) fn finish(
        &mut self,
        now: Timestamp,
        state: StepState,
        value: Option<Value>,
        mut failure: Option<Failure>,
    ) {
        if let Some(failure) = &mut failure {
            failure.shorten(Failure::LONGEST);
        }
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.state = state;
            attempt.finished_at = Some(now);
            attempt.failure = failure;
        }
        self.state = state;
        self.value = value;
    }
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Code in the daemon.
    Code,
    /// A supervised child program.
    Process,
    /// A supervised child program that runs beside the others until the run ends.
    Background,
    /// A wait for a time.
    Sleep,
    /// A wait for a person.
    Approval,
    /// A wait for another run.
    Child,
    /// An event told once.
    Event,
    /// The state of a loop.
    Checkpoint,
}

impl StepKind {
    pub(super) const ALL: [Self; 8] = [
        Self::Code,
        Self::Process,
        Self::Sleep,
        Self::Approval,
        Self::Child,
        Self::Event,
        Self::Checkpoint,
        Self::Background,
    ];

    /// The word that stands for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Code => "step",
            Self::Process => "process",
            Self::Background => "background",
            Self::Sleep => "sleep",
            Self::Approval => "approval",
            Self::Child => "child",
            Self::Event => "event",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// How a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepState {
    /// Begun, with no outcome yet.
    Running,
    /// Its value is stored.
    Succeeded,
    /// Its failure is stored.
    Failed,
    /// It was stopped because the run was asked to end.
    Canceled,
    /// Its process was lost.
    Interrupted,
}

impl StepState {
    pub(super) const ALL: [Self; 5] =
        [Self::Running, Self::Succeeded, Self::Failed, Self::Canceled, Self::Interrupted];

    /// The word that stands for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One try at a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How it is, or ended.
    pub state: StepState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Exit code of its process.
    pub exit_code: Option<i32>,
    /// Signal that killed its process.
    pub signal: Option<i32>,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// What its process used.
    pub usage: Usage,
    /// The pid of its process.
    pub pid: Option<i32>,
    /// Bytes that its process wrote to standard output.
    pub stdout_bytes: u64,
    /// Bytes that its process wrote to standard error.
    pub stderr_bytes: u64,
}

impl Attempt {
    /// A first or further try that has just begun.
    pub fn begun(number: u32, started_at: Timestamp) -> Self {
        Self {
            number,
            state: StepState::Running,
            started_at,
            finished_at: None,
            exit_code: None,
            signal: None,
            failure: None,
            usage: Usage::default(),
            pid: None,
            stdout_bytes: 0,
            stderr_bytes: 0,
        }
    }
}

/// Resources used by processes and by all their descendants that were waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on the processor outside the kernel.
    pub user: Duration,
    /// Time on the processor inside the kernel.
    pub system: Duration,
    /// The largest resident set of any one process, in bytes.
    pub max_rss_bytes: u64,
}

impl Usage {
    /// Adds what another process used: times add up, peaks do not.
    pub fn add(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
        self.max_rss_bytes = self.max_rss_bytes.max(other.max_rss_bytes);
    }
}
