//! Attempts: retries, interruptions, resuming.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::{Failure, FailureKind, OnInterrupt, RetryPolicy, RunError, StartRun, StepState};
use serde_json::{Value, json};

use super::lab::{Lab, failed, kill_9, note, script, wait_for};

fn retried(attempts: u32) -> impl FnOnce(&mut StartRun) {
    move |start| {
        let backoff = Duration::from_millis(20);
        start.options.retry = RetryPolicy { attempts, backoff, max_backoff: backoff, on: Vec::new() };
    }
}

/// A step that fails until its n-th call.
fn works_at(lab: &mut Lab, call: usize) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    lab.play(move |run, _| {
        let calls = Arc::clone(&counted);
        async move {
            run.step("before", async { Ok(()) }).await?;
            let work = async {
                if calls.fetch_add(1, Ordering::SeqCst) + 1 < call { Err(failed("not yet")) } else { Ok(()) }
            };
            run.step("work", work).await?;
            Ok(Value::Null)
        }
    });
    calls
}

#[test]
fn a_failed_step_is_tried_again_and_every_attempt_is_recorded() {
    let mut lab = Lab::new();
    let calls = works_at(&mut lab, 3);
    lab.open();
    let run = lab.start_with(Value::Null, retried(5));
    assert_eq!(lab.ends(run, "succeeded").attempt, 3);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    let steps = lab.detail(run).steps;
    assert_eq!(steps[0].attempts.len(), 1, "what has succeeded is not done again");
    let states: Vec<_> = steps[1].attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [StepState::Failed, StepState::Failed, StepState::Succeeded]);
    assert_eq!(steps[1].attempts[0].failure.as_ref().unwrap().message, "not yet");
}

