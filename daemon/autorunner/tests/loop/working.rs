//! Loops that work through their list.

use std::fs;

use autorunner::state::Status;
use engine::RunState;
use serde_json::json;

use crate::scene::Scene;

#[test]
fn a_loop_works_through_its_list_and_says_so_everywhere() {
    let scene = Scene::new(3);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    assert_eq!(daemon.end(run).state, RunState::Succeeded);

    assert_eq!(scene.calls(), 3);
    assert_eq!(scene.todo().matches("- [x]").count(), 3, "{}", scene.todo());
    let output = daemon.output(run);
    assert_eq!(
        output,
        json!({
            "iterations": 3, "reason": "no open TODO item is left", "last_exit_code": 0,
            "outstanding": 0, "done": 3, "tokens": 3 * 67,
        })
    );
    let state = scene.state();
    assert_eq!((state.status, state.last_run_id, state.last_exit_code), (Status::Idle, Some(3), Some(0)));
    assert_eq!(state.runner_pid, None);
    assert!(state.last_run_finished_at >= state.last_run_started_at);
    assert!(!scene.layout.lock().exists());
}

#[test]
fn the_log_has_a_block_per_iteration_and_the_events_lie_beside_it() {
    let scene = Scene::new(2);
    let daemon = scene.daemon();
    daemon.end(scene.start(&daemon));

    let log = scene.untimed_log();
    let blocks: Vec<&str> = log.lines().filter(|line| line.starts_with("===")).collect();
    let wanted = [
        "=== run 1 start ===",
        "=== run 1 end (code 0) ===",
        "=== run 2 start ===",
        "=== run 2 end (code 0) ===",
    ];
    assert_eq!(blocks, wanted);
    assert!(log.contains("run=1 stdout: a word on standard error\n"), "{log}");
    assert!(
        log.contains("run=2 stdout: tokens used\nrun=2 stdout: 67\nrun=2 stdout: finished in call 2\n"),
        "{log}"
    );
    let copies: String = [1, 2].map(|run| fs::read_to_string(scene.layout.run_log(run)).unwrap()).concat();
    assert_eq!(copies, scene.log());
    let events = fs::read_to_string(scene.layout.run_events(2)).unwrap();
    assert!(events.starts_with("{\"type\":\"thread.started\"") && events.ends_with("}}\n"), "{events}");
    assert_eq!(events.lines().count(), 4);
}

#[test]
fn a_prompt_has_the_last_message_of_the_iteration_before_also_of_an_earlier_loop() {
    let scene = Scene::new(2);
    let daemon = scene.daemon();
    daemon.end(scene.try_start(&daemon, json!({ "repo": scene.layout.root(), "once": true })).unwrap().id);
    assert_eq!(scene.calls(), 1);
    assert!(!scene.prompt(1).contains("PREV_RUN_OUTPUT"), "{}", scene.prompt(1));
    let run = scene.start(&daemon);
    daemon.end(run);
    let wanted = "<PREV_RUN_OUTPUT>\nfinished in call 1\n</PREV_RUN_OUTPUT>";
    assert!(scene.prompt(2).contains(wanted), "{}", scene.prompt(2));
    assert_eq!(scene.state().last_run_id, Some(2));
    assert_eq!(daemon.output(run)["iterations"], 1);
}

#[test]
fn each_iteration_commits_its_documents_once() {
    let scene = Scene::new(2);
    scene.configure("auto_commit: false", "auto_commit: true");
    let daemon = scene.daemon();
    daemon.end(scene.start(&daemon));
    assert_eq!(scene.git(&["log", "--reverse", "--format=%s"]), "[codex] run #1\n[codex] run #2\n");
    assert_eq!(scene.git(&["status", "--porcelain", ".codex-autorunner/TODO.md"]), "");
}

#[test]
fn a_loop_with_nothing_to_do_ends_at_once_and_well() {
    let scene = Scene::new(0);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), daemon.output(run)["last_exit_code"].clone()), (0, json!(null)));
    assert_eq!(scene.state().last_run_id, None);
}
