//! Short sessions, written line by line, and what comes of them.

use serde_json::{Value, json};
use trace::decode::{rollout, spine};
use trace::derive::{Derive, Deriver, Sink};
use trace::session::{Approval, CallOutcome, Format, Row, Rows, Session, ToolCall, Turn};
use trace::{Fact, Place, SessionId, What};

pub(crate) const THREAD: &str = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
pub(crate) const CHILD: &str = "01930f5e-99bb-7c01-9b1d-2f0f6a0c4e22";

/// What comes of a session: its rows, and its facts in a few words each.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub rows: Rows,
    pub facts: Vec<String>,
}

impl Sink for Told {
    fn row(&mut self, row: Row) {
        self.rows.put(row);
    }

    fn fact(&mut self, fact: &Fact<'_>) {
        self.facts.push(in_words(fact));
    }
}

fn in_words(fact: &Fact<'_>) -> String {
    let what = match &fact.what {
        What::EpochBegan => format!("epoch {}", fact.epoch),
        What::TurnBegan(turn) => format!("turn {} began", turn.id),
        What::UserSpoke { text } => format!("user: {text}"),
        What::AgentSpoke { text } => format!("agent: {text}"),
        What::TurnEnded(turn) => format!("turn {} ended {:?}", turn.id, turn.end),
        What::Request => "request".into(),
        What::Tokens(counts) => format!("tokens {}+{}", counts.input, counts.output),
        What::CallOpened(call) => format!("{} opened", call.call_id),
        What::CallClosed(call) => format!("{} {:?}", call.call_id, call.outcome),
        What::Asked(approval) => format!("{} asked", approval.call_id),
        What::Decided(approval) => {
            format!("{} {}", approval.call_id, approval.decision.as_deref().unwrap_or("?"))
        }
        What::Unanswered(approval) => format!("{} unanswered", approval.call_id),
        What::Error { message, .. } => format!("error: {message}"),
        What::StreamError { message, .. } => format!("stream error: {message}"),
        What::Warning { message } => format!("warning: {message}"),
        What::Compacted(row) => format!("compacted {}", row.ordinal),
        What::Plan(steps) => format!("plan of {}", steps.len()),
        What::Diff { empty, .. } => format!("diff, empty: {empty}"),
        What::Undo { success } => format!("undo {success:?}"),
        What::Rollback { turns } => format!("rollback {turns}"),
        What::Interrupt => "interrupt".into(),
        What::Shutdown => "shutdown".into(),
        What::Settled(session) => format!("settled {}", session.id),
    };
    format!("{what} @{}", fact.turn.map_or_else(|| "-".into(), |turn| turn.to_string()))
}

impl Told {
    pub(crate) fn call(&self, id: &str) -> &ToolCall {
        let mut calls = self.rows.calls.values().filter(|call| call.call_id == id);
        let call = calls.next().unwrap_or_else(|| panic!("no call {id}: {:#?}", self.rows.calls));
        assert_eq!(calls.next(), None, "the call {id} is there twice");
        call
    }

    pub(crate) fn outcome(&self, id: &str) -> CallOutcome {
        self.call(id).outcome
    }

    pub(crate) fn approvals(&self) -> Vec<&Approval> {
        self.rows.approvals.values().collect()
    }

    pub(crate) fn turns(&self) -> Vec<&Turn> {
        self.rows.turns.values().collect()
    }

    /// The facts that say this.
    pub(crate) fn facts_with(&self, word: &str) -> Vec<&str> {
        self.facts.iter().filter(|fact| fact.contains(word)).map(String::as_str).collect()
    }
}

/// Numbers records and gives them times a second apart, as lines of a spine.
pub(crate) fn spine_lines(records: &[(&str, Value)]) -> Vec<String> {
    let line = |(index, (kind, payload)): (usize, &(&str, Value))| {
        json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": THREAD, "seq": index + 1,
            "timestamp": time(index), "type": kind, "payload": payload,
        })
        .to_string()
    };
    records.iter().enumerate().map(line).collect()
}

/// The same as lines of a rollout, with ordinals as 0.169.0 writes them, or without.
pub(crate) fn rollout_lines(ordinals: bool, records: &[(&str, Value)]) -> Vec<String> {
    let line = |(index, (kind, payload)): (usize, &(&str, Value))| {
        let mut line = json!({ "timestamp": time(index), "type": kind, "payload": payload });
        if ordinals {
            line["ordinal"] = json!(index);
        }
        line.to_string()
    };
    records.iter().enumerate().map(line).collect()
}

fn time(index: usize) -> String {
    format!("2026-03-02T08:{:02}:{:02}.000Z", (index / 60) % 60, index % 60)
}

