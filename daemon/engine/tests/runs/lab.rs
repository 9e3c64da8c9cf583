//! An engine in a directory of its own, which can be killed and opened again.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::clock::{BoxFuture, Clock, SystemClock};
use engine::process::{Launch, ShimCommand, Supervisor};
use engine::{
    Engine, Failure, FailureKind, LeaseKey, OnEnd, Origin, ProcessSpec, Registry, Run, RunContext, RunDetail,
    RunId, Settings, Setup, StartOptions, StartRun, Variable, Workflow,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// So long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

type Act = Arc<dyn Fn(RunContext, Value) -> BoxFuture<'static, Result<Value, Failure>> + Send + Sync>;

/// The ends that workflows were told to settle.
type Settled = Arc<Mutex<Vec<(RunId, Option<FailureKind>)>>>;

/// What the workflows of a lab do.
#[derive(Clone)]
struct Script {
    act: Act,
    settled: Settled,
}

/// The workflow that a test is about.
struct Play(Script);

/// Another one: children, hooks, limits by kind.
struct Side(Script);

macro_rules! workflow {
    ($name:ident, $kind:literal) => {
        impl Workflow for $name {
            const KIND: &'static str = $kind;
            type Spec = Value;
            type Output = Value;

            fn leases(&self, spec: &Value) -> Vec<LeaseKey> {
                let keys = spec["leases"].as_array().into_iter().flatten();
                keys.filter_map(|key| Some(LeaseKey(key.as_str()?.to_owned()))).collect()
            }

            async fn run(&self, run: &RunContext, spec: Value) -> Result<Value, Failure> {
                (self.0.act)(run.clone(), spec).await
            }

            async fn settle(&self, run: &Run, _: &Path, _: Value, result: Result<(), Failure>) {
                self.0.settled.lock().unwrap().push((run.id, result.err().map(|failure| failure.kind)));
            }
        }
    };
}
workflow!(Play, "play");
workflow!(Side, "side");

/// The engine, what it is made of, and the runtime that it lives in.
pub(crate) struct Lab {
    root: TempDir,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) on_end: OnEnd,
    pub(crate) settled: Settled,
    play: Act,
    side: Act,
    engine: Option<Engine>,
    runtime: Option<Runtime>,
}

impl Lab {
    /// A lab that is not yet open.
    pub(crate) fn new() -> Self {
        let nothing: Act = Arc::new(|_, _| Box::pin(async { Ok(Value::Null) }));
        Self {
            root: TempDir::new().unwrap(),
            settings: Settings { slots: 8, ..Settings::default() },
            clock: Arc::new(SystemClock),
            on_end: Arc::new(|_| Vec::new()),
            settled: Settled::default(),
            play: Arc::clone(&nothing),
            side: nothing,
            engine: None,
            runtime: None,
        }
    }

