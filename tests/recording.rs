//! Supervised Codex runs leave a trace spine: it grows while they work, and it is whole whatever becomes of the daemon.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nest::{Nest, until};
use serde_json::{Value, json};
use trace::session::{CallOutcome, Format, Rows};
use trace::spine::segments;
use trace::verify::{Level, verify};

/// Appends to its rollout what the test has prepared, piece by piece, and prints what Codex prints.
const CODEX: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "codex-cli 0.169.0"; exit 0; fi
cat >/dev/null
here=$(dirname "$0")
wait_for() { while [ ! -e "$here/$1" ]; do sleep 0.02; done; }
printf '{"type":"thread.started","thread_id":"%s"}\n' "$(cat "$here/thread")"
echo '{"type":"turn.started"}'
echo "${CODEX_ROLLOUT_TRACE_ROOT:-none}" >"$here/bundles"
if [ -n "$CODEX_ROLLOUT_TRACE_ROOT" ]; then
    bundle=$CODEX_ROLLOUT_TRACE_ROOT/trace-asked-for-$(cat "$here/thread")
    mkdir -p "$bundle/payloads"
    echo "{\"started_at_unix_ms\":$(date +%s%3N)}" >"$bundle/manifest.json"
    echo "a whole prompt" >"$bundle/payloads/1.json"
fi
rollout=$(cat "$here/rollout")
mkdir -p "$(dirname "$rollout")"
for piece in 1 2 3; do
    wait_for "go-$piece"
    cat "$here/piece-$piece" >>"$rollout"
done
sed 's/- \[ \]/- [x]/' .codex-autorunner/TODO.md >todo.new && mv todo.new .codex-autorunner/TODO.md
echo '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"done"}}'
echo '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}'
"#;

/// A repository with one open item, in a nest.
struct Scene {
    nest: Nest,
    thread: String,
    home: PathBuf,
}

impl Scene {
    /// With the script that takes the place of Codex.
    async fn new(config: &str) -> Self {
        let mut nest = Nest::empty();
        let home = nest.path("home/.codex");
        nest.configure(config);
        nest.start().await;
        let thread = uuid::Uuid::now_v7().to_string();
        let scene = Self { nest, thread, home };
        let codex = scene.nest.path("codex");
        fs::write(&codex, CODEX).unwrap();
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(scene.nest.path("thread"), &scene.thread).unwrap();
        fs::write(scene.nest.path("rollout"), scene.rollout().as_os_str().as_encoded_bytes()).unwrap();
        for (number, piece) in (1..).zip(scene.pieces()) {
            fs::write(scene.nest.path(&format!("piece-{number}")), piece).unwrap();
        }
        prepare(&scene.nest, &scene.repo(), &codex, "Write `file-1.txt`");
        scene
    }

    fn repo(&self) -> PathBuf {
        self.nest.path("repo")
    }

    fn rollout(&self) -> PathBuf {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        let day = self.home.join("sessions").join(now.strftime("%Y/%m/%d").to_string());
        day.join(format!("rollout-2026-03-02T08-00-00-{}.jsonl", self.thread))
    }

    fn spine(&self) -> PathBuf {
        self.home.join("trace_spine").join(&self.thread)
    }

