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
fn a_secret_that_the_solution_tells_is_known_in_the_instruction() {
    let told = |record: Value| {
        let text = record
            .to_string()
            .replace("misspelt", "hunter2xyz")
            .replace("+echo hello", "+PASSWORD=hunter2xyz");
        serde_json::from_str(&text).unwrap()
    };
    let records: Vec<Value> = records().into_iter().map(told).collect();
    let task = Task::of(&records, &signal("exec_failure", Some(failing_call(&records))), &Options::default())
        .unwrap();
    let (words, patch) = (task.read("instruction.md"), task.read("solution/changes-001.patch"));
    assert!(words.contains("is [secret:1]. Fix"), "{words}");
    assert!(patch.contains("+PASSWORD=[secret:1]"), "{patch}");
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

/// What git says when Codex began to work on the rollout of the fixtures, and when it had ended, is recorded beside a
/// copy of that rollout.
fn recorded_beside(home: &Path) -> SessionFiles {
    use trace::recording::{GitState, Moment, Recorder};

    let thread = "01900001-0000-7000-8000-000000000001";
    let rollout = home.join(format!("sessions/2026/11/21/rollout-2026-11-21T14-18-54-{thread}.jsonl"));
    fs::create_dir_all(rollout.parent().unwrap()).unwrap();
    fs::copy(fixtures().join("rollout-0.169.0-repair.jsonl"), &rollout).unwrap();
    let mut recorder = Recorder::open(&home.join("trace_spine"), thread.parse().unwrap()).unwrap();
    recorder.feed(&fs::read(&rollout).unwrap()).unwrap();
    // An earlier commit of the same repository, which its remote knows.
    let state = |patch: &str| GitState {
        root: "/home/dev/greet".to_owned(),
        commit: Some("40a1003684c33e5f00cfb12d79c1596084949c8d".to_owned()),
        base: Some("1234567890".to_owned()),
        patch: Some(patch.into()),
        ..GitState::default()
    };
    let begun = "2026-11-21T14:18:54.100Z".parse::<jiff::Timestamp>().unwrap().as_millisecond().to_string();
    // Asking git takes a moment: the record of the beginning stands last.
    recorder.git(&state(AT_BEGIN), &begun, Moment::Begin).unwrap();
    recorder.git(&state("the end"), &begun, Moment::End).unwrap();
    recorder.close().unwrap();
    let mut files = SessionFiles::rollout(&rollout);
    files.find_beside(home, &thread.parse().unwrap());
    files
}

const AT_BEGIN: &str =
    "diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n";

#[test]
fn a_task_of_a_rollout_begins_with_the_working_tree_that_was_recorded_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let rollout = recorded_beside(home.path());
    let spine = SessionFiles::at(&home.path().join("trace_spine").join(rollout_thread(&rollout))).unwrap();
    for (number, files) in [rollout, spine].into_iter().enumerate() {
        let path = home.path().join(format!("task-{number}"));
        let selection = Selection::Turns { first: 0, last: 0 };
        let made = distill(&files, &selection, &Options::default(), &path, &mut Redactor::new()).unwrap();
        let metadata = &made.metadata;
        assert_eq!(metadata.verifier_type, "exec_command", "{metadata:?}");
        assert_eq!(metadata.source_commit_hash.as_deref(), Some("1234567890"));
        assert_eq!(metadata.diff_hash, Some(sha256_hex(AT_BEGIN.as_bytes())));
        assert_eq!(fs::read_to_string(path.join("environment/git_diff.patch")).unwrap(), AT_BEGIN);
        assert!(metadata.has_solution);
    }
}

