//! Waits for a person.

use std::sync::Arc;

use engine::clock::FakeClock;
use engine::{Approval, RunError, RunId, Verdict};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lab::{Lab, wait_for};

fn asking(lab: &mut Lab, prompt: &str, limit: Option<SignedDuration>) {
    let prompt = prompt.to_owned();
    lab.play(move |run, _| {
        let prompt = prompt.clone();
        async move {
            let expires: Option<Timestamp> = run
                .step("limit", {
                    let run = run.clone();
                    async move { Ok(limit.map(|limit| run.record().unwrap().created_at + limit)) }
                })
                .await?;
            let decision = run.approval("sure", &prompt, expires, Verdict::Denied).await?;
            Ok(json!(decision))
        }
    });
}

fn pending(lab: &Lab) -> Approval {
    wait_for(|| lab.engine().approvals().len() == 1);
    lab.engine().approvals().remove(0)
}

fn output(lab: &Lab, run: RunId) -> Value {
    lab.ends(run, "succeeded");
    lab.detail(run).run.output.unwrap()
}

#[test]
fn a_decision_is_kept_with_who_and_when_and_the_first_one_stands() {
    let mut lab = Lab::new();
    asking(&mut lab, "merge it?", None);
    lab.open();
    let run = lab.start(Value::Null);
    let approval = pending(&lab);
    assert_eq!((approval.prompt.as_str(), approval.run), ("merge it?", run));
    let engine = lab.engine();
    let (first, second) = lab.block(async {
        tokio::join!(
            engine.decide(approval.id, Verdict::Granted, "ada", "looks right"),
            engine.decide(approval.id, Verdict::Denied, "bob", ""),
        )
    });
    let decision = first.unwrap().decision.unwrap();
    assert!(matches!(second, Err(RunError::NoApproval(_))));
    assert_eq!(output(&lab, run), json!(decision));
    assert_eq!((decision.by.as_str(), decision.comment.as_str()), ("ada", "looks right"));
    assert!(lab.engine().approvals().is_empty());
}

#[test]
fn an_approval_waits_over_restarts() {
    let mut lab = Lab::new();
    asking(&mut lab, "sure?", None);
    lab.open();
    let run = lab.start(Value::Null);
    let before = pending(&lab);
    lab.reopen();
    assert_eq!(pending(&lab), before);
    lab.block(lab.engine().decide(before.id, Verdict::Denied, "ada", "")).unwrap();
    assert_eq!(output(&lab, run)["verdict"], "denied");
    lab.reopen();
    assert!(lab.engine().approvals().is_empty());
}

#[test]
fn the_default_is_taken_at_the_time_limit_even_if_it_passed_while_the_engine_was_down() {
    for down in [false, true] {
        let mut lab = Lab::new();
        let clock = Arc::new(FakeClock::new("2026-01-01T22:00:00Z".parse().unwrap()));
        lab.clock = clock.clone();
        asking(&mut lab, "sure?", Some(SignedDuration::from_hours(1)));
        lab.open();
        let run = lab.start(Value::Null);
        pending(&lab);
        if down {
            lab.kill();
        }
        clock.advance(SignedDuration::from_hours(2));
        if down {
            lab.open();
        }
        let decision = output(&lab, run);
        assert_eq!((&decision["verdict"], &decision["by"]), (&json!("denied"), &json!("time limit")));
    }
}

#[test]
fn an_approval_of_a_run_that_is_canceled_is_gone_and_asked_anew_on_resume() {
    let mut lab = Lab::new();
    asking(&mut lab, "sure?", None);
    lab.open();
    let run = lab.start(Value::Null);
    let before = pending(&lab);
    lab.block(lab.engine().cancel(run, "for now")).unwrap();
    lab.ends(run, "canceled");
    lab.block(lab.engine().decide(before.id, Verdict::Granted, "ada", "")).unwrap_err();
    lab.block(lab.engine().resume(run)).unwrap();
    let anew = pending(&lab);
    assert_ne!(anew.id, before.id);
    lab.block(lab.engine().decide(anew.id, Verdict::Granted, "ada", "")).unwrap();
    assert_eq!(output(&lab, run)["verdict"], "granted");
}

#[test]
fn the_longest_words_fit() {
    let mut lab = Lab::new();
    asking(&mut lab, &"\u{1}".repeat(100_000), None);
    lab.open();
    let run = lab.start(Value::Null);
    let approval = pending(&lab);
    let (by, comment) = ("\u{1f600}".repeat(10_000), "\"\n".repeat(100_000));
    lab.block(lab.engine().decide(approval.id, Verdict::Granted, &by, &comment)).unwrap();
    assert_eq!(output(&lab, run)["verdict"], "granted");
    assert_eq!(lab.engine().store_problem(), None);
}