    /// A turn with a call, in three pieces; the second one ends within a line.
    fn pieces(&self) -> [String; 3] {
        let item = |item: Value| json!({ "type": "response_item", "payload": item });
        let message = |msg: Value| json!({ "type": "event_msg", "payload": msg });
        let words = |role: &str, text: &str| {
            item(
                json!({ "type": "message", "role": role, "content": [{ "type": "input_text", "text": text }] }),
            )
        };
        let records = [
            json!({ "type": "session_meta", "payload": { "id": self.thread, "session_id": self.thread,
                "timestamp": "2026-03-02T08:00:00.000Z", "cwd": self.repo(), "originator": "codex_exec",
                "cli_version": "0.169.0", "source": "exec", "model_provider": "test" } }),
            message(json!({ "type": "task_started", "turn_id": "t1" })),
            words("user", "go on"),
            message(json!({ "type": "item_completed", "thread_id": self.thread, "turn_id": "t1", "item":
                { "type": "UserMessage", "id": "u", "content": [{ "type": "text", "text": "go on" }] } })),
            item(json!({ "type": "function_call", "name": "exec_command", "call_id": "c1",
                "arguments": "{\"cmd\":\"make test\"}" })),
            message(json!({ "type": "item_completed", "thread_id": self.thread, "turn_id": "t1", "item":
                { "type": "CommandExecution", "id": "c1", "command": ["bash", "-lc", "make test"], "status": "failed",
                  "aggregated_output": "no rule", "exit_code": 2, "duration": { "secs": 0, "nanos": 1 } } })),
            message(json!({ "type": "task_complete", "turn_id": "t1", "last_agent_message": "done" })),
        ];
        let line = |(number, record): (u64, &Value)| {
            let mut record = record.clone();
            record["ordinal"] = json!(number);
            record["timestamp"] = json!(format!("2026-03-02T08:00:0{number}.000Z"));
            format!("{record}\n")
        };
        let text: String = (0..).zip(&records).map(line).collect();
        let cuts = [text.match_indices('\n').nth(3).unwrap().0 + 1, text.len() - 20];
        [&text[..cuts[0]], &text[cuts[0]..cuts[1]], &text[cuts[1]..]].map(str::to_owned)
    }

    /// Lets the script write a piece.
    fn go(&self, piece: u32) {
        fs::write(self.nest.path(&format!("go-{piece}")), "").unwrap();
    }

    fn start(&self) -> String {
        start(&self.nest, &self.repo())
    }

    async fn wait(&self, run: &str) {
        let ended = self.nest.wait(run).await;
        assert_eq!(nest::outcome(&ended), "succeeded 0", "{ended:?}");
    }

    /// Waits until the spine tells of something.
    async fn tells(&self, text: &str) {
        let spine = self.spine();
        until(&format!("the spine tells of {text}"), || written(&spine).contains(text).then_some(())).await;
    }
}

/// Starts a loop over a repository.
fn start(nest: &Nest, repo: &Path) -> String {
    let started = nest.spindle(["auto".as_ref(), "run".as_ref(), "--repo".as_ref(), repo.as_os_str()]);
    assert!(started.status.success(), "{started:?}");
    String::from_utf8(started.stdout).unwrap().trim().to_owned()
}

