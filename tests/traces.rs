//! Traces as people meet them: read while they are written, over the deaths of the daemon, and what is made of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use corpus::{Made, Real, real};
use nest::{Nest, object, until};
use serde_json::{Value, json};

/// A small past: sessions in all their variety.
fn past(nest: &Nest) -> Made {
    real(&nest.path("home/.codex"), &Real { bytes: 4 << 20, sessions: Some(24), seed: 7 }).unwrap()
}

fn read_everything(nest: &Nest) -> Value {
    object(&nest.spindle(["--json", "trace", "ingest", "--wait"]))
}

/// What the daemon knows, as JSON lines.
fn exported(nest: &Nest, name: &str) -> Vec<u8> {
    let file = nest.path(name);
    let done = nest.spindle(["trace", "export", "--raw", "--jsonl", file.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    fs::read(file).unwrap()
}

/// A trace spine that is being written.
struct Spine {
    file: File,
    thread: &'static str,
    seq: u64,
}

impl Spine {
    const THREAD: &'static str = "0199a1b2-0000-7000-8000-00000000a001";

    fn begun(nest: &Nest) -> Self {
        let directory = nest.path("home/.codex/trace_spine").join(Self::THREAD);
        fs::create_dir_all(&directory).unwrap();
        let file =
            File::options().append(true).create(true).open(directory.join("segment-000.jsonl")).unwrap();
        let mut spine = Self { file, thread: Self::THREAD, seq: 0 };
        let meta = json!({
            "id": Self::THREAD, "timestamp": jiff::Timestamp::now().to_string(), "cwd": "/srv/greeter",
            "originator": "codex_cli_rs", "cli_version": "0.93.0", "source": "cli", "model_provider": "mock",
        });
        spine.record("session_meta", &meta);
        let turn = json!({
            "type": "user_turn", "items": [{"type": "text", "text": "Make the test pass."}],
            "cwd": "/srv/greeter", "approval_policy": "on-request",
            "sandbox_policy": {"type": "workspace-write"}, "model": "mock-model",
        });
        spine.record("submission", &json!({"id": "1", "op": turn}));
        spine.event(&json!({"type": "task_started"}));
        spine
    }

    fn record(&mut self, kind: &str, payload: &Value) {
        self.seq += 1;
        let record = json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": self.thread, "seq": self.seq,
            "timestamp": jiff::Timestamp::now().to_string(), "type": kind, "payload": payload,
        });
        writeln!(self.file, "{record}").unwrap();
    }

    fn event(&mut self, message: &Value) {
        self.record("event", &json!({"id": "1", "msg": message}));
    }

    /// A command that fails.
    fn failure(&mut self, call: &str) {
        let mut message = json!({
            "type": "exec_command_begin", "call_id": call, "turn_id": "1", "parsed_cmd": [],
            "command": ["bash", "-lc", "make test"], "cwd": "/srv/greeter", "source": "agent",
        });
        self.event(&message);
        let end = json!({
            "type": "exec_command_end", "stdout": "", "stderr": "no rule", "aggregated_output": "no rule",
            "exit_code": 2, "duration": {"secs": 0, "nanos": 40_000_000}, "formatted_output": "no rule",
        });
        message.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
        self.event(&message);
    }
}

/// `spindle trace watch`, and the lines that it prints.
struct Watcher {
    process: Child,
    lines: std::sync::mpsc::Receiver<Value>,
}

impl Watcher {
    fn from_the_beginning(nest: &Nest) -> Self {
        Self::with(nest, &[])
    }

