//! Runs that follow others.

use engine::{After, FailureKind, RunId, StartError, Status};
use serde_json::{Value, json};

use super::lab::{Lab, failed};

fn lab() -> Lab {
    Lab::playing(|run, spec| async move {
        if spec["waits"] == json!(true) {
            run.sleep_until("word", jiff::Timestamp::MAX).await?;
        }
        if spec["fails"] == json!(true) { Err(failed("as asked")) } else { Ok(Value::Null) }
    })
}

const ENDED: [Status; 4] = [Status::Succeeded, Status::Failed, Status::Canceled, Status::Interrupted];

fn follow(lab: &Lab, runs: &[RunId], outcomes: &[Status]) -> RunId {
    lab.start_with(Value::Null, |start| {
        let after = runs.iter().map(|run| After { run: *run, outcomes: outcomes.to_vec() });
        start.options.after = after.collect();
    })
}

fn tell(lab: &Lab, run: RunId) {
    lab.block(lab.engine().tell(run, "on")).unwrap();
}

#[test]
fn a_follower_starts_when_the_other_has_ended_as_wanted() {
    let lab = lab();
    let good = lab.start(json!({ "waits": true }));
    let bad = lab.start(json!({ "waits": true, "fails": true }));
    let wanted = follow(&lab, &[good], &[Status::Succeeded]);
    let saviour = follow(&lab, &[bad], &[Status::Failed]);
    let whatever = follow(&lab, &[bad], &ENDED);
    let disappointed = follow(&lab, &[bad], &[Status::Succeeded]);
    for run in [wanted, saviour, whatever, disappointed] {
        assert_eq!(lab.detail(run).run.state.word(), "queued");
    }
    tell(&lab, good);
    tell(&lab, bad);
    for run in [wanted, saviour, whatever] {
        lab.ends(run, "succeeded");
    }
    let canceled = lab.ends(disappointed, "canceled");
    assert_eq!(canceled.state.failure().unwrap().kind, FailureKind::Dependency);
}

#[test]
fn a_follower_of_several_waits_for_all_over_restarts() {
    let mut lab = lab();
    let runs = [1, 2, 3].map(|_| lab.start(json!({ "waits": true })));
    let follower = follow(&lab, &runs, &[Status::Succeeded]);
    for run in runs {
        assert_eq!(lab.detail(follower).run.state.word(), "queued");
        lab.reopen();
        lab.reaches(run, "waiting");
        tell(&lab, run);
        lab.ends(run, "succeeded");
    }
    lab.ends(follower, "succeeded");
}

#[test]
fn what_has_ended_already_counts_and_what_never_was_is_refused() {
    let lab = lab();
    let good = lab.start(Value::Null);
    let bad = lab.start(json!({ "fails": true }));
    lab.ends(good, "succeeded");
    lab.ends(bad, "failed");
    lab.ends(follow(&lab, &[good], &[Status::Succeeded]), "succeeded");
    lab.fails(follow(&lab, &[good, bad], &[Status::Succeeded]), &FailureKind::Dependency);
    let mut start = lab.ask("play", Value::Null);
    start.options.after = vec![After { run: RunId::generate(), outcomes: ENDED.to_vec() }];
    let refused = lab.block(lab.engine().start(start)).unwrap_err();
    assert!(matches!(refused, StartError::NoPredecessor(_)));
}

#[test]
fn a_predecessor_that_is_resumed_is_waited_for_again() {
    let lab = lab();
    let first = lab.start(json!({ "waits": true, "fails": true }));
    let second = lab.start(json!({ "waits": true }));
    lab.reaches(first, "waiting");
    let follower = follow(&lab, &[first, second], &ENDED);
    lab.block(lab.engine().cancel(first, "for now")).unwrap();
    lab.ends(first, "canceled");
    lab.block(lab.engine().resume(first)).unwrap();
    lab.reaches(first, "waiting");
    tell(&lab, second);
    lab.ends(second, "succeeded");
    assert_eq!(lab.detail(follower).run.state.word(), "queued");
    tell(&lab, first);
    lab.ends(follower, "succeeded");
}

#[test]
fn a_run_whose_outcome_is_still_asked_for_is_kept() {
    let mut lab = lab();
    lab.kill();
    lab.settings.keep_runs = 0;
    lab.open();
    let first = lab.start(Value::Null);
    lab.ends(first, "succeeded");
    let second = lab.start(json!({ "waits": true }));
    let follower = follow(&lab, &[first, second], &[Status::Succeeded]);
    assert_eq!(lab.block(lab.engine().retain()).unwrap(), 0);
    lab.block(lab.engine().delete(first)).unwrap_err();
    tell(&lab, second);
    lab.ends(follower, "succeeded");
    assert_eq!(lab.block(lab.engine().retain()).unwrap(), 3);
}
