//! The objects of ATIF-v1.4, as Harbor's validator wants them: no field beyond these, nothing null.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// The version that the files declare. Later ones accept it.
pub const SCHEMA_VERSION: &str = "ATIF-v1.4";

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trajectory {
    /// [`SCHEMA_VERSION`].
    pub schema_version: &'static str,
    /// The thread's id.
    pub session_id: String,
    /// The agent.
    pub agent: Agent,
    /// What happened; never empty.
    pub steps: Vec<Step>,
    /// For a person who reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Sums over the steps.
    pub final_metrics: FinalMetrics,
    /// What the format has no place for.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agent {
    /// `codex`.
    pub name: &'static str,
    /// Codex's version, or `unknown`.
    pub version: String,
    /// The first model that is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// Originator, source, working directory, git.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Whose step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSource {
    /// Neither of the others.
    System,
    /// The user.
    User,
    /// The agent.
    Agent,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// From 1, without a gap.
    pub step_id: u32,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// Whose it is.
    pub source: StepSource,
    /// Of the agent only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// Of the agent only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<String>,
    /// The words; may be empty.
    pub message: String,
    /// Of the agent only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Of the agent only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<Observation>,
    /// Of the agent only.
    #[serde(skip_serializing_if = "untold")]
    pub metrics: Option<Metrics>,
    /// What the format has no place for.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolCall {
    /// The model's id for it.
    pub tool_call_id: String,
    /// The tool.
    pub function_name: String,
    /// An object, also for tools that take text.
    pub arguments: Map<String, Value>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Observation {
    /// One per call that has ended.
    pub results: Vec<ObservationResult>,
}

/// What came back from a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObservationResult {
    /// A call of the same step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_call_id: Option<String>,
    /// The text.
    pub content: String,
}

/// What a request used, as far as it was told: a number that is left out is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// All input, cached included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// All output, reasoning included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<u64>,
    /// Of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u64>,
    /// `reasoning_tokens`.
    #[serde(skip_serializing_if = "MetricsExtra::is_empty")]
    pub extra: MetricsExtra,
}

/// Whether nothing is known of what a request used: an empty object would say no more.
#[expect(clippy::ref_option, reason = "serde calls it so")]
fn untold(metrics: &Option<Metrics>) -> bool {
    metrics.is_none_or(|metrics| metrics == Metrics::default())
}

/// What the format has no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetricsExtra {
    /// Of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
}

impl MetricsExtra {
    fn is_empty(&self) -> bool {
        self.reasoning_tokens.is_none()
    }
}

/// Sums over the steps of a file; one is left out where no step has told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FinalMetrics {
    /// All input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_prompt_tokens: Option<u64>,
    /// All output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_completion_tokens: Option<u64>,
    /// Of the input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_cached_tokens: Option<u64>,
    /// As many as there are.
    pub total_steps: usize,
    /// Tool calls by how they ended.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, u64>,
}
