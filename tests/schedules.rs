//! Schedules as people set them up: they fire, they survive the daemon, and they heed what is still running.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::collections::HashSet;
use std::fs;

use nest::{Nest, object, until};
use serde_json::Value;

/// Adds a schedule of a shell script.
fn add(nest: &Nest, name: &str, options: &[&str], script: &str) -> Value {
    object(&nest.spindle(
        [&["--json", "schedule", "add", name], options, &["exec", "--", "sh", "-c", script]].concat(),
    ))
}

fn show(nest: &Nest, name: &str) -> Value {
    object(&nest.spindle(["--json", "schedule", "show", name]))
}

/// The lines of a file that grows, once there are so many.
async fn lines(nest: &Nest, name: &str, at_least: usize) -> Vec<String> {
    let path = nest.work_dir().join(name);
    until(&format!("{name} has {at_least} lines"), || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= at_least).then_some(lines)
    })
    .await
}

/// What a run leaves in the file `fired`: who it is.
const SIGN: &str = "echo $SPINDLE_RUN_ID >>fired";

#[tokio::test]
async fn a_schedule_fires_again_and_again_and_the_next_daemon_goes_on_with_it() {
    let mut nest = Nest::new().await;
    let added = add(&nest, "tick", &["--every", "1s"], SIGN);
    assert!(added["next_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{added}");
    let before = lines(&nest, "fired", 2).await.len();
    nest.kill_and_start().await;
    let fired = lines(&nest, "fired", before + 2).await;
    let runs: HashSet<&String> = fired.iter().collect();
    assert_eq!(runs.len(), fired.len(), "a run was started twice: {fired:?}");
    let shown = show(&nest, "tick");
    assert!(shown["fired"].as_u64().unwrap() >= fired.len() as u64, "{shown}");
    let last = object(&nest.spindle(["--json", "run", "show", &fired[0]]));
    assert_eq!(last["schedule_id"], shown["id"]);

    assert!(nest.spindle(["schedule", "disable", "tick"]).status.success());
    assert_eq!(show(&nest, "tick")["enabled"], false);
    assert!(nest.spindle(["schedule", "rm", "tick"]).status.success());
    assert_eq!(nest.spindle(["schedule", "show", "tick"]).status.code(), Some(4));
    nest.only_the_daemon_is_left().await;
}

#[tokio::test]
async fn a_schedule_can_be_run_by_hand_whatever_its_time_is() {
    let nest = Nest::new().await;
    add(&nest, "yearly", &["--cron", "0 0 1 1 *", "--tz", "Europe/Berlin"], SIGN);
    let next = show(&nest, "yearly")["next_at"].clone();
    let run = object(&nest.spindle(["--json", "schedule", "run", "yearly"]));
    assert_eq!(nest.spindle(["run", "wait", run["id"].as_str().unwrap()]).status.code(), Some(0));
    assert_eq!(lines(&nest, "fired", 1).await, [run["id"].as_str().unwrap()]);
    assert_eq!(show(&nest, "yearly")["next_at"], next);
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let nest = Nest::new().await;
    add(&nest, "one", &["--every", "1h"], "true");
    let again = nest.spindle(["schedule", "add", "one", "--every", "2h", "exec", "--", "true"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    let wrong = nest.spindle(["schedule", "add", "two", "--cron", "61 * * * *", "exec", "--", "true"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

/// A run that has begun, and does not end before it is told.
const HELD: &str = "echo $SPINDLE_RUN_ID >>fired; while [ ! -e go ]; do sleep 0.02; done";

#[tokio::test]
async fn a_firing_is_skipped_while_the_last_run_goes_on() {
    let nest = Nest::new().await;
    add(&nest, "skip", &["--every", "1s", "--overlap", "skip"], HELD);
    lines(&nest, "fired", 1).await;
    until("a firing was skipped", || (show(&nest, "skip")["skipped"].as_u64().unwrap() >= 1).then_some(()))
        .await;
    assert_eq!(lines(&nest, "fired", 1).await.len(), 1);
    finish(&nest, "skip").await;
}

#[tokio::test]
async fn a_firing_waits_until_the_last_run_has_ended_if_asked_to() {
    let nest = Nest::new().await;
    add(&nest, "queue", &["--every", "1s", "--overlap", "queue"], HELD);
    lines(&nest, "fired", 1).await;
    let runs = || {
        let list = object(&nest.spindle(["--json", "run", "ls"]));
        list["runs"].as_array().unwrap().clone()
    };
    until("a run waits", || runs().iter().any(|run| run["state"] == "queued").then_some(())).await;
    assert_eq!(lines(&nest, "fired", 1).await.len(), 1);
    fs::write(nest.work_dir().join("go"), "").unwrap();
    lines(&nest, "fired", 2).await;
    finish(&nest, "queue").await;
}

#[tokio::test]
async fn a_firing_replaces_the_last_run_if_asked_to() {
    let nest = Nest::new().await;
    add(&nest, "replace", &["--every", "1s", "--overlap", "replace"], HELD);
    let fired = lines(&nest, "fired", 2).await;
    let first = object(&nest.spindle(["--json", "run", "show", &fired[0]]));
    assert_eq!(first["state"], "canceled", "{first}");
    finish(&nest, "replace").await;
}

/// Ends a schedule and what it has started.
async fn finish(nest: &Nest, name: &str) {
    assert!(nest.spindle(["schedule", "rm", name]).status.success());
    fs::write(nest.work_dir().join("go"), "").unwrap();
    nest.only_the_daemon_is_left().await;
}

#[tokio::test]
async fn the_end_of_one_run_can_start_another() {
    let nest = Nest::new().await;
    add(&nest, "alarm", &["--on", "run.finished", "--filter", r#"{"outcomes":["failed"]}"#], SIGN);
    assert_eq!(nest.spindle(["exec", "--wait", "--", "true"]).status.code(), Some(0));
    assert_eq!(nest.spindle(["exec", "--wait", "--", "false"]).status.code(), Some(1));
    assert_eq!(lines(&nest, "fired", 1).await.len(), 1);
    nest.only_the_daemon_is_left().await;
}
