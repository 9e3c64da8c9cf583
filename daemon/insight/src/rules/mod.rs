//! The rule set `v1`: mechanical rules, fed fact by fact in the order of the file.
//!
//! A rule is one small state machine. All that it knows is bounded and part of [`RuleSetV1`], which is stored
//! beside a session's cursor. For every prefix of the facts, however it was cut into parts and wherever the
//! state was stored and taken up between them, the signals that are live are those that one reading of the
//! whole prefix gives.
//!
//! docs/signals.md describes the rules for users; its table is made of their [`Descriptor`]s.

mod abandoned_tool_flow;
mod backtracking;
mod call;
mod churn;
mod command;
mod compaction;
mod denial;
mod descriptor;
mod diff_oscillation;
mod error_event;
mod exec_failure;
mod fast_completion;
mod finding;
mod first_attempt_success;
mod moment;
mod patch_failure;
mod plan;
mod rapid_approvals;
mod repeated_compaction;
mod repeated_denial;
mod revert_in_message;
mod rollback;
mod stream_error;
mod tally;
mod timeout;
mod tool_failure;
mod truncation_warning;
mod undo;
mod whole;
mod words;
mod zero_denial;

#[cfg(test)]
pub(crate) mod story;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trace::{Fact, SessionId, What};

pub(crate) use descriptor::descriptor;
pub use descriptor::{Descriptor, Reach};
pub(crate) use finding::Finding;
pub(crate) use moment::Moment;
pub(crate) use tally::Tally;
pub(crate) use whole::{Verdict, Whole};
pub(crate) use words::{clean, count};

use crate::profile::Course;
use crate::signal::{Anchor, RuleSet, Signal, SignalId};

/// What changes about a session's signals.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A signal is there. One of the same id that was there before is replaced: more is known of it, it has
    /// become final, or it is open again after a resume.
    Raised(Box<Signal>),
    /// A signal that was there is not: later records disproved it.
    Withdrawn(SignalId),
}

/// What takes the changes.
pub trait Output {
    /// Takes the next change.
    fn change(&mut self, change: Change);
}

impl Output for Vec<Change> {
    fn change(&mut self, change: Change) {
        self.push(change);
    }
}

/// The signals that are live: what all changes add up to.
impl Output for BTreeMap<SignalId, Signal> {
    fn change(&mut self, change: Change) {
        match change {
            Change::Raised(signal) => drop(self.insert(signal.id.clone(), *signal)),
            Change::Withdrawn(id) => drop(self.remove(&id)),
        }
    }
}

/// Where a rule says what it has found.
pub(crate) struct Scope<'a> {
    session: &'a SessionId,
    out: &'a mut dyn Output,
}

impl Scope<'_> {
    /// Something was found that nothing later can disprove.
    pub(crate) fn raise(&mut self, rule: &Descriptor, finding: Finding) {
        self.say(rule, finding, true);
    }

    /// Something was found, which may be final or not.
    pub(crate) fn say(&mut self, rule: &Descriptor, finding: Finding, settled: bool) {
        self.out.change(Change::Raised(Box::new(finding.signal(rule, self.session, settled))));
    }

    /// What was said of the session as a whole no longer holds.
    pub(crate) fn withdraw(&mut self, rule: &Descriptor) {
        let id = SignalId::of(RuleSet::V1, self.session, rule.category, &Anchor::Session);
        self.out.change(Change::Withdrawn(id));
    }
}

/// All rules of `v1` over one session, with all that they know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleSetV1 {
    session: SessionId,
    memory: moment::Memory,
    course: Course,
    stateful: Stateful,
}

/// The rules that remember something. The others are plain functions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Stateful {
    repeated_denial: repeated_denial::RepeatedDenial,
    abandoned_tool_flow: abandoned_tool_flow::AbandonedToolFlow,
    undo: undo::Undo,
    backtracking: backtracking::Backtracking,
    repeated_compaction: repeated_compaction::RepeatedCompaction,
    churn: churn::Churn,
    plan: plan::PlanUpdateChurn,
    clean_plan: Whole<plan::CleanPlan>,
    diff_oscillation: diff_oscillation::DiffOscillation,
    fast_completion: Whole<fast_completion::FastCompletion>,
    first_attempt_success: Whole<first_attempt_success::FirstAttemptSuccess>,
    zero_denial: Whole<zero_denial::ZeroDenial>,
    rapid_approvals: Whole<rapid_approvals::RapidApprovals>,
}

impl RuleSetV1 {
    /// The rules, before the first fact of a session.
    pub fn new(session: SessionId) -> Self {
        Self {
            session,
            memory: moment::Memory::default(),
            course: Course::default(),
            stateful: Stateful::default(),
        }
    }

