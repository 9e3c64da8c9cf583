//! A session in the dialect of the earlier tool's demo.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use crate::Made;
use crate::clock::Clock;
use crate::demo::plan::{Deed, Session};
use crate::json::{Json, object};
use crate::random::Random;

/// Nothing here may hold a word that the earlier tool takes for a wish to take something back, nor one
/// that it takes for a truncation or a timeout.
const WISHES: [&str; 6] = [
    "Add a page for the opening hours",
    "Fix the failing import test",
    "Sort the report by date",
    "Make the build pass on a clean machine",
    "Write a script that checks the links",
    "Move the settings to one file",
];
const ERRORS: [&str; 5] = [
    "The model is overloaded",
    "Lost the connection to the server",
    "The answer could not be parsed",
    "The key was not accepted",
    "Timeout while waiting for the model",
];
const COMMANDS: [&str; 5] = ["npm test", "cargo check", "make all", "python3 -m pytest", "ls -l"];

/// Writes a session; gives what has been made.
pub(super) fn write(home: &Path, session: &Session, random: &mut Random, now: Clock) -> io::Result<Made> {
    let id = random.uuid(now.0);
    let directory = home.join("trace_spine").join(&id);
    fs::create_dir_all(&directory)?;
    let out = BufWriter::new(File::create_new(directory.join("segment-000.jsonl"))?);
    let mut writer = Writer { out, id, now, random, calls: 0, records: 0, bytes: 0 };
    writer.meta(session.source)?;
    for (number, deeds) in (1_u64..).zip(&session.turns) {
        let turn = format!("turn_{number}");
        writer.turn(&turn)?;
        for deed in deeds {
            writer.deed(&turn, *deed)?;
        }
    }
    writer.out.flush()?;
    let meta = serde_json::json!({
        "segment_id": 0, "thread_id": writer.id, "record_count": writer.records, "created_at": now.seconds(),
    });
    fs::write(directory.join("segment-000.meta.json"), meta.to_string())?;
    Ok(Made { sessions: 1, files: 1, records: writer.records, bytes: writer.bytes })
}

struct Writer<'a> {
    out: BufWriter<File>,
    id: String,
    now: Clock,
    random: &'a mut Random,
    calls: u64,
    records: u64,
    bytes: u64,
}

impl Writer<'_> {
    fn record(&mut self, kind: &str, payload: &Json) -> io::Result<()> {
        self.records += 1;
        self.now.pass(1_000 * self.random.between(1..=30));
        let line = object! {
            "schema_version": "codex_trace_spine_v1", "thread_id": self.id, "seq": self.records,
            "timestamp": self.now.seconds(), "type": kind, "payload": payload,
        };
        self.out.write_all(&line.0)?;
        self.out.write_all(b"\n")?;
        self.bytes += line.0.len() as u64 + 1;
        Ok(())
    }

    fn event(&mut self, turn: &str, msg: &Json) -> io::Result<()> {
        self.record("event", &object! { "id": turn, "msg": msg })
    }

    fn meta(&mut self, source: &str) -> io::Result<()> {
        let meta = object! {
            "id": self.id, "timestamp": self.now.seconds(), "cwd": "/home/dev/demo", "originator": "demo",
            "cli_version": "0.93.0", "source": source, "model_provider": "openai",
        };
        let git = object! {
            "commit_hash": self.random.hex(40), "branch": "main", "repository_url": "https://git.example.org/team/demo.git",
        };
        self.record("session_meta", &object! { "meta": meta, "git": git })
    }

    fn turn(&mut self, turn: &str) -> io::Result<()> {
        self.record("turn_context", &object! {
            "turn_id": turn, "cwd": "/home/dev/demo", "approval_policy": "always", "sandbox_policy": "workspace-write",
            "model": "gpt-5.2-codex",
        })?;
        let wish = self.random.pick(&WISHES);
        self.user_turn(turn, wish)
    }

    fn user_turn(&mut self, turn: &str, text: &str) -> io::Result<()> {
        let items = [object! { "type": "text", "text": text }];
        self.record(
            "submission",
            &object! { "id": turn, "op": object! { "type": "user_turn", "items": items } },
        )
    }

    fn call(&mut self) -> String {
        self.calls += 1;
        format!("call_{}", self.calls)
    }

    fn deed(&mut self, turn: &str, deed: Deed) -> io::Result<()> {
        match deed {
            Deed::Command(code) => self.command(turn, code),
            Deed::Patch(applies) => self.patch(turn, applies),
            Deed::Asked { granted } => self.asked(turn, granted),
            Deed::GivesUp => self.user_turn(turn, "Never mind, I will do it by hand"),
            Deed::Compaction => self.compaction(turn),
            Deed::Error(number) => {
                let payload = object! { "message": ERRORS[number] };
                self.event(turn, &object! { "type": "error", "payload": payload })
            }
        }
    }

    fn command(&mut self, turn: &str, code: i32) -> io::Result<()> {
        let (call, command) = (self.call(), self.random.pick(&COMMANDS));
        self.event(turn, &object! {
            "type": "exec_command_begin", "call_id": call, "command": ["bash", "-lc", command], "cwd": "/home/dev/demo",
        })?;
        let (stdout, stderr) = if code == 0 { ("done\n", "") } else { ("", "it did not work\n") };
        self.event(turn, &object! {
            "type": "exec_command_end", "call_id": call, "exit_code": code, "stdout": stdout, "stderr": stderr,
        })
    }

    fn patch(&mut self, turn: &str, applies: bool) -> io::Result<()> {
        let call = self.call();
        let change = object! { "type": "update", "unified_diff": "@@ -1 +1 @@\n-old\n+new\n" };
        let changes = object! { "src/main.py": change };
        self.event(turn, &object! { "type": "patch_apply_begin", "call_id": call, "changes": changes })?;
        self.event(
            turn,
            &object! { "type": "patch_apply_end", "call_id": call, "success": applies, "changes": changes },
        )
    }

    fn asked(&mut self, turn: &str, granted: bool) -> io::Result<()> {
        let (call, command) = (self.call(), self.random.pick(&COMMANDS));
        self.event(turn, &object! {
            "type": "exec_approval_request", "call_id": call, "turn_id": turn, "command": ["bash", "-lc", command],
            "cwd": "/home/dev/demo",
        })?;
        let decision = object! { "type": if granted { "approved" } else { "denied" } };
        let op = object! { "type": "exec_approval", "id": call, "decision": decision };
        self.record("submission", &object! { "id": turn, "op": op })
    }

    fn compaction(&mut self, turn: &str) -> io::Result<()> {
        let before = self.random.between(90_000..=200_000);
        self.record(
            "compaction_boundary",
            &object! {
                "turn_id": turn, "reason": "context_limit", "pre_tokens": before, "post_tokens": before / 5,
            },
        )?;
        let payload = object! { "message": "Earlier output was truncated to fit the context" };
        self.event(turn, &object! { "type": "warning", "payload": payload })
    }
}
