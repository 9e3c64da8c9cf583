//! Rollout trace bundles, as 0.169.0 writes them: what is read from one, and when it is read at all.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use trace::session::{CallOutcome, Format, Rows};
use trace::transcript::{SessionFiles, What, read};
use trace::verify::{Code, verify};
use trace::{Catalog, batch};

use crate::rollouts::new_meta;
use crate::scene::{THREAD, rollout_lines};

const TURN: &str = "01930f5e-77ab-7c01-9b1d-2f0f6a0c4e33";

/// A Codex home with a bundle.
struct Home {
    directory: TempDir,
    payloads: Cell<u32>,
    lines: Cell<u64>,
}

impl Home {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), payloads: Cell::default(), lines: Cell::default() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn bundle(&self, trace: &str) -> PathBuf {
        self.path().join("rollout_trace").join(format!("trace-{trace}-{THREAD}"))
    }

    /// Writes a bundle of one turn with one command.
    fn write(&self, trace: &str, started: u64) -> PathBuf {
        let bundle = self.bundle(trace);
        fs::create_dir_all(bundle.join("payloads")).unwrap();
        let manifest = json!({ "schema_version": 2, "trace_id": trace, "started_at_unix_ms": started });
        fs::write(bundle.join("manifest.json"), manifest.to_string()).unwrap();
        let payload = |value: Value| {
            let number = self.payloads.get() + 1;
            self.payloads.set(number);
            let path = format!("payloads/{number}.json");
            fs::write(bundle.join(&path), serde_json::to_string_pretty(&value).unwrap()).unwrap();
            json!({ "raw_payload_id": format!("raw_payload:{number}"), "path": path })
        };
        let words = json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "run it" }] });
        let answer = json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "it failed" }] });
        let run = json!({ "call_id": "c1", "turn_id": TURN, "command": ["bash", "-lc", "make"], "cwd": "/srv/app",
            "aggregated_output": "no rule", "exit_code": 2, "duration": { "secs": 0, "nanos": 5_000_000 }, "status": "failed" });
        let usage = json!({ "input_tokens": 100, "cached_input_tokens": 0, "output_tokens": 20, "total_tokens": 120 });
        let lines = [
            json!({ "type": "rollout_started", "root_thread_id": THREAD }),
            json!({ "type": "thread_started", "thread_id": THREAD, "agent_path": "/root", "metadata_payload": payload(
                json!({ "session_source": "exec", "cwd": "/srv/app", "model": "gpt-5", "provider_name": "test", "approval_policy": "never" })) }),
            json!({ "type": "codex_turn_started", "codex_turn_id": TURN }),
            json!({ "type": "protocol_event_observed", "event_type": "turn_started", "event_payload": payload(
                json!({ "type": "task_started", "turn_id": TURN })) }),
            json!({ "type": "inference_started", "request_payload": payload(json!({ "model": "gpt-5", "input": [words] })) }),
            json!({ "type": "tool_call_started", "tool_call_id": "c1", "model_visible_call_id": "c1", "invocation_payload": payload(
                json!({ "tool_name": "exec_command", "payload": { "type": "function", "arguments": "{\"cmd\":\"make\"}" } })) }),
            json!({ "type": "inference_completed", "response_payload": payload(json!({ "token_usage": usage, "output_items": [] })) }),
            json!({ "type": "tool_call_runtime_started", "tool_call_id": "c1", "runtime_payload": payload(run.clone()) }),
            json!({ "type": "tool_call_runtime_ended", "tool_call_id": "c1", "runtime_payload": payload(run) }),
            json!({ "type": "tool_call_ended", "tool_call_id": "c1", "result_payload": payload(json!({ "response_item":
                { "type": "function_call_output", "call_id": "c1", "output": "Exit code: 2\nOutput:\nno rule" } })) }),
            json!({ "type": "inference_completed", "response_payload": payload(json!({ "token_usage": usage, "output_items": [answer] })) }),
            json!({ "type": "protocol_event_observed", "event_type": "turn_complete", "event_payload": payload(
                json!({ "type": "task_complete", "turn_id": TURN, "last_agent_message": "it failed" })) }),
            json!({ "type": "thread_ended", "status": "completed" }),
            json!({ "type": "recording_completed" }),
        ];
        let mut text = String::new();
        for payload in lines {
            self.lines.set(self.lines.get() + 1);
            let line = json!({ "schema_version": 2, "seq": self.lines.get(), "wall_time_unix_ms": started + self.lines.get(),
                "rollout_id": THREAD, "thread_id": THREAD, "codex_turn_id": TURN, "payload": payload });
            text = format!("{text}{line}\n");
        }
        fs::write(bundle.join("trace.jsonl"), text).unwrap();
        bundle
    }

    fn look(&self) -> Option<trace::SessionSource> {
        let catalog = Catalog::new(vec![self.path().to_owned()]);
        catalog.scan(&mut |_| {});
        catalog.look(&THREAD.parse().unwrap())
    }
}

#[test]
fn a_bundle_tells_turns_and_calls_from_the_payloads_beside_it() {
    let home = Home::new();
    let events = home.write("a", 1_795_000_000_000).join("trace.jsonl");
    let batch = batch::read(THREAD.parse().unwrap(), Format::Bundle, &[(0, &events)], Rows::default());
    assert_eq!(batch.unread, 0, "{:?}", batch.findings);
    let (turns, calls) = (&batch.sink.turns, &batch.sink.calls);
    assert_eq!((turns.len(), calls.len()), (1, 1));
    assert_eq!(turns[&0].user_message.as_deref(), Some("run it"));
    let call = calls.values().next().unwrap();
    assert_eq!((&*call.call_id, call.outcome, call.exit_code), ("c1", CallOutcome::Failed, Some(2)));
    assert_eq!(batch.session.cwd.as_deref(), Some("/srv/app"));
    assert!(batch.session.closed);
}

