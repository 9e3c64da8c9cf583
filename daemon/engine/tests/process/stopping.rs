//! Stopping children, and clearing away what they leave.

use std::time::Duration;

use engine::process::{Cause, ExitStatus, Fate, FirstSignal, Launch, Leftovers, StopLadder};

use crate::lab::{Lab, exit_of, lives, number, until};

fn grace(seconds: u64) -> StopLadder {
    StopLadder { grace: Duration::from_secs(seconds), ..StopLadder::default() }
}

const NO_GRACE: StopLadder = StopLadder { first_signal: FirstSignal::Term, grace: Duration::ZERO };

#[tokio::test]
async fn a_polite_child_ends_as_it_likes() {
    let lab = Lab::new().marked();
    let script = "trap 'echo bye; exit 5' TERM; echo up > up; while :; do sleep 0.01; done";
    let process = lab.start(&Launch { stop: grace(60), ..lab.script(script) }).await;
    lab.appears("up").await;
    process.stop();
    let exit = exit_of(&process).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(5), Cause::Stopped));
    assert_eq!(lab.captured("stdout"), "bye\n");
    lab.expect_nobody();
}

#[tokio::test]
async fn the_first_signal_can_be_the_one_of_the_keyboard() {
    let lab = Lab::new();
    let stop = StopLadder { first_signal: FirstSignal::Int, ..grace(60) };
    let script = "trap 'exit 1' INT; echo up > up; while :; do sleep 0.01; done";
    let process = lab.start(&Launch { stop, ..lab.script(script) }).await;
    lab.appears("up").await;
    process.stop();
    assert_eq!(exit_of(&process).await.status, ExitStatus::Code(1));
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed_after_the_grace() {
    let lab = Lab::new().marked();
    let stop = StopLadder { grace: Duration::from_millis(50), ..StopLadder::default() };
    let script = "trap '' TERM; echo up > up; while :; do sleep 0.01; done";
    let process = lab.start(&Launch { stop, ..lab.script(script) }).await;
    lab.appears("up").await;
    process.stop();
    let exit = exit_of(&process).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(9), Cause::Stopped));
    lab.expect_nobody();
}

#[tokio::test]
async fn a_kill_waits_for_no_grace() {
    let lab = Lab::new().marked();
    let script = "trap '' TERM; echo up > up; while :; do sleep 0.01; done";
    let process = lab.start(&Launch { stop: grace(3600), ..lab.script(script) }).await;
    lab.appears("up").await;
    process.stop();
    process.kill();
    let exit = exit_of(&process).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(9), Cause::Killed));
    lab.expect_nobody();
}

#[tokio::test]
async fn a_child_that_is_stopped_by_job_control_still_hears_the_signal() {
    let lab = Lab::new();
    let process = lab.start(&Launch { stop: grace(3600), ..lab.script("echo up > up; kill -STOP $$") }).await;
    lab.appears("up").await;
    process.stop();
    assert_eq!(exit_of(&process).await.status, ExitStatus::Signal(15));
}

#[tokio::test]
async fn a_stop_at_any_early_moment_is_neither_lost_nor_untold() {
    for round in 0..40 {
        let lab = Lab::new().marked();
        let process = lab.start(&lab.script("echo ran >> runs; exec sleep 1000")).await;
        // Not to wait for anything, but to come at another moment each time.
        std::thread::sleep(Duration::from_micros(round * 100));
        process.stop();
        let exit = exit_of(&process).await;
        assert_eq!(exit.cause, Cause::Stopped);
        match exit.status {
            ExitStatus::NotStarted => assert!(!lab.path("runs").exists()),
            ExitStatus::Signal(15) => {}
            other => panic!("{other:?}"),
        }
        lab.expect_nobody();
    }
}

#[tokio::test]
async fn a_stop_after_the_end_changes_nothing() {
    let lab = Lab::new();
    let process = lab.start(&Launch::new("true", "/")).await;
    let exit = exit_of(&process).await;
    process.stop();
    process.kill();
    assert_eq!(exit_of(&process).await, exit);
}

#[tokio::test]
async fn a_descendant_that_opened_its_own_session_is_found_and_killed() {
    let lab = Lab::new().marked();
    let script = "setsid sh -c 'trap \"\" TERM; echo $$ > stray; while :; do sleep 0.01; done' & \
                  while [ ! -s stray ]; do sleep 0.01; done";
    let exit = lab.run(&Launch { stop: NO_GRACE, ..lab.script(script) }).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(0), Cause::Ended));
    let stray = number(&lab.appears("stray").await);
    let told = exit.survivors.iter().find(|survivor| survivor.pid == stray).unwrap();
    assert_eq!(told.fate, Fate::Killed);
    assert!(told.command.starts_with("sh -c trap"), "{}", told.command);
    lab.expect_nobody();
}

#[tokio::test]
async fn what_is_left_may_end_politely() {
    let lab = Lab::new().marked();
    let script = "sh -c 'trap \"echo bye; exit\" TERM; echo $$ > stray; while :; do sleep 0.01; done' & \
                  while [ ! -s stray ]; do sleep 0.01; done";
    let exit = lab.run(&Launch { stop: grace(3600), ..lab.script(script) }).await;
    let stray = number(&lab.appears("stray").await);
    let told = exit.survivors.iter().find(|survivor| survivor.pid == stray).unwrap();
    assert_eq!(told.fate, Fate::Ended);
    assert_eq!(lab.captured("stdout"), "bye\n");
    lab.expect_nobody();
}

#[tokio::test]
async fn what_is_left_can_be_waited_for() {
    let lab = Lab::new();
    let script = "(while [ ! -e go ]; do sleep 0.01; done; echo late) & exit 4";
    let process = lab.start(&Launch { leftovers: Leftovers::Wait, ..lab.script(script) }).await;
    let child = until(|| process.pid()).await;
    until(|| (!lives(child)).then_some(())).await;
    assert!(process.heartbeat().alive);
    std::fs::write(lab.path("go"), "").unwrap();
    let exit = exit_of(&process).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(4), Cause::Ended));
    assert_eq!(lab.captured("stdout"), "late\n");
}

#[tokio::test]
async fn a_stop_while_leftovers_are_waited_for_ends_them() {
    let lab = Lab::new().marked();
    let process =
        lab.start(&Launch { leftovers: Leftovers::Wait, ..lab.script("sleep 1000 & exit 0") }).await;
    let child = until(|| process.pid()).await;
    until(|| (!lives(child)).then_some(())).await;
    process.stop();
    let exit = exit_of(&process).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(0), Cause::Stopped));
    lab.expect_nobody();
}

#[tokio::test]
async fn what_is_left_can_be_kept_and_is_named() {
    let lab = Lab::new();
    let script = "sleep 1000 > /dev/null 2>&1 & echo $! > stray";
    let exit = lab.run(&Launch { leftovers: Leftovers::Keep, ..lab.script(script) }).await;
    let stray = number(&lab.appears("stray").await);
    assert!(lives(stray));
    assert_eq!(
        exit.survivors.iter().map(|one| (one.pid, one.fate)).collect::<Vec<_>>(),
        [(stray, Fate::Kept)]
    );
    assert!(exit.left_alive());
    crate::lab::kill_9(stray);
}

#[tokio::test]
async fn a_kill_reaches_everyone_who_is_being_born() {
    let lab = Lab::new().marked();
    let script = "echo up > up; while :; do setsid sleep 1000 & sleep 0.001; done";
    let process = lab.start(&lab.script(script)).await;
    lab.appears("up").await;
    process.kill();
    assert_eq!(exit_of(&process).await.cause, Cause::Killed);
    lab.expect_nobody();
}
