//! Spines that are recorded from rollouts.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use trace::batch;
use trace::record::TokenCounts;
use trace::recording::{GitState, Moment, ORIGINATOR, Recorder, RecordingError, record_rollout};
use trace::session::{Approval, Format, Rows, Session, Stamp, ToolCall, Turn};
use trace::spine::{Segment, segments};
use trace::verify::{Code, Level, verify};

use crate::rollouts::*;
use crate::scene::{THREAD, rollout_lines};

type Records = Vec<(&'static str, Value)>;

/// Rollouts of both versions, with most of what can happen in them.
fn stories() -> Vec<(&'static str, bool, Records)> {
    vec![
        ("0.75, calls of every outcome and a resume", false, old_story()),
        ("0.75, compacted", false, compacted_story()),
        ("0.169, calls of every outcome", true, new_story()),
        ("0.169, killed and resumed", true, killed_story()),
        ("taken up by another version", true, mixed_story()),
        ("without metadata", false, old_user("hello")),
    ]
}

fn old_story() -> Records {
    let patch =
        "*** Begin Patch\n*** Update File: z.rs\n@@\n-a\n+b\n*** Add File: a.rs\n+new\n*** End Patch\n";
    let mut records = vec![old_meta(), user_item("<environment_context>\n</environment_context>")];
    records.extend(old_user("first \"quoted\" words\nover lines"));
    records.extend(old_call("ok", "make test | tail", 0, "fine\n"));
    records.extend(old_call("bad", "make", 2, "no rule"));
    records.extend(old_call("slow", "sleep 9", 124, "command timed out after 1000 milliseconds\n"));
    records.push(token_count(1));
    records.extend([
        item(json!({ "type": "function_call", "name": "shell", "arguments": "{\"command\":[\"rm\",\"a b\"]}", "call_id": "no" })),
        item(json!({ "type": "function_call_output", "call_id": "no", "output": "exec command rejected by user" })),
        item(json!({ "type": "custom_tool_call", "name": "apply_patch", "input": patch, "call_id": "patch" })),
        item(json!({ "type": "custom_tool_call_output", "call_id": "patch",
            "output": json!({ "output": "Success.", "metadata": { "exit_code": 0, "duration_seconds": 0.1 } }).to_string() })),
        item(json!({ "type": "function_call", "name": "docs__find", "arguments": "{\"q\":1}", "call_id": "tool" })),
        item(json!({ "type": "function_call_output", "call_id": "tool", "output": "tool call error: gone" })),
        item(json!({ "type": "function_call", "name": "update_plan", "call_id": "plan",
            "arguments": json!({ "plan": [{ "step": "look", "status": "completed" }] }).to_string() })),
        item(json!({ "type": "function_call_output", "call_id": "plan", "output": "Plan updated" })),
        msg(json!({ "type": "agent_message", "message": "half done" })),
        msg(json!({ "type": "agent_reasoning", "text": "hm" })),
    ]);
    records.extend(old_user("second"));
    records.extend([
        item(json!({ "type": "function_call", "name": "shell", "arguments": "{\"command\":[\"bash\",\"-lc\",\"sleep 47\"]}", "call_id": "cut" })),
        token_count(1),
        msg(json!({ "type": "turn_aborted", "reason": "interrupted" })),
    ]);
    records.extend(old_user("second"));
    records.push(msg(
        json!({ "type": "error", "message": "no more", "codex_error_info": "usage_limit_exceeded" }),
    ));
    records
}

fn compacted_story() -> Records {
    let mut records = vec![old_meta()];
    records.extend(old_user("first"));
    records.extend([
        ("compacted", json!({ "message": "so far", "replacement_history": [] })),
        msg(json!({ "type": "context_compacted" })),
    ]);
    records.extend(old_user("second"));
    records
}

fn new_story() -> Records {
    let changes = json!({ "/srv/app/a.rs": { "type": "add", "content": "x" } });
    let mcp = json!({ "type": "McpToolCall", "id": "mcp", "server": "docs", "tool": "find", "arguments": { "q": 1 },
        "status": "failed", "result": null, "error": { "message": "gone" }, "duration": { "secs": 0, "nanos": 5_000_000 } });
    let message =
        json!({ "type": "AgentMessage", "id": "m", "content": [{ "type": "Text", "text": "done" }] });
    let completed = |item: Value| {
        msg(json!({ "type": "item_completed", "thread_id": THREAD, "turn_id": TURN, "item": item }))
    };
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go on"));
    records.extend([
        exec_call("ok", "make test"),
        record_of_tokens(1),
        executed("ok", "completed", Some(0)),
        exec_output("ok", "Chunk ID: 1\nWall time: 0.0 seconds\nProcess exited with code 0\nOutput:\nok\n"),
        token_count(1),
        exec_call("bad", "make"),
        executed("bad", "failed", Some(2)),
        exec_call("no", "rm x"),
        executed("no", "declined", None),
        exec_output("no", "rejected by user"),
        exec_call("refused", "rm -f x"),
        exec_output("refused", "exec_command failed for `rm -f x`: not permitted"),
        exec_call("denied", "touch b"),
        exec_output("denied", r#"exec_command failed: CreateProcess { message: "Rejected(\"rejected by user\")" }"#),
        exec_call("server", "serve"),
        exec_output("server", "Chunk ID: 1\nWall time: 10.0 seconds\nProcess running with session ID 3\nOutput:\n"),
        item(json!({ "type": "custom_tool_call", "name": "exec", "input": "await run(\"ls\")", "call_id": "code" })),
        executed("inner", "completed", Some(0)),
        item(json!({ "type": "custom_tool_call_output", "call_id": "code", "output": [{ "type": "input_text", "text": "listed" }] })),
        item(json!({ "type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch\n*** Add File: /srv/app/a.rs\n+x\n*** End Patch", "call_id": "patch" })),
        completed(json!({ "type": "FileChange", "id": "patch", "changes": changes, "status": "completed", "stdout": "ok", "stderr": "" })),
        item(json!({ "type": "function_call", "name": "mcp__docs__find", "arguments": "{\"q\":1}", "call_id": "mcp" })),
        completed(mcp),
        completed(message),
        record_of_tokens(2),
        token_count(2),
        new_complete(TURN, Value::Null),
        executed("server", "failed", Some(1)),
        msg(json!({ "type": "thread_settings_applied", "thread_id": THREAD })),
    ]);
    records.extend(new_turn(NEXT, "and again"));
    records.push(new_complete(
        NEXT,
        json!({ "message": "no more", "codex_error_info": "usage_limit_exceeded" }),
    ));
    records
}

fn killed_story() -> Records {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go on"));
    records.extend([
        exec_call("a", "sleep 47"),
        exec_output("a", "Wall time: 1.3 seconds\naborted by user"),
        msg(json!({ "type": "turn_aborted", "turn_id": TURN, "reason": "interrupted" })),
        executed("a", "failed", Some(-1)),
    ]);
    records.extend(new_turn("third", "again"));
    records.push(exec_call("b", "sleep 47"));
    records.extend(new_turn(NEXT, "at last"));
    records.push(new_complete(NEXT, Value::Null));
    records
}

fn mixed_story() -> Records {
    let mut records = vec![old_meta()];
    records.extend(old_user("old"));
    records.extend(old_call("ok", "ls", 0, ""));
    records.extend(new_turn(TURN, "new"));
    records.push(new_complete(TURN, Value::Null));
    records.extend(old_user("old again"));
    records
}

struct Home {
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("trace_spine")
    }

    fn thread(&self) -> PathBuf {
        self.root().join(THREAD)
    }

    fn rollout(&self, lines: &[String]) -> PathBuf {
        let path = self.directory.path().join(format!("rollout-2026-03-02T08-00-00-{THREAD}.jsonl"));
        fs::write(&path, text(lines)).unwrap();
        path
    }

    fn segments(&self) -> Vec<Segment> {
        segments(&self.thread()).unwrap_or_default()
    }

    /// The records that were written, parsed, but for their numbers.
    fn written(&self) -> Vec<Value> {
        let mut records = Vec::new();
        for segment in self.segments() {
            for line in fs::read_to_string(segment.path).unwrap().split('\n').filter(|line| !line.is_empty())
            {
                if let Ok(mut record) = serde_json::from_str::<Value>(line) {
                    record.as_object_mut().unwrap().remove("seq");
                    records.push(record);
                }
            }
        }
        records
    }
}

fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn errors(directory: &Path) -> Vec<String> {
    let findings = verify(directory).into_iter().filter(|finding| finding.level == Level::Error);
    findings.map(|finding| finding.to_string()).collect()
}

/// What must be the same in both formats: everything but where it stands, and ids that one of them does not have.
fn essence(
    session: &Session,
    rows: &Rows,
) -> (Vec<Turn>, Vec<ToolCall>, Vec<Approval>, Vec<u64>, TokenCounts) {
    let stamp = |stamp: Stamp| Stamp { seq: 0, place: trace::Place::default(), ..stamp };
    let old = rows.turns.values().any(|turn| turn.id.is_empty() || turn.id.len() < 5);
    let id = |id: &str| if old { String::new() } else { id.to_owned() };
    let turns = rows.turns.values().cloned().map(|turn| Turn {
        id: id(&turn.id),
        started: stamp(turn.started),
        ended: None,
        user_place: None,
        ..turn
    });
    let calls = rows.calls.values().cloned().map(|call| ToolCall {
        turn_id: id(&call.turn_id),
        opened: stamp(call.opened),
        closed: call.closed.map(stamp),
        ..call
    });
    let approvals = rows.approvals.values().cloned().map(|approval| Approval {
        turn_id: id(&approval.turn_id),
        decided: approval.decided.map(stamp),
        ..approval
    });
    let counts = session.counts;
    let counts = vec![
        counts.turns,
        counts.requests,
        counts.calls,
        counts.execs,
        counts.patches,
        counts.approvals,
        counts.denials,
        counts.errors,
        counts.stream_errors,
        counts.warnings,
        counts.compactions,
        counts.epochs,
    ];
    (turns.collect(), calls.collect(), approvals.collect(), counts, session.tokens)
}

fn batch_of(format: Format, files: &[(u32, &Path)]) -> (Session, Rows) {
    let batch = batch::read(THREAD.parse().unwrap(), format, files, Rows::default());
    assert_eq!(batch.unread, 0, "{:?}", batch.findings);
    (batch.session, batch.sink)
}

#[test]
fn a_recording_tells_the_same_turns_calls_and_approvals_as_its_rollout() {
    for (name, ordinals, records) in stories() {
        let home = Home::new();
        let rollout = home.rollout(&rollout_lines(ordinals, &records));
        let recorded = record_rollout(&rollout, &home.root()).unwrap();
        assert_eq!((recorded.skipped, recorded.records), (0, recorded.last_seq), "{name}");
        let (session, rows) = batch_of(Format::Rollout, &[(0, &rollout)]);
        let segments = home.segments();
        let files: Vec<_> =
            segments.iter().map(|segment| (segment.index(), segment.path.as_path())).collect();
        let (session_again, rows_again) = batch_of(Format::Spine, &files);
        let (turns, calls, approvals, counts, tokens) = essence(&session, &rows);
        let again = essence(&session_again, &rows_again);
        assert_eq!(again.0, turns, "{name}");
        assert_eq!(again.1, calls, "{name}");
        assert_eq!(again.2, approvals, "{name}");
        assert_eq!((again.3, again.4), (counts, tokens), "{name}");
        assert_eq!(
            (session_again.git_commit, session_again.cwd),
            (session.git_commit, session.cwd),
            "{name}"
        );
        assert_eq!(session_again.counts.unknown, 0, "{name}");
    }
}

#[test]
fn a_recording_passes_verification_and_says_who_wrote_it() {
    for (name, ordinals, records) in stories() {
        let home = Home::new();
        record_rollout(&home.rollout(&rollout_lines(ordinals, &records)), &home.root()).unwrap();
        let findings = verify(&home.thread());
        // A rollout keeps only the history after a compaction.
        let unexpected: Vec<_> =
            findings.iter().filter(|finding| finding.code != Code::MissingHistories).collect();
        assert!(unexpected.is_empty(), "{name}: {unexpected:?}");
        let first = &home.written()[0];
        assert_eq!(
            (&first["type"], &first["payload"]["originator"]),
            (&json!("session_meta"), &json!(ORIGINATOR))
        );
        assert!(home.segments()[0].meta_path().exists());
    }
}

#[test]
fn recording_again_adds_only_what_the_rollout_has_more() {
    let home = Home::new();
    let lines = rollout_lines(true, &new_story());
    let (some, _) = lines.split_at(lines.len() / 2);
    record_rollout(&home.rollout(some), &home.root()).unwrap();
    let rollout = home.rollout(&lines);
    record_rollout(&rollout, &home.root()).unwrap();
    let again = record_rollout(&rollout, &home.root()).unwrap();
    assert_eq!(again.records, 0);
    let undisturbed = Home::new();
    record_rollout(&undisturbed.rollout(&lines), &undisturbed.root()).unwrap();
    assert_eq!(home.written(), undisturbed.written());
    assert_eq!(errors(&home.thread()), [""; 0]);
    assert_eq!(home.segments().len(), 2, "nothing new begins no segment");
}

#[test]
fn a_spine_of_codex_is_never_touched() {
    let codex = json!({ "schema_version": "codex_trace_spine_v1", "thread_id": THREAD, "seq": 1,
        "timestamp": "2026-03-02T08:00:00.000Z", "type": "session_meta", "payload": { "id": THREAD, "originator": "codex_exec" } });
    for first in [format!("{codex}\n"), String::new(), "torn".to_owned()] {
        let home = Home::new();
        fs::create_dir_all(home.thread()).unwrap();
        let path = home.thread().join("segment-000.jsonl");
        fs::write(&path, &first).unwrap();
        let rollout = home.rollout(&rollout_lines(false, &old_story()));
        let error = record_rollout(&rollout, &home.root()).unwrap_err();
        assert!(matches!(error, RecordingError::Foreign(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::read_dir(home.thread()).unwrap().count(), 1);
    }
}

#[test]
fn a_segment_is_closed_at_five_thousand_records_and_the_next_one_begins_at_once() {
    let home = Home::new();
    let mut records = vec![old_meta()];
    records.extend(old_user("go"));
    records
        .extend((0..6000).map(|n| msg(json!({ "type": "agent_reasoning", "text": format!("thought {n}") }))));
    record_rollout(&home.rollout(&rollout_lines(false, &records)), &home.root()).unwrap();
    let segments = home.segments();
    let lines = |segment: &Segment| fs::read_to_string(&segment.path).unwrap().lines().count();
    assert_eq!(segments.len(), 2);
    assert_eq!(lines(&segments[0]), 5000);
    assert!(segments.iter().all(|segment| segment.meta_path().exists()));
    assert!(verify(&home.thread()).is_empty(), "{:?}", verify(&home.thread()));
}

#[test]
fn a_segment_is_closed_at_five_mebibytes() {
    let home = Home::new();
    let long = "x".repeat(1 << 20);
    let mut records = vec![old_meta()];
    records.extend(old_user("go"));
    records.extend((0..12).map(|_| msg(json!({ "type": "agent_reasoning", "text": long }))));
    record_rollout(&home.rollout(&rollout_lines(false, &records)), &home.root()).unwrap();
    let sizes: Vec<_> =
        home.segments().iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).collect();
    assert_eq!(sizes.len(), 3);
    assert!(sizes[..2].iter().all(|size| (5 << 20..7 << 20).contains(size)), "{sizes:?}");
    assert!(verify(&home.thread()).is_empty());
}

#[test]
fn git_is_recorded_once_for_each_moment_and_earlier_patches_stay() {
    let home = Home::new();
    let lines = rollout_lines(true, &new_story());
    let open = || Recorder::open(&home.root(), THREAD.parse().unwrap()).unwrap();
    let state = |patch: &str| GitState {
        root: "/srv/app".into(),
        commit: Some("c1".into()),
        url: Some("https://me:secret@example.org/app.git".into()),
        base: Some("c0".into()),
        patch: Some(patch.into()),
        ..GitState::default()
    };
    let mut recorder = open();
    recorder.feed(text(&lines[..1]).as_bytes()).unwrap();
    recorder.git(&state("before"), "one", Moment::Begin).unwrap();
    recorder.flush().unwrap();
    drop(recorder);
    // As after a crash.
    let mut recorder = open();
    recorder.feed(text(&lines).as_bytes()).unwrap();
    recorder.git(&state("before, told again"), "one", Moment::Begin).unwrap();
    recorder.git(&state("after"), "one", Moment::End).unwrap();
    recorder.git(&state("after"), "two", Moment::Begin).unwrap();
    recorder.close().unwrap();
    assert!(verify(&home.thread()).is_empty(), "{:?}", verify(&home.thread()));
    let kinds: Vec<_> = home
        .written()
        .iter()
        .filter_map(|record| {
            let payload = &record["payload"];
            Some((payload["kind"].as_str()?.to_owned(), payload["artifact_path"].as_str().map(str::to_owned)))
        })
        .collect();
    let diff = |path: &str| ("git_diff".to_owned(), Some(path.to_owned()));
    let info = ("git_info".to_owned(), None);
    let (first, second) = (diff("artifacts/git_diff.patch"), diff("artifacts/git_diff-2.patch"));
    assert_eq!(kinds, [info.clone(), info, first, second.clone(), second]);
    assert!(!home.written().iter().any(|record| record.to_string().contains("secret")));
}

#[test]
fn a_thread_is_recorded_by_one_recorder_at_a_time() {
    let home = Home::new();
    let lines = rollout_lines(true, &new_story());
    let rollout = home.rollout(&lines);
    let mut recorder = Recorder::open(&home.root(), THREAD.parse().unwrap()).unwrap();
    recorder.feed(text(&lines[..2]).as_bytes()).unwrap();
    let error = record_rollout(&rollout, &home.root()).unwrap_err();
    assert!(matches!(error, RecordingError::Busy(_)), "{error}");
    drop(recorder);
    assert!(record_rollout(&rollout, &home.root()).unwrap().records > 0);
    assert_eq!(errors(&home.thread()), [""; 0]);
}

#[test]
fn a_rollout_that_names_no_thread_cannot_be_recorded() {
    let home = Home::new();
    let path = home.directory.path().join("notes.jsonl");
    fs::write(&path, text(&rollout_lines(false, &old_user("hello")))).unwrap();
    let error = record_rollout(&path, &home.root()).unwrap_err();
    assert!(matches!(error, RecordingError::NoThread(_)), "{error}");
    assert!(!home.root().exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_recorder_that_is_killed_anywhere_goes_on_without_loss_or_repetition(
        kills in prop::collection::vec((0.0..1.0_f64, 0..60_usize), 1..4),
        new in any::<bool>(),
    ) {
        let records = if new { new_story() } else { old_story() };
        let bytes = text(&rollout_lines(new, &records)).into_bytes();
        let undisturbed = Home::new();
        let mut recorder = Recorder::open(&undisturbed.root(), THREAD.parse().unwrap()).unwrap();
        recorder.feed(&bytes).unwrap();
        recorder.close().unwrap();

        let home = Home::new();
        for (share, torn) in kills {
            let mut recorder = Recorder::open(&home.root(), THREAD.parse().unwrap()).unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small number")]
            let end = (bytes.len() as f64 * share) as usize;
            for piece in bytes[..end].chunks(1000) {
                recorder.feed(piece).unwrap();
            }
            recorder.flush().unwrap();
            drop(recorder);
            // The end of an open segment may not have reached the disk; the first line of the first one has.
            if let Some(last) = home.segments().last().filter(|last| !last.meta_path().exists()) {
                let len = fs::metadata(&last.path).unwrap().len();
                let first = fs::read(&last.path).unwrap().iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) as u64;
                let kept = len.saturating_sub(torn as u64).max(if last.index() == 0 { first } else { 0 });
                fs::OpenOptions::new().write(true).open(&last.path).unwrap().set_len(kept).unwrap();
            }
        }
        let mut recorder = Recorder::open(&home.root(), THREAD.parse().unwrap()).unwrap();
        recorder.feed(&bytes).unwrap();
        recorder.close().unwrap();
        prop_assert_eq!(home.written(), undisturbed.written());
        // A torn line in the middle of a spine is what a crash leaves behind; nothing else is wrong.
        let unexpected: Vec<_> = verify(&home.thread())
            .into_iter()
            .filter(|finding| !matches!(finding.code, Code::TornLine | Code::MissingMeta))
            .collect();
        prop_assert!(unexpected.is_empty(), "{:?}", unexpected);
    }
}
