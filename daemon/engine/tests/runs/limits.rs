//! Sizes: what is too large is refused, what is large is kept, what is long stays bounded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine::{Failure, FailureKind, LeaseKey, RetryPolicy, StartError, StartRun, StepKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lab::{Lab, failed};

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_stored() {
    let mut lab = Lab::new();
    lab.open();
    let changes: [fn(&mut StartRun); 9] = [
        |start| start.options.name = "n".repeat(201),
        |start| start.options.labels = BTreeMap::from([("k".repeat(300), "v".repeat(300))]),
        |start| start.options.labels = (0..65).map(|n| (n.to_string(), String::new())).collect(),
        |start| start.options.leases = vec![LeaseKey("l".repeat(1000))],
        |start| start.spec = json!({ "leases": ["l".repeat(5000)] }),
        |start| start.request_id = Some("r".repeat(201)),
        |start| start.options.name = "a\nb".to_owned(),
        |start| start.options.priority = 1_000_000,
        |start| start.spec = json!("x".repeat(17 << 20)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut start = lab.ask("play", Value::Null);
        change(&mut start);
        let refused = lab.block(lab.engine().start(start)).unwrap_err();
        assert!(matches!(refused, StartError::Refused(_)), "{number}: {refused}");
    }
    assert_eq!(lab.engine().last_event(), 1, "nothing but the start of the daemon was told");
    assert_eq!(files(&lab.path("state/store/blobs")), Vec::<PathBuf>::new());
}

#[test]
fn the_largest_of_everything_at_once_fits() {
    let mut lab = Lab::new();
    lab.settings.slots = 1;
    lab.play(|run, _| async move {
        run.sleep_until("night", Timestamp::MAX).await?;
        Err(Failure::new(FailureKind::Other("k".repeat(5000)), "\u{1}".repeat(9000))
            .with_hint("\"".repeat(9000)))
    });
    lab.open();
    let largest = |start: &mut StartRun| {
        start.request_id = Some("r".repeat(200));
        start.spec = json!("s".repeat(1500));
        start.options.name = "n".repeat(200);
        start.options.labels = (10..74).map(|n| (format!("{n}"), "v".repeat(6))).collect();
        start.options.leases = (10..26).map(|n| LeaseKey(format!("{n}{}", "l".repeat(46)))).collect();
        start.options.retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    };
    let run = lab.start_with(Value::Null, largest);
    lab.reaches(run, "waiting");
    let queued = lab.start_with(Value::Null, |start| {
        largest(start);
        start.request_id = None;
    });
    for number in 10..26 {
        let signal = format!("{number}{}", "s".repeat(62));
        lab.block(lab.engine().tell(queued, &signal)).unwrap();
    }
    lab.block(lab.engine().cancel(queued, &"\u{1}".repeat(5000))).unwrap();
    lab.ends(queued, "canceled");
    for number in 10..26 {
        // It ends at the first word; how many of them it hears is of no matter.
        let _ = lab.block(lab.engine().tell(run, &format!("{number}{}", "s".repeat(62))));
    }
    lab.ends(run, "failed");
    assert_eq!(lab.engine().store_problem(), None);
    lab.reopen();
    assert_eq!(lab.detail(run).start.spec, json!("s".repeat(1500)));
    assert_eq!(lab.detail(queued).start.spec, json!("s".repeat(1500)));
}

#[test]
fn a_large_spec_and_large_values_are_kept_in_files_and_go_with_the_run() {
    let mut lab = Lab::new();
    lab.play(|run, spec| async move {
        let size = spec.as_str().unwrap().len();
        let value: String = run.step("value", async { Ok("v".repeat(100_000)) }).await?;
        run.sleep_until("night", Timestamp::MAX).await?;
        Ok(json!({ "spec": size, "value": value }))
    });
    lab.open();
    let run = lab.start(json!("x".repeat(10 << 20)));
    lab.reaches(run, "waiting");
    lab.reopen();
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    lab.reopen();
    let detail = lab.detail(run);
    assert_eq!(detail.start.spec.as_str().unwrap().len(), 10 << 20);
    assert_eq!(detail.steps[0].value, Some(json!("v".repeat(100_000))));
    assert_eq!(detail.run.output.unwrap()["spec"], json!(10 << 20));
    lab.block(lab.engine().delete(run)).unwrap();
    assert_eq!(files(&lab.path("state/store/blobs")), Vec::<PathBuf>::new());
    assert!(!detail.directory.exists());
    lab.block(lab.engine().detail(run)).unwrap_err();
}

#[test]
fn a_value_too_large_to_be_read_back_is_refused_and_the_store_opens_again() {
    let mut lab = Lab::new();
    lab.play(|run, spec| async move {
        if spec == json!("step") {
            let _: String = run.step("value", async { Ok("v".repeat(17 << 20)) }).await?;
        }
        Ok(json!("v".repeat(17 << 20)))
    });
    lab.open();
    for spec in ["step", "output"] {
        let run = lab.start(json!(spec));
        lab.fails(run, &FailureKind::Invalid);
    }
    lab.reopen();
}

#[test]
fn what_a_workflow_says_too_much_of_fails_the_workflow_and_not_the_store() {
    let mut lab = Lab::new();
    lab.play(|run, spec| async move {
        match spec.as_str().unwrap() {
            "event" => run.emit("key", "test.large", json!("d".repeat(9000))).await?,
            _ => run.step(&"n".repeat(9000), async { Ok(()) }).await?,
        }
        Ok(Value::Null)
    });
    lab.open();
    for spec in ["event", "name"] {
        let run = lab.start(json!(spec));
        lab.fails(run, &FailureKind::Invalid);
    }
    assert_eq!(lab.engine().store_problem(), None);
}

#[test]
fn attempts_with_the_longest_failures_fit() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move {
        let work = async { Err::<(), _>(failed(&"\u{1}\"".repeat(5000)).with_hint("\n".repeat(9000))) };
        run.step("work", work).await?;
        Ok(Value::Null)
    });
    lab.open();
    let run = lab.start_with(Value::Null, |start| {
        let none = std::time::Duration::from_millis(1);
        start.options.retry = RetryPolicy { attempts: 15, backoff: none, max_backoff: none, on: Vec::new() };
    });
    lab.ends(run, "failed");
    assert_eq!(lab.detail(run).steps[0].attempts.len(), 10, "the newest are kept");
}

