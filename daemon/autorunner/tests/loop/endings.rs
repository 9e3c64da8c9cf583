//! Loops that end before their list does.

use autorunner::state::Status;
use engine::{RunState, StartError};
use serde_json::json;

use crate::scene::{Scene, wait_for};

/// The kind of the failure that a run ended with.
fn kind(state: &RunState) -> String {
    state.failure().map(|failure| failure.kind.as_str().to_owned()).unwrap_or_default()
}

#[test]
fn a_failed_iteration_fails_the_loop_with_the_reason() {
    let scene = Scene::new(3);
    scene.behave(2, r#"fail "You've hit your usage limit. Try again in 3 days 4 hours.""#);
    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    assert_eq!((ended.state.word(), kind(&ended.state).as_str()), ("failed", "usage-limit"));
    let failure = ended.state.failure().unwrap();
    assert!(failure.hint.as_ref().unwrap().contains("auto resume"), "{failure:?}");
    assert_eq!(scene.calls(), 2);
    let state = scene.state();
    assert_eq!((state.status, state.last_run_id, state.last_exit_code), (Status::Error, Some(2), Some(1)));
    assert!(scene.log().ends_with("=== run 2 end (code 1) ===\n"), "{}", scene.log());
    assert!(!scene.layout.lock().exists());
}

#[test]
fn a_failed_loop_that_is_resumed_goes_on_with_another_iteration() {
    let scene = Scene::new(2);
    scene.behave(1, "fail oops");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    assert_eq!(daemon.end(run).state.word(), "failed");
    daemon.block_on(daemon.engine.resume(run)).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), scene.state().last_run_id), (3, Some(3)));
    assert_eq!(scene.log().matches("=== run").count(), 6, "{}", scene.log());
}

#[test]
fn as_many_failures_in_a_row_are_borne_as_the_configuration_allows() {
    let scene = Scene::new(1);
    scene.configure("stop_after_failures: 1", "stop_after_failures: 2");
    scene.behave(1, "fail oops");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!(daemon.output(run)["iterations"], 2);
}

#[test]
fn a_count_that_is_reached_with_a_failed_iteration_is_a_failure() {
    let scene = Scene::new(2);
    scene.configure("stop_after_failures: 1", "stop_after_failures: 5");
    scene.behave(1, "fail oops");
    let daemon = scene.daemon();
    let started = scene.try_start(&daemon, json!({ "repo": scene.layout.root(), "once": true })).unwrap();
    assert_eq!(daemon.end(started.id).state.word(), "failed");
    assert_eq!(scene.calls(), 1);
}

#[test]
fn a_loop_that_is_told_to_stop_finishes_its_iteration() {
    let scene = Scene::new(3);
    scene.behave(1, "wait_for go");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_call(1);
    daemon.block_on(daemon.engine.tell(run, "stop")).unwrap();
    scene.allow("go");
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), scene.state().status), (1, Status::Idle));
    assert!(daemon.output(run)["reason"].as_str().unwrap().contains("auto stop"));
}

#[test]
fn a_stop_cuts_the_pause_between_two_iterations_short() {
    let scene = Scene::new(2);
    scene.configure("sleep_seconds: 0", "sleep_seconds: 3600");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    let waits = || daemon.block_on(daemon.engine.record(run)).unwrap().state.word() == "waiting";
    wait_for("pause", || waits().then_some(()));
    daemon.block_on(daemon.engine.tell(run, "stop")).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!(scene.calls(), 1);
}

#[test]
fn the_stop_file_of_the_earlier_tool_is_heeded_and_removed() {
    let scene = Scene::new(3);
    scene.behave(1, "touch .codex-autorunner/stop");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!(scene.calls(), 1);
    assert!(!scene.layout.stop_file().exists());
}