#[test]
fn a_bundle_of_a_rollout_takes_what_was_recorded_beside_it_and_is_still_read_as_the_rollout() {
    let home = tempfile::tempdir().unwrap();
    let session = recorded_beside(home.path());
    let contents = trace::bundle::Contents {
        thread: rollout_thread(&session).parse().unwrap(),
        session,
        lineage: Vec::new(),
        created_at: "2026-03-02T10:00:00Z".parse().unwrap(),
    };
    let bundle = home.path().join("bundle");
    let manifest = trace::bundle::write(&contents, &bundle, &mut Redactor::new()).unwrap();
    assert!(manifest.files.contains_key("artifacts/git_diff.patch"), "{manifest:?}");
    assert!(manifest.files.contains_key("spine/segment-000.jsonl") && !manifest.rollout_path.is_empty());
    assert_eq!(trace::verify::verify(&bundle), []);
    let files = SessionFiles::at(&bundle).unwrap();
    assert_eq!(files.format, trace::session::Format::Rollout);
    let path = home.path().join("task");
    let selection = Selection::Turns { first: 0, last: 0 };
    let made = distill(&files, &selection, &Options::default(), &path, &mut Redactor::new()).unwrap();
    assert_eq!(made.metadata.diff_hash, Some(sha256_hex(AT_BEGIN.as_bytes())));
}