/// Makes a repository with one open item, and this Codex.
fn prepare(nest: &Nest, repo: &Path, codex: &Path, item: &str) {
    if !repo.join(".git").exists() {
        fs::create_dir(repo).unwrap();
        let git = Command::new("git").args(["init", "--quiet"]).current_dir(repo).status().unwrap();
        assert!(git.success());
    }
    let init = nest.spindle(["auto".as_ref(), "init".as_ref(), "--repo".as_ref(), repo.as_os_str()]);
    assert!(init.status.success(), "{init:?}");
    fs::write(repo.join(".codex-autorunner/TODO.md"), format!("# TODO\n\n- [ ] {item}\n")).unwrap();
    let config = repo.join(".codex-autorunner/config.yml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("binary: codex", &format!("binary: {}", codex.display()));
    fs::write(&config, text.replace("sleep_seconds: 5", "sleep_seconds: 0")).unwrap();
}

/// The text of a spine.
fn written(spine: &Path) -> String {
    let segments = segments(spine).unwrap_or_default();
    segments.iter().map(|segment| fs::read_to_string(&segment.path).unwrap()).collect()
}

/// The spine passes verification, and has each record once.
fn check_spine(spine: &Path) {
    let errors: Vec<_> = verify(spine).into_iter().filter(|finding| finding.level == Level::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let records: Vec<Value> =
        written(spine).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
    assert_eq!(records[0]["payload"]["originator"], "spindle_recorder");
    let mut from: Vec<String> = records
        .iter()
        .map(|record| &record["payload"])
        .map(|payload| format!("{} {}", payload["recorded_from"], payload["recorded_on"]))
        .collect();
    let all = from.len();
    from.sort();
    from.dedup();
    assert_eq!(from.len(), all, "something was recorded twice");
}

type Told = (Vec<(String, u32)>, Vec<(String, String, CallOutcome)>);

/// The turns by the user's words and their number of calls, and the calls with what came of them. The ids of turns
/// are not compared: 0.75.0 has none.
fn told(thread: &str, format: Format, files: &[PathBuf]) -> Told {
    let files: Vec<(u32, &Path)> = (0..).zip(files.iter().map(PathBuf::as_path)).collect();
    let batch = trace::batch::read(thread.parse().unwrap(), format, &files, Rows::default());
    let rows = batch.sink;
    let turns = rows.turns.into_values().map(|turn| (turn.user_message.unwrap_or_default(), turn.calls));
    let calls = rows.calls.into_values().map(|call| (call.call_id, call.arguments, call.outcome));
    (turns.collect(), calls.collect())
}

/// What the spine tells is what the rollout tells.
fn check_against(spine: &Path, rollout: &Path, thread: &str) {
    let segments: Vec<PathBuf> = segments(spine).unwrap().into_iter().map(|segment| segment.path).collect();
    let of_rollout = told(thread, Format::Rollout, &[rollout.to_owned()]);
    assert!(!of_rollout.0.is_empty() && !of_rollout.1.is_empty(), "{of_rollout:?}");
    assert_eq!(told(thread, Format::Spine, &segments), of_rollout);
}

/// What `spindle --json` prints.
fn json_of(nest: &Nest, arguments: &[&str]) -> Value {
    let output = nest.spindle(["--json"].iter().chain(arguments));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_spine_grows_while_the_iteration_works_and_is_closed_when_it_has_ended() {
    let scene = Scene::new("").await;
    let run = scene.start();
    scene.go(1);
    scene.tells("go on").await;
    assert!(!written(&scene.spine()).contains("make test"));
    scene.go(2);
    scene.tells("exec_command_end").await;
    assert!(!written(&scene.spine()).contains("task_complete"), "a half-written line waits");
    assert!(!scene.spine().join("segment-000.meta.json").exists());
    scene.go(3);
    scene.wait(&run).await;

    check_spine(&scene.spine());
    check_against(&scene.spine(), &scene.rollout(), &scene.thread);
    assert!(scene.spine().join("segment-000.meta.json").exists());
    json_of(&scene.nest, &["trace", "ingest", "--wait"]);
    let sessions = json_of(&scene.nest, &["trace", "sessions", "--all"]);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
    let verified = scene.nest.spindle(["trace", "verify", &scene.thread]);
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test]
async fn a_daemon_that_is_killed_in_the_middle_leaves_a_spine_that_the_next_one_goes_on_with() {
    let mut scene = Scene::new("").await;
    let run = scene.start();
    scene.go(1);
    scene.tells("go on").await;
    scene.nest.kill();
    // Codex goes on without a daemon.
    scene.go(2);
    let rollout = scene.rollout();
    until("the rollout has grown", || {
        fs::read_to_string(&rollout).unwrap().contains("no rule").then_some(())
    })
    .await;
    scene.nest.start().await;
    scene.tells("exec_command_end").await;
    scene.nest.kill_and_start().await;
    scene.go(3);
    scene.wait(&run).await;
    check_spine(&scene.spine());
    check_against(&scene.spine(), &rollout, &scene.thread);
    assert!(segments(&scene.spine()).unwrap().len() > 1);
}

#[tokio::test]
async fn what_codex_wrote_without_a_daemon_is_recorded_by_the_next_one() {
    let mut scene = Scene::new("").await;
    let run = scene.start();
    let log = scene.repo().join(".codex-autorunner/codex-autorunner.log");
    until("Codex is at work", || fs::read_to_string(&log).unwrap().contains("thread").then_some(())).await;
    scene.nest.kill();
    for piece in 1..=3 {
        scene.go(piece);
    }
    let todo = scene.repo().join(".codex-autorunner/TODO.md");
    until("Codex has ended", || fs::read_to_string(&todo).unwrap().contains("- [x]").then_some(())).await;
    scene.nest.start().await;
    scene.wait(&run).await;
    check_spine(&scene.spine());
    check_against(&scene.spine(), &scene.rollout(), &scene.thread);
}

#[tokio::test]
async fn a_daemon_that_is_told_to_end_closes_the_spine_and_the_next_one_adds_to_it() {
    let mut scene = Scene::new("").await;
    let run = scene.start();
    scene.go(1);
    scene.tells("go on").await;
    assert!(scene.nest.terminate().await.success());
    assert!(scene.spine().join("segment-000.meta.json").exists());
    scene.nest.start().await;
    scene.go(2);
    scene.go(3);
    scene.wait(&run).await;
    check_spine(&scene.spine());
    check_against(&scene.spine(), &scene.rollout(), &scene.thread);
}

#[tokio::test]
async fn a_spine_that_codex_writes_itself_is_left_alone() {
    let scene = Scene::new("").await;
    let own = json!({ "schema_version": "codex_trace_spine_v1", "thread_id": scene.thread, "seq": 1,
        "timestamp": "2026-03-02T08:00:00.000Z", "type": "session_meta",
        "payload": { "id": scene.thread, "originator": "codex_exec" } });
    let own = format!("{own}\n");
    fs::create_dir_all(scene.spine()).unwrap();
    fs::write(scene.spine().join("segment-000.jsonl"), &own).unwrap();
    let run = scene.start();
    for piece in 1..=3 {
        scene.go(piece);
    }
    scene.wait(&run).await;
    assert_eq!(written(&scene.spine()), own);
    assert_eq!(fs::read_dir(scene.spine()).unwrap().count(), 1);
}

#[tokio::test]
async fn nothing_is_recorded_where_the_configuration_says_so() {
    let scene = Scene::new("[traces]\nrecord = false\n").await;
    let run = scene.start();
    for piece in 1..=3 {
        scene.go(piece);
    }
    scene.wait(&run).await;
    assert!(scene.rollout().exists() && !scene.home.join("trace_spine").exists());
}

#[tokio::test]
async fn bundles_are_asked_for_only_where_the_configuration_says_so() {
    for (config, wanted) in [("", "none"), ("[traces]\nbundles = true\n", "/home/.codex/rollout_trace")] {
        let scene = Scene::new(config).await;
        let run = scene.start();
        for piece in 1..=3 {
            scene.go(piece);
        }
        scene.wait(&run).await;
        let asked = fs::read_to_string(scene.nest.path("bundles")).unwrap();
        assert!(asked.trim_end().ends_with(wanted), "{config}: {asked}");
    }
}

/// A bundle of the same thread that nobody here has asked for.
fn somebody_elses_bundle(scene: &Scene) -> PathBuf {
    let path = scene.home.join(format!("rollout_trace/trace-somebody-elses-{}", scene.thread));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("manifest.json"), r#"{"started_at_unix_ms":1}"#).unwrap();
    path
}

#[tokio::test]
async fn a_bundle_that_was_asked_for_goes_with_its_run_and_no_other_does() {
    let scene = Scene::new("[traces]\nbundles = true\n").await;
    let other = somebody_elses_bundle(&scene);
    let run = scene.start();
    for piece in 1..=3 {
        scene.go(piece);
    }
    scene.wait(&run).await;
    let bundle = scene.home.join(format!("rollout_trace/trace-asked-for-{}", scene.thread));
    assert!(bundle.join("payloads/1.json").exists());
    let removed = scene.nest.spindle(["run", "rm", &run]);
    assert!(removed.status.success(), "{removed:?}");
    until("the bundle has gone", || (!bundle.exists()).then_some(())).await;
    assert!(other.join("manifest.json").exists());
}

#[tokio::test]
async fn bundles_that_take_too_much_go_when_codex_is_done_with_them() {
    let scene = Scene::new("[traces]\nbundles = true\nkeep_bundles = \"1B\"\n").await;
    let other = somebody_elses_bundle(&scene);
    let run = scene.start();
    scene.go(1);
    scene.tells("go on").await;
    let bundle = scene.home.join(format!("rollout_trace/trace-asked-for-{}", scene.thread));
    assert!(bundle.join("payloads/1.json").exists(), "Codex is at work on it");
    scene.go(2);
    scene.go(3);
    scene.wait(&run).await;
    until("the bundle has gone", || (!bundle.exists()).then_some(())).await;
    assert!(other.join("manifest.json").exists());
}

/// The real Codex CLI against the model server.
mod real_codex {
    use model_server::{ModelServer, Options, Release, Scratch};

    use super::*;

    /// A loop over one item, whose daemon may be killed on the way.
    async fn is_recorded(release: Release, kill: bool) {
        let Some(codex) = release.binary_or_skip() else { return };
        let options = Options { default: "agent".to_owned(), ..Options::default() };
        let server = ModelServer::start(options).unwrap();
        let scratch = Scratch::new(server.url()).unwrap();
        let mut nest = Nest::empty();
        let home = scratch.codex_home();
        for (name, path) in [("CODEX_HOME", &home), ("TMPDIR", &scratch.tmp())] {
            nest.set(name, path.display().to_string());
        }
        // Three sources for one session: rollout, spine and, of the current release, a bundle.
        nest.configure("[traces]\nbundles = true\n");
        nest.start().await;
        // The agent's first command waits for the test.
        let item = r#"Write `file-1.txt` mock:shell cmd="while ! test -e go; do sleep 0.1; done""#;
        prepare(&nest, &scratch.repo(), &codex, item);
        let run = start(&nest, &scratch.repo());

        let spines = home.join("trace_spine");
        let spine = until("there is a spine", || {
            let found = fs::read_dir(&spines).ok()?.next()?.unwrap().path();
            written(&found).contains("exec_command_begin").then_some(found)
        })
        .await;
        assert!(!written(&spine).contains("agent_message"), "the agent is still at work");
        if kill {
            nest.kill_and_start().await;
        }
        fs::write(scratch.repo().join("go"), "").unwrap();
        let ended = nest.wait(&run).await;
        assert_eq!(nest::outcome(&ended), "succeeded 0", "{ended:?}");

        check_spine(&spine);
        let thread = spine.file_name().unwrap().to_str().unwrap().to_owned();
        let rollout = rollout_of(&home, &thread);
        check_against(&spine, &rollout, &thread);
        let text = written(&spine);
        assert!(text.contains("git_diff begin") && text.contains("git_diff end"), "git's state is recorded");
        let patch = fs::read_to_string(spine.join("artifacts/git_diff-2.patch")).unwrap();
        assert!(patch.contains("file-1.txt"), "what the iteration did is in the last patch");
        if !kill {
            assert_eq!(verify(&spine), [], "nothing at all is wrong");
        }
        json_of(&nest, &["trace", "ingest", "--wait"]);
        let sessions = json_of(&nest, &["trace", "sessions", "--all"]);
        let sessions = sessions["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert_eq!(sessions[0]["id"], thread.as_str());
        // Nothing is told twice, and nothing taken back.
        let signals = json_of(&nest, &["trace", "signals"]);
        let mut kinds: Vec<&str> = signals["signals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|signal| signal["category"].as_str().unwrap())
            .collect();
        let all = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), all, "{signals}");
        let events = nest.events().await;
        let told = |kind: &str| events.iter().filter(|event| event.r#type == kind).count();
        assert_eq!((told("session.started"), told("signal.withdrawn")), (1, 0), "{events:?}");
        let bundles = || fs::read_dir(home.join("rollout_trace")).map_or(0, Iterator::count);
        assert_eq!(bundles(), usize::from(release == Release::Current));
        let removed = nest.spindle(["run", "rm", &run]);
        assert!(removed.status.success(), "{removed:?}");
        until("the bundle has gone with its run", || (bundles() == 0).then_some(())).await;
    }

    fn rollout_of(home: &Path, thread: &str) -> PathBuf {
        let mut left = vec![home.join("sessions")];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.display().to_string().contains(thread) {
                return path;
            }
        }
        panic!("there is no rollout of {thread}");
    }

    #[tokio::test]
    async fn an_iteration_of_the_current_release_is_recorded_while_it_works() {
        is_recorded(Release::Current, false).await;
    }

    /// A thread that is ephemeral has a bundle and nothing else.
    #[tokio::test]
    async fn a_session_that_has_only_a_bundle_is_read_from_it() {
        let Some(codex) = Release::Current.binary_or_skip() else { return };
        let server =
            ModelServer::start(Options { default: "agent".to_owned(), ..Options::default() }).unwrap();
        let scratch = Scratch::new(server.url()).unwrap();
        let mut nest = Nest::empty();
        for (name, path) in [("CODEX_HOME", scratch.codex_home()), ("TMPDIR", scratch.tmp())] {
            nest.set(name, path.display().to_string());
        }
        nest.configure("[traces]\nbundles = true\n");
        nest.start().await;
        prepare(&nest, &scratch.repo(), &codex, "Write `file-1.txt`");
        let config = scratch.repo().join(".codex-autorunner/config.yml");
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.contains("    - exec\n"), "{text}");
        fs::write(&config, text.replace("    - exec\n", "    - exec\n    - --ephemeral\n")).unwrap();
        let run = start(&nest, &scratch.repo());
        let ended = nest.wait(&run).await;
        assert_eq!(nest::outcome(&ended), "succeeded 0", "{ended:?}");

        assert!(!scratch.codex_home().join("trace_spine").exists());
        json_of(&nest, &["trace", "ingest", "--wait"]);
        let sessions = json_of(&nest, &["trace", "sessions", "--all"]);
        let session = &sessions["sessions"].as_array().unwrap()[0];
        assert_eq!(
            (session["turn_count"].as_u64(), session["tool_call_count"].as_u64()),
            (Some(1), Some(2)),
            "{session}"
        );
        let id = session["id"].as_str().unwrap();
        let verified = nest.spindle(["trace", "verify", id]);
        assert!(verified.status.success(), "{verified:?}");
        let atif = nest.path("atif");
        json_of(&nest, &["trace", "atif", id, "-o", atif.to_str().unwrap()]);
        let written = fs::read_dir(&atif).unwrap().next().unwrap().unwrap().path();
        let trajectory = fs::read_to_string(written).unwrap();
        assert!(trajectory.contains("apply_patch") && trajectory.contains("exec_command"), "{trajectory}");
    }

    #[tokio::test]
    async fn an_iteration_of_the_oldest_release_is_recorded_while_it_works() {
        is_recorded(Release::Oldest, false).await;
    }

    #[tokio::test]
    async fn a_daemon_that_is_killed_while_codex_works_loses_and_repeats_no_record() {
        is_recorded(Release::Current, true).await;
    }
}

#[tokio::test]
async fn a_schedule_is_not_set_off_by_the_session_of_a_run_that_it_has_started() {
    // The sessions of the script lie in the past.
    let scene = Scene::new("[traces]\nlive_window = \"5000d\"\n").await;
    let repo = scene.repo();
    let on = ["--on", "signal", "--filter", r#"{"categories":["exec_failure"]}"#];
    let again =
        [&["schedule", "add", "again"], &on[..], &["auto", "--repo", repo.to_str().unwrap(), "--once"]];
    let look = [&["schedule", "add", "look"], &on[..], &["exec", "--", "sh", "-c", "echo seen >>seen"]];
    for add in [again.concat(), look.concat()] {
        let added = scene.nest.spindle(add);
        assert!(added.status.success(), "{added:?}");
    }
    let started = scene.nest.spindle(["--json", "schedule", "run", "again"]);
    assert!(started.status.success(), "{started:?}");
    (1..=3).for_each(|piece| scene.go(piece));

    let seen = scene.nest.work_dir().join("seen");
    until("the other schedule has fired", || fs::read_to_string(&seen).is_ok().then_some(())).await;
    let shown = scene.nest.spindle(["--json", "schedule", "show", "again"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["fired"], &shown["skipped"]), (&json!(1), &json!(0)), "{shown}");
}
