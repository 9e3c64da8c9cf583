//! The states of a run, and the one function that moves between them.
//!
//! The function is pure: what must be done besides is told as [`Effect`]s, which the engine
//! carries out in the same durable batch as the new state, or after it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RunId;
use crate::failure::{Failure, FailureKind};

/// Where a run is. Each variant carries what only makes sense in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, and waiting for something that the engine gives.
    Queued {
        /// What it waits for.
        until: Turn,
    },
    /// Its workflow is at work.
    Running {
        /// Set once somebody has asked it to end.
        #[serde(default)]
        ending: Option<Ending>,
    },
    /// It waits for something outside: it has given up its slot and keeps its leases.
    Waiting {
        /// What it waits for.
        on: Wait,
    },
    /// Over, as it should be.
    Succeeded,
    /// Over, without success.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Ended because somebody asked for it, or because of a run that it was to follow.
    Canceled {
        /// Who or what asked.
        failure: Failure,
    },
    /// Its process was lost. It can be resumed.
    Interrupted {
        /// What was lost.
        failure: Failure,
    },
}

/// What a queued run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Turn {
    /// A slot and its leases.
    Slot,
    /// Other runs to end.
    After,
    /// The time of its next attempt; it keeps its leases.
    Retry {
        /// When that is.
        at: Timestamp,
    },
}

/// What a waiting run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// A time.
    Time {
        /// Which.
        until: Timestamp,
    },
    /// A person's decision.
    Approval {
        /// The approval's id.
        approval: Uuid,
    },
    /// The end of a child run.
    Child {
        /// The child's id.
        run: RunId,
    },
}

/// How a run was asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// True: at once; false: by the stop ladder.
    pub kill: bool,
    /// Why, in the words of whoever asked.
    pub reason: String,
}

impl Ending {
    fn failure(&self) -> Failure {
        let kind = if self.kill { FailureKind::Killed } else { FailureKind::Canceled };
        Failure::new(kind, self.reason.clone())
    }
}

/// What happens to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RunEvent {
    /// It has got a slot and its leases.
    Admitted,
    /// The runs that it was to follow have ended as wanted.
    PredecessorsDone,
    /// One of them has ended otherwise.
    PredecessorFailed(Failure),
    /// The time of its next attempt has come.
    RetryDue,
    /// Its workflow waits for something.
    Suspended(Wait),
    /// What it waited for is there.
    Woken,
    /// Somebody asked it to end.
    EndRequested(Ending),
    /// Its workflow has returned, and nothing of it is left running.
    Returned(Verdict),
    /// Somebody asked it to go on.
    Resumed,
}

/// What is to become of a run whose workflow has returned. The engine decides it from the
/// result, the retry policy and the interrupt policy, before it asks [`step`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Succeed,
    /// It failed for good.
    Fail(Failure),
    /// It failed and is tried again.
    Retry {
        /// Why it failed.
        failure: Failure,
        /// When the next attempt begins.
        at: Timestamp,
    },
    /// Its process was lost, and it waits for somebody to resume it.
    Hold(Failure),
    /// Its process was lost, and it goes on by itself.
    GoOn(Failure),
}

/// What the engine must do about a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Let its workflow go on, or start it.
    Run,
    /// Tell its workflow to stop, and its processes by the stop ladder.
    Cancel,
    /// Drop its workflow and kill its processes.
    Kill,
    /// Set an alarm for the next attempt.
    AlarmAt(Timestamp),
    /// Take up the last step again: forget its unsuccessful outcome.
    ClearLastFailure,
    /// Give up leases, pack the record, tell those that wait for the end.
    Finish,
    /// Read the packed record back into the table of active runs.
    Unpack,
}

/// The event makes no sense in this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {state} cannot be {wanted}")]
pub struct Refused {
    /// The state, in a word.
    pub state: &'static str,
    /// What was asked for, in a participle.
    pub wanted: &'static str,
}

impl RunState {
    /// A run that has just been accepted.
    pub fn accepted(has_predecessors: bool) -> Self {
        Self::Queued { until: if has_predecessors { Turn::After } else { Turn::Slot } }
    }

    /// The word that stands for the state everywhere.
    pub fn word(&self) -> &'static str {
        self.status().word()
    }

    /// The state without what it carries.
    pub fn status(&self) -> Status {
        match self {
            Self::Queued { .. } => Status::Queued,
            Self::Running { .. } => Status::Running,
            Self::Waiting { .. } => Status::Waiting,
            Self::Succeeded => Status::Succeeded,
            Self::Failed { .. } => Status::Failed,
            Self::Canceled { .. } => Status::Canceled,
            Self::Interrupted { .. } => Status::Interrupted,
        }
    }

    /// Whether the run is over (though some of these can be resumed).
    pub fn is_ended(&self) -> bool {
        self.status().is_ended()
    }

    /// Why it did not succeed, if it has ended so.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure } | Self::Canceled { failure } | Self::Interrupted { failure } => {
                Some(failure)
            }
            Self::Queued { .. } | Self::Running { .. } | Self::Waiting { .. } | Self::Succeeded => None,
        }
    }
}

