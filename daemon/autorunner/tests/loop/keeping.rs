//! Who owns the loop, told to this tool and to others.

use autorunner::lock::{self, Assessment, LockRecord, OwnedLock};
use engine::{RunState, StartError};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::scene::{Scene, wait_for};

/// The process that holds the lock.
fn holder(scene: &Scene) -> u32 {
    match lock::assess(&scene.layout.lock()).unwrap() {
        Assessment::Held { holder: Some(holder), .. } => holder.pid,
        other => panic!("{other:?}"),
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

#[test]
fn a_loop_owns_the_lock_by_a_process_that_is_not_the_daemon() {
    let scene = Scene::new(1);
    scene.behave(1, r#"say "in the middle"; wait_for go"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("in the middle");
    assert_ne!(holder(&scene), std::process::id());
    assert_eq!(scene.state().runner_pid, Some(holder(&scene)));
    scene.allow("go");
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert!(!scene.layout.lock().exists());
}

#[test]
fn a_sigterm_to_the_owner_of_the_lock_stops_the_loop() {
    let scene = Scene::new(2);
    scene.behave(1, r#"say "in the middle"; wait_for never"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("in the middle");
    signal(holder(&scene), Signal::SIGTERM);
    let ended = daemon.end(run);
    assert_eq!(ended.state.word(), "canceled");
    assert!(ended.state.failure().unwrap().message.contains("SIGTERM"), "{ended:?}");
    assert!(scene.log().ends_with("=== run 1 end (code 130) ===\n"), "{}", scene.log());

    // The wish is fulfilled: it does not stop the loop again.
    daemon.block_on(daemon.engine.resume(run)).unwrap();
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
}

#[test]
fn a_second_loop_is_told_who_is_there() {
    let scene = Scene::new(1);
    scene.behave(1, "wait_for go");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_call(1);
    let below = scene.layout.root().join("src");
    std::fs::create_dir(&below).unwrap();
    match scene.try_start(&daemon, json!({ "repo": below })) {
        Err(StartError::LeaseHeld { holder, .. }) => assert_eq!(holder, run),
        other => panic!("{other:?}"),
    }
    scene.allow("go");
    daemon.end(run);
}

#[test]
fn the_lock_of_another_tool_is_honoured_and_nothing_of_its_is_touched() {
    let scene = Scene::new(1);
    let mut state = scene.state();
    state.begin(7, std::process::id(), Timestamp::now());
    state.store(&scene.layout.state()).unwrap();
    let state = scene.state();
    let record = LockRecord::of_this_process(Timestamp::now());
    let owned = OwnedLock::acquire(&scene.layout.lock(), &record).unwrap();

    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    let failure = ended.state.failure().unwrap();
    assert_eq!(failure.kind.as_str(), "lock-held");
    assert!(failure.message.contains(&std::process::id().to_string()), "{failure:?}");
    assert_eq!((scene.state(), scene.calls()), (state, 0));
    assert_eq!(holder(&scene), std::process::id());
    drop(owned);
}

#[test]
fn a_lock_that_a_dead_loop_left_is_taken_over() {
    let scene = Scene::new(1);
    std::fs::write(scene.layout.lock(), "999999999").unwrap();
    let daemon = scene.daemon();
    assert_eq!(daemon.end(scene.start(&daemon)).state, RunState::Succeeded);
}

#[test]
fn a_keeper_that_was_killed_is_replaced_at_once() {
    let scene = Scene::new(2);
    scene.behave(1, r#"say "first"; wait_for go"#);
    scene.behave(2, r#"say "second"; wait_for on"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("first");
    let killed = holder(&scene);
    signal(killed, Signal::SIGKILL);
    // In the middle of the iteration.
    let other_than = |gone: u32| match lock::assess(&scene.layout.lock()).unwrap() {
        Assessment::Held { holder: Some(holder), .. } => Some(holder.pid).filter(|pid| *pid != gone),
        _ => None,
    };
    let second = wait_for("another keeper", || other_than(killed));
    wait_for("the state to name it", || (scene.state().runner_pid == Some(second)).then_some(()));

    // A daemon that comes later knows that one, and replaces it all the same.
    daemon.die();
    let daemon = scene.daemon();
    signal(second, Signal::SIGKILL);
    let third = wait_for("a third keeper", || other_than(second));
    daemon.die();
    let daemon = scene.daemon();
    assert_eq!(holder(&scene), third);
    scene.allow("go");
    scene.wait_for_log("second");
    assert_ne!(holder(&scene), killed);
    assert_eq!(scene.state().runner_pid, Some(holder(&scene)));
    scene.allow("on");
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert!(!scene.layout.lock().exists());
}

#[test]
fn a_keeper_that_gave_the_lock_back_while_there_was_no_daemon_is_replaced() {
    let scene = Scene::new(3);
    scene.behave(2, r#"say "second"; wait_for go"#);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("second");
    let keeper = holder(&scene);
    daemon.die();
    // As a daemon tells it at the end of a run, which a kill may keep it from storing.
    signal(keeper, Signal::SIGUSR1);
    wait_for("end of the keeper", || (!scene.layout.lock().exists()).then_some(()));

    let daemon = scene.daemon();
    scene.allow("go");
    assert_eq!(daemon.end(run).state, RunState::Succeeded);
    assert_eq!(scene.calls(), 3);
}
