//! A repository with a TODO list, a Codex, and an engine that can be let down.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autorunner::repo::Layout;
use autorunner::state::State;
use autorunner::{Autorun, KIND};
use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor};
use engine::{Engine, Origin, Registry, Run, RunId, Settings, Setup, StartError, StartOptions, StartRun};
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// So long a condition may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);

/// Works on the first open item and prints what Codex prints. What it does in its nth call can be changed by a
/// script `behave-N` beside it.
const CODEX: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "codex-cli 0.169.0"; exit 0; fi
here=$(dirname "$0")
echo call >> "$here/calls"
call=$(wc -l < "$here/calls" | tr -d ' ')
cat > "$here/prompt-$call"
echo "$@" > "$here/args-$call"
todo=.codex-autorunner/TODO.md
say() { printf '{"type":"item.completed","item":{"id":"item_0","type":"agent_message","text":"%s"}}\n' "$1"; }
wait_for() { while [ ! -e "$here/$1" ]; do sleep 0.02; done; }
tick() { sed '/- \[ \]/{s//- [x]/;:a;n;ba}' "$todo" > "$todo.new" && mv "$todo.new" "$todo"; }
completed() { echo '{"type":"turn.completed","usage":{"input_tokens":100,"cached_input_tokens":40,"output_tokens":7}}'; }
fail() { printf '{"type":"turn.failed","error":{"message":"%s"}}\n' "$1"; exit 1; }
echo '{"type":"thread.started","thread_id":"0199a213-81c0-7800-8aa1-bbab2a035a53"}'
echo '{"type":"turn.started"}'
echo "a word on standard error" >&2
if [ -e "$here/behave-$call" ]; then . "$here/behave-$call"; fi
echo "work of call $call" >> work.txt
tick
say "finished in call $call"
completed
"#;

/// A repository, a Codex and a state directory.
pub(crate) struct Scene {
    pub(crate) root: TempDir,
    pub(crate) layout: Layout,
    env: Vec<(String, String)>,
}

impl Scene {
    /// With this many open items and the scripted Codex.
    pub(crate) fn new(items: usize) -> Self {
        let root = TempDir::new().unwrap();
        let repo = root.path().canonicalize().unwrap().join("repo");
        fs::create_dir_all(&repo).unwrap();
        let path = std::env::var("PATH").unwrap();
        let home = root.path().join("home");
        fs::create_dir(&home).unwrap();
        let env = vec![("PATH".to_owned(), path), ("HOME".to_owned(), home.display().to_string())];
        let scene = Self { root, layout: Layout::of_root(&repo), env };
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene.git(&["config", "user.name", "Test"]);
        scene.git(&["config", "user.email", "test@example.invalid"]);
        scene.initialise(items, &scene.codex().display().to_string());
        let codex = scene.codex();
        fs::write(&codex, CODEX).unwrap();
        fs::set_permissions(&codex, fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    /// Over a repository that is there, with this Codex and environment.
    pub(crate) fn over(repo: &Path, items: usize, codex: &Path, env: Vec<(String, String)>) -> Self {
        let layout = Layout::of_root(repo.canonicalize().unwrap());
        let scene = Self { root: TempDir::new().unwrap(), layout, env };
        scene.initialise(items, &codex.display().to_string());
        scene
    }

    fn initialise(&self, items: usize, codex: &str) {
        let options = autorunner::init::InitOptions::default();
        autorunner::init::init(self.layout.root(), options, Timestamp::now()).unwrap();
        let items = (1..=items).map(|item| format!("- [ ] Write `file-{item}.txt`\n"));
        let items = items.collect::<Vec<_>>().concat();
        fs::write(self.todo_path(), format!("# TODO\n\n{items}")).unwrap();
        self.configure("binary: codex", &format!("binary: {codex}"));
        self.configure("sleep_seconds: 5", "sleep_seconds: 0");
    }

    fn codex(&self) -> PathBuf {
        self.root.path().join("codex")
    }

    fn todo_path(&self) -> PathBuf {
        self.layout.dir().join("TODO.md")
    }

    /// Changes a line of `config.yml`.
    pub(crate) fn configure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.layout.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.layout.config(), text.replace(from, to)).unwrap();
    }

