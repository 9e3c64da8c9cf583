//! Request ids make a retry harmless.

use engine::{After, RunId, StartError, StartRun, Status};
use serde_json::{Value, json};

use super::lab::{Lab, failed};

fn asked(lab: &Lab, id: &str, spec: Value) -> StartRun {
    let mut start = lab.ask("play", spec);
    start.request_id = Some(id.to_owned());
    start
}

fn all_at_once(lab: &Lab, start: &StartRun) -> Vec<RunId> {
    let engine = lab.engine();
    lab.block(async {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (engine, start) = (engine.clone(), start.clone());
                tokio::spawn(async move { engine.start(start).await.unwrap().id })
            })
            .collect();
        let mut runs = Vec::new();
        for call in calls {
            runs.push(call.await.unwrap());
        }
        runs.sort();
        runs.dedup();
        runs
    })
}

#[test]
fn the_same_request_makes_one_run_however_often_and_whenever_it_comes() {
    let mut lab = Lab::new();
    lab.open();
    // A number that is not written as it was read.
    let start = asked(&lab, "mine", json!({ "number": 0.1 + 0.2, "large": 1e300, "text": "x".repeat(5000) }));
    let runs = all_at_once(&lab, &start);
    assert_eq!(runs.len(), 1);
    lab.ends(runs[0], "succeeded");
    assert_eq!(all_at_once(&lab, &start), runs, "after its end");
    lab.reopen();
    assert_eq!(all_at_once(&lab, &start), runs, "after a restart");
    let all = lab.block(lab.engine().list(engine::Filter::default(), 100, None)).unwrap().runs;
    assert_eq!(all.len(), 1);
    let files = walk(&lab.path("state/store/blobs"));
    assert_eq!(files.len(), 1, "what the repeats wrote is gone: {files:?}");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_same_request_makes_one_run_even_if_that_ends_at_once() {
    let mut lab = Lab::new();
    lab.play(|_, _| async { Err(failed("as asked")) });
    lab.open();
    let bad = lab.start(Value::Null);
    lab.ends(bad, "failed");
    let mut start = asked(&lab, "mine", json!(1));
    start.options.after = vec![After { run: bad, outcomes: vec![Status::Succeeded] }];
    let runs = all_at_once(&lab, &start);
    assert_eq!(runs.len(), 1);
    lab.ends(runs[0], "canceled");
}

#[test]
fn another_request_by_the_same_id_is_refused() {
    let mut lab = Lab::new();
    lab.open();
    let run = lab.block(lab.engine().start(asked(&lab, "mine", json!(1)))).unwrap().id;
    for round in 0..3 {
        let refused = lab.block(lab.engine().start(asked(&lab, "mine", json!(2)))).unwrap_err();
        assert!(
            matches!(refused, StartError::RequestIdReused { run: known, .. } if known == run),
            "round {round}"
        );
        lab.ends(run, "succeeded");
        lab.reopen();
    }
    let mut otherwise = asked(&lab, "mine", json!(1));
    otherwise.options.priority = 1;
    lab.block(lab.engine().start(otherwise)).unwrap_err();
}

#[test]
fn a_request_of_an_active_run_is_known_after_a_restart() {
    let mut lab = Lab::new();
    lab.play(
        |run, _| async move { run.sleep_until("night", jiff::Timestamp::MAX).await.map(|_| Value::Null) },
    );
    lab.open();
    let start = asked(&lab, "mine", json!({ "number": 0.1 + 0.2 }));
    let runs = all_at_once(&lab, &start);
    lab.reopen();
    assert_eq!(all_at_once(&lab, &start), runs);
}
