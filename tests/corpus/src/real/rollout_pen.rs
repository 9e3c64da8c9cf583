//! A session as the published CLI records it, in the forms of two versions: 0.169.0, which tells of turns
//! and finished items, and 0.75.0, which tells little more than what the model saw.
//!
//! Neither records questions and answers about approval. A refused call is an item with the status
//! `declined` in the newer one, and a refused output in the older one.

use std::io;
use std::path::Path;

use crate::Made;
use crate::clock::Clock;
use crate::json::{Json, NOTHING, Null, Object, object};
use crate::random::Random;
use crate::real::cast::{Cast, Source};
use crate::real::moment::{Change, Command, Moment, Outcome, Patch, Pen};
use crate::real::rollout::Rollout;
use crate::real::spine_pen::talk::{message, usage};
use crate::real::spine_pen::{instructions, sandbox};

/// Which CLI writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V0_169,
    V0_75,
}

/// Writes a rollout.
pub(crate) struct RolloutPen<'a> {
    cast: &'a Cast,
    version: Version,
    random: Random,
    clock: Clock,
    rollout: Rollout,
    turn: String,
    turn_began: Clock,
    used: [u64; 4],
    /// What a turn ends with, when it fails.
    failure: Option<Json>,
}

impl<'a> RolloutPen<'a> {
    pub(crate) fn new(
        home: &Path,
        cast: &'a Cast,
        version: Version,
        random: Random,
        clock: Clock,
    ) -> io::Result<Self> {
        let rollout = Rollout::begin(home, &cast.thread, clock, version == Version::V0_169)?;
        let (turn, failure) = (String::new(), None);
        Ok(Self { cast, version, random, clock, rollout, turn, turn_began: clock, used: [0; 4], failure })
    }

    pub(crate) fn made(&self) -> Made {
        self.rollout.made()
    }

    fn new_version(&self) -> bool {
        self.version == Version::V0_169
    }

    fn record(&mut self, kind: &str, payload: &Json) -> io::Result<()> {
        self.clock.pass(2);
        self.rollout.record(self.clock, kind, payload)
    }

    fn event(&mut self, payload: &Json) -> io::Result<()> {
        self.record("event_msg", payload)
    }

    /// An item of the model's input or output.
    fn item(&mut self, mut item: Object) -> io::Result<()> {
        if self.new_version() && !self.turn.is_empty() {
            let turn = object! { "turn_id": self.turn };
            item.put("internal_chat_message_metadata_passthrough", &turn);
        }
        self.record("response_item", &item.end())
    }

    fn completed(&mut self, item: &Json, millis: u64) -> io::Result<()> {
        let now = self.clock.0;
        self.event(&object! {
            "type": "item_completed", "thread_id": self.cast.thread, "turn_id": self.turn, "item": item,
            "started_at_ms": now - i64::try_from(millis).unwrap_or_default(), "completed_at_ms": now,
        })
    }

    fn message(&mut self, role: &str, text: &str) -> io::Result<()> {
        let kind = if role == "assistant" { "output_text" } else { "input_text" };
        let mut item = Object::new();
        item.put("type", "message");
        if self.new_version() {
            item.put("id", &format!("msg_{}", self.random.hex(24)));
        }
        item.put("role", role);
        item.put("content", &[object! { "type": kind, "text": text }]);
        self.item(item)
    }

    fn began(&mut self, resumed: bool) -> io::Result<()> {
        if resumed {
            return Ok(());
        }
        let git = object! { "commit_hash": self.cast.commit, "branch": self.cast.branch, "repository_url": self.cast.url() };
        let source = match self.cast.source {
            Source::Program(name) => name,
            Source::Review | Source::Spawned { .. } => "exec",
        };
        let mut meta = Object::new();
        if self.new_version() {
            meta.put("session_id", &self.cast.thread);
        }
        meta.put("id", &self.cast.thread);
        meta.put("timestamp", &self.clock.text());
        meta.put("cwd", &self.cast.cwd());
        meta.put("originator", "codex_exec");
        meta.put("cli_version", if self.new_version() { "0.169.0" } else { "0.75.0" });
        if self.new_version() {
            meta.put("source", source);
            meta.put("thread_source", "user");
            meta.put("model_provider", "openai");
            meta.put("base_instructions", &object! { "text": instructions(self.cast.instructions) });
            meta.put("history_mode", "paginated");
        } else {
            meta.put("instructions", &Null);
            meta.put("source", source);
            meta.put("model_provider", "openai");
        }
        meta.put("git", &git);
        self.record("session_meta", &meta.end())
    }