#[test]
fn the_transcript_of_a_bundle_has_words_calls_and_tokens() {
    let home = Home::new();
    let files = SessionFiles::at(&home.write("a", 1_795_000_000_000)).unwrap();
    assert_eq!(files.format, Format::Bundle);
    let transcript = read(&files).unwrap();
    assert_eq!((transcript.id.as_str(), transcript.unreadable), (THREAD, 0));
    assert_eq!(transcript.head.model.as_deref(), Some("gpt-5"));
    let said: Vec<String> = transcript
        .entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::User(text) => Some(format!("user: {text}")),
            What::Agent(text) => Some(format!("agent: {text}")),
            _ => None,
        })
        .collect();
    assert_eq!(said, ["user: run it", "agent: it failed"]);
    let call = &transcript.calls[0];
    assert_eq!((transcript.calls.len(), &*call.tool, call.outcome), (1, "exec_command", CallOutcome::Failed));
    assert_eq!(call.command, ["bash", "-lc", "make"]);
    assert_eq!(call.output, "no rule");
    let requests =
        transcript.entries.iter().filter(|entry| matches!(entry.what, What::Tokens { .. })).count();
    assert_eq!(requests, 2);
    let trajectories = trace::atif::trajectories(&transcript);
    let steps = trajectories[0].steps.iter().map(|step| (step.tool_calls.len(), step.metrics.is_some()));
    assert_eq!(steps.collect::<Vec<_>>(), [(0, false), (1, true), (0, true)], "the user, and an answer each");
}

#[test]
fn a_bundle_is_verified_with_its_payloads() {
    let home = Home::new();
    let bundle = home.write("a", 1_795_000_000_000);
    assert_eq!(verify(&bundle), []);
    fs::remove_file(bundle.join("payloads/1.json")).unwrap();
    let events = fs::read_to_string(bundle.join("trace.jsonl")).unwrap();
    let first = events.lines().next().unwrap();
    let odd = first
        .replace("rollout_started", "brand_new")
        .replace(THREAD, "other")
        .replace("\"seq\":1,", "\"seq\":99,");
    fs::write(bundle.join("trace.jsonl"), format!("{events}{first}\n{odd}\nno json\n{{\"torn")).unwrap();
    let mut codes: Vec<Code> = verify(&bundle).iter().map(|finding| finding.code).collect();
    codes.sort_by_key(|code| format!("{code:?}"));
    assert_eq!(
        codes,
        [
            Code::Duplicate,
            Code::MissingArtifact,
            Code::TornLine,
            Code::UnknownType,
            Code::Unparsable,
            Code::WrongThread
        ]
    );
}

#[test]
fn a_bundle_of_a_thread_that_is_to_have_a_rollout_is_waited_with() {
    let home = Home::new();
    let bundle = home.write("a", 1_795_000_000_000);
    let metadata = |rollout: Value| {
        fs::write(bundle.join("payloads/1.json"), json!({ "rollout_path": rollout }).to_string()).unwrap();
    };
    let events = fs::read_to_string(bundle.join("trace.jsonl")).unwrap();
    let under_way: String = events.lines().take(5).map(|line| line.to_owned() + "\n").collect();
    fs::write(bundle.join("trace.jsonl"), &under_way).unwrap();
    metadata(json!("/somewhere/rollout.jsonl"));
    assert_eq!(home.look(), None, "Codex has just begun");
    metadata(Value::Null);
    assert_eq!(home.look().unwrap().format, Format::Bundle, "it is ephemeral");
    metadata(json!("/somewhere/rollout.jsonl"));
    fs::write(bundle.join("trace.jsonl"), &events).unwrap();
    assert_eq!(home.look().unwrap().format, Format::Bundle, "Codex has ended");
    fs::write(bundle.join("trace.jsonl"), &under_way).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_mins(2);
    fs::File::options()
        .append(true)
        .open(bundle.join("trace.jsonl"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert_eq!(home.look().unwrap().format, Format::Bundle, "Codex was killed");
}

#[test]
fn a_bundle_is_read_only_where_there_is_nothing_else_and_several_are_one_session() {
    let home = Home::new();
    // By their manifests, the second one was begun first.
    let later = home.write("a", 1_795_000_009_000);
    let earlier = home.write("b", 1_795_000_000_000);
    let source = home.look().unwrap();
    let files: Vec<_> = source.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(source.format, Format::Bundle);
    assert_eq!(files, [earlier.join("trace.jsonl"), later.join("trace.jsonl")]);

    let day = home.path().join("sessions/2024/11/09");
    fs::create_dir_all(&day).unwrap();
    let rollout = day.join(format!("rollout-2024-11-09T05-00-00-{THREAD}.jsonl"));
    fs::write(&rollout, rollout_lines(true, &[new_meta()]).concat() + "\n").unwrap();
    assert_eq!(home.look().unwrap().format, Format::Rollout);
    fs::remove_file(&rollout).unwrap();
    fs::remove_dir_all(&later).unwrap();
    assert_eq!(home.look().unwrap().files.len(), 1);
    fs::remove_dir_all(home.path().join("rollout_trace")).unwrap();
    assert_eq!(home.look(), None);
}