/// Feeds lines to a derivation, with what `between` makes of it before each line.
pub(crate) fn feed(
    format: Format,
    lines: &[String],
    mut between: impl FnMut(usize, Deriver, &mut Told) -> Deriver,
) -> (Session, Told) {
    let mut deriver = Deriver::new(THREAD.parse::<SessionId>().unwrap(), format);
    let mut told = Told::default();
    let mut offset = 0;
    for (index, line) in lines.iter().enumerate() {
        deriver = between(index, deriver, &mut told);
        let len = line.len().try_into().unwrap();
        let place = Place { file: 0, line: index as u64 + 1, offset, len };
        let record = match format {
            Format::Spine => spine(line.as_bytes(), place).unwrap(),
            _ => rollout(line.as_bytes(), place).unwrap(),
        };
        deriver.feed(&record, &mut told);
        offset += u64::from(len) + 1;
    }
    deriver.flush(&mut told);
    (deriver.session().clone(), told)
}

pub(crate) fn of_spine(records: &[(&str, Value)]) -> (Session, Told) {
    feed(Format::Spine, &spine_lines(records), |_, deriver, _| deriver)
}

/// A rollout of the current Codex.
pub(crate) fn of_rollout(records: &[(&str, Value)]) -> (Session, Told) {
    feed(Format::Rollout, &rollout_lines(true, records), |_, deriver, _| deriver)
}

/// A rollout of 0.75.0.
pub(crate) fn of_old_rollout(records: &[(&str, Value)]) -> (Session, Told) {
    feed(Format::Rollout, &rollout_lines(false, records), |_, deriver, _| deriver)
}

// Records of a spine.

pub(crate) fn meta() -> (&'static str, Value) {
    (
        "session_meta",
        json!({
            "id": THREAD, "timestamp": "2026-03-02T07:59:59.900Z", "cwd": "/srv/app", "originator": "codex_cli_rs",
            "cli_version": "0.93.0", "source": "cli", "model_provider": "openai", "base_instructions": {"text": "Be kind."},
        }),
    )
}

pub(crate) fn event(turn: &str, msg: Value) -> (&'static str, Value) {
    ("event", json!({ "id": turn, "msg": msg }))
}

pub(crate) fn configured() -> (&'static str, Value) {
    event(
        "",
        json!({
            "type": "session_configured", "session_id": THREAD, "model": "gpt-5", "cwd": "/srv/app",
            "approval_policy": "on-request", "sandbox_policy": {"type": "workspace-write"},
        }),
    )
}

pub(crate) fn submit(id: &str, op: Value) -> (&'static str, Value) {
    ("submission", json!({ "id": id, "op": op }))
}

pub(crate) fn user(id: &str, text: &str) -> (&'static str, Value) {
    submit(
        id,
        json!({ "type": "user_turn", "items": [{"type": "text", "text": text}], "cwd": "/srv/app",
        "approval_policy": "on-request", "sandbox_policy": {"type": "workspace-write"}, "model": "gpt-5" }),
    )
}

pub(crate) fn started(turn: &str) -> (&'static str, Value) {
    event(turn, json!({ "type": "task_started", "model_context_window": 200_000 }))
}

pub(crate) fn complete(turn: &str) -> (&'static str, Value) {
    event(turn, json!({ "type": "task_complete", "last_agent_message": null }))
}

pub(crate) fn context(turn: &str) -> (&'static str, Value) {
    (
        "turn_context",
        json!({ "turn_id": turn, "context": { "cwd": "/srv/app", "approval_policy": "on-request",
        "sandbox_policy": {"type": "workspace-write"}, "model": "gpt-5" } }),
    )
}

pub(crate) fn begin(turn: &str, call: &str, script: &str) -> (&'static str, Value) {
    event(
        turn,
        json!({ "type": "exec_command_begin", "call_id": call, "turn_id": turn, "source": "agent",
        "command": ["bash", "-lc", script], "cwd": "/srv/app", "parsed_cmd": [] }),
    )
}

pub(crate) fn end(turn: &str, call: &str, exit_code: i64, output: &str) -> (&'static str, Value) {
    event(
        turn,
        json!({ "type": "exec_command_end", "call_id": call, "turn_id": turn, "source": "agent",
        "command": ["bash", "-lc", "make"], "cwd": "/srv/app", "parsed_cmd": [], "stdout": output, "stderr": "",
        "aggregated_output": output, "exit_code": exit_code, "duration": {"secs": 1, "nanos": 500_000_000},
        "formatted_output": output }),
    )
}

pub(crate) fn asks(turn: &str, call: &str, reason: Option<&str>) -> (&'static str, Value) {
    event(
        turn,
        json!({ "type": "exec_approval_request", "call_id": call, "turn_id": turn, "cwd": "/srv/app",
        "command": ["bash", "-lc", "make deploy"], "reason": reason, "parsed_cmd": [] }),
    )
}

pub(crate) fn answer(id: &str, turn: &str, decision: &str) -> (&'static str, Value) {
    submit(id, json!({ "type": "exec_approval", "id": turn, "decision": decision }))
}

/// A turn that has begun, in the form of the real Codex.
pub(crate) fn opened(turn: &str) -> Vec<(&'static str, Value)> {
    vec![meta(), configured(), user(turn, "do it"), started(turn), context(turn)]
}

pub(crate) const REJECTED: &str = "exec command rejected by user";