    fn turn_began(&mut self, text: &str) -> io::Result<()> {
        self.turn_began = self.clock;
        let surroundings = format!(
            "<environment_context>\n  <cwd>{}</cwd>\n  <shell>bash</shell>\n</environment_context>",
            self.cast.cwd()
        );
        if !self.new_version() {
            self.message("user", &surroundings)?;
            self.message("user", text)?;
            return self.event(&object! { "type": "user_message", "message": text, "images": NOTHING });
        }
        self.turn = self.random.uuid(self.clock.0);
        let started = self.clock.0 / 1000;
        self.event(&object! {
            "type": "task_started", "turn_id": self.turn, "started_at": started, "model_context_window": 258_400_u64,
            "collaboration_mode_kind": "default",
        })?;
        self.message("developer", &instructions(self.cast.instructions / 10))?;
        self.message("user", &surroundings)?;
        let environments = object! { "current_date": "2026-01-05", "timezone": "Etc/UTC" };
        let state =
            object! { "agents_md": object! {}, "environments": environments, "model": self.cast.model };
        self.record("world_state", &object! { "full": true, "state": state })?;
        self.context()?;
        self.message("user", text)?;
        self.user_item(text)
    }

    fn user_item(&mut self, text: &str) -> io::Result<()> {
        let id = self.random.uuid(self.clock.0);
        let content = [object! { "type": "text", "text": text, "text_elements": NOTHING }];
        self.completed(&object! { "type": "UserMessage", "id": id, "content": content }, 0)
    }

    fn context(&mut self) -> io::Result<()> {
        let mut context = Object::new();
        if self.new_version() {
            context.put("turn_id", &self.turn);
        }
        context.put("cwd", &self.cast.cwd());
        context.put("approval_policy", self.cast.approval_policy);
        context.put("sandbox_policy", &sandbox(self.cast));
        context.put("model", self.cast.model);
        context.put("summary", "auto");
        self.record("turn_context", &context.end())
    }

    fn thought(&mut self, text: &str) -> io::Result<()> {
        let id = format!("rs_{}", self.random.hex(24));
        if self.new_version() {
            let item =
                object! { "type": "Reasoning", "id": id, "summary_text": [text], "raw_content": NOTHING };
            self.completed(&item, 900)?;
        } else {
            self.event(&object! { "type": "agent_reasoning", "text": text })?;
        }
        let sealed = self.random.long_tail(200, 4_000);
        let sealed = self.random.hex(usize::try_from(sealed).unwrap_or(200));
        let mut item = Object::new();
        item.put("type", "reasoning");
        item.put("summary", &[object! { "type": "summary_text", "text": text }]);
        item.put("content", &Null);
        item.put("encrypted_content", &sealed);
        self.item(item)
    }

    fn said(&mut self, text: &str) -> io::Result<()> {
        if self.new_version() {
            let id = format!("msg_{}", self.random.hex(24));
            let content = [object! { "type": "Text", "text": text }];
            self.completed(&object! { "type": "AgentMessage", "id": id, "content": content }, 400)?;
        } else {
            self.event(&object! { "type": "agent_message", "message": text })?;
        }
        self.message("assistant", text)
    }

    fn call(&mut self, name: &str, arguments: &str, call: &str) -> io::Result<()> {
        let mut item = Object::new();
        item.put("type", "function_call");
        item.put("name", name);
        item.put("arguments", arguments);
        item.put("call_id", call);
        self.item(item)
    }

    fn output(&mut self, call: &str, text: &str) -> io::Result<()> {
        let mut item = Object::new();
        item.put("type", "function_call_output");
        item.put("call_id", call);
        item.put("output", text);
        self.item(item)
    }

