//! From a transcript to trajectories.
//!
//! An agent's step is everything between two requests to the model: its words, its calls, and what came back
//! from these calls, however late. Where a request ends is told differently: a spine has a `turn_context` before
//! each request, and calls may begin after the tokens of their request were told; a rollout has every call
//! before the tokens.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::schema::{
    Agent, FinalMetrics, Metrics, MetricsExtra, Observation, ObservationResult, SCHEMA_VERSION, Step,
    StepSource, ToolCall, Trajectory,
};
use crate::session::{CallOutcome, Format, TurnEnd};
use crate::transcript::{Call, Entry, Head, Said, Transcript, Usage, What};

/// The name of the file of a context.
pub(super) fn file_name(context: usize) -> String {
    if context == 0 { "trajectory.json".to_owned() } else { format!("trajectory.cont-{context}.json") }
}

/// One trajectory for each context of the model.
pub fn trajectories(transcript: &Transcript) -> Vec<Trajectory> {
    let mut builder = Builder::new(transcript);
    for entry in &transcript.entries {
        builder.take(entry);
    }
    let contexts = builder.finish();
    let last = contexts.len().saturating_sub(1);
    contexts
        .into_iter()
        .enumerate()
        .map(|(number, steps)| trajectory(transcript, number, last, steps))
        .collect()
}

fn trajectory(transcript: &Transcript, number: usize, last: usize, mut steps: Vec<Step>) -> Trajectory {
    if steps.is_empty() {
        steps.push(Step::new(StepSource::System, "nothing was recorded".to_owned()));
    }
    let mut final_metrics = FinalMetrics { total_steps: steps.len(), ..FinalMetrics::default() };
    for (index, step) in steps.iter_mut().enumerate() {
        step.step_id = u32::try_from(index + 1).unwrap_or(u32::MAX);
        if let Some(metrics) = step.metrics {
            let add = |sum: &mut Option<u64>, number: Option<u64>| {
                *sum = number.map(|number| sum.unwrap_or(0).saturating_add(number)).or(*sum);
            };
            add(&mut final_metrics.total_prompt_tokens, metrics.prompt_tokens);
            add(&mut final_metrics.total_completion_tokens, metrics.completion_tokens);
            add(&mut final_metrics.total_cached_tokens, metrics.cached_tokens);
        }
    }
    let mut extra = Map::from_iter([("context".to_owned(), json!(number))]);
    let mut notes = Vec::new();
    if number > 0 {
        extra.insert("continues".to_owned(), json!(file_name(number - 1)));
        notes.push(format!("continues {} after a compaction of the context", file_name(number - 1)));
    }
    if number < last {
        extra.insert("continued_in".to_owned(), json!(file_name(number + 1)));
        notes.push(format!("continued in {}", file_name(number + 1)));
    }
    Trajectory {
        schema_version: SCHEMA_VERSION,
        session_id: transcript.id.to_string(),
        agent: agent(&transcript.head),
        steps,
        notes: (!notes.is_empty()).then(|| notes.join("; ")),
        final_metrics,
        extra,
    }
}

fn agent(head: &Head) -> Agent {
    let git: Map<String, Value> =
        [("commit", &head.git_commit), ("branch", &head.git_branch), ("url", &head.git_url)]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
            .collect();
    let mut extra: Map<String, Value> = [
        ("originator", &head.originator),
        ("source", &head.source),
        ("cwd", &head.cwd),
        ("model_provider", &head.model_provider),
        ("parent", &head.parent),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
    .collect();
    if !git.is_empty() {
        extra.insert("git".to_owned(), Value::Object(git));
    }
    Agent {
        name: "codex",
        version: head.cli_version.clone().unwrap_or_else(|| "unknown".to_owned()),
        model_name: head.model.clone(),
        extra,
    }
}

impl Step {
    fn new(source: StepSource, message: String) -> Self {
        Self {
            step_id: 0,
            timestamp: None,
            source,
            model_name: None,
            reasoning_effort: None,
            message,
            reasoning_content: None,
            tool_calls: Vec::new(),
            observation: None,
            metrics: None,
            extra: Map::new(),
        }
    }
}

/// Steps that grow.
struct Builder<'a> {
    transcript: &'a Transcript,
    contexts: Vec<Vec<Step>>,
    /// The agent's step that is going on: its index in the last context.
    current: Option<usize>,
    /// A new request has begun since, or the tokens of this one were told.
    over: bool,
    model: Option<String>,
    effort: Option<String>,
    /// Where calls are: context and step.
    calls: HashMap<usize, (usize, usize)>,
    tells_requests: bool,
}

impl<'a> Builder<'a> {
    fn new(transcript: &'a Transcript) -> Self {
        let tells_requests = transcript.entries.iter().any(|entry| matches!(entry.what, What::Tokens { .. }));
        Self {
            transcript,
            contexts: vec![Vec::new()],
            current: None,
            over: false,
            model: None,
            effort: None,
            calls: HashMap::new(),
            tells_requests,
        }
    }

