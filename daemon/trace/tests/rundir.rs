//! Runs of other tools, recognised and watched, told with real files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod home;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use home::{Home, until};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use trace::rundir::{
    Change, ExternalRun, ExternalState, RunChange, RunDirs, Told, Tool, WatchSettings, recognise,
};
use trace::tail::RootState;

fn seconds_ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn manifest(home: &Home, run: &str, status: &str, heartbeat: Timestamp) {
    let manifest = json!({
        "version": 1, "task_id": "0101", "task_slug": "demo", "run_id": run, "pipeline_id": "diagnostics",
        "pipeline_title": "Diagnostics", "runner": "codex-cli", "status": status, "status_detail": null,
        "started_at": seconds_ago(600), "updated_at": seconds_ago(5), "heartbeat_at": heartbeat,
        "completed_at": (status == "succeeded").then(Timestamp::now),
        "heartbeat_interval_seconds": 5, "heartbeat_stale_after_seconds": 30,
    });
    replace(home, &format!(".runs/demo/cli/{run}/manifest.json"), &manifest.to_string());
}

/// As tools do it that write well.
fn replace(home: &Home, below: &str, text: &str) {
    let temporary = format!("{below}.tmp-1-1");
    home.write(&temporary, text);
    fs::rename(home.path(&temporary), home.path(below)).unwrap();
}

fn loop_state(home: &Home, status: &str, code: Option<i64>, pid: Option<u32>) {
    let state = json!({
        "last_run_id": 12, "status": status, "last_exit_code": code, "last_run_started_at": Timestamp::now().to_string(),
        "last_run_finished_at": null, "runner_pid": pid,
    });
    replace(home, ".codex-autorunner/state.json", &state.to_string());
}

