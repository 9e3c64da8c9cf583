//! Approvals: steps that wait for a person's word.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::core::Active;
use crate::run::{RunId, StepKind, StepState};

/// What a person is asked, and what was decided. Stored as the value of its step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: Uuid,
    /// The run that waits.
    pub run: RunId,
    /// The step that waits.
    pub step: String,
    /// The question.
    pub prompt: String,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// When the default is taken; none: it waits for ever.
    pub expires_at: Option<Timestamp>,
    /// What is taken then.
    pub default: Verdict,
    /// What was decided, once it is.
    pub decision: Option<Decision>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Granted,
    /// No.
    Denied,
}

/// A decision, with who and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
    /// A user's name, or "time limit".
    pub by: String,
    /// Why, in their words.
    #[serde(default)]
    pub comment: String,
}

/// The approvals that a run waits for, by its steps.
pub(crate) fn waiting_approvals(active: &Active) -> Vec<Approval> {
    let steps = active.steps.iter().map(|stored| &stored.step);
    let waiting = steps
        .filter(|step| step.kind == StepKind::Approval && step.state == StepState::Running && !step.archived);
    waiting.filter_map(|step| serde_json::from_value(step.request.clone()?).ok()).collect()
}
