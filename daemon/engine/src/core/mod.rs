//! The engine's memory of active runs, and the transactions that change it.
//!
//! Everything that is active is in memory, behind one lock that is never held across a wait. A
//! [`Tx`] changes memory and gathers one batch for the store; batches reach the store in the order
//! of the transactions. What the world may see of a transaction (a workflow going on, a watcher's
//! event, a client's answer) happens after its batch is on disk: see [`commit`].

mod accept;
pub(crate) mod commit;
mod dispatch;
mod ending;
mod steps;
mod tx;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::approval::Approval;
use crate::process::Process;
use crate::run::tables::{Payload, StartRow, StepRow};
use crate::run::{LeaseKey, Origin, Run, RunId, RunState, Start, Status, Step, Turn};
use crate::settings::Settings;

pub use accept::StartError;
pub(crate) use accept::{NewRun, digest_of};
pub(crate) use ending::child_outcome;
pub(crate) use tx::Tx;

/// Everything that is active.
pub(crate) struct Core {
    pub(crate) runs: HashMap<RunId, Active>,
    /// Runs that were active and cannot be read back, as they are shown.
    pub(crate) unreadable: HashMap<RunId, Run>,
    /// Runs that wait for a slot and their leases, in the order in which they get them.
    pub(crate) queue: BTreeSet<(Reverse<i32>, RunId)>,
    pub(crate) leases: HashMap<LeaseKey, Lease>,
    /// Which runs wait for which to end: an entry stays until the follower need not ask any more.
    pub(crate) followers: HashMap<RunId, Vec<RunId>>,
    /// Request ids of active runs.
    pub(crate) requests: HashMap<String, RunId>,
    /// Approvals of active runs, by id.
    pub(crate) approvals: HashMap<Uuid, Approval>,
    /// Running runs by kind.
    pub(crate) running: HashMap<String, usize>,
    /// Ended runs that the store keeps.
    pub(crate) kept: u64,
    pub(crate) next_seq: u64,
    pub(crate) oldest_seq: u64,
    pub(crate) paused: bool,
    pub(crate) settings: Arc<Settings>,
}

/// A lease and its holder.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) run: RunId,
    pub(crate) taken_at: Timestamp,
}

/// An active run.
pub(crate) struct Active {
    pub(crate) run: Run,
    pub(crate) start: Arc<Start>,
    pub(crate) start_row: StartRow,
    /// By ordinal, ascending.
    pub(crate) steps: Vec<Stored>,
    next_ordinal: u32,
    /// What its workflow returned, once it has.
    pub(crate) output: Option<Payload>,
    /// Start and steps as they are packed, once the run is about to end.
    pub(crate) packed: Option<Payload>,
    /// Processes under way, by step, while the run has a task.
    pub(crate) processes: Option<watch::Receiver<HashMap<String, Process>>>,
    /// Set once the run has a task.
    pub(crate) has_task: bool,
    /// Steps that wait and that the workflow no longer waits for.
    pub(crate) given_up: HashSet<String>,
    /// What may be seen of it. The run's task and those who wait for its end follow it.
    pub(crate) seen: watch::Sender<Seen>,
}

/// What may be seen of a run: its state and what it was told, as far as they are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: RunState,
    pub(crate) signals: Vec<String>,
}

impl Seen {
    pub(crate) fn of(run: &Run) -> Self {
        Self { state: run.state.clone(), signals: run.signals.clone() }
    }
}

/// A step with its row: values too large for the store have been put into files before the
/// transaction that names them.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) step: Step,
    pub(crate) row: StepRow,
}

impl Active {
    pub(crate) fn new(run: Run, start: Arc<Start>, start_row: StartRow, steps: Vec<Stored>) -> Self {
        let (seen, _) = watch::channel(Seen::of(&run));
        let next_ordinal = steps.last().map_or(0, |stored| stored.step.ordinal + 1);
        Self {
            run,
            start,
            start_row,
            steps,
            next_ordinal,
            output: None,
            packed: None,
            processes: None,
            has_task: false,
            given_up: HashSet::new(),
            seen,
        }
    }

    /// The step of this name that is part of the replay.
    pub(crate) fn step(&self, name: &str) -> Option<&Step> {
        self.steps.iter().map(|stored| &stored.step).rfind(|step| !step.archived && step.name == name)
    }

    /// A place for a step that begins; never given twice.
    pub(crate) fn take_ordinal(&mut self) -> u32 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        ordinal
    }
}

impl Core {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            runs: HashMap::new(),
            unreadable: HashMap::new(),
            queue: BTreeSet::new(),
            leases: HashMap::new(),
            followers: HashMap::new(),
            requests: HashMap::new(),
            approvals: HashMap::new(),
            running: HashMap::new(),
            kept: 0,
            next_seq: 1,
            oldest_seq: 1,
            paused: false,
            settings,
        }
    }

    /// Takes an active run into memory: a new one, one read back at start, or one resumed.
    pub(crate) fn adopt(&mut self, active: Active) {
        let run = &active.run;
        match &run.state {
            RunState::Queued { until: Turn::Slot } => {
                self.queue.insert((Reverse(run.priority), run.id));
            }
            RunState::Queued { until: Turn::After } => {
                for after in &active.start.options.after {
                    self.followers.entry(after.run).or_default().push(run.id);
                }
            }
            RunState::Running { .. } => *self.running.entry(run.kind.clone()).or_default() += 1,
            _ => {}
        }
        if let Some(request) = &run.request_id {
            self.requests.insert(request.clone(), run.id);
        }
        self.runs.insert(run.id, active);
    }

    /// Lets go of an ended run. Not before its end is on disk: until then only memory knows which
    /// request made it.
    pub(crate) fn forget(&mut self, run: RunId) {
        let request = self.runs.remove(&run).and_then(|active| active.run.request_id);
        if let Some(request) = request
            && self.requests.get(&request) == Some(&run)
        {
            self.requests.remove(&request);
        }
    }

    /// A run no longer waits for the ends of others.
    fn follow_no_longer(&mut self, run: RunId) {
        let Some(start) = self.runs.get(&run).map(|active| Arc::clone(&active.start)) else { return };
        for after in &start.options.after {
            let Some(followers) = self.followers.get_mut(&after.run) else { continue };
            followers.retain(|follower| *follower != run);
            if followers.is_empty() {
                self.followers.remove(&after.run);
            }
        }
    }

    /// Slots in use.
    pub(crate) fn slots_used(&self) -> usize {
        self.running.values().sum()
    }

    /// How many active runs are in a state, as far as that is durable: who sees that nothing is under way must
    /// find the ends of all runs in the events.
    pub(crate) fn count(&self, status: Status) -> usize {
        self.runs.values().filter(|active| active.seen.borrow().state.status() == status).count()
    }

    /// The run and the runs that it comes from: a child may use what its parent holds.
    pub(crate) fn ancestry(&self, run: RunId) -> HashSet<RunId> {
        let mut line = HashSet::from([run]);
        let mut at = run;
        while let Some(Origin::Parent { run: parent, .. }) =
            self.runs.get(&at).map(|active| &active.run.origin)
        {
            if !line.insert(*parent) {
                break;
            }
            at = *parent;
        }
        line
    }
}
