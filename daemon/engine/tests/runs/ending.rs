//! How runs are ended.

use std::time::Duration;

use engine::FailureKind;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lab::{Lab, failed, note, script};

/// A process that notes the polite signal and goes, or ignores it.
fn stubborn(lab: &mut Lab, ignores: bool) {
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            let then = if ignores { "" } else { "; exit 0" };
            let text = format!(
                "trap 'echo asked >> log{then}' TERM; echo begun >> log; while :; do sleep 0.05; done"
            );
            let mut spec = script(&root, &text);
            spec.launch.stop.grace = Duration::from_millis(300);
            run.process("agent", spec).await.map(|_| Value::Null)
        }
    });
}

#[test]
fn a_cancel_asks_politely_and_a_stubborn_child_is_killed_after_its_grace() {
    for ignores in [false, true] {
        let mut lab = Lab::new();
        stubborn(&mut lab, ignores);
        lab.open();
        let run = lab.start(Value::Null);
        lab.grows("log", 1);
        lab.block(lab.engine().cancel(run, "enough")).unwrap();
        let failure = lab.fails(run, &FailureKind::Canceled);
        assert_eq!(failure.message, "enough");
        assert_eq!(lab.detail(run).run.state.word(), "canceled");
        assert_eq!(lab.lines("log"), ["begun", "asked"]);
        assert_eq!(lab.settled(run), [Some(FailureKind::Canceled)]);
        lab.expect_nobody();
    }
}

#[test]
fn a_kill_does_not_ask() {
    let mut lab = Lab::new();
    stubborn(&mut lab, true);
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.block(lab.engine().kill(run, "enough")).unwrap();
    lab.fails(run, &FailureKind::Killed);
    assert_eq!(lab.lines("log"), ["begun"]);
    lab.expect_nobody();
}

#[test]
fn a_kill_overtakes_a_cancel_over_a_restart() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            let mut spec = script(&root, "trap '' TERM; echo begun >> log; while :; do sleep 0.05; done");
            spec.launch.stop.grace = Duration::from_secs(1000);
            run.process("agent", spec).await.map(|_| Value::Null)
        }
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.block(lab.engine().cancel(run, "enough")).unwrap();
    lab.reopen();
    assert_eq!(lab.detail(run).run.state.word(), "running");
    lab.block(lab.engine().kill(run, "now")).unwrap();
    lab.fails(run, &FailureKind::Killed);
    lab.expect_nobody();
}

#[test]
fn what_has_not_begun_or_waits_is_ended_at_once() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    lab.play(|run, spec| async move {
        if spec == json!("waits") {
            run.sleep_until("night", Timestamp::MAX).await?;
        }
        Ok(Value::Null)
    });
    lab.open();
    let waiting = lab.start(json!("waits"));
    lab.reaches(waiting, "waiting");
    lab.block(lab.engine().pause()).unwrap();
    let queued = lab.start(Value::Null);
    for run in [waiting, queued] {
        lab.block(lab.engine().cancel(run, "enough")).unwrap();
        lab.fails(run, &FailureKind::Canceled);
    }
    let again = lab.block(lab.engine().cancel(queued, "enough")).unwrap_err();
    assert_eq!(again.to_string(), format!("run {queued} was canceled already"));
    assert_eq!(lab.settled(queued), [], "what has not begun has nothing to settle");
}

#[test]
fn a_reason_of_any_length_is_taken() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move { run.sleep_until("night", Timestamp::MAX).await.map(|_| Value::Null) });
    lab.open();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.block(lab.engine().cancel(run, &"\u{1}ä\"".repeat(1_000_000))).unwrap();
    lab.fails(run, &FailureKind::Canceled);
    assert_eq!(lab.engine().store_problem(), None);
}

#[test]
fn a_workflow_that_ignores_a_kill_is_dropped_even_after_a_cancel() {
    let mut lab = Lab::new();
    let log = lab.path("log");
    lab.play(move |_, _| {
        note(&log, "begun");
        std::future::pending()
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.block(lab.engine().cancel(run, "please")).unwrap();
    lab.block(lab.engine().kill(run, "now")).unwrap();
    lab.fails(run, &FailureKind::Killed);
}

#[test]
fn a_process_that_its_workflow_has_turned_away_from_ends_with_the_run() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, spec| {
        let root = root.clone();
        async move {
            let agent = run.process("agent", script(&root, "echo begun >> log; sleep 1000"));
            let turned_away = tokio::time::timeout(Duration::from_millis(300), agent).await;
            assert!(turned_away.is_err());
            if spec == json!("stays") {
                run.canceled().await;
                return Err(failed("told to go"));
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    let stays = lab.start(json!("stays"));
    lab.grows("log", 1);
    let goes = lab.start(json!("goes"));
    lab.ends(goes, "succeeded");
    lab.block(lab.engine().cancel(stays, "enough")).unwrap();
    lab.fails(stays, &FailureKind::Canceled);
    lab.expect_nobody();
}

#[test]
fn a_panic_fails_the_run_and_not_the_engine() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, spec| {
        let root = root.clone();
        async move {
            if spec == json!("panics") {
                run.background("helper", script(&root, "sleep 1000"), |_| async {}).await?;
                panic!("on purpose");
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    let run = lab.start(json!("panics"));
    let failure = lab.fails(run, &FailureKind::Panic);
    assert!(failure.message.contains("on purpose"));
    assert_eq!(lab.settled(run), [Some(FailureKind::Panic)]);
    lab.expect_nobody();
    lab.ends(lab.start(Value::Null), "succeeded");
}

#[test]
fn every_end_is_settled_as_what_it_is() {
    let mut lab = Lab::new();
    lab.play(|run, spec| async move {
        match spec.as_str().unwrap() {
            "succeeds" => Ok(Value::Null),
            "fails" => Err(failed("as asked")),
            _ => {
                run.canceled().await;
                Err(failed("says something else"))
            }
        }
    });
    lab.open();
    let good = lab.start(json!("succeeds"));
    lab.ends(good, "succeeded");
    assert_eq!(lab.settled(good), [None]);
    let bad = lab.start(json!("fails"));
    lab.ends(bad, "failed");
    assert_eq!(lab.settled(bad), [Some(FailureKind::Other("test".to_owned()))]);
    let canceled = lab.start(json!("waits"));
    lab.reaches(canceled, "running");
    lab.block(lab.engine().cancel(canceled, "enough")).unwrap();
    lab.ends(canceled, "canceled");
    assert_eq!(lab.settled(canceled), [Some(FailureKind::Canceled)]);
}

#[test]
fn ending_a_parent_ends_its_child() {
    let mut lab = Lab::new();
    let (root, options) = (lab.path(""), lab.options());
    lab.side(move |run, _| {
        let root = root.clone();
        async move {
            run.process("agent", script(&root, "echo begun >> log; sleep 1000")).await.map(|_| Value::Null)
        }
    });
    lab.play(move |run, _| {
        let options = options.clone();
        async move { run.child("child", "side", Value::Null, options).await.map(|end| json!(end.state)) }
    });
    lab.open();
    for kill in [false, true] {
        let run = lab.start(Value::Null);
        lab.grows("log", 1 + usize::from(kill));
        let engine = lab.engine();
        lab.block(async { if kill { engine.kill(run, "x").await } else { engine.cancel(run, "x").await } })
            .unwrap();
        lab.ends(run, "canceled");
        lab.expect_nobody();
    }
}
