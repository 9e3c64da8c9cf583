//! Loops whose daemon dies on the way.

use autorunner::state::Status;
use engine::RunState;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{Daemon, Scene, wait_for};

/// Number and lines of every block.
fn blocks(scene: &Scene) -> Vec<String> {
    scene.untimed_log().lines().filter(|line| line.starts_with("===")).map(str::to_owned).collect()
}

#[test]
fn an_iteration_goes_on_without_the_daemon_and_is_taken_up_by_the_next() {
    let scene = Scene::new(2);
    scene.behave(1, r#"say "before"; wait_for go; say "after""#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("before");
    daemon.die();
    scene.allow("go");
    wait_for("end of the iteration", || scene.todo().contains("- [x]").then_some(()));

    let daemon = scene.daemon();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), daemon.output(run)["iterations"].clone()), (2, 2.into()));
    let log = scene.untimed_log();
    for text in
        ["run=1 stdout: before\n", "run=1 stdout: after\n", "run=1 stdout: a word on standard error\n"]
    {
        assert_eq!(log.matches(text).count(), 1, "{text} in {log}");
    }
    let wanted = [
        "=== run 1 start ===",
        "=== run 1 end (code 0) ===",
        "=== run 2 start ===",
        "=== run 2 end (code 0) ===",
    ];
    assert_eq!(blocks(&scene), wanted);
    assert_eq!(std::fs::read_to_string(scene.layout.run_events(1)).unwrap().lines().count(), 6);
}

#[test]
fn a_loop_survives_the_death_of_its_daemon_at_any_moment() {
    let scene = Scene::new(8);
    scene.configure("auto_commit: false", "auto_commit: true");
    let mut daemon = scene.daemon();
    let run = scene.start(&daemon);
    // Each daemon dies a little later in the course of an iteration than the one before.
    for pause in [5_u64, 20, 40, 60, 80, 110, 140, 170] {
        std::thread::sleep(std::time::Duration::from_millis(pause));
        daemon.die();
        daemon = scene.daemon();
    }
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), scene.state().last_run_id), (8, Some(8)));
    let wanted: Vec<String> = (1..=8)
        .flat_map(|run| [format!("=== run {run} start ==="), format!("=== run {run} end (code 0) ===")])
        .collect();
    assert_eq!(blocks(&scene), wanted);
    let commits = scene.git(&["log", "--reverse", "--format=%s"]);
    assert_eq!(commits.lines().count(), 8, "{commits}");
    assert_eq!(daemon.output(run)["tokens"], 8 * 67);
}

#[test]
fn a_daemon_that_dies_in_the_pause_repeats_nothing() {
    let scene = Scene::new(2);
    scene.configure("sleep_seconds: 0", "sleep_seconds: 3600");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    let waits =
        |daemon: &Daemon| daemon.block_on(daemon.engine.record(run)).unwrap().state.word() == "waiting";
    wait_for("pause", || waits(&daemon).then_some(()));
    daemon.die();
    let daemon = scene.daemon();
    wait_for("pause", || waits(&daemon).then_some(()));
    daemon.block_on(daemon.engine.tell(run, "stop")).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!((scene.calls(), blocks(&scene).len()), (1, 2));
}

#[test]
fn an_iteration_whose_shim_was_killed_is_run_again_under_a_number_of_its_own() {
    let scene = Scene::new(1);
    scene.behave(1, r#"ps -o ppid= -p $$ > "$here/shim"; say "lost"; wait_for never"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("lost");
    let shim: i32 = std::fs::read_to_string(scene.root.path().join("shim")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    let wanted = [
        "=== run 1 start ===",
        "=== run 1 end (code 1) ===",
        "=== run 2 start ===",
        "=== run 2 end (code 0) ===",
    ];
    assert_eq!(blocks(&scene), wanted, "{}", scene.log());
    assert_eq!((scene.calls(), scene.state().status), (2, Status::Idle));
}
