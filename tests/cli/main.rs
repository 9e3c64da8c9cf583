//! The `spindle` command against a stand-in for the daemon: exit codes, fixed
//! faces, and what it does when the connection is cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_imports, unreachable_pub, missing_docs)]

mod fake;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};

use fake::{Fake, RUN_ID, Story};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{Event, Failure, ReadLogRequest, Run, RunState};
use tempfile::TempDir;

fn spindle(home: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spindle"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("SPINDLE_STATE_DIR", home.path())
        .env("GITHUB_TOKEN", "hush")
        .stdin(Stdio::null());
    command
}

fn output(home: &TempDir, arguments: &[&str]) -> Output {
    spindle(home, arguments).output().unwrap()
}

fn spawn(home: &TempDir, arguments: &[&str]) -> Child {
    spindle(home, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn scene(run: Run) -> (TempDir, Story) {
    let story = Story::default();
    story.world().run = run;
    (tempfile::tempdir().unwrap(), story)
}

fn failed(kind: &str) -> Run {
    let failure = Failure { kind: kind.into(), message: "it failed".into(), ..Failure::default() };
    Run { state: RunState::Failed.into(), failure: Some(failure), ..Run::default() }
}

fn succeeded() -> Run {
    Run { state: RunState::Succeeded.into(), exit_code: Some(0), ..Run::default() }
}

fn event(seq: u64) -> Event {
    let data_json = format!(r#"{{"n":{seq}}}"#);
    Event { seq, r#type: "run.started".into(), token: format!("token-{seq}"), data_json, ..Event::default() }
}

#[test]
fn waiting_passes_on_how_the_run_ended() {
    for (run, code) in [
        (succeeded(), 0),
        (Run { exit_code: Some(7), ..failed("exit") }, 7),
        (Run { signal: Some(9), ..failed("signal") }, 137),
        (Run { signal: Some(15), ..failed("timeout") }, 124),
        (Run { exit_code: Some(127), ..failed("spawn") }, 127),
        (Run { state: RunState::Canceled.into(), ..failed("canceled") }, 125),
    ] {
        let (home, story) = scene(run);
        let _daemon = Fake::start(home.path(), &story, true);
        assert_eq!(output(&home, &["exec", "--wait", "--", "x"]).status.code(), Some(code));
        assert_eq!(output(&home, &["run", "wait", "01934f2a"]).status.code(), Some(code));
    }
}

#[test]
fn exec_wait_prints_one_json_object() {
    let (home, story) = scene(Run { exit_code: Some(3), ..failed("exit") });
    let _daemon = Fake::start(home.path(), &story, true);
    let output = output(&home, &["--json", "exec", "--wait", "--", "x"]);
    let run = json(&output.stdout);
    assert_eq!(run["id"], RUN_ID);
    assert_eq!(run["state"], "failed");
    assert_eq!(run["exit_code"], 3);
    for field in ["kind", "signal", "created_at", "started_at", "finished_at"] {
        assert!(run.as_object().unwrap().contains_key(field), "{field}");
    }
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_start_carries_what_the_run_needs_and_no_secret() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, true);
    let output =
        output(&home, &["exec", "--name", "n", "--label", "a=b", "--env", "K=V", "--", "sh", "-c", "x"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), RUN_ID);

    let world = story.world();
    let template = world.starts[0].template.clone().unwrap();
    assert!(!world.starts[0].request_id.is_empty());
    let Some(Workflow::Exec(exec)) = template.workflow else { panic!("no exec") };
    assert_eq!(exec.argv, [b"sh".to_vec(), b"-c".to_vec(), b"x".to_vec()]);
    assert!(exec.cwd.starts_with(b"/"));
    let options = template.options.unwrap();
    let captured: Vec<&str> = options.environment.iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(captured, ["HOME", "PATH"]);
    assert_eq!((options.name.as_str(), options.labels["a"].as_str()), ("n", "b"));
    assert_eq!((options.env[0].name.as_str(), options.env[0].value.as_slice()), ("K", b"V".as_slice()));
}

#[test]
fn every_request_is_stamped_and_only_waiting_has_no_deadline() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, true);
    output(&home, &["exec", "--wait", "--", "x"]);
    output(&home, &["run", "ls"]);
    for (call, metadata) in &story.world().calls {
        assert_eq!(metadata.get("spindle-protocol").unwrap(), "1", "{call}");
        assert_eq!(metadata.contains_key("grpc-timeout"), *call != "WaitRun", "{call}");
    }
}

#[test]
fn waiting_survives_the_daemon() {
    let (home, story) = scene(Run { exit_code: Some(7), ..failed("exit") });
    let daemon = Fake::start(home.path(), &story, false);
    let child = spawn(&home, &["exec", "--wait", "--", "x"]);
    story.wait_for("WaitRun", 1);
    daemon.crash();
    let daemon = Fake::start(home.path(), &story, false);
    story.wait_for("WaitRun", 2);
    daemon.finish();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(story.world().starts.len(), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("the daemon is back"));
}

#[test]
fn a_start_cut_off_before_its_answer_is_made_again_under_the_same_id() {
    let (home, story) = scene(succeeded());
    story.world().swallow_starts = 1;
    let daemon = Fake::start(home.path(), &story, false);
    let child = spawn(&home, &["exec", "--", "x"]);
    story.wait_for("StartRun", 1);
    daemon.crash();
    let _daemon = Fake::start(home.path(), &story, true);
    assert!(child.wait_with_output().unwrap().status.success());
    let world = story.world();
    assert_eq!(world.starts.len(), 2);
    assert_eq!(world.starts[0].request_id, world.starts[1].request_id);
}

#[test]
fn a_watch_goes_on_after_a_cut_without_gap_or_repeat() {
    let (home, story) = scene(succeeded());
    story.world().events = (1..=3).map(event).collect();
    let daemon = Fake::start(home.path(), &story, false);
    let mut child = spawn(&home, &["run", "watch", "--from", "1", "--json", "01934f2a"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || json(lines.next().unwrap().unwrap().as_bytes());
    let mut seen: Vec<u64> = (0..3).map(|_| next()["seq"].as_u64().unwrap()).collect();

    daemon.crash();
    story.world().events.extend((4..=5).map(event));
    story.world().events.push(Event { r#type: "run.finished".into(), ..event(6) });
    let _daemon = Fake::start(home.path(), &story, false);
    seen.extend((0..3).map(|_| next()["seq"].as_u64().unwrap()));

    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    assert!(child.wait().unwrap().success());
    let last = story.world().watches.last().unwrap().clone();
    assert_eq!((last.after.as_str(), last.from_seq), ("token-3", None));
}

#[test]
fn a_watch_from_now_on_is_anchored_before_a_cut_can_move_it() {
    let (home, story) = scene(succeeded());
    story.world().events = (1..=3).map(event).collect();
    let daemon = Fake::start(home.path(), &story, false);
    let mut child = spawn(&home, &["--json", "run", "watch"]);
    story.wait_for("WatchEvents", 1);
    daemon.crash();
    story.world().events.push(event(4));
    let _daemon = Fake::start(home.path(), &story, false);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(json(line.as_bytes())["seq"], 4);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn followed_output_goes_on_at_the_byte_where_it_was_cut() {
    let (home, story) = scene(succeeded());
    story.world().stdout = b"one\xff\n".to_vec();
    story.world().stderr = b"oops\n".to_vec();
    let daemon = Fake::start(home.path(), &story, false);
    let mut child = spawn(&home, &["exec", "-q", "--follow", "--", "x"]);
    let mut first = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"one\xff\n");
    let mut complaint = [0; 5];
    child.stderr.as_mut().unwrap().read_exact(&mut complaint).unwrap();

    daemon.crash();
    story.world().stdout.extend(b"two\n");
    let daemon = Fake::start(home.path(), &story, false);
    let mut second = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut second).unwrap();
    daemon.finish();
    let rest = child.wait_with_output().unwrap();
    assert!(rest.status.success());
    assert_eq!((&complaint, &second), (b"oops\n", b"two\n"));
    assert!(rest.stdout.is_empty() && rest.stderr.is_empty(), "{rest:?}");
    // The attempt is named too: one that begins meanwhile does not hide the rest of this one.
    let goes_on = |read: &ReadLogRequest| (read.offset, read.step.as_str(), read.attempt) == (5, "exec", 1);
    assert!(story.world().reads.iter().any(goes_on));
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_run() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, false);
    let child = spawn(&home, &["exec", "--wait", "--", "x"]);
    story.wait_for("WaitRun", 1);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains(&format!("spindle run wait {RUN_ID}")), "{words}");
}

#[test]
fn without_a_daemon_the_code_is_3_and_the_hint_says_how_to_start_one() {
    let home = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 4] =
        [&["daemon", "status"], &["run", "ls"], &["exec", "--wait", "--", "x"], &["approval", "ls"]];
    for command in commands {
        let output = output(&home, command);
        assert_eq!(output.status.code(), Some(3), "{command:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("spindle daemon start"));
    }
    let fault = json(&output(&home, &["--json", "run", "ls"]).stderr);
    assert_eq!(fault["error"]["reason"], "NO_DAEMON");
    assert!(fault["error"]["hint"].is_string() && fault["error"]["message"].is_string());
}

#[test]
fn the_socket_of_a_dead_daemon_is_no_daemon() {
    let (home, story) = scene(succeeded());
    Fake::start(home.path(), &story, true).crash();
    assert!(fake::socket(home.path()).exists());
    assert_eq!(output(&home, &["daemon", "status"]).status.code(), Some(3));
}

#[test]
fn an_unknown_run_is_4() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, true);
    for command in
        [["run", "show", "ffff"], ["run", "logs", "ffff"], ["run", "wait", "ffff"], ["run", "cancel", "ffff"]]
    {
        let output = output(&home, &command);
        assert_eq!(output.status.code(), Some(4), "{command:?}");
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("ffff") && words.contains("run ls"), "{words}");
    }
}

