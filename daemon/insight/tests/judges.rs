//! Outside judges of what leaves: Harbor loads the tasks and validates the trajectories, and a task runs in a
//! real container. `tests/setup test` installs both.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use insight::dataset;
use insight::distill::{Distilled, Options, Selection, distill};
use serde_json::Value;
use trace::derive::Sink;
use trace::redact::Redactor;
use trace::session::{Row, Rows};
use trace::transcript::SessionFiles;
use trace::{atif, bundle};

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> SessionFiles {
    SessionFiles::at(&checkout().join("daemon/trace/fixtures").join(name)).unwrap()
}

const SESSIONS: [&str; 3] = ["spine-repair", "rollout-0.75.0-repair.jsonl", "rollout-0.169.0-repair.jsonl"];

/// What Harbor says of each path: one document per path.
fn harbor(what: &str, paths: &[PathBuf]) -> Vec<Value> {
    let python = checkout().join("target/judges/harbor/bin/python");
    assert!(python.exists(), "{} is missing: run `tests/setup test`", python.display());
    let judge = checkout().join("tests/judges/harbor/check.py");
    let output = Command::new(python).arg(judge).arg(what).args(paths).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn turn(files: &SessionFiles, turn: u32, directory: &Path) -> Distilled {
    let selection = Selection::Turns { first: turn, last: turn };
    distill(files, &selection, &Options::default(), directory, &mut Redactor::new()).unwrap()
}

#[test]
fn harbor_accepts_the_trajectories_of_spines_rollouts_and_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let spine = fixture("spine-repair");
    let contents = bundle::Contents {
        thread: "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11".parse().unwrap(),
        session: spine,
        lineage: Vec::new(),
        created_at: "2026-03-02T10:00:00Z".parse().unwrap(),
    };
    bundle::write(&contents, &dir.path().join("bundle"), &mut Redactor::new()).unwrap();
    let mut sessions: Vec<SessionFiles> = SESSIONS.iter().map(|name| fixture(name)).collect();
    sessions.push(SessionFiles::at(&dir.path().join("bundle")).unwrap());
    let mut paths = Vec::new();
    for (number, session) in sessions.iter().enumerate() {
        let out = dir.path().join(number.to_string());
        let written = atif::write(session, &out, &mut Redactor::new()).unwrap();
        paths.extend(written.files.iter().map(|file| out.join(file)));
    }
    assert_eq!(paths.len(), 2 + 1 + 1 + 2);
    for answer in harbor("trajectory", &paths) {
        assert_eq!(answer["valid"], true, "{answer}");
    }
}

#[test]
fn harbor_loads_tasks_with_their_provenance_and_a_dataset_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks: Vec<PathBuf> = Vec::new();
    for name in SESSIONS {
        let path = dir.path().join(format!("task-{name}"));
        turn(&fixture(name), 0, &path);
        tasks.push(path);
    }
    let missing = dir.path().join("missing");
    turn(&fixture("spine-repair"), 1, &missing);
    tasks.push(missing);
    let answers = harbor("task", &tasks);
    assert_eq!(answers.len(), 4);
    for answer in &answers {
        assert!(answer["name"].as_str().unwrap().starts_with("spindle/turns-"), "{answer}");
        assert_eq!(answer["metadata"]["generator"], "spindle");
        assert!(answer["instruction"].as_str().unwrap().contains("The repository is at /workspace/repo."));
    }
    assert_eq!(answers[3]["metadata"]["verifier_type"], "missing");

    let out = dir.path().join("dataset");
    let built = dataset::build(&tasks, &dataset::Options::default(), &out).unwrap();
    assert_eq!((built.tasks.len(), built.left_out.len()), (3, 1));
    let copied: Vec<PathBuf> = built.tasks.iter().map(|task| out.join(task)).collect();
    harbor("task", &copied);
}

/// The sessions of a made-up home, as the daemon finds them.
fn sessions(home: &Path) -> Vec<trace::SessionSource> {
    let catalog = trace::Catalog::new(vec![home.to_owned()]);
    catalog.scan(&mut |_| {});
    catalog.ids().iter().map(|id| catalog.source(id).unwrap()).collect()
}

