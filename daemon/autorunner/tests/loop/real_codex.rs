//! The real Codex CLI against the model server. Skipped when the CLI is not installed (not in CI).

use std::path::Path;
use std::time::Duration;

use autorunner::state::Status;
use engine::RunState;
use model_server::{ModelServer, Options, Release, Scratch};

use crate::scene::Scene;

/// A loop over a scratch repository whose Codex talks to `server`.
fn scene(scratch: &Scratch, items: usize, codex: &Path) -> Scene {
    let env = [
        ("PATH", std::env::var("PATH").unwrap()),
        ("HOME", scratch.home().display().to_string()),
        ("CODEX_HOME", scratch.codex_home().display().to_string()),
        ("TMPDIR", scratch.tmp().display().to_string()),
        ("TZ", "UTC".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Scene::over(&scratch.repo(), items, codex, env)
}

fn server(default: &str) -> ModelServer {
    ModelServer::start(Options { default: default.to_owned(), ..Options::default() }).unwrap()
}

fn three_items_are_worked_through(release: Release) {
    let Some(codex) = release.binary_or_skip() else { return };
    let server = server("agent");
    let scratch = Scratch::new(server.url()).unwrap();
    let scene = scene(&scratch, 3, &codex);
    scene.configure("auto_commit: false", "auto_commit: true");
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    let ended = daemon.end(run);
    assert_eq!(ended.state, RunState::Succeeded, "{}", scene.log());

    assert_eq!(scene.todo().matches("- [x]").count(), 3, "{}", scene.todo());
    for item in 1..=3 {
        assert!(scene.layout.root().join(format!("file-{item}.txt")).exists());
    }
    let subjects = scene.git(&["log", "--reverse", "--format=%s"]);
    assert_eq!(subjects, "start\n[codex] run #1\n[codex] run #2\n[codex] run #3\n");
    let log = scene.untimed_log();
    for item in 1..=3 {
        let summary = format!("run={item} stdout: Finished");
        assert!(
            log.contains(&summary) && log.contains(&format!("=== run {item} end (code 0) ===\n")),
            "{log}"
        );
    }
    let state = scene.state();
    assert_eq!((state.status, state.last_run_id, state.last_exit_code), (Status::Idle, Some(3), Some(0)));
    assert!(daemon.output(run)["tokens"].as_u64().unwrap() > 0);
}

#[test]
fn three_items_are_worked_through_by_the_current_release() {
    three_items_are_worked_through(Release::Current);
}

#[test]
fn three_items_are_worked_through_by_the_oldest_release() {
    three_items_are_worked_through(Release::Oldest);
}

#[test]
fn a_usage_limit_ends_the_loop_with_the_time_of_its_reset() {
    let Some(codex) = Release::Current.binary_or_skip() else { return };
    let server = server("agent");
    let scratch = Scratch::new(server.url()).unwrap();
    let scene = scene(&scratch, 0, &codex);
    std::fs::write(scene.layout.dir().join("TODO.md"), "- [ ] Write `a.txt` mock:limit secs=7200\n").unwrap();
    let daemon = scene.daemon();
    let ended = daemon.end(scene.start(&daemon));
    let failure = ended.state.failure().unwrap();
    assert_eq!(failure.kind.as_str(), "usage-limit", "{failure:?}\n{}", scene.log());
    let hint = failure.hint.as_ref().unwrap();
    assert!(failure.message.contains("resets at") && hint.contains("it can go on after"), "{failure:?}");
    assert_eq!(scene.state().status, Status::Error);
    assert!(scene.log().contains("=== run 1 end (code 1) ===\n"));
}

#[test]
fn a_daemon_that_dies_while_codex_works_loses_nothing() {
    let Some(codex) = Release::Current.binary_or_skip() else { return };
    let delay = Duration::from_millis(300);
    let server =
        ModelServer::start(Options { default: "agent".to_owned(), delay, ..Options::default() }).unwrap();
    let scratch = Scratch::new(server.url()).unwrap();
    let scene = scene(&scratch, 2, &codex);
    let daemon = scene.daemon();
    let run = scene.start(&daemon);
    scene.wait_for_log("run=1 stdout: thread");
    daemon.die();
    let daemon = scene.daemon();
    assert_eq!(daemon.end(run).state, RunState::Succeeded, "{}", scene.log());
    assert_eq!(scene.log().matches(" start ===").count(), 2, "{}", scene.log());
    assert_eq!(scene.todo().matches("- [x]").count(), 2);
}