#[test]
fn what_makes_no_sense_is_2() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, true);
    let big = home.path().join("big");
    std::fs::write(&big, vec![0; 10 << 20]).unwrap();
    let big = big.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["exec"],
        &["exec", "--timeout", "soon", "--", "x"],
        &["exec", "--stdin", big, "--", "x"],
        &["run", "frobnicate"],
    ];
    for command in commands {
        assert_eq!(output(&home, command).status.code(), Some(2), "{command:?}");
    }
    assert!(story.world().starts.is_empty());
    let fault = json(&output(&home, &["--json", "run", "frobnicate"]).stderr);
    assert_eq!(fault["error"]["reason"], "USAGE");
    assert!(fault["error"]["message"].as_str().unwrap().contains("frobnicate"), "{fault}");
}

#[test]
fn a_page_of_runs_is_one_document_with_a_token() {
    let (home, story) = scene(succeeded());
    let _daemon = Fake::start(home.path(), &story, true);
    let page = json(&output(&home, &["run", "ls", "--limit", "1", "--json"]).stdout);
    assert_eq!(page["runs"][0]["id"], RUN_ID);
    assert_eq!(page["runs"][0]["state"], "succeeded");
    assert_eq!(page["next_page_token"], "next");
    let table = String::from_utf8(output(&home, &["run", "ls", "--limit", "1"]).stdout).unwrap();
    assert!(
        table.starts_with("ID") && table.contains("01934f2a-7b3c ") && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn a_reader_that_goes_away_ends_us_without_a_word() {
    let (home, story) = scene(succeeded());
    story.world().stdout = vec![b'x'; 3 << 20];
    let _daemon = Fake::start(home.path(), &story, true);
    let mut child = spawn(&home, &["run", "logs", "01934f2a"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code() == Some(141) || output.status.signal() == Some(13), "{:?}", output.status);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn logs_are_the_bytes_that_were_written() {
    let (home, story) = scene(succeeded());
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    story.world().stdout.clone_from(&bytes);
    story.world().stderr = b"\x1b[31mred".to_vec();
    let _daemon = Fake::start(home.path(), &story, true);
    assert_eq!(output(&home, &["run", "logs", RUN_ID]).stdout, bytes);
    assert_eq!(output(&home, &["run", "logs", "--stderr", RUN_ID]).stdout, b"\x1b[31mred");
}

#[test]
fn manual_pages_and_completions_need_no_daemon() {
    let home = tempfile::tempdir().unwrap();
    let pages = home.path().join("man");
    assert!(output(&home, &["man", "--dir", pages.to_str().unwrap()]).status.success());
    let names: Vec<String> =
        pages.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for page in ["spindle.1", "spindle-exec.1", "spindle-run-logs.1", "spindle-schedule-add.1"] {
        assert!(names.iter().any(|name| name == page), "{page} is not in {names:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(!output(&home, &["completions", shell]).stdout.is_empty());
    }
}