#[test]
fn harbor_accepts_the_trajectories_and_tasks_of_a_whole_home() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    corpus::real(&home, &corpus::Real { bytes: 4 << 20, sessions: Some(12), seed: 7 }).unwrap();
    let (mut trajectories, mut tasks) = (Vec::new(), Vec::new());
    for (number, source) in sessions(&home).iter().enumerate() {
        let files = SessionFiles::of(source);
        let out = dir.path().join(format!("atif-{number}"));
        let written = atif::write(&files, &out, &mut Redactor::new()).unwrap();
        trajectories.extend(written.files.iter().map(|file| out.join(file)));
        for turn in 0..3 {
            let task = dir.path().join(format!("task-{number}-{turn}"));
            let selection = Selection::Turns { first: turn, last: turn };
            // A session may have fewer turns, or one in which the user said nothing.
            if distill(&files, &selection, &Options::default(), &task, &mut Redactor::new()).is_ok() {
                tasks.push(task);
            }
        }
    }
    assert!(trajectories.len() >= 12 && tasks.len() >= 12, "{} {}", trajectories.len(), tasks.len());
    harbor("trajectory", &trajectories);
    harbor("task", &tasks);
}

/// The rows of a session.
struct Gathered(Rows);

impl Sink for Gathered {
    fn row(&mut self, row: Row) {
        self.0.put(row);
    }

