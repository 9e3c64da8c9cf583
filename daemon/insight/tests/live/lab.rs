//! A daemon's engine and insight over a Codex home, which can die and come back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor};
use engine::store::{Options, TableInfo, join_tables};
use engine::{Engine, Registry, Setup};
use insight::owner::{Owner, Owners};
use insight::{Ingested, Insight, InsightError, PageRequest, SessionFilter, Settings, Signal, SignalFilter};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use trace::SessionId;

/// So long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

static TABLES: &[TableInfo] =
    &join_tables::<{ engine::TABLES.len() + insight::TABLES.len() }>(&[engine::TABLES, insight::TABLES]);

pub(crate) struct Lab {
    root: TempDir,
    pub(crate) settings: Settings,
    pub(crate) workflows: fn() -> Registry,
    owners: Owners,
    daemon: Option<Daemon>,
}

struct Daemon {
    runtime: Runtime,
    engine: Engine,
    insight: Insight,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Lab {
    /// A home without sessions, and no daemon yet. Sessions settle when they are told to be over.
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let home = root.path().join("codex");
        std::fs::create_dir_all(home.join("trace_spine")).unwrap();
        std::fs::create_dir_all(home.join("sessions")).unwrap();
        let settings = Settings { homes: vec![home], threads: 2, ..Settings::default() };
        Self { root, settings, workflows: Registry::default, owners: Owners::default(), daemon: None }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.settings.homes[0].clone()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn start(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (engine, insight) = runtime.block_on(async {
            // The store of a daemon that was let down is free as soon as its threads have noticed.
            let deadline = Instant::now() + PATIENCE;
            let engine = loop {
                match Engine::open(setup(&self.state_dir(), (self.workflows)())).await {
                    Ok(engine) => break engine,
                    Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            self.owners = Owners::default();
            let insight =
                Insight::open(engine.clone(), self.settings.clone(), self.owners.clone()).await.unwrap();
            (engine, insight)
        });
        let stop = CancellationToken::new();
        let running = {
            let (insight, stop) = (insight.clone(), stop.clone());
            runtime.spawn(async move { insight.run(stop).await.unwrap() })
        };
        self.daemon = Some(Daemon { runtime, engine, insight, stop, running });
    }

    /// Ends in good order.
    pub(crate) fn stop(&mut self) {
        let daemon = self.daemon.take().unwrap();
        daemon.stop.cancel();
        daemon.runtime.block_on(async {
            daemon.running.await.unwrap();
            daemon.engine.close().await.unwrap();
        });
        let Daemon { runtime, engine, insight, .. } = daemon;
        drop((engine, insight));
        runtime.shutdown_timeout(PATIENCE);
    }

    /// Dies: nothing is closed, nothing is finished.
    pub(crate) fn kill(&mut self) {
        let Daemon { runtime, engine, insight, running, .. } = self.daemon.take().unwrap();
        running.abort();
        drop((engine, insight));
        runtime.shutdown_timeout(PATIENCE);
    }

    pub(crate) fn insight(&self) -> Insight {
        self.daemon.as_ref().unwrap().insight.clone()
    }

    pub(crate) fn engine(&self) -> Engine {
        self.daemon.as_ref().unwrap().engine.clone()
    }

    /// A run works on a session; returns when that is kept.
    pub(crate) fn tell_owner(&self, session: &SessionId, owner: &Owner) {
        let told = self.owners.tell(session.clone(), owner.clone());
        self.block_on(async { tokio::time::timeout(PATIENCE, told).await.expect("it is never kept") });
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.daemon.as_ref().unwrap().runtime.block_on(future)
    }

    /// Everything that there is now is read.
    pub(crate) fn read_all(&self) -> Ingested {
        let insight = self.insight();
        self.block_on(async {
            let ingest = insight.ingest(Vec::new()).await.unwrap();
            tokio::time::timeout(PATIENCE, ingest.done()).await.expect("it never ends").unwrap()
        })
    }

    /// What lies at a path is read.
    pub(crate) fn read_at(&self, path: &Path) -> Result<Ingested, InsightError> {
        let insight = self.insight();
        self.block_on(async {
            let ingest = insight.ingest(vec![path.to_owned()]).await?;
            tokio::time::timeout(PATIENCE, ingest.done()).await.expect("it never ends")
        })
    }

    /// Waits until a question has an answer.
    #[track_caller]
    pub(crate) fn until<T>(&self, mut question: impl AsyncFnMut(Insight) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.block_on(question(self.insight())) {
                return answer;
            }
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until all sessions have settled.
    pub(crate) fn until_settled(&self) {
        self.read_all();
        self.until(async |insight| {
            let stats = insight.stats().await.unwrap();
            (stats.open_sessions == 0 && stats.queue_depth == 0).then_some(())
        });
        self.read_all();
    }

    /// The current signals of a session, in the order in which they were found.
    pub(crate) fn signals(&self, id: &SessionId) -> Vec<Signal> {
        let filter = SignalFilter { session: Some(id.clone()), ..SignalFilter::default() };
        let page = PageRequest { size: 1000, ..PageRequest::default() };
        self.block_on(self.insight().signals(filter, page)).unwrap().items
    }

    pub(crate) fn categories(&self, id: &SessionId) -> Vec<String> {
        self.signals(id).into_iter().map(|signal| signal.category).collect()
    }

    /// All that was derived, as text that is the same for the same rows.
    pub(crate) fn dump(&self) -> String {
        let insight = self.insight();
        self.block_on(async {
            let mut sessions = Vec::new();
            let mut page = PageRequest { size: 7, ..PageRequest::default() };
            loop {
                let found = insight.sessions(SessionFilter::default(), page.clone()).await.unwrap();
                sessions.extend(found.items);
                if found.next.is_empty() {
                    break;
                }
                page.token = found.next;
            }
            sessions.sort_by(|a, b| a.session.id.cmp(&b.session.id));
            let mut text = String::new();
            for view in sessions {
                let id = view.session.id.clone();
                writeln!(text, "{view:?}").unwrap();
                let detail = insight.session(id.as_str()).await.unwrap();
                writeln!(text, "{} {} {:?}", detail.duplicates, detail.gaps, detail.files).unwrap();
                let all = PageRequest { size: 1000, ..PageRequest::default() };
                let lines = [
                    format!("{:?}", insight.turns(&id, all.clone()).await.unwrap().items),
                    format!("{:?}", insight.calls(&id, all.clone()).await.unwrap().items),
                    format!("{:?}", insight.approvals(&id, all.clone()).await.unwrap().items),
                    format!("{:?}", insight.compactions(&id, all.clone()).await.unwrap().items),
                    format!("{:?}", insight.artifacts(&id, all.clone()).await.unwrap().items),
                    format!("{:?}", insight.findings(Some(id.clone()), all.clone()).await.unwrap().items),
                ];
                for line in lines {
                    writeln!(text, "{line}").unwrap();
                }
                let filter = SignalFilter { session: Some(id), ..SignalFilter::default() };
                let mut signals = insight.signals(filter, all).await.unwrap().items;
                signals.sort_by(|a, b| a.id.cmp(&b.id));
                for signal in signals {
                    writeln!(text, "{signal:?}").unwrap();
                }
            }
            text
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.daemon.is_some() && !std::thread::panicking() {
            self.kill();
        }
    }
}

fn setup(state_dir: &Path, registry: Registry) -> Setup {
    Setup {
        state_dir: state_dir.to_owned(),
        settings: engine::Settings::default(),
        registry,
        supervisor: Supervisor::new(ShimCommand { program: "/bin/false".into(), args: Vec::new() }, None),
        clock: Arc::new(SystemClock),
        on_end: Arc::new(|_| Vec::new()),
        tables: TABLES,
        store: Options::default(),
    }
}