    /// Takes the next fact.
    pub fn feed(&mut self, fact: &Fact<'_>, out: &mut impl Output) {
        let moment = self.memory.moment(fact);
        self.course.feed(fact);
        if is_unheard(&fact.what) && !self.stateful.has_said_its_last() {
            return;
        }
        let scope = &mut Scope { session: &self.session, out };
        for rule in STATELESS {
            rule(&moment, scope);
        }
        let rules = &mut self.stateful;
        rules.repeated_denial.feed(&moment, scope);
        rules.abandoned_tool_flow.feed(&moment, scope);
        rules.undo.feed(&moment, scope);
        rules.backtracking.feed(&moment, scope);
        rules.repeated_compaction.feed(&moment, scope);
        rules.churn.feed(&moment, scope);
        rules.plan.feed(&moment, scope);
        rules.clean_plan.feed(&moment, scope);
        rules.diff_oscillation.feed(&moment, scope);
        rules.fast_completion.feed(&moment, scope);
        rules.first_attempt_success.feed(&moment, scope);
        rules.zero_denial.feed(&moment, scope);
        rules.rapid_approvals.feed(&moment, scope);
    }

    /// How the session has gone so far: with its signals, what its profile is made of.
    pub fn course(&self) -> &Course {
        &self.course
    }
}

impl Stateful {
    /// Whether something was said for good when the session settled, which any fact takes back.
    fn has_said_its_last(&self) -> bool {
        self.clean_plan.has_said_its_last()
            || self.fast_completion.has_said_its_last()
            || self.first_attempt_success.has_said_its_last()
            || self.zero_denial.has_said_its_last()
            || self.rapid_approvals.has_said_its_last()
    }
}

/// Whether such a fact is nothing to any rule by itself: it is remembered, or comes again as part of another. More than
/// half of all facts are such.
fn is_unheard(what: &What<'_>) -> bool {
    match what {
        What::EpochBegan
        | What::AgentSpoke { .. }
        | What::Request
        | What::Tokens(_)
        | What::CallOpened(_)
        | What::Asked(_)
        | What::Interrupt
        | What::Shutdown => true,
        What::TurnBegan(_)
        | What::UserSpoke { .. }
        | What::TurnEnded(_)
        | What::CallClosed(_)
        | What::Decided(_)
        | What::Unanswered(_)
        | What::Error { .. }
        | What::StreamError { .. }
        | What::Warning { .. }
        | What::Compacted(_)
        | What::Plan(_)
        | What::Diff { .. }
        | What::Undo { .. }
        | What::Rollback { .. }
        | What::Settled(_) => false,
    }
}

/// The rules that look at one moment alone.
const STATELESS: [fn(&Moment<'_>, &mut Scope<'_>); 11] = [
    error_event::feed,
    timeout::feed,
    stream_error::feed,
    exec_failure::feed,
    patch_failure::feed,
    tool_failure::feed,
    denial::feed,
    rollback::feed,
    revert_in_message::feed,
    compaction::feed,
    truncation_warning::feed,
];

/// Refuses a category that no rule knows, with those that they know; both rule sets use the same words.
pub fn check_category(category: &str) -> Result<(), UnknownCategory> {
    if DESCRIPTORS.iter().any(|rule| rule.category == category) {
        return Ok(());
    }
    let known = DESCRIPTORS.iter().map(|rule| rule.category).collect();
    Err(UnknownCategory { category: category.chars().take(80).collect(), known })
}

/// No signal can have this category.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signal has the category {category:?}; there are {}", known.join(", "))]
pub struct UnknownCategory {
    category: String,
    known: Vec<&'static str>,
}

/// What every rule says of itself, friction first, in the order of the documentation.
pub const DESCRIPTORS: &[Descriptor] = &[
    error_event::ERROR_EVENT,
    timeout::TIMEOUT,
    stream_error::STREAM_ERROR,
    exec_failure::EXEC_FAILURE,
    patch_failure::PATCH_FAILURE,
    tool_failure::TOOL_FAILURE,
    denial::DENIAL_EXEC,
    denial::DENIAL_PATCH,
    repeated_denial::REPEATED_DENIAL,
    abandoned_tool_flow::ABANDONED_TOOL_FLOW,
    undo::UNDO,
    rollback::ROLLBACK,
    revert_in_message::REVERT_IN_MESSAGE,
    backtracking::BACKTRACKING,
    compaction::COMPACTION,
    repeated_compaction::REPEATED_COMPACTION,
    churn::FILE_CHURN,
    churn::CONTEXT_CHURN,
    plan::PLAN_UPDATE_CHURN,
    diff_oscillation::DIFF_OSCILLATION,
    truncation_warning::TRUNCATION_WARNING,
    fast_completion::FastCompletion::RULE,
    first_attempt_success::FirstAttemptSuccess::RULE,
    zero_denial::ZeroDenial::RULE,
    plan::CleanPlan::RULE,
    rapid_approvals::RapidApprovals::RULE,
];
