//! Waits: for a time, and for several things at once.

use std::sync::Arc;

use engine::clock::FakeClock;
use engine::{RunId, Slept, StartOptions};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lab::{Lab, wait_for};

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

#[test]
fn several_children_at_once_are_waited_for_together_and_leave_the_only_slot_to_each_other() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    lab.play(|run, _| async move {
        let options = StartOptions::default;
        let (one, other, slept) = tokio::join!(
            run.child("one", "side", json!(1), options()),
            run.child("other", "side", json!(2), options()),
            run.sleep_until("nap", Timestamp::now()),
        );
        assert_eq!(slept?, Slept::Through);
        Ok(json!([one?.output, other?.output]))
    });
    lab.side(|run, spec| async move {
        run.step("work", async { Ok(()) }).await?;
        Ok(spec)
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!([1, 2])));
}

#[test]
fn several_waits_are_taken_up_by_the_next_daemon_and_end_with_a_cancel() {
    let mut lab = Lab::new();
    let never: Timestamp = "2999-01-01T00:00:00Z".parse().unwrap();
    lab.play(move |run, _| async move {
        let options = StartOptions::default();
        let (child, slept) =
            tokio::join!(run.child("child", "side", Value::Null, options), run.sleep_until("nap", never));
        slept?;
        Ok(json!(child?.state))
    });
    lab.side(move |run, _| async move {
        run.sleep_until("nap", never).await?;
        Ok(Value::Null)
    });
    lab.open();
    let (told, canceled) = (lab.start(Value::Null), lab.start(Value::Null));
    let child_of = |lab: &Lab, run| {
        let steps = lab.detail(run).steps;
        let found = steps.iter().find(|step| step.name == "child").and_then(|step| step.request.clone());
        found.and_then(|request| serde_json::from_value::<RunId>(request["run"].clone()).ok())
    };
    for run in [told, canceled] {
        wait_for(|| lab.detail(run).steps.len() == 2 && child_of(&lab, run).is_some());
        lab.reaches(run, "waiting");
    }
    lab.kill();
    lab.open();
    let child = child_of(&lab, told).unwrap();
    lab.reaches(child, "waiting");
    lab.block(lab.engine().tell(told, "go")).unwrap();
    lab.reaches(told, "waiting");
    lab.block(lab.engine().tell(child, "go")).unwrap();
    lab.ends(told, "succeeded");
    assert_eq!(lab.detail(told).run.output, Some(json!("succeeded")));

    let child = child_of(&lab, canceled).unwrap();
    lab.block(lab.engine().cancel(canceled, "enough")).unwrap();
    lab.ends(canceled, "canceled");
    lab.ends(child, "canceled");
}

#[test]
fn a_wait_that_lost_a_race_keeps_no_later_one_waiting() {
    let lab = Lab::playing(|run, _| async move {
        tokio::select! {
            slept = run.sleep_until("long", "2999-01-01T00:00:00Z".parse().unwrap()) => { slept?; }
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
        run.sleep_until("short", Timestamp::now()).await?;
        Ok(Value::Null)
    });
    let run = lab.start(Value::Null);
    lab.ends(run, "succeeded");
}
