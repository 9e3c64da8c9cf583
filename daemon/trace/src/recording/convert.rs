//! From the lines of a rollout to the records of a spine.
//!
//! What a line means is for the derivation to say: each fact that it tells becomes the event that tells it in a
//! spine. Events that a rollout has in the protocol's own form are passed on as they are, and items of the
//! model go beside them as `raw_response_item`.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ORIGINATOR;
use super::calls;
use super::message::{Object, event};
use crate::derive::{Derive, Deriver, Sink};
use crate::record::{Meta, TokenCounts};
use crate::session::{CompactionRow, Format, Row};
use crate::{Body, Fact, Record, SessionId, What};

/// A record of a spine, but for its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Out {
    pub kind: &'static str,
    pub payload: String,
}

/// Makes records of lines.
#[derive(Debug)]
pub(super) struct Converter {
    deriver: Deriver,
    state: State,
}

/// What is known between lines, beside what is derived.
#[derive(Debug)]
struct State {
    thread: SessionId,
    began: bool,
    /// The id of the running turn.
    turn: Option<String>,
    /// The last `turn_context`, as it was found.
    context: Option<String>,
    /// Metadata that a process run is told to have.
    cwd: Option<String>,
    model_provider: Option<String>,
    interrupts: u64,
}

/// A line, as far as it is looked at beside its record.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

impl Converter {
    pub(super) fn new(thread: SessionId) -> Self {
        let state = State {
            thread: thread.clone(),
            began: false,
            turn: None,
            context: None,
            cwd: None,
            model_provider: None,
            interrupts: 0,
        };
        Self { deriver: Deriver::new(thread, Format::Rollout), state }
    }

    /// The records that a line becomes.
    pub(super) fn line(&mut self, bytes: &[u8], record: &Record<'_>) -> Vec<Out> {
        let text = String::from_utf8_lossy(bytes);
        let line: Option<Line<'_>> = serde_json::from_str(text.trim()).ok();
        let payload = line.as_ref().map(|line| line.payload);
        let mut outs = Vec::new();
        self.state.begin(record, payload, &mut outs);
        if let (Body::Context(_), Some(payload)) = (&record.body, payload) {
            self.state.context = Some(payload.get().to_owned());
        }
        if let (Body::Item { .. }, Some(payload)) = (&record.body, payload) {
            let message = Object::message("raw_response_item").with_json("item", payload.get()).finish();
            outs.push(Out { kind: "event", payload: event(&self.state.turn_of(record, None), &message) });
        }
        let passed = line.as_ref().filter(|line| is_passed(line)).map(|line| line.payload);
        let before = self.state.turn.clone();
        let mut telling =
            Telling { state: &mut self.state, record, payload, passed: passed.is_some(), outs: &mut outs };
        self.deriver.feed(record, &mut telling);
        if let Some(passed) = passed {
            outs.push(Out {
                kind: "event",
                payload: event(&self.state.turn_of(record, before), passed.get()),
            });
        }
        outs
    }
}

/// Whether a line holds an event as a spine has it. Items that a turn is told by have events of their own there.
fn is_passed(line: &Line<'_>) -> bool {
    line.kind == "event_msg"
        && serde_json::from_str::<Kind<'_>>(line.payload.get())
            .is_ok_and(|payload| !matches!(&*payload.kind, "item_started" | "item_completed"))
}

impl State {
    /// Before the first line: who this is.
    fn begin(&mut self, record: &Record<'_>, payload: Option<&RawValue>, outs: &mut Vec<Out>) {
        if std::mem::replace(&mut self.began, true) {
            return;
        }
        let meta = match &record.body {
            Body::Meta(meta) => Some(&**meta),
            _ => None,
        };
        self.cwd = meta.and_then(|meta| meta.cwd.as_deref()).map(str::to_owned);
        self.model_provider = meta.and_then(|meta| meta.model_provider.as_deref()).map(str::to_owned);
        let payload = session_meta(&self.thread, payload.filter(|_| meta.is_some()), record.time);
        outs.push(Out { kind: "session_meta", payload });
        outs.extend(meta.and_then(git_info).map(|payload| Out { kind: "artifact_ref", payload }));
    }