#[test]
fn the_last_attempt_decides() {
    let mut lab = Lab::new();
    let calls = works_at(&mut lab, 9);
    lab.open();
    let run = lab.start_with(Value::Null, retried(3));
    assert_eq!(lab.ends(run, "failed").attempt, 3);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn only_the_kinds_asked_for_are_tried_again() {
    let mut lab = Lab::new();
    let calls = works_at(&mut lab, 2);
    lab.open();
    let run = lab.start_with(Value::Null, |start| {
        retried(5)(start);
        start.options.retry.on = vec![FailureKind::Timeout];
    });
    lab.ends(run, "failed");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_back_off_survives_a_restart() {
    let mut lab = Lab::new();
    works_at(&mut lab, 2);
    lab.open();
    let run = lab.start_with(Value::Null, |start| {
        start.options.retry =
            RetryPolicy { attempts: 2, backoff: Duration::from_secs(2), ..RetryPolicy::default() };
    });
    wait_for(|| lab.detail(run).run.attempt == 2);
    lab.reopen();
    assert_eq!(lab.detail(run).run.state.word(), "queued");
    lab.ends(run, "succeeded");
}

#[test]
fn an_endless_back_off_is_no_panic() {
    let mut lab = Lab::new();
    works_at(&mut lab, 2);
    lab.open();
    let run = lab.start_with(Value::Null, |start| {
        start.options.retry =
            RetryPolicy { attempts: 2, backoff: Duration::MAX, max_backoff: Duration::MAX, on: Vec::new() };
    });
    wait_for(|| lab.detail(run).run.attempt == 2);
    lab.block(lab.engine().cancel(run, "enough")).unwrap();
    lab.wait(run);
}

#[test]
fn resume_clears_the_last_failed_step_only() {
    let mut lab = Lab::new();
    let calls: Arc<[AtomicUsize; 2]> = Arc::default();
    let counted = Arc::clone(&calls);
    lab.play(move |run, _| {
        let calls = Arc::clone(&counted);
        async move {
            let tolerated: Result<(), Failure> = run
                .step("tolerated", async {
                    calls[0].fetch_add(1, Ordering::SeqCst);
                    Err(failed("never mind"))
                })
                .await;
            assert!(tolerated.is_err());
            let last = async {
                if calls[1].fetch_add(1, Ordering::SeqCst) == 0 { Err(failed("once")) } else { Ok(()) }
            };
            run.step("last", last).await?;
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.ends(run, "failed");
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(calls.each_ref().map(|count| count.load(Ordering::SeqCst)), [1, 2]);
    let refused = lab.block(lab.engine().resume(run)).unwrap_err();
    assert!(matches!(refused, RunError::Refused(_)), "what has succeeded cannot be resumed");
}

#[test]
fn what_followed_from_a_failure_is_not_replayed_when_that_is_resumed() {
    let mut lab = Lab::new();
    let calls: Arc<[AtomicUsize; 2]> = Arc::default();
    let counted = Arc::clone(&calls);
    lab.play(move |run, _| {
        let calls = Arc::clone(&counted);
        async move {
            let done = async {
                if calls[0].fetch_add(1, Ordering::SeqCst) == 0 { Err(failed("once")) } else { Ok(()) }
            };
            let Err(failure) = run.step("work", done).await else { return Ok(Value::Null) };
            run.step("clean up", async {
                calls[1].fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .await?;
            Err(failure)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.ends(run, "failed");
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(calls.each_ref().map(|count| count.load(Ordering::SeqCst)), [2, 1]);
}

#[test]
fn a_failure_that_the_workflow_went_on_from_stays_when_what_came_after_it_is_resumed() {
    let mut lab = Lab::new();
    let calls: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&calls);
    lab.play(move |run, _| {
        let calls = Arc::clone(&counted);
        async move {
            let first = async {
                // A second call would succeed, and the workflow would not come to the sleep.
                if calls.fetch_add(1, Ordering::SeqCst) == 0 { Err(failed("never mind")) } else { Ok(()) }
            };
            if run.step("first", first).await.is_err() {
                run.sleep_until("pause", "2999-01-01T00:00:00Z".parse().unwrap()).await?;
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.block(lab.engine().cancel(run, "not now")).unwrap();
    lab.ends(run, "canceled");
    lab.block(lab.engine().resume(run)).unwrap();
    lab.reaches(run, "waiting");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    lab.block(lab.engine().tell(run, "enough")).unwrap();
    lab.ends(run, "succeeded");
}

#[test]
fn a_canceled_run_can_be_resumed_after_a_restart() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            run.step("first", async {
                note(&root.join("first"), "done");
                Ok(())
            })
            .await?;
            let text = "echo begun >> log; test $(wc -l < log) -ge 2 || sleep 1000";
            run.process("agent", script(&root, text)).await?;
            Ok(json!("done"))
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.block(lab.engine().cancel(run, "for now")).unwrap();
    let canceled = lab.ends(run, "canceled");
    assert_eq!(canceled.state.failure().unwrap().message, "for now");
    lab.reopen();
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(lab.lines("first").len(), 1);
    assert_eq!(lab.lines("log").len(), 2);
    assert_eq!(lab.detail(run).run.output, Some(json!("done")));
}

#[test]
fn a_run_that_was_canceled_before_it_began_can_be_resumed() {
    let mut lab = Lab::new();
    lab.open();
    lab.block(lab.engine().pause()).unwrap();
    let run = lab.start(Value::Null);
    lab.block(lab.engine().cancel(run, "not today")).unwrap();
    lab.ends(run, "canceled");
    lab.block(lab.engine().unpause()).unwrap();
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
}

/// A process that hangs until its `attempts`-th start.
fn fragile(lab: &mut Lab, attempts: usize) {
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            let text = format!("echo $PPID $$ >> log; test $(wc -l < log) -ge {attempts} || exec sleep 1000");
            run.process("agent", script(&root, &text)).await?;
            Ok(Value::Null)
        }
    });
}

/// Kills the shim of the n-th start.
fn lose(lab: &Lab, start: usize) {
    lab.grows("log", start);
    let line = lab.lines("log")[start - 1].clone();
    kill_9(line.split(' ').next().unwrap().parse().unwrap());
}

#[test]
fn a_run_whose_shim_was_killed_is_held_until_it_is_resumed() {
    let mut lab = Lab::new();
    fragile(&mut lab, 2);
    lab.open();
    let run = lab.start(Value::Null);
    lose(&lab, 1);
    lab.ends(run, "interrupted");
    lab.expect_nobody();
    assert_eq!(lab.settled(run), [Some(FailureKind::Interrupted)]);
    lab.block(lab.engine().resume(run)).unwrap();
    lab.ends(run, "succeeded");
    let states: Vec<_> = lab.detail(run).steps[0].attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(states, [StepState::Interrupted, StepState::Succeeded]);
}

#[test]
fn a_run_may_go_on_by_itself_but_not_for_ever() {
    let mut lab = Lab::new();
    lab.settings.max_interruptions = 2;
    fragile(&mut lab, 99);
    lab.open();
    let run = lab.start_with(Value::Null, |start| start.options.on_interrupt = Some(OnInterrupt::Resume));
    for start in 1..=3 {
        lose(&lab, start);
    }
    assert_eq!(lab.ends(run, "interrupted").interruptions, 2);
    assert_eq!(lab.lines("log").len(), 3);
    assert_eq!(lab.settled(run).len(), 1);
}

#[test]
fn a_shim_lost_while_the_engine_is_down_is_found_out() {
    let mut lab = Lab::new();
    fragile(&mut lab, 2);
    lab.open();
    let run = lab.start_with(Value::Null, |start| start.options.on_interrupt = Some(OnInterrupt::Resume));
    lab.grows("log", 1);
    lab.kill();
    lose(&lab, 1);
    lab.open();
    assert_eq!(lab.ends(run, "succeeded").interruptions, 1);
    lab.expect_nobody();
}

#[test]
fn a_child_killed_from_outside_fails_with_its_signal() {
    let mut lab = Lab::new();
    fragile(&mut lab, 2);
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    let line = lab.lines("log")[0].clone();
    let child: i32 = line.split(' ').nth(1).unwrap().parse().unwrap();
    wait_for(|| lab.detail(run).steps[0].attempts[0].pid == Some(child));
    kill_9(child);
    let failure = lab.fails(run, &FailureKind::Signal);
    assert!(failure.message.contains('9'), "{failure}");
    let detail = lab.detail(run);
    assert_eq!((detail.run.signal, detail.run.exit_code), (Some(9), None));
    assert_eq!(detail.steps[0].attempts[0].pid, Some(child));
}

#[test]
fn an_exit_code_is_not_forgotten_by_a_restart() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            let tolerated = run.process("agent", script(&root, "exit 7")).await;
            run.sleep_until("pause", jiff::Timestamp::MAX).await?;
            tolerated.map(|_| Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.reopen();
    lab.block(lab.engine().tell(run, "on")).unwrap();
    assert_eq!(lab.ends(run, "failed").exit_code, Some(7));
}