    fn with(nest: &Nest, options: &[&str]) -> Self {
        let mut command = nest.command(env!("CARGO_BIN_EXE_spindle"));
        command.args(["--json", "trace", "watch", "--no-sessions", "--from", "1"]).args(options);
        command.stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, lines: receiver }
    }

    /// The next change; waits for it.
    fn next(&self) -> Value {
        self.lines.recv_timeout(nest::PATIENCE).expect("a change of a signal")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn what_codex_wrote_before_is_read_listed_and_shown_with_its_records() {
    let mut nest = Nest::empty();
    let made = past(&nest);
    nest.start().await;
    let ingested = read_everything(&nest);
    let sessions = object(&nest.spindle(["--json", "trace", "sessions", "--all"]));
    let sessions = sessions["sessions"].as_array().unwrap();
    assert_eq!(sessions.len() as u64, made.sessions, "{ingested}");

    let first = object(&nest.spindle(["--json", "trace", "sessions", "--page-size", "20"]));
    let token = first["next_page_token"].as_str().unwrap();
    let rest = object(&nest.spindle(["--json", "trace", "sessions", "--page-token", token]));
    let parts = [&first, &rest].map(|page| page["sessions"].as_array().unwrap().as_slice());
    assert_eq!(parts.concat(), *sessions);

    let signals = object(&nest.spindle(["--json", "trace", "signals", "--all"]));
    let signals = signals["signals"].as_array().unwrap();
    let evident = signals.iter().find(|signal| signal["call_id"].is_string()).unwrap();
    let id = evident["id"].as_str().unwrap();
    let shown = nest.spindle(["trace", "show", id]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{shown:?}");
    assert!(text.contains(id) && text.contains(evident["call_id"].as_str().unwrap()), "{text}");

    let compat = object(&nest.spindle(["--json", "trace", "signals", "--rules", "compat"]));
    let id = compat["signals"][0]["id"].as_str().unwrap();
    assert_eq!(object(&nest.spindle(["--json", "trace", "show", id]))["signal"]["id"], id);
    assert_eq!(nest.spindle(["trace", "show", "sig_nothing"]).status.code(), Some(4));
    for (nowhere, code, needed) in [("sig_c_0", 2, "10 characters"), ("sig_c_zzzz", 4, "no signal")] {
        let answer = nest.spindle(["trace", "show", nowhere]);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert_eq!(answer.status.code(), Some(code), "{answer:?}");
        assert!(said.contains(needed) && said.contains("--rules compat"), "{said}");
    }

    let path = sessions[0]["spine_path"].as_str().unwrap();
    let alone = object(&nest.spindle(["--json", "trace", "ingest", "--wait", path]));
    assert_eq!(alone["sessions"], 1, "{path}: {alone}");
    let homeless = nest.spindle(["trace", "ingest", "/etc/passwd"]);
    let said = String::from_utf8_lossy(&homeless.stderr).into_owned();
    assert!(homeless.status.code() == Some(4) && said.contains("archived_sessions"), "{homeless:?}");

    let elsewhere = nest.spindle(["trace", "ingest", "--wait", "--codex-home", "/nowhere/.codex"]);
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert!(!elsewhere.status.success() && said.contains("/nowhere/.codex"), "{said}");

    for named in [&["--codex-home", "."][..], &[]] {
        let missing = nest.spindle([&["trace", "record", "./no-rollout.jsonl"], named].concat());
        let said = String::from_utf8_lossy(&missing.stderr).into_owned();
        assert!(missing.status.code() == Some(4) && said.contains("there is nothing at"), "{said}");
    }

    let typed = nest.spindle(["trace", "signals", "--category", "exec_failur"]);
    let said = String::from_utf8_lossy(&typed.stderr).into_owned();
    assert!(!typed.status.success() && said.contains("exec_failure"), "{said}");

    let report = object(&nest.spindle(["--json", "trace", "report"]));
    assert_eq!(report["sessions_total"], made.sessions, "{report}");
}

#[tokio::test]
async fn a_page_token_goes_with_its_list_its_rules_and_its_filter_only() {
    let mut nest = Nest::empty();
    past(&nest);
    nest.start().await;
    read_everything(&nest);
    let signals = ["trace", "signals", "--type", "friction", "--page-size", "2", "--since", "100000d"];
    let page = object(&nest.spindle([&["--json"], &signals[..]].concat()));
    let token = page["next_page_token"].as_str().unwrap();
    let go_on = |list: &[&str]| nest.spindle([list, &["--page-token", token]].concat());

    let session = page["signals"][0]["session_id"].as_str().unwrap();
    for other in [
        &["trace", "sessions"][..],
        &["trace", "signals"],
        &["trace", "signals", "--type", "delight"],
        &["trace", "signals", "--type", "friction", "--rules", "compat"],
        &["trace", "signals", "--type", "friction", "--min-severity", "0.1"],
        &["trace", "signals", "--type", "friction", "--category", "exec_failure"],
        &["trace", "signals", "--type", "friction", "--session", session],
        &["trace", "turns", session],
        &["trace", "calls", session],
        &["run", "ls"],
        &["run", "ls", "--external"],
    ] {
        let refused = go_on(other);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{other:?}: {refused:?}");
        assert!(said.contains(token) && said.contains("no page token of this list"), "{other:?}: {said}");
    }
    let cut =
        nest.spindle(["trace", "signals", "--type", "friction", "--page-token", &token[..token.len() - 1]]);
    assert_eq!(cut.status.code(), Some(2), "{cut:?}");

    // The size may change, and "since" is another moment whenever it is asked.
    let rest = go_on(&[
        "--json",
        "trace",
        "signals",
        "--type",
        "friction",
        "--page-size",
        "3",
        "--since",
        "100000d",
    ]);
    let whole =
        object(&nest.spindle(["--json", "trace", "signals", "--type", "friction", "--page-size", "5"]));
    assert_eq!(object(&rest)["signals"].as_array().unwrap()[..], whole["signals"].as_array().unwrap()[2..5]);

    let turns = object(&nest.spindle(["--json", "trace", "turns", session, "--page-size", "1"]));
    if let Some(token) = turns["next_page_token"].as_str() {
        let abbreviated = &session[..session.len() - 1];
        assert!(nest.spindle(["trace", "turns", abbreviated, "--page-token", token]).status.success());
    }
}

#[tokio::test]
async fn signals_and_sessions_are_narrowed_to_any_of_several_categories() {
    let mut nest = Nest::empty();
    past(&nest);
    nest.start().await;
    read_everything(&nest);
    let ids = |list: &str, options: &[&str]| {
        let answer = object(&nest.spindle([&["--json", "trace", list, "--all"], options].concat()));
        let ids = answer[list].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
        ids.collect::<BTreeSet<_>>()
    };
    for list in ["signals", "sessions"] {
        let one = ids(list, &["--category", "denial_exec"]);
        let other = ids(list, &["--category", "zero_denial"]);
        let both: BTreeSet<_> = one.union(&other).cloned().collect();
        assert!(both.len() > one.len() && both.len() > other.len(), "{list}: {one:?} {other:?}");
        assert_eq!(ids(list, &["--category", "denial_exec,zero_denial"]), both);
        assert_eq!(ids(list, &["--category", "denial_exec", "--category", "zero_denial"]), both);
        let typed = nest.spindle(["trace", list, "--category", "denial_exec,denial"]);
        assert_eq!(typed.status.code(), Some(2), "{typed:?}");
    }
    for wrong in ["7", "NaN"] {
        for list in ["signals", "watch"] {
            let refused = nest.spindle(["trace", list, "--min-severity", wrong]);
            assert_eq!(refused.status.code(), Some(2), "{list}: {refused:?}");
        }
    }
    let wanted = ["denial_exec", "zero_denial"];
    let watcher = Watcher::with(&nest, &["--category", &wanted.join(",")]);
    let mut seen = BTreeSet::new();
    while seen.len() < wanted.len() {
        let change = watcher.next();
        let category = change["signal"]["category"].as_str().unwrap().to_owned();
        assert!(wanted.contains(&category.as_str()), "{change}");
        seen.insert(category);
    }
}

#[tokio::test]
async fn a_task_begins_with_the_image_and_the_repository_that_were_allowed() {
    let nest = Nest::new().await;
    let mut spine = Spine::begun(&nest);
    let git = json!({ "commit_hash": "0123456789abcdef", "repository_url": "file:///srv/greeter.git" });
    spine.record("artifact_ref", &json!({ "kind": "git_info", "repo_root": "/srv/greeter", "git": git }));
    let turn =
        json!({ "type": "user_turn", "items": [{"type": "text", "text": "Make the other test pass."}] });
    spine.record("submission", &json!({ "id": "2", "op": turn }));
    spine.failure("call_1");
    read_everything(&nest);
    let distill = |name: &str, more: &[&str]| {
        let directory = nest.path(name);
        let arguments =
            ["trace", "distill", "--session", Spine::THREAD, "--from-seq", "5", "--to-seq", "9", "-o"];
        let done = nest.spindle(
            arguments.iter().copied().chain([directory.to_str().unwrap()]).chain(more.iter().copied()),
        );
        (done, fs::read_to_string(directory.join("environment/Dockerfile")).unwrap_or_default())
    };
    let (done, plain) = distill("plain", &[]);
    assert!(done.status.success(), "{done:?}");
    assert!(!plain.contains("greeter.git"), "{plain}");
    let (done, chosen) =
        distill("chosen", &["--base-image", "registry.example.org/builder:1", "--allow-file-urls"]);
    assert!(done.status.success(), "{done:?}");
    assert!(chosen.starts_with("FROM registry.example.org/builder:1\n"), "{chosen}");
    assert!(chosen.contains("file:///srv/greeter.git"), "{chosen}");
    let (refused, _) = distill("refused", &["--base-image", "--privileged"]);
    assert!(!refused.status.success());
    let (refused, _) = distill("refused", &["--base-image", "two words"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("two words"), "{said}");
}

#[tokio::test]
async fn a_watcher_is_told_of_a_failure_while_the_session_is_written_and_over_the_daemon_s_death() {
    let mut nest = Nest::new().await;
    let watcher = Watcher::from_the_beginning(&nest);
    let mut spine = Spine::begun(&nest);
    spine.failure("call_1");
    let first = watcher.next();
    assert_eq!((&first["number"], &first["kind"]), (&json!(1), &json!("raised")), "{first}");
    assert_eq!(first["signal"]["category"], "exec_failure");

    nest.kill();
    spine.failure("call_2");
    nest.start().await;
    let second = watcher.next();
    assert_eq!(second["number"], 2, "{second}");
    assert_eq!(second["signal"]["session_id"], Spine::THREAD);
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_reads_knows_the_same_in_the_end() {
    let mut calm = Nest::empty();
    let made = past(&calm);
    calm.start().await;
    read_everything(&calm);

    let mut killed = Nest::empty();
    past(&killed);
    for milliseconds in [0, 5, 20, 40, 80, 160, 320] {
        killed.start().await;
        // At random places of its work: it is no condition that is waited for.
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        killed.kill();
    }
    killed.start().await;
    read_everything(&killed);
    let sessions = object(&killed.spindle(["--json", "trace", "sessions", "--all"]));
    assert_eq!(sessions["sessions"].as_array().unwrap().len() as u64, made.sessions);
    let [calm, killed] = [&calm, &killed].map(|nest| {
        let home = nest.path("home").to_str().unwrap().to_owned();
        String::from_utf8(exported(nest, "export.jsonl")).unwrap().replace(&home, "~")
    });
    for (calm, killed) in calm.lines().zip(killed.lines()) {
        assert_eq!(calm, killed);
    }
    assert_eq!(calm.len(), killed.len());
}

#[tokio::test]
async fn a_bundle_is_verified_against_its_own_list() {
    let mut nest = Nest::empty();
    let mut spine = Spine::begun(&nest);
    let artifacts = nest.path("home/.codex/trace_spine").join(Spine::THREAD).join("artifacts");
    fs::create_dir(&artifacts).unwrap();
    fs::write(artifacts.join("git_diff.patch"), "").unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    spine.record(
        "artifact_ref",
        &json!({"kind": "git_diff", "artifact_path": "artifacts/git_diff.patch", "sha256": empty}),
    );
    nest.start().await;
    read_everything(&nest);
    let bundle = nest.path("bundle");
    let verified = || nest.spindle(["--json", "trace", "verify", bundle.to_str().unwrap()]);
    let made = nest.spindle(["trace", "bundle", Spine::THREAD, "-o", bundle.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    let whole = verified();
    assert!(whole.status.success() && whole.stdout.is_empty(), "{whole:?}");

    fs::write(bundle.join("artifacts/git_diff.patch"), "changed").unwrap();
    let changed = verified();
    let text = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(changed.status.code() == Some(1) && text.contains("hash_mismatch"), "{changed:?}");
}

#[tokio::test]
async fn a_directory_is_verified_with_all_that_lies_below_it() {
    let mut nest = Nest::empty();
    past(&nest);
    nest.start().await;
    let home = nest.path("home/.codex");
    let broken = home.join("trace_spine").join(Spine::THREAD);
    drop(Spine::begun(&nest));
    let archived =
        home.join("archived_sessions/rollout-2026-03-02T08-00-00-01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11.jsonl");
    fs::create_dir_all(archived.parent().unwrap()).unwrap();
    fs::write(&archived, "no rollout\n").unwrap();
    let verified = |path: &Path| {
        let said = nest.spindle(["trace", "verify", path.to_str().unwrap()]);
        let summary = String::from_utf8_lossy(&said.stderr).lines().last().unwrap_or_default().to_owned();
        let number = |name: &str| {
            let rest = summary.split_once(&format!("{name}: ")).map(|(_, rest)| rest)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        (
            said.status.code(),
            number("verified"),
            number("errors"),
            String::from_utf8_lossy(&said.stdout).into_owned(),
        )
    };
    let spines = fs::read_dir(home.join("trace_spine")).unwrap().count();
    let rollouts = files_below(&home.join("sessions"));
    assert!(spines > 2 && rollouts > 2, "{spines} {rollouts}");

    let (code, number, errors, _) = verified(&home.join("trace_spine"));
    assert_eq!((code, number, errors), (Some(0), Some(spines), Some(0)));
    let (code, number, errors, _) = verified(&home.join("sessions"));
    assert_eq!((code, number, errors), (Some(0), Some(rollouts), Some(0)));
    let (code, number, _, told) = verified(&home.join("archived_sessions"));
    assert_eq!((code, number), (Some(1), Some(1)), "{told}");
    assert!(told.contains("rollout-2026-03-02T08-00-00"), "{told}");
    fs::write(broken.join("segment-000.jsonl"), "{}\n").unwrap();
    let (code, number, _, told) = verified(&home);
    assert_eq!((code, number), (Some(1), Some(spines + rollouts + 1)), "{told}");
    assert!(told.contains(Spine::THREAD) && told.contains("rollout-2026-03-02T08-00-00"), "{told}");

    let nothing = nest.path("nothing");
    fs::create_dir_all(nothing.join("deeper")).unwrap();
    fs::write(nothing.join("deeper/notes.jsonl"), "{}\n").unwrap();
    let refused = nest.spindle(["trace", "verify", nothing.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(said.contains("no spine, rollout or bundle"), "{said}");
}

#[tokio::test]
async fn a_schedule_starts_a_run_while_the_agent_is_still_at_work() {
    let nest = Nest::new().await;
    let filter = r#"{"categories":["exec_failure"]}"#;
    let added = nest.spindle([
        "schedule",
        "add",
        "look",
        "--on",
        "signal",
        "--filter",
        filter,
        "exec",
        "--",
        "sh",
        "-c",
        "echo seen >>seen",
    ]);
    assert!(added.status.success(), "{added:?}");
    let mut spine = Spine::begun(&nest);
    spine.failure("call_1");
    let seen = nest.work_dir().join("seen");
    until("the schedule has fired", || {
        fs::read_to_string(&seen).is_ok_and(|text| text == "seen\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_run_of_another_tool_is_listed_and_its_end_sets_off_a_schedule() {
    let mut nest = Nest::new().await;
    let project = nest.path("project");
    let run = |nest: &Nest, state: &str| {
        let directory = project.join(".runs/demo/cli/r1");
        fs::create_dir_all(&directory).unwrap();
        let now = jiff::Timestamp::now().to_string();
        let manifest = json!({
            "run_id": "r1", "status": state, "pipeline_id": "exec", "started_at": now, "updated_at": now,
            "heartbeat_at": now, "heartbeat_interval_seconds": 60,
        });
        let new = nest.path("manifest.new");
        fs::write(&new, manifest.to_string()).unwrap();
        fs::rename(new, directory.join("manifest.json")).unwrap();
    };
    run(&nest, "in_progress");
    let added = nest.spindle(["watch", "add", project.to_str().unwrap()]);
    assert!(added.stderr.ends_with(b": 1 run found\n"), "{added:?}");
    let removed = nest.spindle(["watch", "rm", project.to_str().unwrap()]);
    assert!(removed.status.success(), "{removed:?}");
    let added = object(&nest.spindle(["--json", "watch", "add", project.to_str().unwrap()]));
    assert_eq!((&added["runs"], &added["method"]), (&json!(1), &json!("notify")), "{added}");
    let listed = object(&nest.spindle(["--json", "run", "ls", "--external"]));
    assert_eq!(
        (&listed["runs"][0]["title"], &listed["runs"][0]["state"]),
        (&json!("exec"), &json!("running"))
    );

    let on = ["schedule", "add", "after", "--on", "external.finished"];
    let added = nest.spindle([&on[..], &["exec", "--", "sh", "-c", "echo over >>over"]].concat());
    assert!(added.status.success(), "{added:?}");
    nest.kill_and_start().await;
    run(&nest, "succeeded");
    let over = nest.work_dir().join("over");
    until("the schedule has fired", || {
        fs::read_to_string(&over).is_ok_and(|text| text == "over\n").then_some(())
    })
    .await;
    let listed = object(&nest.spindle(["--json", "run", "ls", "--external"]));
    assert_eq!(listed["runs"][0]["state"], "succeeded", "{listed}");
    assert_eq!(names(&project), [PathBuf::from(".runs")], "something was written");
}

fn files_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into()).collect()
}