    fn steps(&mut self) -> &mut Vec<Step> {
        if self.contexts.is_empty() {
            self.contexts.push(Vec::new());
        }
        let last = self.contexts.len() - 1;
        &mut self.contexts[last]
    }

    /// A step that is not the agent's. It ends none of the agent's: an approval stands between a call and its end.
    fn aside(&mut self, entry: &Entry, source: StepSource, message: String) -> &mut Step {
        let mut step = Step::new(source, message);
        step.timestamp = entry.time;
        place(&mut step, entry);
        let steps = self.steps();
        steps.push(step);
        let last = steps.len() - 1;
        &mut steps[last]
    }

    fn system(&mut self, entry: &Entry, kind: &str, message: String) -> &mut Step {
        let step = self.aside(entry, StepSource::System, message);
        step.extra.insert("kind".to_owned(), json!(kind));
        step
    }

    /// The agent's step that this entry belongs to.
    fn agent(&mut self, entry: &Entry, begins_new: bool) -> &mut Step {
        let current = self.current.filter(|_| !begins_new);
        let index = current.unwrap_or_else(|| {
            let (model, effort) = (self.model.clone(), self.effort.clone());
            let step = self.aside(entry, StepSource::Agent, String::new());
            step.model_name = model;
            step.reasoning_effort = effort;
            self.steps().len() - 1
        });
        if current.is_none() {
            self.over = false;
        }
        self.current = Some(index);
        let step = &mut self.steps()[index];
        place(step, entry);
        step
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.what {
            What::Context { model, effort, .. } => {
                self.model = model.clone().or(self.model.take());
                self.effort = effort.clone().or(self.effort.take());
                self.over = true;
            }
            What::EpochBegan if entry.epoch > 0 => {
                self.end_request();
                self.system(entry, "resumed", "Codex was started again on this thread".to_owned());
            }
            What::TurnBegan => self.over = true,
            What::User(text) => {
                self.end_request();
                self.aside(entry, StepSource::User, text.clone());
            }
            What::Agent(text) => {
                let step = self.agent_says(entry);
                join(&mut step.message, text);
            }
            What::Reasoning(text) => {
                let step = self.agent_says(entry);
                join(step.reasoning_content.get_or_insert_default(), text);
            }
            What::CallOpened(index) => self.call_opened(entry, *index),
            What::CallClosed(index) => self.call_closed(entry, *index),
            What::Tokens { last, .. } => self.tokens(entry, *last),
            What::Asked { call_id, reason } => {
                let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let step = self.system(entry, "approval_request", format!("approval was asked for{reason}"));
                step.extra.insert("call_id".to_owned(), json!(call_id));
            }
            What::Decided { about, decision } => {
                let step = self.system(entry, "approval_decision", format!("the answer was: {decision}"));
                step.extra.insert("about".to_owned(), json!(about));
                step.extra.insert("decision".to_owned(), json!(decision));
            }
            What::Notice { kind, text } => drop(self.system(entry, kind, text.clone()).step_id),
            What::TurnEnded(end) => self.turn_ended(entry, end),
            What::Compacted { summary, history } => self.compacted(entry, summary.as_deref(), history),
            What::EpochBegan | What::Diff(_) | What::Git { .. } | What::DiffFile { .. } => {}
        }
    }

    fn end_request(&mut self) {
        self.current = None;
        self.over = false;
    }

    fn agent_says(&mut self, entry: &Entry) -> &mut Step {
        let new = self.over || (!self.tells_requests && self.is_answered());
        self.agent(entry, new)
    }

    /// Whether every call of the current step has ended: what follows was made knowing the results.
    fn is_answered(&self) -> bool {
        let steps = self.contexts.last().map_or(&[][..], Vec::as_slice);
        let Some(step) = self.current.and_then(|current| steps.get(current)) else { return false };
        let results = step.observation.as_ref().map_or(0, |observation| observation.results.len());
        !step.tool_calls.is_empty() && results >= step.tool_calls.len()
    }

    fn call_opened(&mut self, entry: &Entry, index: usize) {
        let Some(call) = self.transcript.calls.get(index) else { return };
        if call.source.as_deref() == Some("user_shell") {
            let message = format!("the user ran: {}", call.command.join(" "));
            let step = self.system(entry, "user_shell", message);
            step.extra.insert("call_id".to_owned(), json!(call.id));
            return;
        }
        let new = if self.tells_requests { self.over } else { self.is_answered() };
        let step = self.agent(entry, new);
        // A second call of the same id would be the same call to a reader.
        if step.tool_calls.iter().any(|known| known.tool_call_id == call.id) {
            return;
        }
        step.tool_calls.push(ToolCall {
            tool_call_id: call.id.clone(),
            function_name: call.tool.clone(),
            arguments: arguments(call),
        });
        if let (Some(step), Some(context)) = (self.current, self.contexts.len().checked_sub(1)) {
            self.calls.insert(index, (context, step));
        }
    }