    fn ran(&mut self, command: &Command<'_>) -> io::Result<()> {
        if command.by_user {
            return Ok(());
        }
        let refused = command.refused();
        let (exit, text) = match command.outcome {
            _ if refused => (-1, "exec command rejected by user".to_owned()),
            Outcome::Exited(code) => (code, command.output.to_owned()),
            Outcome::TimedOut => {
                (124, format!("command timed out after {} milliseconds\n{}", command.millis, command.output))
            }
            Outcome::Broken => (-1, "execution error: Io(Os { code: 2, kind: NotFound })".to_owned()),
        };
        self.clock.pass(command.millis.min(60_000));
        if self.new_version() {
            self.call(
                "exec_command",
                &String::from_utf8_lossy(&object! { "cmd": command.text }.0),
                &command.call,
            )?;
            let status = match exit {
                _ if refused => "declined",
                0 => "completed",
                _ => "failed",
            };
            let duration =
                object! { "secs": command.millis / 1000, "nanos": command.millis % 1000 * 1_000_000 };
            let item = object! {
                "type": "CommandExecution", "id": command.call, "process_id": (command.millis % 60_000).to_string(),
                "command": ["/bin/bash", "-lc", command.text], "cwd": format!("file://{}", self.cast.cwd()),
                "parsed_cmd": [object! { "type": "unknown", "cmd": command.text }],
                "source": "unified_exec_startup", "status": status, "aggregated_output": text, "exit_code": exit,
                "duration": duration,
            };
            self.completed(&item, command.millis)?;
            let seconds = command.millis / 1000;
            let words = format!(
                "Chunk ID: {}\nWall time: {seconds}.0000 seconds\nProcess exited with code {exit}\nOutput:\n{text}",
                self.random.hex(6)
            );
            return self.output(&command.call, &words);
        }
        let arguments = object! { "command": ["bash", "-lc", command.text] };
        self.call("shell", &String::from_utf8_lossy(&arguments.0), &command.call)?;
        let metadata = object! { "exit_code": exit, "duration_seconds": command.millis / 1000 };
        let output = object! { "output": text, "metadata": metadata };
        self.output(&command.call, &String::from_utf8_lossy(&output.0))
    }

    fn patched(&mut self, patch: &Patch) -> io::Result<()> {
        let input: String =
            patch.changes.iter().map(|(path, kind, text)| patch_text(path, *kind, text)).collect();
        let input = format!("*** Begin Patch\n{input}*** End Patch");
        let mut item = Object::new();
        item.put("type", "custom_tool_call");
        item.put("status", "completed");
        item.put("call_id", &patch.call);
        item.put("name", "apply_patch");
        item.put("input", &input);
        self.item(item)?;
        let success = patch.applies && !patch.refused();
        if self.new_version() {
            let mut changes = Object::new();
            for (path, kind, text) in &patch.changes {
                let change = match kind {
                    Change::Add => object! { "type": "add", "content": text },
                    Change::Delete => object! { "type": "delete", "content": text },
                    Change::Update => object! { "type": "update", "unified_diff": text, "move_path": Null },
                };
                changes.put(path, &change);
            }
            let status = match (patch.refused(), success) {
                (true, _) => "declined",
                (false, true) => "completed",
                (false, false) => "failed",
            };
            let item = object! { "type": "FileChange", "id": patch.call, "changes": changes.end(), "status": status };
            self.completed(&item, 30)?;
        }
        let text = match (patch.refused(), success) {
            (true, _) => "patch rejected by user",
            (false, true) => "Success. Updated the following files:\n",
            (false, false) => "Failed to find expected lines in file",
        };
        let metadata = object! { "exit_code": u64::from(!success), "duration_seconds": 0_u64 };
        let output = object! { "output": text, "metadata": metadata };
        let mut item = Object::new();
        item.put("type", "custom_tool_call_output");
        item.put("call_id", &patch.call);
        item.put("output", &String::from_utf8_lossy(&output.0).into_owned());
        self.item(item)
    }