    /// What Codex does in one of its calls, as shell code.
    pub(crate) fn behave(&self, call: u32, script: &str) {
        fs::write(self.root.path().join(format!("behave-{call}")), script).unwrap();
    }

    /// Makes a file that Codex waits for.
    pub(crate) fn allow(&self, name: &str) {
        fs::write(self.root.path().join(name), "").unwrap();
    }

    pub(crate) fn calls(&self) -> usize {
        fs::read_to_string(self.root.path().join("calls")).unwrap_or_default().lines().count()
    }

    pub(crate) fn prompt(&self, call: u32) -> String {
        fs::read_to_string(self.root.path().join(format!("prompt-{call}"))).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.layout.log()).unwrap()
    }

    pub(crate) fn state(&self) -> State {
        State::load(&self.layout.state()).unwrap()
    }

    pub(crate) fn todo(&self) -> String {
        fs::read_to_string(self.todo_path()).unwrap()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git").args(args).current_dir(self.layout.root()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The log without the times of its lines.
    pub(crate) fn untimed_log(&self) -> String {
        let untimed = |line: &str| match line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
            Some((_, rest)) => format!("{rest}\n"),
            None => format!("{line}\n"),
        };
        self.log().lines().map(untimed).collect()
    }

    pub(crate) fn daemon(&self) -> Daemon {
        Daemon::start(&self.root.path().join("state"))
    }

    pub(crate) fn start(&self, daemon: &Daemon) -> RunId {
        self.try_start(daemon, json!({ "repo": self.layout.root() })).unwrap().id
    }

    pub(crate) fn try_start(&self, daemon: &Daemon, spec: Value) -> Result<Run, StartError> {
        let environment =
            self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()).into()).collect();
        daemon.block_on(daemon.engine.start(StartRun {
            request_id: None,
            kind: KIND.to_owned(),
            spec,
            options: StartOptions { environment, ..StartOptions::default() },
            origin: Origin::Client,
            lineage: Vec::new(),
            refuse_if_held: true,
        }))
    }

    /// Waits until a number of calls have begun.
    pub(crate) fn wait_for_call(&self, call: usize) {
        wait_for("call of Codex", || (self.calls() >= call).then_some(()));
    }

    /// Waits until the log has a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }
}

/// An engine on a runtime of its own: dropping it is the nearest to the death of a daemon that one process offers.
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    runtime: Runtime,
}

impl Daemon {
    fn start(state_dir: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let command = |name: &str| ShimCommand { program: program(name), args: Vec::new() };
        let setup = || Setup {
            state_dir: state_dir.to_owned(),
            settings: Settings::default(),
            registry: Registry::default().with(Autorun::new(command("keeper"), None)),
            supervisor: Supervisor::new(command("loop-shim"), None),
            clock: Arc::new(SystemClock),
            on_end: Arc::new(|_| Vec::new()),
            tables: engine::TABLES,
            store: engine::store::Options::default(),
        };
        // The store of a daemon that was let down is free as soon as its thread has noticed.
        let engine = wait_for("store", || runtime.block_on(Engine::open(setup())).ok());
        Self { engine, runtime }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Waits for the end of a run.
    pub(crate) fn end(&self, run: RunId) -> Run {
        let wait = async { tokio::time::timeout(PATIENCE, self.engine.wait(run)).await };
        self.block_on(wait).expect("the run does not end").unwrap()
    }

    /// What a run has returned.
    pub(crate) fn output(&self, run: RunId) -> Value {
        self.block_on(self.engine.detail(run)).unwrap().run.output.unwrap_or_default()
    }

    /// Lets the engine down as a crash would: nothing is closed, processes go on.
    pub(crate) fn die(self) {
        drop(self.engine);
        self.runtime.shutdown_timeout(Duration::from_secs(20));
    }
}

/// Cargo puts examples beside the directory of the test programs.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// Waits for a condition.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