    fn call_closed(&mut self, entry: &Entry, index: usize) {
        let Some(call) = self.transcript.calls.get(index) else { return };
        let Some((context, step)) = self.calls.get(&index).copied() else { return };
        let Some(step) = self.contexts.get_mut(context).and_then(|steps| steps.get_mut(step)) else { return };
        place(step, entry);
        step.observation
            .get_or_insert_default()
            .results
            .push(ObservationResult { source_call_id: Some(call.id.clone()), content: result(call) });
        let told =
            json!({"exit_code": call.exit_code, "duration_ms": call.duration_ms, "outcome": call.outcome});
        let calls = step.extra.entry("calls").or_insert_with(|| json!({}));
        if let Some(calls) = calls.as_object_mut() {
            calls.insert(call.id.clone(), told);
        }
    }

    fn tokens(&mut self, entry: &Entry, last: Usage) {
        let has_metrics = |step: &Step| step.metrics.is_some();
        let steps = self.contexts.last().map_or(&[][..], Vec::as_slice);
        let counted = self.current.and_then(|current| steps.get(current)).is_some_and(has_metrics);
        let step = self.agent(entry, counted);
        step.metrics = Some(Metrics {
            prompt_tokens: last.input,
            completion_tokens: last.output,
            cached_tokens: last.cached_input,
            extra: MetricsExtra { reasoning_tokens: last.reasoning },
        });
        // Rollouts and bundles have every call of a request before its tokens.
        self.over = self.transcript.format != Format::Spine;
    }

    fn turn_ended(&mut self, entry: &Entry, end: &TurnEnd) {
        let (kind, message) = match end {
            TurnEnd::Aborted { reason } => ("turn_aborted", format!("the turn was aborted: {reason}")),
            TurnEnd::Failed { info } => (
                "turn_failed",
                format!("the turn failed: {}", info.as_deref().unwrap_or("no reason is told")),
            ),
            TurnEnd::Open | TurnEnd::Complete | TurnEnd::Cut => {
                self.over = true;
                return;
            }
        };
        self.system(entry, kind, message);
        self.end_request();
    }

    /// The boundary ends a file; the next one begins with what the model knew from there on.
    fn compacted(&mut self, entry: &Entry, summary: Option<&str>, history: &[Said]) {
        self.end_request();
        let boundary = self.system(entry, "compaction_boundary", "the context was compacted".to_owned());
        if let Some(summary) = summary {
            let result = ObservationResult { source_call_id: None, content: summary.to_owned() };
            boundary.observation = Some(Observation { results: vec![result] });
        }
        self.contexts.push(Vec::new());
        for said in history {
            let source = match said.role.as_str() {
                "user" => StepSource::User,
                "assistant" => StepSource::Agent,
                _ => StepSource::System,
            };
            let step = self.aside(entry, source, said.text.clone());
            step.extra.insert("kind".to_owned(), json!("copied_context"));
        }
        if history.is_empty()
            && let Some(summary) = summary
        {
            let step = self.system(entry, "copied_context", "what the context was compacted to".to_owned());
            let result = ObservationResult { source_call_id: None, content: summary.to_owned() };
            step.observation = Some(Observation { results: vec![result] });
        }
    }

    fn finish(self) -> Vec<Vec<Step>> {
        self.contexts
    }
}

/// Notes the record that a step grew by.
fn place(step: &mut Step, entry: &Entry) {
    let first = step.extra.get("seq_range").and_then(|range| range.get(0)).and_then(Value::as_u64);
    step.extra.insert("seq_range".to_owned(), json!([first.unwrap_or(entry.seq), entry.seq]));
    if !entry.turn_id.is_empty() {
        step.extra.insert("turn_id".to_owned(), json!(entry.turn_id));
    }
    if entry.epoch > 0 {
        step.extra.insert("epoch".to_owned(), json!(entry.epoch));
    }
}

fn join(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(more);
}

fn arguments(call: &Call) -> Map<String, Value> {
    if !call.command.is_empty() {
        let mut arguments = Map::from_iter([("command".to_owned(), json!(call.command))]);
        if let Some(cwd) = &call.cwd {
            arguments.insert("cwd".to_owned(), json!(cwd));
        }
        return arguments;
    }
    if call.arguments.is_empty() && !call.changes.is_empty() {
        return Map::from_iter([("changes".to_owned(), json!(call.changes))]);
    }
    call.arguments.clone()
}

fn result(call: &Call) -> String {
    match call.outcome {
        CallOutcome::Rejected => format!("rejected by the user\n{}", call.output),
        _ => match call.exit_code {
            Some(code) if code != 0 || call.output.is_empty() => {
                format!("exit_code: {code}\n{}", call.output)
            }
            _ => call.output.clone(),
        },
    }
}