#[test]
fn a_spine_that_codex_wrote_is_none_that_was_recorded() {
    let home = tempfile::tempdir().unwrap();
    let mut rollout = recorded_beside(home.path());
    assert!(rollout.recorded.is_some());
    let thread = rollout_thread(&rollout);
    let segment = home.path().join("trace_spine").join(&thread).join("segment-000.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replace("spindle_recorder", "codex_exec")).unwrap();
    rollout.recorded = None;
    rollout.find_beside(home.path(), &thread.parse().unwrap());
    assert_eq!(rollout.recorded, None);
}

fn rollout_thread(files: &SessionFiles) -> String {
    transcript::read(files).unwrap().id.to_string()
}

#[test]
fn a_remote_below_a_home_directory_is_replaced_and_the_task_says_so() {
    let mut records = records();
    let git = records.iter_mut().find(|record| kind(record) == "git_info").unwrap();
    git["payload"]["git"]["repository_url"] = json!("file:///home/alice/greet.git");
    let selection = Selection::Turns { first: 0, last: 0 };
    let options = Options { allow_file_urls: true, ..Options::default() };
    let task = Task::of(&records, &selection, &options).unwrap();
    let dockerfile = task.read("environment/Dockerfile");
    assert!(dockerfile.contains("git") && !dockerfile.contains("alice"), "{dockerfile}");
    assert_eq!(task.made.metadata.verifier_type, MISSING, "{:?}", task.made.metadata);
}

/// A repository with one commit; gives its URL, the commit, and a git in it.
fn repository(directory: &Path) -> (String, String, impl Fn(&[&str]) -> String + use<>) {
    fs::create_dir(directory).unwrap();
    let at = directory.to_owned();
    let git = move |arguments: &[&str]| {
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"];
        let output = Command::new("git").args(identity).args(arguments).current_dir(&at).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    fs::write(directory.join("value"), "one\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=one"]);
    let commit = git(&["rev-parse", "HEAD"]).trim().to_owned();
    (format!("file://{}", directory.display()), commit, git)
}

#[test]
fn what_was_done_without_a_patch_is_solved_by_the_working_tree_that_was_found_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (url, commit, git) = repository(&dir.path().join("origin"));
    let origin = dir.path().join("origin");
    let spine_at = dir.path().join("spine");
    fs::create_dir_all(spine_at.join("artifacts")).unwrap();
    let diff = |name: &str, value: &str, new: &str| {
        fs::write(origin.join("value"), value).unwrap();
        fs::write(origin.join(new), "new\n").unwrap();
        git(&["add", "--intent-to-add", "."]);
        let patch = git(&["diff", "--binary", "--full-index", &commit]);
        git(&["reset", "--quiet", "--hard"]);
        git(&["clean", "--quiet", "-d", "--force"]);
        fs::write(spine_at.join("artifacts").join(name), &patch).unwrap();
        json!({ "kind": "git_diff", "base_sha": commit, "artifact_path": format!("artifacts/{name}"),
            "sha256": sha256_hex(patch.as_bytes()) })
    };
    let begin = diff("git_diff.patch", "dirty\n", "before");
    let end = diff("git_diff-2.patch", "done\n", "after");
    let said = json!({ "type": "user_turn", "items": [{ "type": "text", "text": "Make the value what it should be." }] });
    let call = |kind: &str, id: &str, code: i32| {
        json!({ "id": "1", "msg": { "type": kind, "call_id": id, "turn_id": "1", "cwd": origin, "source": "agent",
            "command": ["bash", "-lc", if id == "edit" { "printf done > value" } else { "make test" }], "parsed_cmd": [],
            "exit_code": code, "aggregated_output": "", "duration": { "secs": 0, "nanos": 1 } } })
    };
    let mut payloads = vec![
        ("session_meta", json!({ "id": THREAD, "cwd": origin, "source": "exec" })),
        (
            "artifact_ref",
            json!({ "kind": "git_info", "repo_root": origin,
            "git": { "commit_hash": commit, "repository_url": url } }),
        ),
        ("artifact_ref", begin),
        ("submission", json!({ "id": "1", "op": said })),
        ("event", json!({ "id": "1", "msg": { "type": "task_started" } })),
    ];
    for (id, code) in [("first", 1), ("edit", 0), ("last", 0)] {
        payloads.push(("event", call("exec_command_begin", id, code)));
        payloads.push(("event", call("exec_command_end", id, code)));
    }
    payloads.push(("event", json!({ "id": "1", "msg": { "type": "task_complete" } })));
    payloads.push(("artifact_ref", end));
    let records: Vec<Value> = (1..)
        .zip(payloads)
        .map(|(seq, (kind, payload))| json!({ "schema_version": "codex_trace_spine_v1", "thread_id": THREAD,
            "seq": seq, "timestamp": format!("2026-03-02T08:00:{seq:02}Z"), "type": kind, "payload": payload }))
        .collect();

    let files = spine(&spine_at, &records);
    let options = Options { allow_file_urls: true, ..Options::default() };
    let path = dir.path().join("task");
    let selection = Selection::Turns { first: 0, last: 0 };
    let made = distill(&files, &selection, &options, &path, &mut Redactor::inactive()).unwrap();
    assert_eq!((made.metadata.verifier_type.as_str(), made.metadata.has_solution), ("exec_command", true));
    // The start, as its image would make it, and then the solution.
    let repo = dir.path().join("repo");
    git(&["clone", "--quiet", &url, repo.to_str().unwrap()]);
    let here = |arguments: &[&str]| {
        assert!(Command::new("git").args(arguments).current_dir(&repo).status().unwrap().success());
    };
    here(&["apply", path.join("environment/git_diff.patch").to_str().unwrap()]);
    assert!(repo.join("before").exists());
    let solve = fs::read_to_string(path.join("solution/solve.sh")).unwrap();
    fs::write(path.join("solution/here.sh"), solve.replace("/workspace/repo", repo.to_str().unwrap()))
        .unwrap();
    let output = Command::new("bash").arg(path.join("solution/here.sh")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(repo.join("value")).unwrap(), "done\n");
    assert!(repo.join("after").exists() && !repo.join("before").exists());
}

#[test]
fn a_task_tells_the_settings_under_which_its_part_of_the_session_began() {
    let mut records = records();
    let second = records.iter().position(|record| record["payload"]["turn_id"] == "3").unwrap();
    for record in &mut records[second..] {
        if record["type"] == "turn_context" {
            record["payload"]["context"]["sandbox_policy"] = json!({"type": "danger-full-access"});
            record["payload"]["context"]["approval_policy"] = json!("never");
            record["payload"]["context"]["model"] = json!("another-model");
        }
    }
    let settings = |first, last| {
        let task = Task::of(&records, &Selection::Turns { first, last }, &Options::default()).unwrap();
        let metadata = task.made.metadata.clone();
        [metadata.sandbox_policy, metadata.approval_policy, metadata.model].map(Option::unwrap)
    };
    assert_eq!(settings(1, 1), ["danger-full-access", "never", "another-model"]);
    assert_eq!(settings(0, 1), settings(0, 0));
    assert_ne!(settings(0, 0)[0], "danger-full-access");
}
