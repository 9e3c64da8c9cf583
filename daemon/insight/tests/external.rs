//! Runs of other tools, told through a real store and over restarts.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor};
use engine::store::{Options, TableInfo, join_tables};
use engine::{Engine, EventStream, Registry, Setup};
use insight::Externals;
use insight::external::ExternalError;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trace::rundir::ExternalState;

static TABLES: &[TableInfo] =
    &join_tables::<{ engine::TABLES.len() + insight::TABLES.len() }>(&[engine::TABLES, insight::TABLES]);

struct Daemon {
    engine: Engine,
    externals: Externals,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Daemon {
    async fn start(state_dir: &Path) -> Self {
        let setup = Setup {
            state_dir: state_dir.to_owned(),
            settings: engine::Settings::default(),
            registry: Registry::default(),
            supervisor: Supervisor::new(ShimCommand::own_program(["none"]).unwrap(), None),
            clock: Arc::new(SystemClock),
            on_end: Arc::new(|_| Vec::new()),
            tables: TABLES,
            store: Options::default(),
        };
        let engine = Engine::open(setup).await.unwrap();
        let externals = Externals::open(engine.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let running = {
            let (externals, stop) = (externals.clone(), stop.clone());
            tokio::spawn(async move { externals.run(stop).await.unwrap() })
        };
        Self { engine, externals, stop, running }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.engine.close().await.unwrap();
    }
}

fn run(below: &Path, id: &str, status: &str) {
    let directory = below.join(".runs/t/cli").join(id);
    fs::create_dir_all(&directory).unwrap();
    write(&directory, &json!({"run_id": id, "status": status, "pipeline_id": "exec"}));
}

fn write(directory: &Path, manifest: &Value) {
    fs::write(directory.join("new"), manifest.to_string()).unwrap();
    fs::rename(directory.join("new"), directory.join("manifest.json")).unwrap();
}

/// Waits for an event of a run, and returns the kinds of all about runs of other tools up to it.
async fn until(events: &mut EventStream, kind: &str, id: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let waiting = async {
        loop {
            for event in events.next().await.unwrap() {
                if event.kind.starts_with("external.") {
                    seen.push(format!("{} {}", event.kind, event.data["id"].as_str().unwrap()));
                }
                if event.kind == kind && event.data["id"] == id {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("no {kind} of {id}"));
    seen
}

/// Waits until so many runs are known.
async fn known(daemon: &Daemon, runs: usize) {
    eventually(|| daemon.externals.runs().unwrap().len() >= runs).await;
}

/// Waits until something holds.
async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_told_once_also_over_restarts() {
    let root = tempfile::tempdir().unwrap();
    let (state, project) = (root.path().join("state"), root.path().join("project"));
    fs::create_dir(&project).unwrap();
    run(&project, "old", "succeeded");
    let daemon = Daemon::start(&state).await;
    let mut events = daemon.engine.events();

    daemon.externals.add(project.join("./")).await.unwrap();
    assert!(matches!(daemon.externals.add(project.clone()).await, Err(ExternalError::Exists(_))));
    assert!(matches!(daemon.externals.add(project.join(".runs/..")).await, Err(ExternalError::Exists(_))));
    let file = daemon.externals.add(project.join(".runs/t/cli/old/manifest.json")).await;
    assert!(matches!(file, Err(ExternalError::InvalidPath { .. })), "{file:?}");
    // What was there before it was registered is no news.
    known(&daemon, 1).await;
    run(&project, "one", "in_progress");
    until(&mut events, "external.appeared", "one").await;
    run(&project, "one", "succeeded");
    assert_eq!(until(&mut events, "external.finished", "one").await, ["external.finished one"]);
    run(&project, "two", "in_progress");
    until(&mut events, "external.appeared", "two").await;
    daemon.end().await;

    // While nobody looks.
    run(&project, "two", "failed");
    fs::remove_dir_all(project.join(".runs/t/cli/one")).unwrap();
    let daemon = Daemon::start(&state).await;
    let mut events = daemon.engine.events();
    until(&mut events, "external.gone", "one").await;
    run(&project, "three", "in_progress");
    let rest = until(&mut events, "external.appeared", "three").await;
    assert!(rest.iter().all(|told| told != "external.appeared two"), "{rest:?}");
    let states: Vec<_> =
        daemon.externals.runs().unwrap().iter().map(|run| (run.id.clone(), run.state)).collect();
    assert!(states.contains(&("two".to_owned(), ExternalState::Failed)), "{states:?}");

    daemon.externals.remove(&project).await.unwrap();
    assert!(daemon.externals.watched().unwrap().is_empty());
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_has_died_before_it_was_seen_is_told_as_dead() {
    let root = tempfile::tempdir().unwrap();
    let (state, project) = (root.path().join("state"), root.path().join("project"));
    fs::create_dir(&project).unwrap();
    let daemon = Daemon::start(&state).await;
    daemon.externals.add(project.clone()).await.unwrap();
    run(&project, "first", "in_progress");
    until(&mut daemon.engine.events(), "external.appeared", "first").await;
    daemon.end().await;

    let directory = project.join(".runs/t/cli/late");
    fs::create_dir_all(&directory).unwrap();
    let manifest = json!({
        "run_id": "late", "status": "in_progress", "pipeline_id": "docs",
        "started_at": "2026-03-02T08:00:00Z", "heartbeat_at": "2026-03-02T08:00:05Z",
    });
    fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    let daemon = Daemon::start(&state).await;
    until(&mut daemon.engine.events(), "external.heartbeat_stale", "late").await;
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_looked_into_for_a_while_is_not_told_again() {
    let root = tempfile::tempdir().unwrap();
    let (state, project) = (root.path().join("state"), root.path().join("project"));
    run(&project, "old", "succeeded");
    run(&project, "torn", "succeeded");
    let daemon = Daemon::start(&state).await;
    daemon.externals.add(project.clone()).await.unwrap();
    run(&project, "gone", "succeeded");
    until(&mut daemon.engine.events(), "external.finished", "gone").await;
    daemon.end().await;

    // As a disk that is not mounted when the daemon starts.
    let away = root.path().join("away");
    fs::rename(&project, &away).unwrap();
    let daemon = Daemon::start(&state).await;
    let mut events = daemon.engine.events();
    fs::remove_dir_all(away.join(".runs/t/cli/gone")).unwrap();
    fs::rename(&away, &project).unwrap();
    assert_eq!(until(&mut events, "external.gone", "gone").await, ["external.gone gone"]);
    daemon.end().await;

    // As a file that is being written when the daemon starts.
    let torn = project.join(".runs/t/cli/torn/manifest.json");
    let whole = fs::read(&torn).unwrap();
    fs::write(&torn, &whole[..20]).unwrap();
    let daemon = Daemon::start(&state).await;
    let mut events = daemon.engine.events();
    known(&daemon, 2).await;
    fs::write(&torn, &whole).unwrap();
    run(&project, "last", "succeeded");
    let told = until(&mut events, "external.finished", "last").await;
    assert_eq!(told, ["external.appeared last", "external.finished last"]);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_two_directories_have_is_known_when_one_of_them_is_left() {
    let root = tempfile::tempdir().unwrap();
    let (state, project) = (root.path().join("state"), root.path().join("project"));
    run(&project, "old", "succeeded");
    let daemon = Daemon::start(&state).await;
    daemon.externals.add(root.path().to_owned()).await.unwrap();
    daemon.externals.add(project.clone()).await.unwrap();
    daemon.externals.add(project.join(".runs")).await.unwrap();
    run(&project, "first", "succeeded");
    until(&mut daemon.engine.events_from(1).unwrap(), "external.finished", "first").await;
    // Each directory is looked at by itself.
    let seen = || daemon.externals.watched().unwrap().iter().filter(|watched| watched.runs == 2).count();
    eventually(|| seen() == 2).await;
    daemon.externals.remove(&project).await.unwrap();
    daemon.end().await;

    let daemon = Daemon::start(&state).await;
    let mut events = daemon.engine.events();
    known(&daemon, 1).await;
    run(&project, "new", "succeeded");
    let told = until(&mut events, "external.finished", "new").await;
    assert_eq!(told, ["external.appeared new", "external.finished new"]);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_again_while_nobody_looks_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (state, project) = (root.path().join("state"), root.path().join("project"));
    let directory = project.join(".runs/t/cli/again");
    fs::create_dir_all(&directory).unwrap();
    let ended =
        |at| json!({"run_id": "again", "status": "failed", "pipeline_id": "exec", "completed_at": at});
    write(&directory, &ended("2026-03-02T08:00:00Z"));
    let daemon = Daemon::start(&state).await;
    daemon.externals.add(project.clone()).await.unwrap();
    known(&daemon, 1).await;
    run(&project, "one", "in_progress");
    until(&mut daemon.engine.events(), "external.appeared", "one").await;
    daemon.end().await;

    write(&directory, &ended("2026-03-02T09:00:00Z"));
    let daemon = Daemon::start(&state).await;
    until(&mut daemon.engine.events(), "external.finished", "again").await;
    daemon.end().await;
}