    fn used(&mut self, tokens: [u64; 4]) -> io::Result<()> {
        for (sum, last) in self.used.iter_mut().zip(tokens) {
            *sum += last;
        }
        if self.new_version() {
            let response = format!("resp_{}", self.random.hex(16));
            self.record("token_usage_record", &object! {
                "thread_id": self.cast.thread, "turn_id": self.turn, "session_id": self.cast.thread, "response_id": response,
                "usage": usage(tokens), "turn_token_usage": usage(tokens), "thread_token_usage": usage(self.used),
            })?;
        }
        let info = object! {
            "total_token_usage": usage(self.used), "last_token_usage": usage(tokens), "model_context_window": 258_400_u64,
        };
        let limits = object! { "primary": Null, "secondary": Null, "credits": Null, "plan_type": Null };
        self.event(&object! { "type": "token_count", "info": info, "rate_limits": limits })
    }

    fn compacted(&mut self, summary: &str) -> io::Result<()> {
        let history = [message("user", summary)];
        self.record("compacted", &object! { "message": summary, "replacement_history": history })?;
        self.event(&object! { "type": "context_compacted" })
    }

    fn turn_complete(&mut self, last: &str) -> io::Result<()> {
        if !self.new_version() {
            return Ok(());
        }
        let mut complete = Object::new();
        complete.put("type", "task_complete");
        complete.put("turn_id", &self.turn);
        match self.failure.take() {
            Some(error) => {
                complete.put("last_agent_message", &Null);
                complete.put("error", &error);
            }
            None => complete.put("last_agent_message", last),
        }
        complete.put("duration_ms", &(self.clock.0 - self.turn_began.0));
        self.event(&complete.end())
    }

    fn turn_aborted(&mut self) -> io::Result<()> {
        self.message("user", "<turn_aborted>\nThe user stopped the turn on purpose.\n</turn_aborted>")?;
        let mut aborted = Object::new();
        aborted.put("type", "turn_aborted");
        if self.new_version() {
            aborted.put("turn_id", &self.turn);
        }
        aborted.put("reason", "interrupted");
        self.event(&aborted.end())
    }
}

impl Pen for RolloutPen<'_> {
    fn tell(&mut self, moment: &Moment<'_>) -> io::Result<()> {
        match moment {
            Moment::Began { resumed } => self.began(*resumed),
            Moment::TurnBegan { text } => self.turn_began(text),
            Moment::Steered { text } => {
                self.message("user", text)?;
                if self.new_version() {
                    self.user_item(text)
                } else {
                    self.event(&object! { "type": "user_message", "message": text, "images": NOTHING })
                }
            }
            Moment::Requested if self.new_version() => Ok(()),
            Moment::Requested => self.context(),
            Moment::Thought { text } => self.thought(text),
            Moment::Said { text } => self.said(text),
            Moment::Ran(command) => self.ran(command),
            Moment::Patched(patch) => self.patched(patch),
            Moment::Called { call, tool, arguments, answer } => {
                self.call(&format!("tracker__{tool}"), arguments, call)?;
                self.output(call, answer.unwrap_or_else(|error| error))
            }
            Moment::Searched { query, .. } => {
                let mut item = Object::new();
                item.put("type", "web_search_call");
                item.put("status", "completed");
                item.put("action", &object! { "type": "search", "query": query });
                self.item(item)
            }
            Moment::Used { tokens } => self.used(*tokens),
            Moment::Compacted { summary, .. } => self.compacted(summary),
            Moment::Failed { message, info } => {
                self.failure = Some(object! { "message": message, "codex_error_info": info });
                Ok(())
            }
            Moment::TurnComplete { last } => self.turn_complete(last),
            Moment::TurnAborted => self.turn_aborted(),
            Moment::Ended(_) => self.rollout.flush(),
            // Not recorded by the published CLI.
            Moment::Planned { .. }
            | Moment::StreamFailed { .. }
            | Moment::Warned { .. }
            | Moment::Undone
            | Moment::RolledBack { .. }
            | Moment::Interrupted
            | Moment::ReviewBegan { .. }
            | Moment::ReviewEnded { .. }
            | Moment::Spawned { .. } => Ok(()),
        }
    }

    fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    fn bytes(&self) -> u64 {
        self.rollout.made().bytes
    }
}

fn patch_text(path: &str, kind: Change, text: &str) -> String {
    match kind {
        Change::Add => {
            let lines = text.trim_end().replace('\n', "\n+");
            format!("*** Add File: {path}\n+{lines}\n")
        }
        Change::Delete => format!("*** Delete File: {path}\n"),
        Change::Update => format!("*** Update File: {path}\n{text}"),
    }
}