/// A state without what it carries: for indexes, filters and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// See [`RunState::Queued`].
    Queued,
    /// See [`RunState::Running`].
    Running,
    /// See [`RunState::Waiting`].
    Waiting,
    /// See [`RunState::Succeeded`].
    Succeeded,
    /// See [`RunState::Failed`].
    Failed,
    /// See [`RunState::Canceled`].
    Canceled,
    /// See [`RunState::Interrupted`].
    Interrupted,
}

impl Status {
    /// All of them, in the order of a run's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Interrupted,
    ];

    /// The word that stands for it everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Its number in the store's index. Never changed once released.
    pub fn number(self) -> u64 {
        match self {
            Self::Queued => 1,
            Self::Running => 2,
            Self::Waiting => 3,
            Self::Succeeded => 4,
            Self::Failed => 5,
            Self::Canceled => 6,
            Self::Interrupted => 7,
        }
    }

    /// Whether a run in this state is over.
    pub fn is_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }
}

/// Moves a run. `begun` tells whether its workflow has ever been started: only then is there
/// anything to unwind when it is asked to end.
pub(crate) fn step(
    state: &RunState,
    event: RunEvent,
    begun: bool,
) -> Result<(RunState, Vec<Effect>), Refused> {
    use RunState as S;
    let refused = |wanted| Err(Refused { state: state.word(), wanted });
    let finish = |state| Ok((state, vec![Effect::Finish]));
    let returned = |verdict| match verdict {
        Verdict::Succeed => finish(S::Succeeded),
        Verdict::Fail(failure) => finish(S::Failed { failure }),
        Verdict::Hold(failure) => finish(S::Interrupted { failure }),
        Verdict::GoOn(_) => Ok((S::Queued { until: Turn::Slot }, vec![Effect::ClearLastFailure])),
        Verdict::Retry { at, .. } => {
            let effects = vec![Effect::ClearLastFailure, Effect::AlarmAt(at)];
            Ok((S::Queued { until: Turn::Retry { at } }, effects))
        }
    };
    match (state, event) {
        (S::Queued { until: Turn::Slot }, RunEvent::Admitted) => {
            Ok((S::Running { ending: None }, vec![Effect::Run]))
        }
        (S::Queued { until: Turn::After }, RunEvent::PredecessorsDone)
        | (S::Queued { until: Turn::Retry { .. } }, RunEvent::RetryDue)
        | (S::Waiting { .. }, RunEvent::Woken) => Ok((S::Queued { until: Turn::Slot }, vec![])),
        (S::Queued { until: Turn::After }, RunEvent::PredecessorFailed(failure)) => {
            finish(S::Canceled { failure })
        }
        // A run can wait for several things at once: the state names one of them.
        (S::Running { ending: None } | S::Waiting { .. }, RunEvent::Suspended(on)) => {
            Ok((S::Waiting { on }, vec![]))
        }

        // Being asked to end: nothing to unwind, something to unwind, or already at it.
        (S::Queued { .. }, RunEvent::EndRequested(ending)) if !begun => {
            finish(S::Canceled { failure: ending.failure() })
        }
        (
            S::Queued { .. } | S::Waiting { .. } | S::Running { ending: None },
            RunEvent::EndRequested(ending),
        ) => {
            let effect = if ending.kill { Effect::Kill } else { Effect::Cancel };
            Ok((S::Running { ending: Some(ending) }, vec![effect]))
        }
        (S::Running { ending: Some(before) }, RunEvent::EndRequested(ending)) => {
            if ending.kill && !before.kill {
                Ok((S::Running { ending: Some(ending) }, vec![Effect::Kill]))
            } else {
                Ok((state.clone(), vec![]))
            }
        }

        // A run that was asked to end has ended so, whatever its workflow says of it: but work
        // that was done before the word arrived counts.
        (S::Running { .. }, RunEvent::Returned(Verdict::Succeed)) => finish(S::Succeeded),
        (S::Running { ending: Some(ending) }, RunEvent::Returned(_)) => {
            finish(S::Canceled { failure: ending.failure() })
        }
        // A workflow may also give up a wait, or fail at it, before it has a slot again.
        (S::Running { ending: None } | S::Waiting { .. }, RunEvent::Returned(verdict)) => returned(verdict),
        (S::Queued { until: Turn::Slot }, RunEvent::Returned(verdict)) if begun => returned(verdict),

        (S::Failed { .. } | S::Canceled { .. } | S::Interrupted { .. }, RunEvent::Resumed) => {
            Ok((S::Queued { until: Turn::Slot }, vec![Effect::Unpack, Effect::ClearLastFailure]))
        }

        (_, RunEvent::Admitted) => refused("started"),
        (_, RunEvent::PredecessorsDone | RunEvent::PredecessorFailed(_)) => refused("released"),
        (_, RunEvent::RetryDue) => refused("tried again"),
        (_, RunEvent::Suspended(_)) => refused("suspended"),
        (_, RunEvent::Woken) => refused("woken"),
        (_, RunEvent::EndRequested(_)) => refused("canceled"),
        (_, RunEvent::Returned(_)) => refused("finished"),
        (_, RunEvent::Resumed) => refused("resumed"),
    }
}

#[cfg(test)]
mod tests;
