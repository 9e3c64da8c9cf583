//! Writes spines, a record at a time.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use trace::SessionId;

/// A spine that is being written.
pub(crate) struct Spine {
    pub(crate) id: SessionId,
    directory: PathBuf,
    segment: u32,
    seq: u64,
    second: i64,
    file: File,
}

impl Spine {
    /// Begins a session that is as old as you like: its first record was written so many seconds ago.
    pub(crate) fn begin(home: &Path, id: &str, seconds_ago: i64) -> Self {
        Self::begin_from(home, id, seconds_ago, &json!({ "source": "exec" }))
    }

    /// Begins a session whose metadata say more.
    pub(crate) fn begin_from(home: &Path, id: &str, seconds_ago: i64, more: &Value) -> Self {
        let directory = home.join("trace_spine").join(id);
        fs::create_dir_all(&directory).unwrap();
        let second = jiff::Timestamp::now().as_second() - seconds_ago;
        let file = open(&directory, 0);
        let mut spine = Self { id: id.parse().unwrap(), directory, segment: 0, seq: 0, second, file };
        let mut meta = json!({
            "id": id, "timestamp": jiff::Timestamp::from_second(second).unwrap(), "cwd": "/repo", "originator": "codex_exec",
            "cli_version": "0.99.0", "model_provider": "openai"
        });
        meta.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spine.write("session_meta", &meta);
        spine
    }

    pub(crate) fn path(&self) -> PathBuf {
        path(&self.directory, self.segment)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A line without its newline.
    pub(crate) fn line(&mut self, record: &str, payload: &Value) -> String {
        self.seq += 1;
        self.second += 1;
        let time = jiff::Timestamp::from_second(self.second).unwrap();
        json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": self.id, "seq": self.seq,
            "timestamp": time, "type": record, "payload": payload,
        })
        .to_string()
    }

    pub(crate) fn write(&mut self, record: &str, payload: &Value) {
        let line = self.line(record, payload) + "\n";
        self.raw(&line);
    }

    pub(crate) fn raw(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn event(&mut self, turn: u32, message: &Value) {
        self.write("event", &json!({ "id": turn.to_string(), "msg": message }));
    }

    /// The user speaks, and a turn begins.
    pub(crate) fn ask(&mut self, turn: u32, words: &str) {
        let op = json!({
            "type": "user_turn", "items": [{ "type": "text", "text": words }], "cwd": "/repo",
            "approval_policy": "on-request", "sandbox_policy": { "type": "workspace-write" }, "model": "gpt-5",
        });
        self.write("submission", &json!({ "id": turn.to_string(), "op": op }));
        self.event(turn, &json!({ "type": "task_started" }));
    }

    /// A command runs.
    pub(crate) fn run(&mut self, turn: u32, call: &str, command: &str, exit_code: i32) {
        self.run_saying(turn, call, command, exit_code, "it said something");
    }

    /// A command runs, and says this.
    pub(crate) fn run_saying(&mut self, turn: u32, call: &str, command: &str, exit_code: i32, output: &str) {
        let call = json!({
            "call_id": call, "turn_id": turn.to_string(), "command": ["bash", "-lc", command], "cwd": "/repo",
            "parsed_cmd": [], "source": "agent",
        });
        let told = |kind: &str, more: Value| {
            let mut told = call.clone();
            told["type"] = kind.into();
            told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            told
        };
        self.event(turn, &told("exec_command_begin", json!({})));
        let end = json!({
            "stdout": "", "stderr": "", "aggregated_output": output, "exit_code": exit_code,
            "duration": { "secs": 0, "nanos": 1000 }, "formatted_output": output,
        });
        self.event(turn, &told("exec_command_end", end));
    }

    pub(crate) fn finish(&mut self, turn: u32) {
        self.event(turn, &json!({ "type": "task_complete", "last_agent_message": "done" }));
    }

    /// A whole turn with a command that fails.
    pub(crate) fn failing_turn(&mut self, turn: u32) {
        self.ask(turn, "please make it work");
        self.run(turn, &format!("call_{turn}"), "make", 2);
        self.finish(turn);
    }

    /// The session ends in good order.
    pub(crate) fn shut_down(&mut self) {
        self.write("submission", &json!({ "id": "bye", "op": { "type": "shutdown" } }));
    }

    /// Goes on in the next segment.
    pub(crate) fn rotate(&mut self) {
        self.segment += 1;
        self.file = open(&self.directory, self.segment);
    }
}

fn path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("segment-{segment:03}.jsonl"))
}

fn open(directory: &Path, segment: u32) -> File {
    OpenOptions::new().create(true).append(true).open(path(directory, segment)).unwrap()
}