    /// The id of the turn that a record is about: the one that it names, else the one that runs, or ran before
    /// it.
    fn turn_of(&self, record: &Record<'_>, before: Option<String>) -> String {
        let named = match &record.body {
            Body::Event { turn, .. } | Body::Item { turn, .. } => &**turn,
            _ => "",
        };
        if named.is_empty() { self.turn.clone().or(before).unwrap_or_default() } else { named.to_owned() }
    }
}

/// Takes the facts of a line, and tells them as a spine does.
struct Telling<'t, 'r> {
    state: &'t mut State,
    record: &'t Record<'r>,
    payload: Option<&'t RawValue>,
    /// The line itself goes on as an event.
    passed: bool,
    outs: &'t mut Vec<Out>,
}

impl Telling<'_, '_> {
    fn put(&mut self, kind: &'static str, payload: String) {
        self.outs.push(Out { kind, payload });
    }

    fn event(&mut self, turn: &str, message: Object) {
        self.put("event", event(turn, &message.finish()));
    }

    fn configured(&mut self) {
        let message = Object::message("session_configured")
            .with("session_id", self.state.thread.as_str())
            .with_some("model_provider_id", self.state.model_provider.as_deref())
            .with_some("cwd", self.state.cwd.as_deref());
        self.event("", message);
    }

    fn user_spoke(&mut self, turn: &str, text: &str) {
        let item = Object::message("text").with("text", text).with_json("text_elements", "[]").finish();
        let op = Object::message("user_input").with_json("items", &format!("[{item}]")).finish();
        self.put("submission", Object::new().with("id", turn).with_json("op", &op).finish());
        if !self.passed {
            self.event(turn, Object::message("user_message").with("message", text));
        }
    }

    fn request(&mut self, turn: &str) {
        let context = self.state.context.as_deref().unwrap_or("{}");
        let payload = Object::new().with("turn_id", turn).with_json("context", context).finish();
        self.put("turn_context", payload);
    }

    fn tokens(&mut self, turn: &str) {
        let Body::Tokens { last, total, .. } = &self.record.body else { return };
        let info = Object::new()
            .with_some("total_token_usage", total.as_ref().map(usage))
            .with("last_token_usage", usage(last))
            .finish();
        self.event(turn, Object::message("token_count").with_json("info", &info));
    }

    fn compacted(&mut self, row: &CompactionRow, turn: &str) {
        #[derive(Default, Deserialize)]
        struct Compacted<'a> {
            #[serde(borrow, default)]
            message: Option<&'a RawValue>,
            #[serde(borrow, default)]
            replacement_history: Option<&'a RawValue>,
        }
        let found =
            self.payload.and_then(|payload| serde_json::from_str::<Compacted<'_>>(payload.get()).ok());
        let found = found.unwrap_or_default();
        let payload = Object::new()
            .with("turn_id", if row.turn_id.is_empty() { turn } else { &row.turn_id })
            .with_some("kind", row.kind.as_deref())
            .with_raw("summary_message", found.message)
            .with_raw("post_compaction_history", found.replacement_history)
            .finish();
        self.put("compaction_boundary", payload);
    }
}

impl Sink for Telling<'_, '_> {
    fn row(&mut self, _: Row) {}

