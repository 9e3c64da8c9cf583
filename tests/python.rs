//! A client that shares no code with Spindle: made by the usual tools of another language from the .proto files
//! alone. It starts a run, watches it, and goes on watching after the daemon was killed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nest::{Nest, outcome};
use serde_json::Value;
use spindle_client::v1::LogStream;

/// The interpreter that `tests/setup` prepares.
fn interpreter() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/judges/python/bin/python");
    assert!(python.exists(), "{} is missing: run `tests/setup test`", python.display());
    python
}

/// Runs the client to its end.
fn call(nest: &Nest, arguments: &[&str]) -> Output {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges/python/client.py");
    let mut command: Command = nest.command(interpreter());
    command.arg(client).arg("--socket").arg(nest.paths().socket).args(arguments).output().unwrap()
}

/// What the client prints when all is well: one document per line.
fn documents(nest: &Nest, arguments: &[&str]) -> Vec<Value> {
    let output = call(nest, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_python_client_watches_a_run_over_the_death_of_the_daemon() {
    let mut nest = Nest::new().await;
    let command = ["/bin/sh", "-c", "echo hello; while [ ! -e go ]; do sleep 0.02; done"];
    let start = [&["start", "--name", "snake", "--request-id", "once", "--"], &command[..]].concat();
    let run = &documents(&nest, &start)[0];
    let id = run["id"].as_str().unwrap();
    assert_eq!(run["name"], "snake");
    assert_eq!(documents(&nest, &start)[0]["id"], id, "the same request made another run");

    let first = documents(&nest, &["watch", id, "--from-seq", "1", "--count", "2"]);
    let token = first[1]["token"].as_str().unwrap();

    nest.kill_and_start().await;
    fs::write(nest.work_dir().join("go"), "").unwrap();
    let rest = documents(&nest, &["watch", id, "--after", token]);
    let types: Vec<&str> = first.iter().chain(&rest).map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["run.created", "run.started", "step.started", "step.finished", "run.finished"]);
    assert_eq!(outcome(&nest.look(id).await), "succeeded 0");
    assert_eq!(nest.output(id, LogStream::Stdout).await, b"hello\n");

    // Whoever watches everything misses nothing either: the numbers have no gap.
    let count = rest.last().unwrap()["seq"].as_str().unwrap();
    let all = documents(&nest, &["watch", "--from-seq", "1", "--count", count]);
    let numbers: Vec<String> = all.iter().map(|event| event["seq"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<String> = (1..=count.parse().unwrap()).map(|seq: u64| seq.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn a_python_client_reads_why_it_was_refused() {
    let nest = Nest::new().await;
    let output = call(&nest, &["watch", "0123abcd"]);
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&error["code"], &error["reason"]), (&"NOT_FOUND".into(), &"RUN_NOT_FOUND".into()));
}

#[tokio::test]
async fn a_python_client_finds_all_services_by_reflection() {
    let nest = Nest::new().await;
    for version in ["v1", "v1alpha"] {
        let answer = &documents(&nest, &["reflect", "--version", version])[0];
        let services: Vec<&str> =
            answer.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for noun in ["Approval", "Daemon", "Lease", "Run", "Schedule"] {
            let name = format!("spindle.v1.{noun}Service");
            assert!(services.contains(&name.as_str()), "{name} is not in {services:?}");
        }
        assert!(services.contains(&"grpc.health.v1.Health"), "{services:?}");
    }
}

#[tokio::test]
async fn a_python_client_asks_for_the_health() {
    let nest = Nest::new().await;
    for service in ["", "spindle.v1.RunService", "spindle.v1.DaemonService"] {
        assert_eq!(documents(&nest, &["health", service])[0]["status"], "SERVING", "{service:?}");
    }
    let unknown = call(&nest, &["health", "spindle.v1.NoService"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("NOT_FOUND"), "{unknown:?}");
}
