//! What scripts rely on: the `spindle` command's JSON, its streams and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use nest::{Nest, until, until_answered};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// What a command printed, which must have succeeded.
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one JSON object on one line that a command printed.
fn object(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{output:?}");
    serde_json::from_str(&text).unwrap()
}

/// The reason that a failed command gives to a program.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let error: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap();
    assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{error}");
    error["error"]["reason"].as_str().unwrap().to_owned()
}

/// Starts a run that goes on until the file `go` is there.
async fn until_told(nest: &Nest, options: &[&str]) -> String {
    let script = "echo up >up; while [ ! -e go ]; do sleep 0.02; done";
    let run = object(&nest.spindle([&["--json", "exec"], options, &["--", "sh", "-c", script]].concat()));
    nest.appears("up").await;
    run["id"].as_str().unwrap().to_owned()
}

fn let_go(nest: &Nest) {
    fs::write(nest.work_dir().join("go"), "").unwrap();
}

const OBJECT: [&str; 8] =
    ["id", "kind", "state", "exit_code", "signal", "created_at", "started_at", "finished_at"];

#[tokio::test]
async fn exec_and_wait_print_one_object_with_the_outcome() {
    let nest = Nest::new().await;
    let output = nest.spindle(["--json", "exec", "--wait", "--name", "seven", "--", "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    let run = object(&output);
    for key in OBJECT {
        assert!(run.get(key).is_some(), "{key} is missing in {run}");
    }
    assert_eq!(
        (&run["kind"], &run["state"], &run["name"]),
        (&"exec".into(), &"failed".into(), &"seven".into())
    );
    assert_eq!((&run["exit_code"], &run["signal"]), (&7.into(), &Value::Null));
    let time = |key: &str| run[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("created_at") <= time("started_at") && time("started_at") <= time("finished_at"), "{run}");
}

#[tokio::test]
async fn the_same_object_is_listed_and_shown() {
    let nest = Nest::new().await;
    let run = object(&nest.spindle(["--json", "exec", "--wait", "--label", "a=b", "--", "echo", "hello"]));
    let list = object(&nest.spindle(["--json", "run", "ls"]));
    assert_eq!(list["runs"], Value::from(vec![run.clone()]));
    assert_eq!(list["next_page_token"], Value::Null);

    let shown = object(&nest.spindle(["--json", "run", "show", run["id"].as_str().unwrap()]));
    for (key, value) in run.as_object().unwrap() {
        assert_eq!(shown[key], *value, "{key}");
    }
    assert_eq!(shown["spec"]["argv"], Value::from(vec!["echo", "hello"]));
    assert_eq!(shown["leases"], Value::from(Vec::<Value>::new()));
    let step = &shown["steps"][0];
    assert_eq!((&step["name"], &step["state"]), (&"command".into(), &"succeeded".into()));
    assert_eq!(
        (&step["attempts"][0]["exit_code"], &step["attempts"][0]["stdout_bytes"]),
        (&0.into(), &6.into())
    );
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let nest = Nest::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(object(&nest.spindle(["--json", "exec", "--wait", "--", "true"]))["id"].clone());
    }
    ids.reverse();
    let mut listed = Vec::new();
    let mut more = Vec::new();
    loop {
        let page = object(
            &nest.spindle([&["--json", "run", "ls", "--limit", "2"].map(String::from)[..], &more].concat()),
        );
        listed.extend(page["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()));
        let Some(token) = page["next_page_token"].as_str() else { break };
        more = vec!["--page-token".to_owned(), token.to_owned()];
    }
    assert_eq!(listed, ids);
}

#[tokio::test]
async fn logs_are_the_bytes_that_were_written() {
    let nest = Nest::new().await;
    let script = r"printf 'a\000b\377'; printf 'oops' >&2";
    let run = object(&nest.spindle(["--json", "exec", "--wait", "--", "sh", "-c", script]));
    let id = run["id"].as_str().unwrap();
    assert_eq!(nest.spindle(["run", "logs", id]).stdout, b"a\0b\xff");
    assert_eq!(nest.spindle(["run", "logs", id, "--stderr"]).stdout, b"oops");
    assert_eq!(nest.spindle(["run", "logs", id, "--step", "command"]).stdout, b"a\0b\xff");
    assert_eq!(nest.spindle(["run", "logs", id, "--step", "nothing"]).status.code(), Some(4));
}

#[tokio::test]
async fn what_is_followed_comes_out_as_if_it_ran_here() {
    let nest = Nest::new().await;
    let script = "echo out; echo err >&2; exit 3";
    let output = nest.spindle(["exec", "--wait", "--follow", "--quiet", "--", "sh", "-c", script]);
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(3), b"out\n".into(), b"err\n".into())
    );
}

#[tokio::test]
async fn events_are_lines_of_json_in_order() {
    let nest = Nest::new().await;
    let run = object(&nest.spindle(["--json", "exec", "--wait", "--", "true"]));
    let id = run["id"].as_str().unwrap();
    let lines = printed(&nest.spindle(["--json", "run", "watch", "--from", "1", id]));
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["run.created", "run.started", "step.started", "step.finished", "run.finished"]);
    for pair in events.windows(2) {
        assert!(pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64());
    }
    assert!(events.iter().all(|event| event["run_id"] == run["id"]));
    assert!(events[0]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[tokio::test]
async fn the_command_outlives_the_daemon_that_it_waits_for() {
    let mut nest = Nest::new().await;
    let script = "echo early; echo up >up; while [ ! -e go ]; do sleep 0.02; done; echo late; exit 9";
    let mut command = nest.command(env!("CARGO_BIN_EXE_spindle"));
    command.args(["exec", "--wait", "--follow", "--quiet", "--", "sh", "-c", script]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    nest.appears("up").await;
    nest.kill_and_start().await;
    let_go(&nest);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(output.stdout, b"early\nlate\n", "{output:?}");
}

#[tokio::test]
async fn exit_codes_pass_on_how_the_child_ended() {
    let nest = Nest::new().await;
    let closed = nest.work_dir().join("closed");
    fs::write(&closed, "").unwrap();
    let closed = closed.to_str().unwrap();
    let cases: [(i32, &[&str]); 8] = [
        (0, &["--", "true"]),
        (1, &["--", "false"]),
        (42, &["--", "sh", "-c", "exit 42"]),
        (124, &["--timeout", "200ms", "--", "sleep", "1000"]),
        (124, &["--idle-timeout", "200ms", "--", "sleep", "1000"]),
        (126, &["--", closed]),
        (127, &["--", "no-such-program"]),
        (128 + 9, &["--", "sh", "-c", "kill -9 $$"]),
    ];
    for (code, arguments) in cases {
        let output = nest.spindle([&["exec", "--wait"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        // `run wait` says the same of a run that is over.
        let last = object(&nest.spindle(["--json", "run", "ls", "--limit", "1"]));
        let waited = nest.spindle(["run", "wait", last["runs"][0]["id"].as_str().unwrap()]);
        assert_eq!(waited.status.code(), Some(code), "{arguments:?}: {waited:?}");
    }
}

#[tokio::test]
async fn a_run_that_comes_to_no_end_of_its_own_is_125() {
    let nest = Nest::new().await;
    let held = until_told(&nest, &["--lease", "gpu:0"]).await;
    let queued = object(&nest.spindle(["--json", "exec", "--lease", "gpu:0", "--", "true"]));
    let queued = queued["id"].as_str().unwrap();
    assert!(nest.spindle(["run", "cancel", queued]).status.success());
    assert_eq!(nest.spindle(["run", "wait", queued]).status.code(), Some(125));
    let after = nest.spindle(["exec", "--wait", "--after", queued, "--", "true"]);
    assert_eq!(after.status.code(), Some(125), "{after:?}");
    let_go(&nest);
    assert_eq!(nest.spindle(["run", "wait", &held]).status.code(), Some(0));
}

#[tokio::test]
async fn exit_codes_of_the_command_itself_tell_what_is_wrong() {
    let mut nest = Nest::new().await;
    assert_eq!(nest.spindle(["exec", "--wiat", "--", "true"]).status.code(), Some(2));
    assert_eq!(nest.spindle(["exec", "--timeout", "soon", "--", "true"]).status.code(), Some(2));
    for id in ["..", "a/b", "\u{1b}[31m"] {
        let refused = nest.spindle(["run", "show", id]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(!refused.stderr.contains(&0x1b), "{refused:?}");
    }
    let unknown = nest.spindle(["--json", "run", "show", "0123abcd"]);
    assert_eq!((unknown.status.code(), refusal(&unknown)), (Some(4), "RUN_NOT_FOUND".to_owned()));
    let run = object(&nest.spindle(["--json", "exec", "--wait", "--", "true"]));
    let over = nest.spindle(["--json", "run", "cancel", run["id"].as_str().unwrap()]);
    assert_eq!((over.status.code(), refusal(&over)), (Some(5), "WRONG_STATE".to_owned()));
    assert!(nest.terminate().await.success());
    assert_eq!(nest.spindle(["run", "ls"]).status.code(), Some(3));
    assert_eq!(nest.spindle(["exec", "--", "true"]).status.code(), Some(3));
}

#[tokio::test]
async fn interrupting_the_command_leaves_the_run_alone() {
    let nest = Nest::new().await;
    let run = until_told(&nest, &[]).await;
    let mut waiting = nest.command(env!("CARGO_BIN_EXE_spindle"));
    waiting.args(["--json", "run", "watch", "--from", "1"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut waiting = waiting.spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("daemon.started"), "{first}");
    kill(Pid::from_raw(i32::try_from(waiting.id()).unwrap()), Signal::SIGINT).unwrap();
    let ended = until("it has ended", || waiting.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(130));
    assert_eq!(object(&nest.spindle(["--json", "run", "show", &run]))["state"], "running");
    let_go(&nest);
    assert_eq!(nest.spindle(["run", "wait", &run]).status.code(), Some(0));
}

#[tokio::test]
async fn runs_follow_each_other_as_their_outcomes_say() {
    let nest = Nest::new().await;
    let failed = object(&nest.spindle(["--json", "exec", "--", "false"]));
    let failed = failed["id"].as_str().unwrap();
    let wanted = format!("{failed}:failed");
    let any = format!("{failed}:any");
    assert_eq!(nest.spindle(["exec", "--wait", "--after", &wanted, "--", "true"]).status.code(), Some(0));
    assert_eq!(nest.spindle(["exec", "--wait", "--after", &any, "--", "true"]).status.code(), Some(0));
    let not = nest.spindle(["--json", "exec", "--wait", "--after", failed, "--", "touch", "never"]);
    assert_eq!(not.status.code(), Some(125));
    assert_eq!(object(&not)["failure"]["kind"], "dependency");
    assert!(!nest.work_dir().join("never").exists());
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_as_often_as_asked() {
    let nest = Nest::new().await;
    let script = r#"echo x >>tries; test "$(wc -l <tries)" -ge 3"#;
    let run =
        nest.spindle(["--json", "exec", "--wait", "--retry", "5,backoff=10ms", "--", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(object(&run)["attempt"], 3);
    assert_eq!(fs::read_to_string(nest.work_dir().join("tries")).unwrap(), "x\nx\nx\n");
    let shown = object(&nest.spindle(["--json", "run", "show", object(&run)["id"].as_str().unwrap()]));
    let attempts = shown["steps"][0]["attempts"].as_array().unwrap();
    let states: Vec<&Value> = attempts.iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["failed", "failed", "succeeded"]);
}

#[tokio::test]
async fn a_child_sees_the_environment_of_the_command_and_what_was_set_for_it() {
    let mut nest = Nest::new().await;
    nest.set("CODEX_HOME", "/somewhere");
    nest.set("GITHUB_TOKEN", "hush");
    nest.set("UNRELATED", "x");
    let run = object(&nest.spindle(["--json", "exec", "--wait", "--env", "MODE=night", "--", "env"]));
    let id = run["id"].as_str().unwrap();
    let environment = printed(&nest.spindle(["run", "logs", id]));
    let has = |line: &str| environment.lines().any(|other| other == line);
    assert!(has("CODEX_HOME=/somewhere") && has("MODE=night"), "{environment}");
    assert!(has(&format!("HOME={}", nest.path("home").display())), "{environment}");
    assert!(has(&format!("SPINDLE_RUN_ID={id}")), "{environment}");
    assert!(!environment.contains("hush") && !environment.contains("UNRELATED"), "{environment}");
}

/// All files below a directory that contain some bytes.
fn files_with(directory: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if fs::read(&path).is_ok_and(|file| file.windows(bytes.len()).any(|part| part == bytes)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn the_value_of_a_secret_reaches_the_child_and_nothing_else() {
    const SECRET: &str = "xyzzy-4711-plugh";
    let mut nest = Nest::empty();
    nest.set("TEST_SOURCE", SECRET);
    nest.start().await;
    let file = nest.path("secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let sources = [
        format!("file:{}", file.display()),
        format!("cmd:cat '{}'", file.display()),
        "env:TEST_SOURCE".to_owned(),
    ];
    for source in sources {
        let secret = format!("API_KEY={source}");
        // What it writes would be in its log, which is its own affair.
        let script = format!(r#"test "$API_KEY" = "{}$HALF""#, &SECRET[..5]);
        let half = format!("HALF={}", &SECRET[5..]);
        let arguments = ["exec", "--wait", "--secret", &secret, "--env", &half, "--", "sh", "-c", &script];
        let output = nest.spindle(arguments);
        assert_eq!(output.status.code(), Some(0), "{source}: {output:?}");
    }
    assert_eq!(files_with(&nest.state_dir(), SECRET.as_bytes()), Vec::<String>::new());
    assert!(!nest.log().contains(SECRET));

    let missing =
        nest.spindle(["--json", "exec", "--wait", "--secret", "API_KEY=file:/no/such/file", "--", "true"]);
    assert_eq!(missing.status.code(), Some(125), "{missing:?}");
    assert_eq!(object(&missing)["failure"]["kind"], "secret");
    nest.kill();
    assert_eq!(files_with(&nest.state_dir(), SECRET.as_bytes()), Vec::<String>::new());
}

#[tokio::test]
async fn a_hook_reads_of_the_runs_whose_outcome_it_is_for() {
    let mut nest = Nest::empty();
    let told = nest.work_dir().join("told");
    nest.configure(&format!(
        "[[hooks]]\non = [\"failed\"]\nlabels = {{ team = \"a\" }}\ncommand = [\"sh\", \"-c\", \"cat >>{}\"]\n",
        told.display()
    ));
    nest.start().await;
    assert_eq!(nest.spindle(["exec", "--wait", "--label", "team=a", "--", "true"]).status.code(), Some(0));
    assert_eq!(nest.spindle(["exec", "--wait", "--", "false"]).status.code(), Some(1));
    let failed = nest.spindle(["--json", "exec", "--wait", "--label", "team=a", "--", "sh", "-c", "exit 5"]);
    assert_eq!(failed.status.code(), Some(5));
    let line = nest.appears("told").await;
    assert_eq!(line.lines().count(), 1, "{line}");
    let read: Value = serde_json::from_str(&line).unwrap();
    let run = object(&failed);
    for key in ["id", "state", "exit_code", "labels", "finished_at"] {
        assert_eq!(read[key], run[key], "{key}");
    }
    // The hook is a run of its own, and leads to no further one.
    until_answered("all has ended", async || {
        let info = nest.client().await.info().await.unwrap();
        (info.queued + info.running == 0).then_some(())
    })
    .await;
    let list = object(&nest.spindle(["--json", "run", "ls"]));
    let hooks: Vec<&Value> =
        list["runs"].as_array().unwrap().iter().filter(|other| other["parent_id"] == run["id"]).collect();
    let [hook] = hooks.as_slice() else { panic!("{list}") };
    assert_eq!(hook["state"], "succeeded");
}
