//! Slots and priorities.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::lab::{Lab, note, script, wait_for};

/// Runs of both kinds that note how many of them are at work.
fn counting(lab: &mut Lab) -> Arc<AtomicUsize> {
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let (root, told) = (lab.path(""), Arc::clone(&most));
    let act = move |run: engine::RunContext, _: Value| {
        let (root, now, most) = (root.clone(), Arc::clone(&now), Arc::clone(&told));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let ended = run.process("work", script(&root, "sleep 0.02")).await;
            now.fetch_sub(1, Ordering::SeqCst);
            ended.map(|_| Value::Null)
        }
    };
    lab.play(act.clone());
    lab.side(act);
    most
}

#[test]
fn no_more_runs_are_at_work_than_there_are_slots() {
    let mut lab = Lab::new();
    lab.settings.slots = 3;
    let most = counting(&mut lab);
    lab.open();
    let runs: Vec<_> = (0..12).map(|_| lab.start(Value::Null)).collect();
    for run in runs {
        lab.ends(run, "succeeded");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(lab.engine().counts(), [0, 0, 0]);
}

#[test]
fn a_kind_may_have_a_limit_of_its_own() {
    let mut lab = Lab::new();
    lab.settings.slots_by_kind.insert("play".to_owned(), 1);
    let most = counting(&mut lab);
    lab.open();
    let runs: Vec<_> = (0..5).map(|_| lab.start(Value::Null)).collect();
    for run in runs {
        lab.ends(run, "succeeded");
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn higher_priority_goes_first_then_the_older_run() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    let order = lab.path("order");
    lab.play(move |run, spec| {
        let order = order.clone();
        async move {
            run.step("note", async {
                note(&order, spec.as_str().unwrap());
                Ok(())
            })
            .await?;
            Ok(Value::Null)
        }
    });
    lab.open();
    lab.block(lab.engine().pause()).unwrap();
    let mut runs = Vec::new();
    for (name, priority) in [("old", 0), ("late", -5), ("new", 0), ("urgent", 7)] {
        runs.push(lab.start_with(json!(name), |start| start.options.priority = priority));
    }
    lab.reopen();
    assert!(lab.engine().is_paused(), "a pause survives a restart");
    assert_eq!(lab.engine().counts(), [4, 0, 0]);
    lab.block(lab.engine().unpause()).unwrap();
    for run in runs {
        lab.ends(run, "succeeded");
    }
    assert_eq!(lab.lines("order"), ["urgent", "old", "new", "late"]);
}

#[test]
fn a_parent_gives_its_slot_to_its_child() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    let options = lab.options();
    lab.play(move |run, depth| {
        let options = options.clone();
        async move {
            let depth = depth.as_u64().unwrap();
            if depth > 0 {
                let child = run.child("child", "play", json!(depth - 1), options).await?;
                assert_eq!(child.state, "succeeded");
                return Ok(json!(child.output.unwrap().as_u64().unwrap() + 1));
            }
            Ok(json!(0))
        }
    });
    lab.open();
    let run = lab.start(json!(4));
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!(4)));
}

#[test]
fn more_slots_take_effect_at_once() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    let root = lab.path("");
    lab.play(move |run, _| {
        let root = root.clone();
        async move {
            run.process("work", script(&root, "until test -e go; do sleep 0.02; done"))
                .await
                .map(|_| Value::Null)
        }
    });
    lab.open();
    let runs = [1, 2, 3].map(|_| lab.start(Value::Null));
    wait_for(|| lab.engine().counts() == [2, 1, 0]);
    let mut settings = (*lab.engine().settings()).clone();
    settings.slots = 3;
    lab.block(lab.engine().reload(settings)).unwrap();
    wait_for(|| lab.engine().counts() == [0, 3, 0]);
    note(&lab.path("go"), "go");
    for run in runs {
        lab.ends(run, "succeeded");
    }
}
