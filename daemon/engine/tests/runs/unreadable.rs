//! A run whose rows cannot be read back keeps no other run from going on, and is not lost. And files without a run.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use engine::store::{Batch, Options, Store, Table, TableInfo};
use engine::{Filter, RunError, RunId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::lab::Lab;

/// The table of runs, as somebody writes it who does not know what belongs there.
struct Scribbled;

#[derive(Clone, PartialEq, prost::Message)]
struct Scribble {
    #[prost(bytes = "vec", tag = "4")]
    state_json: Vec<u8>,
}

impl Table for Scribbled {
    const NAME: &'static str = "runs";
    const PREFIX: u8 = 0x10;
    type Key = Uuid;
    type Value = Scribble;
}

fn scribble(store: &Path, run: RunId) {
    const TABLES: &[TableInfo] = &[TableInfo::of::<Scribbled>()];
    // As after a clean end: nothing is checked.
    let store = Store::open(store, TABLES, &Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put::<Scribbled>(&run.0, &Scribble { state_json: b"{\"state\":\"dreaming\"}".to_vec() });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.write(batch)).unwrap();
    store.close().unwrap();
}

fn waits_for_ever(lab: &mut Lab) {
    lab.play(|run, _| async move {
        run.sleep_until("pause", "2999-01-01T00:00:00Z".parse().unwrap()).await?;
        Ok(Value::Null)
    });
}

fn listed(lab: &Lab) -> Vec<(RunId, String)> {
    let page = lab.block(lab.engine().list(Filter::default(), 10, None)).unwrap();
    page.runs.into_iter().map(|run| (run.id, run.state.word().to_owned())).collect()
}

fn is_set_aside(lab: &Lab, bad: RunId, good: RunId, problem: &str) {
    lab.reaches(good, "waiting");
    assert_eq!(listed(lab), [(good, "waiting".to_owned()), (bad, "failed".to_owned())]);
    let detail = lab.detail(bad);
    let failure = detail.run.state.failure().unwrap();
    assert_eq!(failure.kind.as_str(), "unreadable");
    assert!(failure.message.contains(problem), "{failure:?}");
    assert!(failure.hint.as_ref().unwrap().contains("spindle run rm"), "{failure:?}");
    let refused = lab.block(lab.engine().resume(bad)).unwrap_err();
    assert!(matches!(refused, RunError::Refused(_)), "{refused}");
    lab.block(lab.engine().retain()).unwrap();
}

#[test]
fn a_run_whose_record_says_nothing_known_is_set_aside_until_it_is_forgotten() {
    let mut lab = Lab::new();
    waits_for_ever(&mut lab);
    lab.open();
    let (bad, good) = (lab.start(json!({ "leases": ["mine"] })), lab.start(Value::Null));
    lab.reaches(bad, "waiting");
    lab.reaches(good, "waiting");
    lab.block(lab.engine().close()).unwrap();
    lab.kill();
    scribble(&lab.path("state/store"), bad);

    for _ in 0..2 {
        lab.open();
        is_set_aside(&lab, bad, good, "dreaming");
        assert_eq!(lab.engine().leases().len(), 1, "a process of it may still be at work");
        lab.kill();
    }
    lab.open();
    lab.block(lab.engine().delete(bad)).unwrap();
    assert_eq!(lab.engine().leases().len(), 0);
    lab.kill();
    lab.open();
    assert_eq!(listed(&lab), [(good, "waiting".to_owned())]);
    lab.block(lab.engine().cancel(good, "enough")).unwrap();
    lab.ends(good, "canceled");
}

#[test]
fn a_run_whose_spec_is_missing_is_set_aside() {
    let mut lab = Lab::new();
    waits_for_ever(&mut lab);
    lab.open();
    let (bad, good) = (lab.start(json!("long ".repeat(1000))), lab.start(Value::Null));
    lab.reaches(bad, "waiting");
    lab.kill();
    fs::remove_dir_all(lab.path("state/store/blobs")).unwrap();
    lab.open();
    is_set_aside(&lab, bad, good, "is missing");
}

#[test]
fn files_of_runs_that_never_came_to_be_are_swept_away_once_they_are_old() {
    let mut lab = Lab::new();
    waits_for_ever(&mut lab);
    lab.open();
    let run = lab.start(json!("long ".repeat(1000)));
    lab.reaches(run, "waiting");
    lab.kill();
    let blobs = lab.path("state/store/blobs");
    let plant = |name: &str, hours: u64| {
        let path = blobs.join("ab").join(format!("ab{}", name.repeat(62)));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [Uuid::now_v7().as_bytes().as_slice(), b"0000", b"a prompt"].concat()).unwrap();
        make_older(&path, hours);
        path
    };
    let (old, young) = (plant("1", 2), plant("2", 0));
    for directory in fs::read_dir(&blobs).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path != young {
                make_older(&path, 2);
            }
        }
    }
    lab.open();
    lab.block(lab.engine().sweep_directories()).unwrap();
    assert!(!old.exists());
    assert!(young.exists(), "it may be the file of a start that is under way");
    assert!(lab.detail(run).start.spec.as_str().unwrap().starts_with("long"));
    lab.kill();
    lab.open();
    lab.reaches(run, "waiting");
}

fn make_older(file: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
}