    /// What runs of kind `play` do from the next opening on.
    pub(crate) fn play<F>(&mut self, act: impl Fn(RunContext, Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        self.play = Arc::new(move |run, spec| Box::pin(act(run, spec)));
    }

    /// What runs of kind `side` do from the next opening on.
    pub(crate) fn side<F>(&mut self, act: impl Fn(RunContext, Value) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        self.side = Arc::new(move |run, spec| Box::pin(act(run, spec)));
    }

    /// An open lab in which `play` does this.
    pub(crate) fn playing<F>(act: impl Fn(RunContext, Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let mut lab = Self::new();
        lab.play(act);
        lab.open();
        lab
    }

    /// Opens the engine in a runtime of its own.
    pub(crate) fn open(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        self.engine = Some(runtime.block_on(Engine::open(self.setup())).unwrap());
        self.runtime = Some(runtime);
    }

    fn setup(&self) -> Setup {
        // The test runs from `deps`, beside which cargo puts the examples.
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/shim");
        let script = |act: &Act| Script { act: Arc::clone(act), settled: Arc::clone(&self.settled) };
        Setup {
            state_dir: self.root.path().join("state"),
            settings: self.settings.clone(),
            registry: Registry::default().with(Play(script(&self.play))).with(Side(script(&self.side))),
            supervisor: Supervisor::new(ShimCommand { program, args: Vec::new() }, None),
            clock: Arc::clone(&self.clock),
            on_end: Arc::clone(&self.on_end),
            tables: engine::TABLES,
            store: engine::store::Options::default(),
        }
    }

    /// The daemon dies: nothing is closed, nothing is told. File work that is under way on other
    /// threads is let through, since a real death would have cut it off.
    pub(crate) fn kill(&mut self) {
        self.engine = None;
        self.runtime.take().unwrap().shutdown_timeout(PATIENCE);
    }

    /// Dies and comes back.
    pub(crate) fn reopen(&mut self) {
        self.kill();
        self.open();
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine.clone().unwrap()
    }

    /// Does something in the engine's runtime.
    pub(crate) fn block<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = self.runtime.as_ref().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("this takes too long") })
    }

    /// Starts a run of kind `play`.
    pub(crate) fn start(&self, spec: Value) -> RunId {
        self.start_with(spec, |_| {})
    }

    /// Starts a run of kind `play` that is asked for in a special way.
    pub(crate) fn start_with(&self, spec: Value, change: impl FnOnce(&mut StartRun)) -> RunId {
        let mut start = self.ask("play", spec);
        change(&mut start);
        self.block(self.engine().start(start)).unwrap().id
    }

    /// A request for a run, whose processes bear the mark of this lab.
    pub(crate) fn ask(&self, kind: &str, spec: Value) -> StartRun {
        StartRun {
            request_id: None,
            kind: kind.to_owned(),
            spec,
            options: self.options(),
            origin: Origin::Client,
            lineage: Vec::new(),
            refuse_if_held: false,
        }
    }

    /// Options that let processes run and bear the mark of this lab.
    pub(crate) fn options(&self) -> StartOptions {
        let path = std::env::var("PATH").unwrap_or_default();
        let mark = self.root.path().to_str().unwrap();
        StartOptions {
            env: vec![Variable::from(("PATH", path.as_str())), Variable::from(("LAB", mark))],
            ..StartOptions::default()
        }
    }

    /// Waits for a run's end.
    pub(crate) fn wait(&self, run: RunId) -> Run {
        self.block(self.engine().wait(run)).unwrap()
    }

    /// Waits for a run's end, which must be this one.
    pub(crate) fn ends(&self, run: RunId, state: &str) -> Run {
        let ended = self.wait(run);
        assert_eq!(ended.state.word(), state, "{:?}", ended.state);
        ended
    }

    /// Waits for the end of a run that fails for this reason.
    pub(crate) fn fails(&self, run: RunId, kind: &FailureKind) -> Failure {
        let ended = self.wait(run);
        let failure = ended.state.failure().unwrap_or_else(|| panic!("{:?}", ended.state)).clone();
        assert_eq!(failure.kind, *kind, "{failure:?}");
        failure
    }

    pub(crate) fn detail(&self, run: RunId) -> RunDetail {
        self.block(self.engine().detail(run)).unwrap()
    }

    /// Waits until a run is in this state.
    pub(crate) fn reaches(&self, run: RunId, state: &str) {
        let engine = self.engine();
        self.block(async {
            until(|| {
                let engine = engine.clone();
                async move { engine.record(run).await.unwrap().state.word() == state }
            })
            .await;
        });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The lines of a file that processes or steps write; none when it is not there.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until a file has this many lines.
    pub(crate) fn grows(&self, name: &str, lines: usize) {
        wait_for(|| self.lines(name).len() >= lines);
    }

    /// The processes that bear the mark of this lab, shims and children alike.
    pub(crate) fn living(&self) -> Vec<i32> {
        let mark = format!("LAB={}", self.root.path().display());
        let processes = std::fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        })
        .collect()
    }

    /// Waits until no process of this lab is left.
    pub(crate) fn expect_nobody(&self) {
        wait_for(|| self.living().is_empty());
    }

    /// How often a run was settled, and how.
    pub(crate) fn settled(&self, run: RunId) -> Vec<Option<FailureKind>> {
        let settled = self.settled.lock().unwrap();
        settled.iter().filter(|(id, _)| *id == run).map(|(_, kind)| kind.clone()).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.engine = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
        // A test that failed must not leave its children to others.
        for pid in self.living() {
            kill_9(pid);
        }
    }
}

/// A shell script as a process, at work in the lab's directory.
pub(crate) fn script(directory: &Path, text: &str) -> ProcessSpec {
    ProcessSpec::new(Launch::new("/bin/sh", directory).args(["-c", text]))
}

/// Adds a line to a file.
pub(crate) fn note(path: &Path, line: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
}

/// A failure that may be tried again.
pub(crate) fn failed(text: &str) -> Failure {
    Failure::new(FailureKind::Other("test".to_owned()), text)
}

/// Waits, outside of any runtime, for a condition.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Waits, inside a runtime, for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Kills a process as `kill -9` does.
pub(crate) fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    // It may have gone by itself.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}
