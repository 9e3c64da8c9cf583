//! Waits for a time.

use std::sync::Arc;

use engine::Slept;
use engine::clock::FakeClock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lab::Lab;

fn sleeper(lab: &mut Lab) {
    lab.play(|run, _| async move {
        let until: Timestamp = run
            .step("time", {
                let run = run.clone();
                async move { Ok(run.record().unwrap().created_at + SignedDuration::from_hours(8)) }
            })
            .await?;
        let slept = run.sleep_until("night", until).await?;
        Ok(json!(slept))
    });
}

fn lab() -> (Lab, Arc<FakeClock>) {
    let mut lab = Lab::new();
    let clock = Arc::new(FakeClock::new("2026-01-01T22:00:00Z".parse().unwrap()));
    lab.clock = clock.clone();
    sleeper(&mut lab);
    lab.open();
    (lab, clock)
}

#[test]
fn a_sleep_lasts_until_its_time_over_restarts() {
    let (mut lab, clock) = lab();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    clock.advance(SignedDuration::from_hours(7));
    lab.reopen();
    lab.reaches(run, "waiting");
    clock.advance(SignedDuration::from_hours(1));
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!(Slept::Through)));
}

#[test]
fn a_time_that_passed_while_the_engine_was_down_is_over_at_once() {
    let (mut lab, clock) = lab();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.kill();
    clock.advance(SignedDuration::from_hours(100));
    lab.open();
    lab.ends(run, "succeeded");
}

#[test]
fn a_word_cuts_a_sleep_short_and_is_remembered() {
    let (mut lab, _) = lab();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.block(lab.engine().tell(run, "stop")).unwrap();
    lab.block(lab.engine().wait(run)).unwrap();
    assert_eq!(lab.detail(run).run.output, Some(json!(Slept::Told)));
    assert_eq!(lab.detail(run).run.signals, ["stop"]);
    lab.reopen();
    assert_eq!(lab.detail(run).run.signals, ["stop"]);
}

#[test]
fn a_sleep_that_is_canceled_is_slept_anew_when_the_run_is_resumed() {
    let (lab, clock) = lab();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.block(lab.engine().cancel(run, "for now")).unwrap();
    lab.ends(run, "canceled");
    lab.block(lab.engine().resume(run)).unwrap();
    lab.reaches(run, "waiting");
    clock.advance(SignedDuration::from_hours(9));
    lab.ends(run, "succeeded");
}

#[test]
fn a_sleep_that_its_workflow_gives_up_does_not_keep_the_run() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move {
        tokio::select! {
            slept = run.sleep_until("night", Timestamp::MAX) => { slept?; }
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
        }
        Ok(Value::Null)
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.ends(run, "succeeded");
}