    fn fact(&mut self, fact: &Fact<'_>) {
        // A turn without an id has its number for one.
        let number;
        let turn = match fact.turn {
            Some(ordinal) if fact.turn_id.is_empty() => {
                number = ordinal.to_string();
                &number
            }
            _ => fact.turn_id,
        };
        match &fact.what {
            What::EpochBegan => self.configured(),
            What::TurnBegan(_) => {
                self.state.turn = Some(turn.to_owned());
                if !matches!(&self.record.body, Body::Event { event: crate::record::Event::TurnStarted, .. })
                {
                    self.event(turn, Object::message("task_started"));
                }
            }
            What::TurnEnded(_) => self.state.turn = None,
            What::UserSpoke { text } => self.user_spoke(turn, text),
            What::Request => self.request(turn),
            What::Compacted(row) => self.compacted(row, turn),
            What::Interrupt => {
                self.state.interrupts = self.state.interrupts.saturating_add(1);
                let id = format!("interrupt-{}", self.state.interrupts);
                let op = Object::message("interrupt").finish();
                self.put("submission", Object::new().with("id", id).with_json("op", &op).finish());
            }
            _ if self.passed => {}
            What::AgentSpoke { text } => {
                self.event(turn, Object::message("agent_message").with("message", text));
            }
            What::Tokens(_) => self.tokens(turn),
            What::CallOpened(call) => {
                self.event(turn, calls::opened(call, turn, self.record, self.payload));
            }
            What::CallClosed(call) => {
                if let Some(message) = calls::closed(call, turn, self.record, self.payload) {
                    self.event(turn, message);
                }
            }
            What::Plan(steps) => {
                let step = |step: &crate::record::PlanStep<'_>| {
                    Object::new().with("step", &*step.step).with("status", &*step.status).finish()
                };
                let steps: Vec<String> = steps.iter().map(step).collect();
                self.event(
                    turn,
                    Object::message("plan_update").with_json("plan", &format!("[{}]", steps.join(","))),
                );
            }
            // These come only from events that are passed on, or follow from what is told.
            What::Asked(_)
            | What::Decided(_)
            | What::Unanswered(_)
            | What::Error { .. }
            | What::StreamError { .. }
            | What::Warning { .. }
            | What::Diff { .. }
            | What::Undo { .. }
            | What::Rollback { .. }
            | What::Shutdown
            | What::Settled(_) => {}
        }
    }
}

/// The first record: the rollout's metadata, with who recorded it in place of who ran.
fn session_meta(thread: &SessionId, found: Option<&RawValue>, time: Option<Timestamp>) -> String {
    let members =
        found.and_then(|found| serde_json::from_str::<serde_json::Map<String, _>>(found.get()).ok());
    let members: serde_json::Map<String, serde_json::Value> = members.unwrap_or_default();
    let mut object = Object::new().with("id", thread.as_str());
    if let Some(time) = time.filter(|_| !members.contains_key("timestamp")) {
        object = object.with("timestamp", format!("{time:.3}"));
    }
    for (name, value) in &members {
        // Git has a record of its own.
        if !matches!(name.as_str(), "id" | "originator" | "git") {
            object = object.with(name, value);
        }
    }
    object.with("originator", ORIGINATOR).with_some("recorded_originator", members.get("originator")).finish()
}

/// Git's identity, as metadata says it.
fn git_info(meta: &Meta<'_>) -> Option<String> {
    let git = &meta.git;
    if git.commit.is_none() && git.branch.is_none() && git.url.is_none() {
        return None;
    }
    let url = git.url.as_deref().map(crate::derive::without_credentials);
    let state = Object::new()
        .with_some("commit_hash", git.commit.as_deref())
        .with_some("branch", git.branch.as_deref())
        .with_some("repository_url", url)
        .finish();
    Some(Object::message_by("kind", "git_info").with_json("git", &state).finish())
}

/// Usage as the protocol has it.
fn usage(counts: &TokenCounts) -> serde_json::Value {
    serde_json::json!({
        "input_tokens": counts.input,
        "cached_input_tokens": counts.cached_input,
        "output_tokens": counts.output,
        "reasoning_output_tokens": counts.reasoning,
        "total_tokens": counts.input.saturating_add(counts.output),
    })
}
