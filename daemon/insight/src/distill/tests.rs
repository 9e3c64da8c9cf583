#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use trace::Place;

use super::*;
use crate::signal::{RuleSet, Signal, SignalId, SignalType};

const THREAD: &str = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trace/fixtures")
}

/// The records of the spine in the fixtures.
fn records() -> Vec<Value> {
    ["segment-000.jsonl", "segment-001.jsonl"]
        .iter()
        .flat_map(|name| {
            let text = fs::read_to_string(fixtures().join("spine-repair").join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect()
}

/// A spine of records.
fn spine(directory: &Path, records: &[Value]) -> SessionFiles {
    fs::create_dir_all(directory).unwrap();
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fs::write(directory.join("segment-000.jsonl"), lines.join("\n") + "\n").unwrap();
    SessionFiles::at(directory).unwrap()
}

fn kind(record: &Value) -> &str {
    record["payload"]["kind"].as_str().unwrap_or_default()
}

/// The session without a word about where its repository is.
fn without_remote() -> Vec<Value> {
    records().into_iter().filter(|record| kind(record) != "git_info").collect()
}

fn signal(category: &str, seq: Option<u64>) -> Selection {
    Selection::Signal(Box::new(Signal {
        id: SignalId(format!("sig_{category}")),
        kind: SignalType::Friction,
        category: category.to_owned(),
        severity: 0.6,
        confidence: 1.0,
        session_id: THREAD.parse().unwrap(),
        epoch: 0,
        turn_id: None,
        call_id: None,
        seq_start: seq,
        seq_end: None,
        description: String::new(),
        evidence: json!({}),
        places: Vec::new(),
        detector: "mechanical".to_owned(),
        rule_set: RuleSet::V1,
        at: None,
        settled: true,
    }))
}

struct Task {
    _dir: tempfile::TempDir,
    path: PathBuf,
    made: Distilled,
}

impl Task {
    fn of(records: &[Value], selection: &Selection, options: &Options) -> Result<Self, DistillError> {
        let dir = tempfile::tempdir().unwrap();
        let files = spine(&dir.path().join("spine"), records);
        let path = dir.path().join("task");
        let made = distill(&files, selection, options, &path, &mut Redactor::new())?;
        Ok(Self { _dir: dir, path, made })
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }
}

/// The number of the first record of which something is true.
fn seq(records: &[Value], is: impl Fn(&Value) -> bool) -> u64 {
    records.iter().find(|record| is(record)).unwrap()["seq"].as_u64().unwrap()
}

fn failing_call(records: &[Value]) -> u64 {
    seq(records, |record| record["payload"]["msg"]["exit_code"] == 1)
}

#[test]
fn a_failure_becomes_a_task_whose_verifier_failed_before() {
    let records = records();
    let task = Task::of(&records, &signal("exec_failure", Some(failing_call(&records))), &Options::default())
        .unwrap();
    let metadata = &task.made.metadata;
    assert_eq!(metadata.verifier_type, "exec_command");
    assert_eq!(metadata.verifier_evidence, Some(Evidence::FailedBefore));
    assert_eq!(metadata.verifier_call_id.as_deref(), Some("call_5"));
    assert_eq!(metadata.source_turn_ids, ["1"]);
    assert_eq!(metadata.source_repo_url.as_deref(), Some("https://example.org/greet.git"));
    assert!(metadata.has_solution);
    assert_eq!(
        task.read("instruction.md"),
        "The greeting in /workspace/repo/greet.sh is misspelt. Fix it so that run_tests.sh passes.\n\n\
         The repository is at /workspace/repo.\n"
    );
    assert!(task.read("tests/test.sh").contains("/bin/bash -c 'sh run_tests.sh'"));
    let dockerfile = task.read("environment/Dockerfile");
    assert!(
        dockerfile
            .contains(r#"RUN ["git","clone","--no-checkout","--","https://example.org/greet.git","repo"]"#)
    );
    assert!(task.read("solution/changes-001.patch").starts_with("diff --git a/greet.sh b/greet.sh\n"));
    let toml: toml::Table = task.read("task.toml").parse().unwrap();
    assert_eq!(toml["version"].as_str(), Some("1.0"));
    assert_eq!(toml["metadata"]["signal_category"].as_str(), Some("exec_failure"));
    assert_eq!(toml["metadata"]["rule_set"].as_str(), Some("v1"));
}

#[test]
fn a_signal_of_the_whole_session_ends_where_something_can_be_judged() {
    let records = records();
    let task = Task::of(&records, &signal("file_churn", None), &Options::default()).unwrap();
    assert_eq!(task.made.metadata.verifier_type, "exec_command");
    assert!(task.read("instruction.md").starts_with("The greeting in"));
}

#[test]
fn a_part_that_nothing_can_judge_says_so_and_scores_nothing() {
    let task = Task::of(&records(), &Selection::Turns { first: 1, last: 1 }, &Options::default()).unwrap();
    let metadata = &task.made.metadata;
    assert_eq!(metadata.verifier_type, MISSING);
    assert!(metadata.verifier_missing_reason.as_deref().unwrap().contains("no command"));
    // `Now deploy it.` alone is no task: the words before are part of it.
    assert!(task.read("instruction.md").contains("misspelt"));
    assert!(task.read("tests/test.sh").contains("This task has no verifier"));
    let nothing = Task::of(&records(), &Selection::Records { first: 5000, last: 5001 }, &Options::default());
    assert!(matches!(nothing, Err(DistillError::NothingThere)));
}

#[test]
fn without_a_remote_the_repository_is_made_of_recorded_files() {
    let task =
        Task::of(&without_remote(), &Selection::Turns { first: 0, last: 0 }, &Options::default()).unwrap();
    assert_eq!(task.made.metadata.start_state, "synthetic");
    assert_eq!(task.made.metadata.verifier_type, "exec_command", "{:?}", task.made.metadata);
    assert_eq!(task.read("environment/repo/greet.sh"), "#!/bin/sh\necho helo\n");
    assert!(task.read("environment/repo/run_tests.sh").contains("FAIL"));
}

#[test]
fn a_file_that_nobody_saw_leaves_the_task_without_a_verifier() {
    let unseen = |record: &Value| {
        let call = &record["payload"]["msg"]["call_id"];
        call == "call_1" || call == "call_2"
    };
    let records: Vec<Value> = without_remote().into_iter().filter(|record| !unseen(record)).collect();
    let task = Task::of(&records, &Selection::Turns { first: 0, last: 0 }, &Options::default()).unwrap();
    assert_eq!(task.made.metadata.verifier_type, MISSING);
    assert!(!task.made.metadata.has_solution);
}

#[test]
fn names_are_stable_and_differ_with_what_was_distilled() {
    let name = |selection: &Selection| {
        Task::of(&records(), selection, &Options::default()).unwrap().made.metadata.task_name
    };
    let (first, second) =
        (name(&signal("exec_failure", Some(3))), name(&Selection::Turns { first: 0, last: 0 }));
    assert_eq!(first, name(&signal("exec_failure", Some(3))));
    assert_ne!(first, second);
    assert!(first.len() <= 32 && first.starts_with("exec-failure-"), "{first}");
}

/// Runs the test script with its fixed paths moved below a directory, and gives the reward.
fn reward(task: &Task, repo: &Path) -> String {
    let logs = repo.with_file_name("logs");
    let script = task
        .read("tests/test.sh")
        .replace("/logs/verifier", logs.to_str().unwrap())
        .replace("/workspace/repo", repo.to_str().unwrap());
    let status = Command::new("bash").arg("-c").arg(script).output().unwrap();
    let rewards: Vec<_> = fs::read_dir(&logs).unwrap().collect();
    assert_eq!(rewards.len(), 1, "{status:?}");
    fs::read_to_string(logs.join("reward.txt")).unwrap()
}

#[test]
fn the_test_gives_0_at_the_start_and_1_after_the_recorded_solution() {
    let task =
        Task::of(&without_remote(), &Selection::Turns { first: 0, last: 0 }, &Options::default()).unwrap();
    let repo = task.path.join("environment/repo");
    assert_eq!(reward(&task, &repo), "0\n");
    let solve = task.read("solution/solve.sh").replace("/workspace/repo", repo.to_str().unwrap());
    let solve_path = task.path.join("solution/here.sh");
    fs::write(&solve_path, solve).unwrap();
    let output = Command::new("bash").arg(&solve_path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(reward(&task, &repo), "1\n");
}

#[test]
fn a_task_without_a_verifier_writes_its_reward_and_fails() {
    let task = Task::of(&records(), &Selection::Turns { first: 1, last: 1 }, &Options::default()).unwrap();
    let repo = task.path.join("nowhere");
    assert_eq!(reward(&task, &repo), "0\n");
}

/// The session with another command in place of its tests, words in place of the user's, and another remote.
fn hostile(command: &str, words: &str, url: &str) -> Vec<Value> {
    let mut records = records();
    for record in &mut records {
        let msg = &mut record["payload"]["msg"];
        if msg["command"][2] == "sh run_tests.sh" {
            msg["command"][2] = json!(command);
        }
        if msg["type"] == "user_message" {
            msg["message"] = json!(words);
        }
        if record["payload"]["id"] == "1" && record["payload"]["op"]["type"] == "user_turn" {
            record["payload"]["op"]["items"][0]["text"] = json!(words);
        }
        if kind(record) == "git_info" {
            record["payload"]["git"]["repository_url"] = json!(url);
        }
    }
    records
}

#[test]
fn recorded_text_stays_text_in_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let trap = dir.path().join("sprung");
    let touch = format!("touch {}", trap.display());
    let words = format!("fix it '\"\"\"\n]]\n[verifier]\ntimeout_sec = 1\n$({touch}) `{touch}` \u{1b}[31m");
    let command = format!("sh 'run_tests.sh$({touch})' \"x';{touch};'\"");
    let records = hostile(&command, &words, "https://example.org/$(id)\nRUN id");
    let task = Task::of(&records, &Selection::Turns { first: 0, last: 0 }, &Options::default()).unwrap();
    assert_eq!(task.made.metadata.verifier_type, "exec_command", "{:?}", task.made.metadata);
    assert!(!task.read("instruction.md").contains('\u{1b}'));
    assert!(!task.read("environment/Dockerfile").contains("RUN id"));
    let toml: toml::Table = task.read("task.toml").parse().unwrap();
    assert!(toml["verifier"]["timeout_sec"].as_float().unwrap() > 60.0);
    let script =
        task.read("tests/test.sh").replace("/logs/verifier", dir.path().join("logs").to_str().unwrap());
    let output = Command::new("bash").arg("-n").arg("-c").arg(&script).output().unwrap();
    assert!(output.status.success(), "{output:?}\n{script}");
    Command::new("bash").arg("-c").arg(script).output().unwrap();
    assert!(!trap.exists());
}

#[test]
fn a_patch_file_is_taken_by_its_hash_and_never_from_elsewhere() {
    let behind = |path: &str, content: &str, before: &dyn Fn(&Value) -> bool| {
        let mut records = records();
        let at = records.iter().position(before).unwrap();
        let mut record = records[at].clone();
        record["type"] = json!("artifact_ref");
        record["payload"] = json!({"kind": "git_diff", "base_sha": "1234567890", "artifact_path": path, "sha256": sha256_hex(content.as_bytes())});
        records.insert(at + 1, record);
        records
    };
    let with =
        |path: &str, content: &str| behind(path, content, &|record: &Value| kind(record) == "git_info");
    let patch = "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n";
    let run = |records: &[Value], written: &str| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("spine");
        fs::create_dir_all(root.join("artifacts")).unwrap();
        fs::write(root.join("artifacts/git_diff.patch"), written).unwrap();
        fs::write(dir.path().join("outside.patch"), written).unwrap();
        let files = spine(&root, records);
        let selection = Selection::Turns { first: 0, last: 0 };
        let task = dir.path().join("task");
        let made = distill(&files, &selection, &Options::default(), &task, &mut Redactor::new()).unwrap();
        (made.metadata, fs::read_to_string(task.join("environment/git_diff.patch")).ok())
    };
    let (metadata, copied) = run(&with("artifacts/git_diff.patch", patch), patch);
    assert_eq!(copied.as_deref(), Some(patch));
    assert_eq!(metadata.source_commit_hash.as_deref(), Some("1234567890"));
    assert_eq!(metadata.verifier_type, "exec_command");
    // Codex looks at the repository while the user's first words are already on record.
    let late = behind("artifacts/git_diff.patch", patch, &|record| record["type"] == "turn_context");
    let (metadata, copied) = run(&late, patch);
    assert_eq!((metadata.verifier_type.as_str(), copied.as_deref()), ("exec_command", Some(patch)));
    // Overwritten since, or a path that leads out: the start is not known.
    for (path, written) in [("artifacts/git_diff.patch", "other"), ("../outside.patch", patch)] {
        let (metadata, copied) = run(&with(path, patch), written);
        assert_eq!((metadata.verifier_type.as_str(), copied), (MISSING, None), "{path}");
    }
}

#[test]
fn a_signal_of_another_session_is_refused() {
    let Selection::Signal(mut signal) = signal("x", Some(1)) else { unreachable!() };
    signal.session_id = "other".parse().unwrap();
    signal.places = vec![Place::default()];
    let refused = Task::of(&records(), &Selection::Signal(signal), &Options::default());
    assert!(matches!(refused, Err(DistillError::OtherSession { .. })));
}

#[test]
fn rollouts_of_both_versions_become_tasks_with_their_solutions() {
    for version in ["0.75.0", "0.169.0"] {
        let dir = tempfile::tempdir().unwrap();
        let files = SessionFiles::at(&fixtures().join(format!("rollout-{version}-repair.jsonl"))).unwrap();
        let path = dir.path().join("task");
        let selection = Selection::Turns { first: 0, last: 0 };
        let made = distill(&files, &selection, &Options::default(), &path, &mut Redactor::new()).unwrap();
        assert_eq!(made.metadata.verifier_type, "exec_command", "{version}: {:?}", made.metadata);
        // The start is the recorded commit, and the recorded patches lead from there to the end.
        let repo = dir.path().join("repo");
        fs::create_dir(&repo).unwrap();
        fs::write(repo.join("greet.sh"), "#!/bin/sh\necho helo\n").unwrap();
        let solve = fs::read_to_string(path.join("solution/solve.sh")).unwrap();
        fs::write(path.join("solution/here.sh"), solve.replace("/workspace/repo", repo.to_str().unwrap()))
            .unwrap();
        let output = Command::new("bash").arg(path.join("solution/here.sh")).output().unwrap();
        assert!(output.status.success(), "{version}: {output:?}");
        assert_eq!(fs::read_to_string(repo.join("greet.sh")).unwrap(), "#!/bin/sh\necho hello\n");
        assert!(repo.join("NOTES.md").exists());
    }
}
