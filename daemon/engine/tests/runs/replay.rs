//! The rules of replay, with a workflow written to break each one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use engine::{FailureKind, RunContext, StepState};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lab::{Lab, note, script};

/// Blocks a workflow where a test wants the engine to die.
async fn hang() -> Value {
    std::future::pending().await
}

async fn say(run: &RunContext, name: &str, value: Value) -> Value {
    run.step(name, async { Ok(value) }).await.unwrap()
}

#[test]
fn a_step_name_used_twice_fails_the_run() {
    let lab = Lab::playing(|run, _| async move {
        say(&run, "one", json!(1)).await;
        let _swallowed: Result<Value, _> = run.step("one", async { Ok(json!(2)) }).await;
        Ok(Value::Null)
    });
    let failure = lab.fails(lab.start(Value::Null), &FailureKind::Diverged);
    assert!(failure.message.contains("\"one\""), "{failure}");
}

#[test]
fn a_finished_step_never_runs_again_and_keeps_its_value() {
    let mut lab = Lab::new();
    let count = lab.path("count");
    lab.play(move |run, _| {
        let count = count.clone();
        async move {
            let first: u64 = run
                .step("once", async {
                    note(&count, "once");
                    Ok(std::fs::read_to_string(&count).unwrap().lines().count() as u64)
                })
                .await?;
            run.sleep_until("pause", far()).await?;
            Ok(json!(first))
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    for _ in 0..3 {
        lab.reopen();
    }
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!(1)));
    assert_eq!(lab.lines("count").len(), 1);
}

fn far() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

#[test]
fn a_stored_step_that_the_replay_does_not_visit_fails_it_and_its_process_is_gone() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            run.process("agent", script(&root, "echo begun >> log; sleep 1000")).await.map(|_| Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.kill();
    assert!(!lab.living().is_empty(), "the process outlives the engine");
    lab.play(|_, _| async { Ok(Value::Null) });
    lab.open();
    let failure = lab.fails(run, &FailureKind::Diverged);
    assert!(failure.message.contains("agent"), "{failure}");
    lab.expect_nobody();
    assert_eq!(lab.detail(run).steps[0].state, StepState::Canceled);
}

#[test]
fn a_stored_wait_that_the_replay_does_not_visit_fails_it() {
    let mut lab = Lab::playing(|run, _| async move {
        run.sleep_until("pause", far()).await?;
        Ok(Value::Null)
    });
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.kill();
    lab.play(|_, _| async { Ok(Value::Null) });
    lab.open();
    lab.fails(run, &FailureKind::Diverged);
}

#[test]
fn a_workflow_that_panics_in_the_replay_of_a_wait_fails() {
    let mut lab = Lab::playing(|run, _| async move {
        run.sleep_until("pause", far()).await?;
        Ok(Value::Null)
    });
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.kill();
    lab.play(|_, _| async { panic!("on purpose") });
    lab.open();
    lab.fails(run, &FailureKind::Panic);
}

#[test]
fn a_stored_step_that_is_now_of_another_kind_fails_the_replay() {
    let mut lab = Lab::playing(|run, _| async move {
        say(&run, "one", json!(1)).await;
        run.sleep_until("pause", far()).await?;
        Ok(Value::Null)
    });
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.kill();
    lab.play(|run, _| async move {
        run.sleep_until("one", far()).await?;
        Ok(Value::Null)
    });
    lab.open();
    let failure = lab.fails(run, &FailureKind::Diverged);
    assert!(failure.message.contains("stored as a step"), "{failure}");
}

#[test]
fn a_stored_value_of_another_type_fails_the_replay() {
    let mut lab = Lab::playing(|run, _| async move {
        say(&run, "one", json!("text")).await;
        run.sleep_until("pause", far()).await?;
        Ok(Value::Null)
    });
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.kill();
    lab.play(|run, _| async move {
        let _swallowed: Result<u64, _> = run.step("one", async { Ok(1) }).await;
        run.sleep_until("pause", far()).await?;
        Ok(Value::Null)
    });
    lab.open();
    lab.fails(run, &FailureKind::Diverged);
}

#[test]
fn a_workflow_that_decides_on_something_outside_its_steps_diverges_after_a_restart() {
    let outside = Arc::new(AtomicBool::new(true));
    let mut lab = Lab::new();
    let seen = Arc::clone(&outside);
    lab.play(move |run, _| {
        let seen = Arc::clone(&seen);
        async move {
            let name = if seen.load(Ordering::SeqCst) { "left" } else { "right" };
            say(&run, name, json!(1)).await;
            say(&run, "both", json!(2)).await;
            if seen.load(Ordering::SeqCst) {
                hang().await;
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    super::lab::wait_for(|| lab.detail(run).steps.len() == 2);
    lab.kill();
    outside.store(false, Ordering::SeqCst);
    lab.open();
    let failure = lab.fails(run, &FailureKind::Diverged);
    assert!(failure.message.contains("left"), "{failure}");
}

#[test]
fn swallowing_an_interruption_does_not_help() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            let _swallowed = run.process("agent", script(&root, "echo begun >> log; sleep 1000")).await;
            note(&root.join("after"), "went on");
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    for pid in lab.living() {
        super::lab::kill_9(pid);
    }
    lab.ends(run, "interrupted");
    assert!(lab.lines("after").is_empty());
    lab.expect_nobody();
}

#[test]
fn emit_and_child_repeat_nothing_after_a_restart() {
    let mut lab = Lab::new();
    let children = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&children);
    lab.side(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(json!("from the child")) }
    });
    let options = lab.options();
    lab.play(move |run, _| {
        let options = options.clone();
        async move {
            run.emit("news", "test.news", json!({ "n": 1 })).await?;
            let child = run.child("child", "side", Value::Null, options).await?;
            assert_eq!(child.state, "succeeded");
            assert_eq!(child.output, Some(json!("from the child")));
            run.sleep_until("pause", far()).await?;
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    super::lab::wait_for(|| lab.detail(run).steps.iter().any(|step| step.name == "pause"));
    lab.reopen();
    lab.reopen();
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(children.load(Ordering::SeqCst), 1);
    let told = super::events::history(&lab, 1);
    assert_eq!(told.iter().filter(|event| event.kind == "test.news").count(), 1);
    let created = told.iter().filter(|event| event.kind == "run.created").count();
    assert_eq!(created, 2, "the run and its child");
}

#[test]
fn a_process_runs_once_however_often_the_engine_dies_around_it() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            for number in 0..6 {
                let text = format!("echo {number} >> count; sleep 0.0{number}");
                run.process(&format!("p{number}"), script(&root, &text)).await?;
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    let runs: Vec<_> = (0..2).map(|_| lab.start(Value::Null)).collect();
    for round in 0..12 {
        std::thread::sleep(std::time::Duration::from_millis(7 * round));
        lab.reopen();
    }
    for run in runs {
        lab.ends(run, "succeeded");
    }
    let mut count = lab.lines("count");
    count.sort();
    let expected: Vec<String> = (0..6).flat_map(|n| [n.to_string(), n.to_string()]).collect();
    assert_eq!(count, expected);
    lab.expect_nobody();
}

#[test]
fn a_launch_is_stored_once_and_never_computed_again() {
    let mut lab = Lab::new();
    let root = lab.path("");
    let launches = Arc::new(AtomicUsize::new(0));
    lab.play(move |run, _| {
        let (root, number) = (root.clone(), launches.fetch_add(1, Ordering::SeqCst));
        async move {
            let text = format!("echo {number} >> log; test $(wc -l < log) -ge 2");
            run.process("agent", script(&root, &text)).await?;
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.fails(run, &FailureKind::Exit);
    lab.reopen();
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(lab.lines("log"), ["0", "0"], "the second attempt runs what the first one was");
    assert_eq!(lab.detail(run).steps[0].attempts.len(), 2);
}
