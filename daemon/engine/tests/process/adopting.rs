//! Finding processes again after a restart of the daemon.

use engine::process::record::{self, ProcessId, ProcessRecord, UnixNanos};
use engine::process::{Adoption, Cause, ExitStatus, Fate, Launch, Process};

use crate::lab::{Lab, exit_of, kill_9, lives, number, until};

fn alive(adoption: Adoption) -> Process {
    match adoption {
        Adoption::Alive(process) => process,
        other => panic!("not alive: {other:?}"),
    }
}

#[tokio::test]
async fn an_attempt_without_a_directory_never_ran() {
    let lab = Lab::new();
    assert!(matches!(lab.adopt().await, Adoption::NothingRan));
}

#[tokio::test]
async fn an_attempt_whose_shim_was_never_started_never_ran() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("attempt")).unwrap();
    std::fs::write(lab.path("attempt/lock"), "").unwrap();
    assert!(matches!(lab.adopt().await, Adoption::NothingRan));
}

#[tokio::test]
async fn a_half_written_record_means_that_nothing_ran() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("attempt")).unwrap();
    for half in ["", r#"{"version":1,"att"#] {
        std::fs::write(lab.path("attempt/process.json"), half).unwrap();
        assert!(matches!(lab.adopt().await, Adoption::NothingRan));
    }
}

#[tokio::test]
async fn a_living_process_is_taken_hold_of_again() {
    let lab = Lab::new();
    let first = lab.start(&lab.script("while [ ! -e go ]; do sleep 0.01; done; exit 9")).await;
    let again = alive(lab.adopt().await);
    assert_eq!(again.shim_pid(), first.shim_pid());
    std::fs::write(lab.path("go"), "").unwrap();
    assert_eq!(exit_of(&again).await.status, ExitStatus::Code(9));
    assert_eq!(exit_of(&first).await.status, ExitStatus::Code(9));
}

#[tokio::test]
async fn a_process_that_is_just_starting_is_waited_for() {
    for _ in 0..20 {
        let lab = Lab::new();
        let _first = lab.start(&lab.script("exec sleep 1000")).await;
        let again = alive(lab.adopt().await);
        again.kill();
        assert_eq!(exit_of(&again).await.cause, Cause::Killed);
    }
}

#[test]
fn a_record_that_is_just_being_written_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(record::PROCESS);
    let id = ProcessId { pid: 2, start_ticks: 3 };
    let record = ProcessRecord {
        version: record::VERSION,
        attempt: "one".into(),
        child: id,
        pgid: 2,
        shim: id,
        boot_id: "boot".into(),
        started_at: UnixNanos(4),
    };
    let whole = serde_json::to_string(&record).unwrap() + "\n";
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..5000 {
                std::fs::write(&path, &whole).unwrap();
                std::fs::remove_file(&path).unwrap();
            }
        });
        while !writer.is_finished() {
            let read = record::read_process(dir.path()).unwrap();
            assert!(read.is_none_or(|read| read == record));
        }
    });
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(record::read_process(dir.path()).unwrap(), Some(record));
}

#[tokio::test]
async fn an_adopted_process_can_be_stopped() {
    let lab = Lab::new().marked();
    let _first = lab.start(&lab.script("echo up > up; exec sleep 1000")).await;
    lab.appears("up").await;
    let again = alive(lab.adopt().await);
    again.stop();
    let exit = exit_of(&again).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(15), Cause::Stopped));
    lab.expect_nobody();
}

#[tokio::test]
async fn an_end_that_nobody_saw_is_read() {
    let lab = Lab::new();
    let exit = lab.run(&lab.script("exit 2")).await;
    match lab.adopt().await {
        Adoption::Exited(read) => assert_eq!(read, exit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lost_shim_is_told_and_what_it_left_is_killed() {
    let lab = Lab::new().marked();
    // One in the session without any mark, one with the mark in another session, and the child itself.
    let script = "env -i sh -c 'echo $$ > bare; while :; do sleep 0.01; done' & \
                  setsid sh -c 'echo $$ > far; while :; do sleep 0.01; done' & \
                  echo up > up; wait";
    let process = lab.start(&lab.script(script)).await;
    lab.appears("up").await;
    let bare = number(&lab.appears("bare").await);
    let far = number(&lab.appears("far").await);
    kill_9(process.shim_pid());

    let ended = process.wait().await.unwrap();
    let engine::process::Ended::Lost(lost) = ended else { panic!("{ended:?}") };
    for stray in [bare, far] {
        let told = lost.swept.iter().find(|survivor| survivor.pid == stray).unwrap();
        assert_eq!(told.fate, Fate::Killed);
        until(|| (!lives(stray)).then_some(())).await;
    }
    lab.expect_nobody();
    assert!(matches!(lab.adopt().await, Adoption::Lost(_)));
}

#[tokio::test]
async fn a_record_of_a_newer_program_is_refused_with_advice() {
    let lab = Lab::new();
    lab.run(&Launch::new("true", "/")).await;
    std::fs::write(lab.path("attempt/exit.json"), r#"{"version": 99}"#).unwrap();
    let error = lab.supervisor.adopt(&lab.path("attempt")).await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn a_damaged_record_is_an_error_and_never_a_guess() {
    let lab = Lab::new();
    lab.run(&Launch::new("true", "/")).await;
    std::fs::write(lab.path("attempt/exit.json"), "{").unwrap();
    let error = lab.supervisor.adopt(&lab.path("attempt")).await.unwrap_err();
    assert!(error.to_string().contains("exit.json"), "{error}");
}