#[test]
fn thousands_of_steps_are_packed_and_can_be_taken_up_again() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move {
        for number in 0..3000 {
            run.step(&format!("step {number}"), async { Ok("v".repeat(100)) }).await?;
        }
        run.sleep_until("night", Timestamp::MAX).await?;
        Ok(Value::Null)
    });
    lab.open();
    let run = lab.start(Value::Null);
    lab.reaches(run, "waiting");
    lab.block(lab.engine().cancel(run, "for now")).unwrap();
    lab.ends(run, "canceled");
    lab.reopen();
    assert_eq!(lab.detail(run).steps.len(), 3001);
    lab.block(lab.engine().resume(run)).unwrap();
    lab.reaches(run, "waiting");
    lab.reopen();
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    assert!(lab.detail(run).steps[..3000].iter().all(|step| step.attempts.len() == 1));
    assert_eq!(files(&lab.path("state/store/blobs")).len(), 1, "only the newest packing is kept");
}

#[test]
fn checkpoints_keep_the_replay_and_the_records_short() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move {
        let (mut number, _): (u64, String) = run.restored().await.unwrap_or_default();
        while number < 600 {
            number = run.step("iteration", async { Ok(number + 1) }).await?;
            // Large enough for a file of its own.
            run.checkpoint(&(number, "x".repeat(if number % 100 == 0 { 3000 } else { 0 }))).await?;
        }
        run.sleep_until("night", Timestamp::MAX).await?;
        Ok(json!(number))
    });
    lab.open();
    let run = lab.start(Value::Null);
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(300));
        lab.reopen();
    }
    lab.reaches(run, "waiting");
    let detail = lab.detail(run);
    assert!(detail.steps.len() < 110, "{} steps are kept", detail.steps.len());
    assert_eq!(
        detail.steps.iter().filter(|step| step.kind == StepKind::Checkpoint && !step.archived).count(),
        1
    );
    assert_eq!(detail.run.steps_dropped + detail.steps.len() as u64, 1201);
    super::lab::wait_for(|| files(&lab.path("state/store/blobs")).len() <= 1);
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(lab.detail(run).run.output, Some(json!(600)));
}

#[test]
fn retention_keeps_the_newest_and_is_not_stopped_by_old_active_runs() {
    let mut lab = Lab::new();
    lab.settings.keep_runs = 3;
    lab.play(|run, spec| async move {
        if spec == json!("waits") {
            run.sleep_until("night", Timestamp::MAX).await?;
        }
        Ok(Value::Null)
    });
    lab.open();
    for _ in 0..210 {
        lab.start(json!("waits"));
    }
    let runs: Vec<_> = (0..8).map(|_| lab.start(Value::Null)).collect();
    for run in &runs {
        lab.ends(*run, "succeeded");
    }
    assert!(lab.engine().keeps_too_many());
    assert_eq!(lab.block(lab.engine().retain()).unwrap(), 5);
    assert!(!lab.engine().keeps_too_many());
    for (place, run) in runs.iter().enumerate() {
        assert_eq!(lab.block(lab.engine().detail(*run)).is_ok(), place >= 5);
    }
    lab.reopen();
    assert!(!lab.engine().keeps_too_many());
}
