//! Exclusive claims.

use std::time::Duration;

use engine::{LeaseKey, StartError, Status};
use serde_json::{Value, json};

use super::lab::{Lab, note, script, wait_for};

/// Runs hold what their spec names; they note when they begin and end, and hang if told to.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, spec| {
        let root = root.clone();
        async move {
            let name = spec["name"].as_str().unwrap_or_default().to_owned();
            let say = |word: &'static str| {
                let (path, line) = (root.join("order"), format!("{word} {name}"));
                async move {
                    note(&path, &line);
                    Ok(())
                }
            };
            run.step("begin", say("begin")).await?;
            if spec["waits"] == json!(true) {
                run.sleep_until("word", jiff::Timestamp::MAX).await?;
            }
            run.step("end", say("end")).await?;
            Ok(Value::Null)
        }
    });
    lab.open();
    lab
}

fn key(text: &str) -> LeaseKey {
    LeaseKey(text.to_owned())
}

#[test]
fn a_lease_is_held_by_one_run_at_a_time_in_the_order_of_the_queue() {
    let lab = lab();
    let spec = |name: &str| json!({ "leases": ["repo:/a"], "name": name, "waits": true });
    let runs: Vec<_> = ["one", "two", "three"].into_iter().map(|name| lab.start(spec(name))).collect();
    let other = lab.start(json!({ "leases": ["repo:/b"], "name": "other" }));
    lab.ends(other, "succeeded");
    let leases = lab.engine().leases();
    assert_eq!(leases.len(), 1, "a lease ends with its run: {leases:?}");
    assert_eq!((leases[0].run, leases[0].waiting.as_slice()), (runs[0], &runs[1..]));
    for run in runs {
        lab.reaches(run, "waiting");
        assert_eq!(lab.engine().holder(&key("repo:/a")), Some(run));
        lab.block(lab.engine().tell(run, "on")).unwrap();
        lab.ends(run, "succeeded");
    }
    let order: Vec<_> = lab.lines("order").into_iter().filter(|line| !line.contains("other")).collect();
    assert_eq!(order, ["begin one", "end one", "begin two", "end two", "begin three", "end three"]);
    assert!(lab.engine().leases().is_empty());
}

#[test]
fn a_lease_survives_restarts_and_ends_with_its_run() {
    let mut lab = lab();
    let holder = lab.start(json!({ "leases": ["repo:/a"], "waits": true }));
    lab.reaches(holder, "waiting");
    let next = lab.start_with(Value::Null, |start| start.options.leases = vec![key("repo:/a")]);
    lab.reopen();
    assert_eq!(lab.engine().holder(&key("repo:/a")), Some(holder));
    assert_eq!(lab.detail(next).run.state.status(), Status::Queued);
    lab.block(lab.engine().kill(holder, "enough")).unwrap();
    lab.ends(next, "succeeded");
    assert!(lab.engine().leases().is_empty());
    lab.reopen();
    assert!(lab.engine().leases().is_empty());
}

#[test]
fn whoever_does_not_want_to_wait_is_told_who_holds_it() {
    let lab = lab();
    let holder = lab.start(json!({ "leases": ["repo:/a"], "waits": true }));
    lab.reaches(holder, "waiting");
    let mut start = lab.ask("play", json!({ "leases": ["repo:/a"] }));
    start.refuse_if_held = true;
    match lab.block(lab.engine().start(start.clone())) {
        Err(StartError::LeaseHeld { key: told, holder: who }) => {
            assert_eq!((told, who), (key("repo:/a"), holder));
        }
        other => panic!("{other:?}"),
    }
    lab.block(lab.engine().cancel(holder, "enough")).unwrap();
    lab.ends(holder, "canceled");
    let run = lab.block(lab.engine().start(start)).unwrap().id;
    lab.ends(run, "succeeded");
}

#[test]
fn a_child_may_use_what_its_parent_holds() {
    let mut lab = Lab::new();
    let options = lab.options();
    lab.play(move |run, spec| {
        let options = options.clone();
        async move {
            let child = run.child("child", "side", json!({ "leases": spec["leases"] }), options).await?;
            assert_eq!(child.state, "succeeded");
            Ok(json!(run.record().unwrap().leases))
        }
    });
    lab.open();
    let run = lab.start(json!({ "leases": ["repo:/a"] }));
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!(["repo:/a"])), "and the parent has it still");
    assert!(lab.engine().leases().is_empty());
}

#[test]
fn a_run_is_not_resumed_while_somebody_else_has_its_lease() {
    let lab = lab();
    let first = lab.start(json!({ "leases": ["repo:/a"], "waits": true, "name": "first" }));
    lab.reaches(first, "waiting");
    lab.block(lab.engine().cancel(first, "for now")).unwrap();
    lab.ends(first, "canceled");
    let second = lab.start(json!({ "leases": ["repo:/a"], "waits": true, "name": "second" }));
    lab.reaches(second, "waiting");
    let refused = lab.block(lab.engine().resume(first)).unwrap_err();
    assert!(matches!(refused, engine::RunError::LeaseHeld { holder, .. } if holder == second));
    lab.block(lab.engine().cancel(second, "enough")).unwrap();
    lab.ends(second, "canceled");
    lab.block(lab.engine().resume(first)).unwrap();
    lab.reaches(first, "waiting");
    assert_eq!(lab.engine().holder(&key("repo:/a")), Some(first));
}

#[test]
fn no_lease_is_stuck_whenever_the_engine_dies() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            run.process("work", script(&root, "mkdir held && sleep 0.02; rmdir held"))
                .await
                .map(|_| Value::Null)
        }
    });
    lab.open();
    let runs: Vec<_> = (0..10).map(|_| lab.start(json!({ "leases": ["one"] }))).collect();
    for pause in [5, 40, 0, 23, 11, 60, 2, 31] {
        std::thread::sleep(Duration::from_millis(pause));
        lab.reopen();
    }
    for run in runs {
        lab.ends(run, "succeeded");
    }
    wait_for(|| lab.engine().leases().is_empty());
}
