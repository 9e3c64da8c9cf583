#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};

use super::*;

fn fixture(name: &str) -> SessionFiles {
    SessionFiles::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn written(name: &str) -> (tempfile::TempDir, Vec<Value>, Written) {
    let dir = tempfile::tempdir().unwrap();
    let written = write(&fixture(name), &dir.path().join("out"), &mut Redactor::new()).unwrap();
    let documents = written
        .files
        .iter()
        .map(|file| serde_json::from_slice(&std::fs::read(written.directory.join(file)).unwrap()).unwrap())
        .collect();
    (dir, documents, written)
}

/// Whose steps, with how many calls and results.
fn shape(document: &Value) -> Vec<(String, usize, usize)> {
    let count = |value: &Value| value.as_array().map_or(0, Vec::len);
    document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let results = count(&step["observation"]["results"]);
            (step["source"].as_str().unwrap().to_owned(), count(&step["tool_calls"]), results)
        })
        .collect()
}

fn step(source: &str, calls: usize, results: usize) -> (String, usize, usize) {
    (source.to_owned(), calls, results)
}

#[test]
fn a_secret_that_a_later_step_tells_is_known_in_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rollout-0.75.0-repair.jsonl");
    let text = std::fs::read_to_string(fixture).unwrap();
    let text =
        text.replace("Fix greet.sh", "Use hunter2xyz").replace("wrong greeting", "PASSWORD=hunter2xyz");
    let rollout = dir.path().join("rollout-2026-11-21T14-18-57-01900011-0000-7000-8000-000000000011.jsonl");
    std::fs::write(&rollout, text).unwrap();
    let files = SessionFiles::at(&rollout).unwrap();
    let written = write(&files, &dir.path().join("out"), &mut Redactor::new()).unwrap();
    let document = std::fs::read_to_string(written.directory.join(&written.files[0])).unwrap();
    assert!(document.contains("Use [secret:1] so that") && !document.contains("hunter2xyz"), "{document}");
}

#[test]
fn a_request_to_the_model_is_one_step_in_rollouts_of_both_versions() {
    for version in ["0.75.0", "0.169.0"] {
        let (_dir, documents, _) = written(&format!("rollout-{version}-repair.jsonl"));
        assert_eq!(documents.len(), 1);
        let expected = [
            step("user", 0, 0),
            step("agent", 1, 1),
            step("agent", 1, 1),
            step("agent", 1, 1),
            step("agent", 0, 0),
        ];
        assert_eq!(shape(&documents[0]), expected, "{version}");
        let steps = documents[0]["steps"].as_array().unwrap();
        assert_eq!(steps[1]["message"], "running the tests");
        assert_eq!(steps[1]["metrics"]["prompt_tokens"], 100);
        assert_eq!(steps[1]["observation"]["results"][0]["content"], "exit_code: 1\nFAIL: wrong greeting\n");
        assert_eq!(documents[0]["agent"]["version"], version);
        assert_eq!(documents[0]["final_metrics"]["total_prompt_tokens"], 400);
        assert!(!documents[0].to_string().contains("/home/dev"));
    }
}

#[test]
fn a_spine_becomes_a_file_per_context_with_approvals_between_the_steps() {
    let (_dir, documents, written) = written("spine-repair");
    assert_eq!(written.files, ["trajectory.json", "trajectory.cont-1.json"]);
    let expected = [
        step("user", 0, 0),
        step("agent", 1, 1),
        step("agent", 2, 2),
        step("agent", 1, 1),
        step("system", 0, 0), // asked
        step("system", 0, 0), // approved
        step("agent", 1, 1),
        step("agent", 0, 0),
        step("user", 0, 0),
        step("agent", 1, 1),
        step("system", 0, 0), // asked
        step("system", 0, 0), // denied
        step("agent", 0, 0),
        step("system", 0, 1), // compacted
    ];
    assert_eq!(shape(&documents[0]), expected);
    assert_eq!(documents[0]["extra"]["continued_in"], "trajectory.cont-1.json");
    assert_eq!(documents[1]["extra"]["continues"], "trajectory.json");
    assert_eq!(documents[1]["steps"][0]["extra"]["kind"], "copied_context");
    let all = format!("{documents:?}");
    assert!(!all.contains("s3cretpw") && !all.contains("/home/dev"), "{all}");
    assert!(written.redaction.total() > 0);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "").unwrap();
    let error = write(&fixture("spine-repair"), dir.path(), &mut Redactor::new()).unwrap_err();
    assert!(matches!(error, AtifError::Output(OutputError::Occupied(_))), "{error}");
}

#[test]
fn what_no_record_tells_of_tokens_is_left_out_and_not_nought() {
    let dir = tempfile::tempdir().unwrap();
    let thread = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
    let written = |usage: Option<Value>| {
        let directory = dir.path().join(usage.is_some().to_string()).join(thread);
        std::fs::create_dir_all(&directory).unwrap();
        let event = |msg: Value| json!({ "type": "event", "payload": { "id": "1", "msg": msg } });
        let mut records = vec![
            event(json!({ "type": "task_started" })),
            event(json!({ "type": "agent_message", "message": "Done." })),
            event(json!({ "type": "thread_rolled_back", "num_turns": 1 })),
        ];
        if let Some(usage) = usage {
            records.insert(2, event(json!({ "type": "token_count", "info": { "last_token_usage": usage } })));
        }
        let lines = records.iter_mut().zip(1..).map(|(record, seq)| {
            record["seq"] = json!(seq);
            record["thread_id"] = json!(thread);
            record["schema_version"] = json!("codex_trace_spine_v1");
            format!("{record}\n")
        });
        std::fs::write(directory.join("segment-000.jsonl"), lines.collect::<String>()).unwrap();
        let files = SessionFiles::at(&directory).unwrap();
        let out = directory.join("out");
        write(&files, &out, &mut Redactor::new()).unwrap();
        serde_json::from_slice::<Value>(&std::fs::read(out.join("trajectory.json")).unwrap()).unwrap()
    };
    let untold = written(None);
    assert_eq!(untold["final_metrics"], json!({ "total_steps": 2 }), "{untold}");
    assert_eq!(untold["steps"][0].get("metrics"), None);
    assert_eq!(untold["steps"][1]["message"], "rolled back by 1 turn");

    let partly = written(Some(json!({ "input_tokens": 12, "output_tokens": 0 })));
    assert_eq!(partly["steps"][0]["metrics"], json!({ "prompt_tokens": 12, "completion_tokens": 0 }));
    let sums = json!({ "total_prompt_tokens": 12, "total_completion_tokens": 0, "total_steps": 2 });
    assert_eq!(partly["final_metrics"], sums);
}