    fn fact(&mut self, _: &trace::Fact<'_>) {}
}

#[test]
fn turns_have_the_same_numbers_in_a_task_as_in_the_list_of_turns() {
    let dir = tempfile::tempdir().unwrap();
    let (home, demo) = (dir.path().join("home"), dir.path().join("demo"));
    corpus::real(&home, &corpus::Real { bytes: 4 << 20, sessions: Some(12), seed: 7 }).unwrap();
    // A dialect that tells no beginnings of turns.
    corpus::demo(&demo, 7).unwrap();
    for source in sessions(&home).into_iter().chain(sessions(&demo)) {
        let files: Vec<(u32, &Path)> =
            source.files.iter().map(|file| (file.index, file.path.as_path())).collect();
        let rows = trace::batch::read(source.id.clone(), source.format, &files, Gathered(Rows::default()));
        let transcript = trace::transcript::read(&SessionFiles::of(&source)).unwrap();
        for entry in &transcript.entries {
            let trace::transcript::What::User(text) = &entry.what else { continue };
            let turn = entry.turn.and_then(|turn| rows.sink.0.turns.get(&turn));
            let turn = turn.unwrap_or_else(|| panic!("{} has no turn {:?}", source.id, entry.turn));
            let begins = turn.started.seq <= entry.seq && turn.ended.is_none_or(|end| entry.seq <= end.seq);
            assert!(begins, "{}: {text:?} at {} is not in turn {turn:?}", source.id, entry.seq);
        }
        for entry in transcript.entries.iter().filter(|_| source.files[0].path.starts_with(&demo)) {
            let turn = entry.turn.and_then(|turn| rows.sink.0.turns.get(&turn));
            assert_eq!(turn.map_or("", |turn| &*turn.id), entry.turn_id, "{}: {entry:?}", source.id);
        }
    }
}

/// Podman with the store that `tests/setup` fills; crun, its default on Debian, does not work everywhere.
fn podman() -> Command {
    let home = checkout().join("target/judges/podman");
    assert!(home.join("store").exists(), "{} is missing: run `tests/setup test`", home.display());
    let home = home.canonicalize().unwrap();
    let runroot = fs::read_to_string(home.join("runroot")).unwrap();
    let mut command = Command::new("podman");
    command.arg("--root").arg(home.join("store")).args(["--runroot", runroot.trim()]);
    command.args(["--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
    command
}

const LIMITS: [&str; 6] =
    ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A container of a task, laid out as Harbor does: it goes when this goes.
struct Container {
    image: String,
    id: String,
}

impl Container {
    /// Builds the image and starts a container that waits.
    fn of(task: &Path, name: &str, volumes: &[&str]) -> Self {
        let image = format!("localhost/spindle-test/{name}-{}", std::process::id());
        let environment = task.join("environment");
        let mut build = podman();
        build.args(["build", "--quiet", "--pull=never", "--tag", &image]).args(LIMITS);
        build.args(volumes.iter().flat_map(|volume| ["--volume", *volume]));
        succeeded(&build.arg(&environment).output().unwrap());
        let id = succeeded(
            &podman()
                .args(["run", "--detach", "--rm"])
                .args(LIMITS)
                .args([&image, "sleep", "300"])
                .output()
                .unwrap(),
        );
        let container = Self { image, id };
        for directory in ["tests", "solution"] {
            let to = format!("{}:/{directory}", container.id);
            succeeded(&podman().arg("cp").arg(task.join(directory)).arg(to).output().unwrap());
        }
        container
    }

    fn run(&self, script: &str) -> Output {
        podman().args(["exec", &self.id, "bash", "-c", script]).output().unwrap()
    }

    /// Runs the tests from where the image says, and reads the reward.
    fn reward(&self) -> String {
        let tested = self.run("bash /tests/test.sh");
        let files = succeeded(&self.run("ls /logs/verifier"));
        assert_eq!(files, "reward.txt", "{tested:?}");
        succeeded(&self.run("cat /logs/verifier/reward.txt"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        for arguments in
            [["rm", "--force", "--time=0", self.id.as_str()].as_slice(), &["rmi", "--force", &self.image]]
        {
            let _ = podman().args(arguments).output();
        }
    }
}

/// The spine of the fixtures, with another remote and commit, or none.
fn spine(directory: &Path, remote: Option<(&str, &str)>) -> SessionFiles {
    fs::create_dir_all(directory).unwrap();
    for name in ["segment-000.jsonl", "segment-001.jsonl"] {
        let text =
            fs::read_to_string(checkout().join("daemon/trace/fixtures/spine-repair").join(name)).unwrap();
        let lines: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                if record["payload"]["kind"] == "git_info" {
                    let (url, commit) = remote?;
                    record["payload"]["git"]["repository_url"] = url.into();
                    record["payload"]["git"]["commit_hash"] = commit.into();
                }
                Some(record.to_string() + "\n")
            })
            .collect();
        fs::write(directory.join(name), lines.concat()).unwrap();
    }
    SessionFiles::at(directory).unwrap()
}

#[test]
fn podman_runs_a_task_of_recorded_files_from_0_to_1() {
    let dir = tempfile::tempdir().unwrap();
    let task = dir.path().join("task");
    let made = turn(&spine(&dir.path().join("spine"), None), 0, &task);
    assert_eq!(made.metadata.start_state, "synthetic");
    let container = Container::of(&task, "synthetic", &[]);
    assert_eq!(container.reward(), "0");
    succeeded(&container.run("bash /solution/solve.sh"));
    assert_eq!(container.reward(), "1");
    // Whatever an agent leaves there, there is one reward, and it is the true one.
    succeeded(&container.run(
        "echo 'echo wrong' >/workspace/repo/greet.sh; echo '{\"reward\":1}' >/logs/verifier/reward.json",
    ));
    assert_eq!(container.reward(), "0");
}

#[test]
fn podman_runs_a_task_of_a_cloned_repository_from_0_to_1() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("greet");
    fs::create_dir(&repo).unwrap();
    fs::write(repo.join("greet.sh"), "#!/bin/sh\necho helo\n").unwrap();
    fs::write(repo.join("run_tests.sh"), "[ \"$(sh greet.sh)\" = hello ]\n").unwrap();
    let git = |arguments: &[&str]| {
        let identity =
            ["-c", "user.name=test", "-c", "user.email=test@localhost", "-C", repo.to_str().unwrap()];
        succeeded(&Command::new("git").args(identity).args(arguments).output().unwrap())
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "start"]);
    let commit = git(&["rev-parse", "HEAD"]);

    let files = spine(&dir.path().join("spine"), Some(("file:///srv/greet", &commit)));
    let task = dir.path().join("task");
    let options = Options {
        allow_file_urls: true,
        base_image: Some("docker.io/library/debian:bookworm-slim".to_owned()),
    };
    let made =
        distill(&files, &Selection::Turns { first: 0, last: 0 }, &options, &task, &mut Redactor::new())
            .unwrap();
    assert_eq!(made.metadata.source_commit_hash.as_deref(), Some(commit.as_str()));
    let volume = format!("{}:/srv/greet:ro", repo.display());
    let container = Container::of(&task, "clone", &[&volume]);
    assert_eq!(container.reward(), "0");
    succeeded(&container.run("bash /solution/solve.sh"));
    assert_eq!(container.reward(), "1");
}