#[test]
fn a_canceled_loop_stops_codex_and_leaves_a_truthful_state() {
    let scene = Scene::new(2);
    scene.behave(1, r#"mkdir .aws; say "in the middle"; wait_for never"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("in the middle");
    assert_eq!(scene.state().status, Status::Running);
    daemon.block_on(daemon.engine.cancel(run, "enough for today")).unwrap();
    assert_eq!(daemon.end(run).state.word(), "canceled");
    let state = scene.state();
    assert_eq!((state.status, state.last_exit_code, state.runner_pid), (Status::Error, Some(130), None));
    let log = scene.untimed_log();
    assert!(
        log.ends_with("run=1 stdout: stopped: enough for today\n=== run 1 end (code 130) ===\n"),
        "{log}"
    );
    assert!(!scene.layout.lock().exists());
    assert!(!scene.layout.root().join(".aws").exists(), "what a killed Codex leaves is removed");
}

#[test]
fn a_canceled_loop_that_is_resumed_asks_anew() {
    let scene = Scene::new(2);
    scene.behave(1, r#"tick; say "in the middle"; wait_for never"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("in the middle");
    daemon.block_on(daemon.engine.cancel(run, "a break")).unwrap();
    daemon.end(run);
    daemon.block_on(daemon.engine.resume(run)).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert!(scene.prompt(2).contains("- [x] Write `file-1.txt`"), "{}", scene.prompt(2));
    assert_eq!((scene.calls(), scene.state().last_run_id), (2, Some(2)));
}

#[test]
fn a_killed_loop_leaves_no_process_no_lock_and_no_open_block() {
    let scene = Scene::new(2);
    scene.behave(
        1,
        r#"trap '' INT TERM; sleep 1000 & echo $! > "$here/child"; say "in the middle"; wait_for never"#,
    );
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("in the middle");
    daemon.block_on(daemon.engine.kill(run, "now")).unwrap();
    assert_eq!(daemon.end(run).state.word(), "canceled");
    let state = scene.state();
    assert_eq!((state.status, state.last_exit_code, state.runner_pid), (Status::Error, Some(137), None));
    assert!(scene.log().ends_with("=== run 1 end (code 137) ===\n"), "{}", scene.log());
    assert!(!scene.layout.lock().exists());
    let child: i32 =
        std::fs::read_to_string(scene.root.path().join("child")).unwrap().trim().parse().unwrap();
    let gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), None).is_err();
    assert!(gone, "process {child} lives");
}

#[test]
fn iterations_that_change_nothing_end_the_loop() {
    let scene = Scene::new(3);
    scene.configure("no_progress_threshold: 3", "no_progress_threshold: 2");
    for call in [1, 2, 3] {
        scene.behave(call, r#"say "thinking about it"; completed; exit 0"#);
    }
    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    assert_eq!((ended.state.word(), kind(&ended.state).as_str()), ("failed", "no-progress"));
    assert_eq!((scene.calls(), scene.state().status), (2, Status::Idle));
}

#[test]
fn an_iteration_over_its_time_is_stopped() {
    let scene = Scene::new(1);
    scene.configure("iteration_timeout_seconds: null", "iteration_timeout_seconds: 1");
    scene.behave(1, "wait_for never");
    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    assert_eq!(kind(&ended.state), "timeout");
    assert_eq!(scene.state().last_exit_code, Some(124));
}

#[test]
fn a_codex_that_is_not_there_fails_the_loop_before_anything_is_written() {
    let scene = Scene::new(1);
    std::fs::remove_file(scene.root.path().join("codex")).unwrap();
    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    assert_eq!(kind(&ended.state), "spawn");
    assert_eq!(scene.log(), "");
    assert_eq!(scene.state().last_run_id, None);
}

#[test]
fn what_cannot_be_is_refused_at_the_start() {
    let scene = Scene::new(1);
    let daemon = scene.daemon();
    let refusal = |spec| match scene.try_start(&daemon, spec) {
        Err(StartError::Refused(failure)) => (failure.message, failure.hint.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    assert!(refusal(json!({ "repo": "/" })).0.contains(".git"));
    let repo = json!({ "repo": scene.layout.root() });
    scene.configure("- workspace-write", "- workspace-write\n    - --frobnicate");
    let (message, hint) = refusal(repo.clone());
    assert!(message.contains("--frobnicate") && hint.contains("codex.args"), "{message} / {hint}");
    std::fs::remove_file(scene.layout.config()).unwrap();
    assert!(refusal(repo).1.contains("auto init"));
}