fn one(path: &Path) -> ExternalRun {
    let mut runs = recognise(path, Timestamp::now());
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

/// A process that lives until it is dropped.
struct Living(Child);

impl Living {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pipeline_is_recognised_with_its_heartbeat() {
    let home = Home::new();
    manifest(&home, "r1", "in_progress", seconds_ago(300));
    assert_eq!(one(&home.root()).state, ExternalState::Stale, "the manifest's own heartbeat is old");

    // In a long stage, only this file is rewritten.
    home.write(".runs/demo/cli/r1/.heartbeat", &format!("{}\n", seconds_ago(2)));
    let run = one(&home.root());

    assert_eq!((run.tool, run.id.as_str(), run.state), (Tool::Orchestrator, "r1", ExternalState::Running));
    assert_eq!(run.title, "demo: Diagnostics");
    assert_eq!(run.heartbeat.unwrap().stale_after, Duration::from_secs(30));
    assert_eq!(
        recognise(&home.root(), Timestamp::now() + SignedDuration::from_secs(60))[0].state,
        ExternalState::Stale
    );
    assert_eq!(one(&home.path(".runs")), run, "the directory of runs may be named itself");
}

#[test]
fn a_pipeline_that_ended_has_no_heartbeat_and_an_exec_never_has() {
    let home = Home::new();
    manifest(&home, "r1", "succeeded", seconds_ago(300));
    let run = one(&home.root());
    assert_eq!((run.state, run.heartbeat), (ExternalState::Succeeded, None));
    assert!(run.finished_at.is_some());

    let exec = json!({"run_id": "r1", "status": "in_progress", "pipeline_id": "exec", "heartbeat_at": seconds_ago(300)});
    home.write(".runs/demo/cli/r1/manifest.json", &exec.to_string());
    assert_eq!(one(&home.root()).state, ExternalState::Running);
}

#[test]
fn a_tournament_is_recognised_by_its_sections() {
    let home = Home::new();
    let run = |sections: serde_json::Value| {
        let mut run = json!({
            "task_id": "task_e_1", "run_id": "watch:task_e_1", "created_at": "2026-01-05T10:00:00.000Z",
            "artifacts": {}, "variants": [],
        });
        run.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
        home.write("runs/2026-01-05-x/run.json", &run.to_string());
        let run = one(&home.root());
        (run.state, run.detail.unwrap())
    };
    let expect = |state, detail: &str| (state, detail.to_owned());

    assert_eq!(run(json!({})), expect(ExternalState::Running, "created"));
    assert_eq!(run(json!({"watch": {"status": "watching"}})), expect(ExternalState::Running, "watching"));
    let failed =
        json!({"watch": {"status": "error", "error": "no such task", "ended_at": "2026-01-05T11:00:00Z"}});
    assert_eq!(run(failed), expect(ExternalState::Failed, "no such task"));
    let passed = json!({
        "watch": {"status": "ready"}, "selection": {"variant": 2},
        "gates": {"status": "passed", "completed_at": "2026-01-05T12:00:00Z"},
    });
    assert_eq!(run(passed), expect(ExternalState::Succeeded, "gates passed"));
    assert_eq!(one(&home.root()).finished_at, Some("2026-01-05T12:00:00Z".parse().unwrap()));
}

#[test]
fn a_loop_is_as_alive_as_the_process_in_its_lock() {
    let home = Home::new();
    let living = Living::new();
    loop_state(&home, "running", None, Some(living.pid()));
    home.write(".codex-autorunner/lock", &living.pid().to_string());
    let run = one(&home.root());
    assert_eq!((run.tool, run.state), (Tool::Autorunner, ExternalState::Running));
    assert_eq!(run.process.unwrap().alive, Some(true));

    loop_state(&home, "idle", Some(0), None);
    assert_eq!(one(&home.root()).state, ExternalState::Running, "it is between two runs");

    loop_state(&home, "running", None, None);
    drop(living);
    assert_eq!(one(&home.root()).state, ExternalState::Stale);

    home.write(
        ".codex-autorunner/lock",
        r#"{"pid": 1, "started_at": "2026-01-01T00:00:00Z", "host": "elsewhere.invalid"}"#,
    );
    let run = one(&home.root());
    assert_eq!((run.state, run.process.unwrap().alive), (ExternalState::Running, None));

    fs::remove_file(home.path(".codex-autorunner/lock")).unwrap();
    for (status, code, state) in [
        ("idle", 0, ExternalState::Succeeded),
        ("error", 2, ExternalState::Failed),
        ("error", 137, ExternalState::Canceled),
        ("dancing", 0, ExternalState::Unknown),
    ] {
        loop_state(&home, status, Some(code), None);
        assert_eq!(one(&home.root()).state, state, "{status} {code}");
    }
}

#[test]
fn a_seeded_autorunner_that_never_ran_is_no_run() {
    let home = Home::new();
    home.write(".codex-autorunner/state.json", r#"{"last_run_id": null, "status": "idle"}"#);
    assert_eq!(recognise(&home.root(), Timestamp::now()), []);
}

#[test]
fn tasks_of_a_workspace_are_recognised() {
    let home = Home::new();
    for (task, status) in [("a", "running"), ("b", "completed"), ("c", "failed"), ("d", "stopped")] {
        let meta = json!({
            "taskId": task, "envId": "e", "status": status, "initialPrompt": "\nFix the\ttests\nand more",
            "error": null, "createdAt": "2026-01-05T10:00:00.000Z", "updatedAt": "2026-01-05T11:00:00.000Z",
            "runs": [{"runId": "run-001", "startedAt": "2026-01-05T10:00:01.000Z", "finishedAt": null}],
        });
        home.write(&format!(".codex-orchestrator/tasks/{task}/meta.json"), &meta.to_string());
    }
    home.write(".codex-orchestrator/tasks/orphan/logs/x", "");

    let runs = recognise(&home.root(), Timestamp::now());

    let states =
        [ExternalState::Running, ExternalState::Succeeded, ExternalState::Failed, ExternalState::Canceled];
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), states);
    assert_eq!(runs[0].title, "Fix thetests");
    assert_eq!(recognise(&home.path(".codex-orchestrator"), Timestamp::now()), runs);
    assert_eq!(recognise(&home.path(".codex-orchestrator/tasks"), Timestamp::now()), runs);
}

#[test]
fn what_is_foreign_broken_huge_or_led_elsewhere_harms_nothing() {
    let (home, elsewhere) = (Home::new(), Home::new());
    manifest(&elsewhere, "secret", "in_progress", Timestamp::now());
    home.write("runs/notes/run.json", r#"{"hello": 1}"#);
    home.write("tasks/mine/meta.json", "[]");
    home.write(".runs/demo/cli/torn/manifest.json", r#"{"run_id": "#);
    home.write(".runs/demo/cli/deep/manifest.json", &"[".repeat(100_000));
    home.write(".runs/demo/cli/huge/manifest.json", &" ".repeat(9_000_000));
    home.write(".runs/demo/cli/wrong/manifest.json", r#"{"run_id": 1, "status": {}}"#);
    symlink(elsewhere.path(".runs/demo"), home.path(".runs/leaves")).unwrap();
    nix::unistd::mkfifo(&home.path("runs/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir_all(home.path("runs/x")).unwrap();
    nix::unistd::mkfifo(&home.path("runs/x/run.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();

    let runs = recognise(&home.root(), Timestamp::now());

    let known: Vec<_> = runs.iter().map(|run| (run.id.as_str(), run.state)).collect();
    assert_eq!(
        known,
        [
            ("deep", ExternalState::Unknown),
            ("huge", ExternalState::Unknown),
            ("torn", ExternalState::Unknown)
        ]
    );
}

/// A watch of one directory.
struct Watched {
    dirs: RunDirs,
    told: Receiver<Told>,
}

fn by_events() -> WatchSettings {
    let never = Duration::from_hours(1);
    WatchSettings {
        rescan_every: never,
        processes_every: Duration::from_millis(20),
        ..WatchSettings::default()
    }
}

fn watch(home: &Home, settings: WatchSettings) -> Watched {
    let (dirs, told) = RunDirs::start(vec![home.root()], settings).unwrap();
    until(|| (dirs.status().len() == 1).then_some(()));
    Watched { dirs, told }
}

impl Watched {
    /// What happens to runs, as long as it is not waited for too long.
    fn runs(&self) -> impl Iterator<Item = RunChange> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let next = move || self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).filter_map(|told| match told {
            Told::Run(change) => Some(*change),
            Told::Looked { .. } => None,
        })
    }

    fn expect(&self, id: &str, change: Change) -> ExternalRun {
        let mut others = Vec::new();
        for told in self.runs() {
            if told.run.id == id && told.change == change {
                return told.run;
            }
            others.push((told.run.id, told.change));
        }
        panic!("{change:?} of {id} did not come, but {others:?}");
    }
}

#[test]
fn a_run_is_told_from_its_beginning_to_its_end() {
    let home = Home::new();
    manifest(&home, "old", "succeeded", seconds_ago(900));
    let watched = watch(&home, by_events());
    watched.expect("old", Change::Found);

    manifest(&home, "new", "in_progress", Timestamp::now());
    watched.expect("new", Change::Appeared);
    manifest(&home, "new", "succeeded", Timestamp::now());
    assert_eq!(watched.expect("new", Change::Finished).state, ExternalState::Succeeded);
    manifest(&home, "new", "in_progress", Timestamp::now());
    watched.expect("new", Change::StateChanged { from: ExternalState::Succeeded });

    fs::remove_dir_all(home.path(".runs/demo/cli/new")).unwrap();
    watched.expect("new", Change::Gone);
    assert_eq!(watched.dirs.status()[0].runs.len(), 1);
}

#[test]
fn every_run_that_is_made_at_once_with_its_directories_is_told() {
    let home = Home::new();
    let watched = watch(&home, by_events());
    for number in 0..20 {
        let run = json!({"run_id": format!("r{number}"), "status": "in_progress", "pipeline_id": "exec"});
        replace(&home, &format!(".runs/t{}/cli/r{number}/manifest.json", number / 2), &run.to_string());
        watched.expect(&format!("r{number}"), Change::Appeared);
    }
}

#[test]
fn a_heartbeat_that_stops_is_told_and_so_is_its_return() {
    let home = Home::new();
    manifest(&home, "r1", "in_progress", seconds_ago(300));
    // It has one second left.
    home.write(".runs/demo/cli/r1/.heartbeat", &format!("{}\n", seconds_ago(29)));
    let watched = watch(&home, by_events());
    assert_eq!(watched.expect("r1", Change::Found).state, ExternalState::Running);

    watched.expect("r1", Change::HeartbeatStale);
    home.write(".runs/demo/cli/r1/.heartbeat", &format!("{}\n", Timestamp::now()));
    watched.expect("r1", Change::Back);
}

#[test]
fn a_heartbeat_from_the_future_grows_old_from_when_it_is_seen() {
    let home = Home::new();
    let run = json!({
        "run_id": "r", "status": "in_progress", "heartbeat_stale_after_seconds": 1,
        "heartbeat_at": "2126-03-02T08:00:00Z",
    });
    replace(&home, ".runs/demo/cli/r/manifest.json", &run.to_string());
    let watched = watch(&home, by_events());
    watched.expect("r", Change::HeartbeatStale);
}

#[test]
fn a_process_that_dies_is_told() {
    let home = Home::new();
    let living = Living::new();
    loop_state(&home, "running", None, Some(living.pid()));
    let name = home.root().file_name().unwrap().to_string_lossy().into_owned();
    let watched = watch(&home, by_events());
    watched.expect(&name, Change::Found);

    drop(living);
    watched.expect(&name, Change::ProcessDead);

    loop_state(&home, "idle", Some(0), None);
    watched.expect(&name, Change::Finished);
}

#[test]
fn directories_come_and_go_and_need_not_exist() {
    let (home, other) = (Home::new(), Home::new());
    let watched = watch(&home, by_events());
    watched.dirs.add(other.path("later"));
    until(|| watched.dirs.status().iter().find(|directory| directory.state == RootState::Absent).cloned());

    other.write("later/.runs/t/cli/r/manifest.json", r#"{"run_id": "r", "status": "queued"}"#);
    watched.expect("r", Change::Appeared);

    watched.dirs.remove(other.path("later"));
    watched.expect("r", Change::Gone);
    until(|| (watched.dirs.status().len() == 1).then_some(()));
}

#[test]
fn a_directory_that_is_away_as_a_whole_has_lost_no_runs() {
    let home = Home::new();
    manifest(&home, "old", "succeeded", seconds_ago(900));
    manifest(&home, "new", "in_progress", Timestamp::now());
    let (dirs, told) = RunDirs::start(vec![home.path(".runs")], by_events()).unwrap();
    let watched = Watched { dirs, told };
    until(|| watched.dirs.status().first().filter(|directory| directory.runs.len() == 2).cloned());
    fs::rename(home.path(".runs"), home.path("away")).unwrap();
    until(|| (watched.dirs.status()[0].state == RootState::Absent).then_some(()));
    fs::rename(home.path("away"), home.path(".runs")).unwrap();
    let told: Vec<_> = watched.runs().take_while(|told| told.change != Change::Appeared).collect();
    assert!(told.iter().all(|told| told.change == Change::Found), "{told:?}");
}

#[test]
fn a_run_that_ended_again_between_two_looks_is_told() {
    let home = Home::new();
    let watched = watch(&home, by_events());
    let ended = |at| json!({"run_id": "r", "status": "succeeded", "pipeline_id": "exec", "completed_at": at});
    let path = ".runs/demo/cli/r/manifest.json";
    replace(&home, path, &ended("2026-03-02T08:00:00Z").to_string());
    watched.expect("r", Change::Finished);
    replace(&home, path, &ended("2026-03-02T09:00:00Z").to_string());
    watched.expect("r", Change::Finished);
}

#[test]
fn without_events_everything_is_still_told() {
    let home = Home::new();
    let polling = WatchSettings { polling: true, poll_every: Duration::from_millis(10), ..by_events() };
    let watched = watch(&home, polling);
    assert!(matches!(watched.dirs.status()[0].state, RootState::Polled(_)));

    manifest(&home, "r", "in_progress", Timestamp::now());
    watched.expect("r", Change::Appeared);
    manifest(&home, "r", "failed", Timestamp::now());
    watched.expect("r", Change::Finished);
}

#[test]
fn a_directory_that_cannot_be_read_loses_no_runs() {
    let home = Home::new();
    manifest(&home, "r", "in_progress", Timestamp::now());
    home.for_all();
    home::as_somebody(|| {
        let watched = watch(&home, by_events());
        watched.expect("r", Change::Found);
        fs::set_permissions(home.path(".runs/demo"), fs::Permissions::from_mode(0o000)).unwrap();
        watched.dirs.rescan();
        fs::set_permissions(home.path(".runs/demo"), fs::Permissions::from_mode(0o755)).unwrap();
        manifest(&home, "s", "in_progress", Timestamp::now());
        watched.dirs.rescan();
        let next = watched.runs().next().unwrap();
        assert_eq!((next.run.id.as_str(), next.change), ("s", Change::Appeared));
    });
}

#[test]
fn a_run_in_overlapping_directories_is_told_once() {
    let home = Home::new();
    manifest(&home, "r", "in_progress", Timestamp::now());
    let (dirs, told) = RunDirs::start(vec![home.root(), home.path(".runs")], by_events()).unwrap();
    let watched = Watched { dirs, told };
    watched.expect("r", Change::Found);
    until(|| (watched.dirs.status().len() == 2).then_some(()));
    manifest(&home, "r", "failed", Timestamp::now());
    watched.expect("r", Change::Finished);
    drop(watched.dirs);
    assert_eq!(watched.told.iter().filter(|told| matches!(told, Told::Run(_))).count(), 0);
}

#[test]
fn a_directory_is_told_as_looked_at_after_the_runs_in_it() {
    let home = Home::new();
    manifest(&home, "r", "in_progress", Timestamp::now());
    let watched = watch(&home, by_events());
    let patience = Duration::from_secs(20);
    assert!(matches!(watched.told.recv_timeout(patience), Ok(Told::Run(run)) if run.change == Change::Found));
    assert_eq!(
        watched.told.recv_timeout(patience),
        Ok(Told::Looked { registered: home.root(), unseen: Vec::new() })
    );
}
