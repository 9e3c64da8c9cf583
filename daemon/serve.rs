//! The daemon at work: the engine, its faces, and how it comes to an end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use autorunner::Autorun;
use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor, raise_open_files};
use engine::schedule::EventTriggers;
use engine::{Engine, OnEnd as RunEnd, Registry, Setup};
use exec::Exec;
use futures_util::Stream;
use insight::owner::Owners;
use insight::{Externals, Insight};
use jiff::Timestamp;
use spindle_client::paths::Paths;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::args::{KEEPER, SHIM};
use crate::bundles::Keeper;
use crate::config::Config;
use crate::recording::Recordings;
use crate::router::{Faces, router};
use crate::tables::TABLES;
use crate::tasks::{OnEnd, Tasks};
use crate::witness::Listener;

/// How long open calls have after the word to end; streams end at once.
const DRAIN: Duration = Duration::from_secs(1);

/// How long runs have to end when the daemon is told to stop them.
const STOP_RUNS: Duration = Duration::from_mins(1);

/// Between two looks at the age of ended runs, beside those that their number asks for.
const RETENTION: jiff::SignedDuration = jiff::SignedDuration::from_hours(6);

/// Between two looks at the free space of a disk that was full.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(5);

/// So many bytes must be free before a start on a disk that was full makes sense, however low the floor is: the
/// database grows by segments of half a mebibyte, and a daemon that fails again at once no longer answers.
const ROOM: u64 = 4 << 20;

/// What the daemon is started with.
pub(crate) struct Start<S> {
    /// Where everything is.
    pub(crate) paths: Paths,
    /// The configuration.
    pub(crate) config: Config,
    /// Where the log goes, for `spindle daemon info`.
    pub(crate) log: String,
    /// Connections, strangers left out.
    pub(crate) incoming: S,
    /// Reads the configuration file again.
    pub(crate) reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

/// Why the daemon could not be started, or ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The limit of open files could not be raised, or the own program not be found.
    #[error("cannot prepare to start processes")]
    Processes(#[source] io::Error),
    /// The store could not be opened, or what is in it not be taken up.
    #[error("cannot open the state directory")]
    Engine(#[source] engine::RunError),
    /// The store could not be written any longer, and by now it looks as if it could: the daemon
    /// should be started anew, in place.
    #[error("the store failed, and is opened anew: {0}")]
    StoreBroken(String),
    /// What is known of sessions and signals could not be read.
    #[error("cannot take up the traces")]
    Traces(#[source] insight::InsightError),
    /// The registered directories could not be taken up.
    #[error("cannot watch the directories of other tools")]
    Externals(#[source] insight::external::ExternalError),
    /// One of the daemon's own tasks ended.
    #[error("{0}")]
    Task(String),
}

/// A daemon that is open for calls.
pub(crate) struct Daemon {
    engine: Engine,
    tasks: Tasks,
    stopping: CancellationToken,
    stop_runs: CancellationToken,
    reload: Arc<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>,
    busy: watch::Receiver<bool>,
}

impl Daemon {
    /// Opens the engine and serves it.
    pub(crate) async fn start<S>(start: Start<S>) -> Result<Self, ServeError>
    where
        S: Stream<Item = io::Result<UnixStream>> + Send + 'static,
    {
        let Start { paths, config, log, incoming, reload } = start;
        let stopping = CancellationToken::new();
        let stop_runs = CancellationToken::new();
        let tasks = Tasks::new(stopping.clone());
        let (recordings, ear) = config.traces.record.then(Recordings::new).unzip();
        let owners = Owners::default();
        let (bundles, notebook) = Keeper::new();
        let engine = open_engine(&paths, &config, Listener::new(owners.clone(), notebook, ear)).await?;
        let codex = config.codex_binary();
        let insight = Insight::open(engine.clone(), config.insight_settings(), owners)
            .await
            .map_err(ServeError::Traces)?;
        let mut triggers = EventTriggers::default();
        triggers.register(insight.trigger());
        for trigger in Externals::triggers() {
            triggers.register(trigger);
        }
        let externals = Externals::open(engine.clone()).await.map_err(ServeError::Externals)?;
        let (scheduler, schedules) = engine.schedules(triggers).await.map_err(ServeError::Engine)?;
        tasks.spawn("schedules", OnEnd::StopDaemon, {
            let stopping = stopping.clone();
            async move {
                scheduler.run(stopping).await;
                Ok(())
            }
        });
        tasks.spawn("traces", OnEnd::Show, {
            let (insight, stopping) = (insight.clone(), stopping.clone());
            async move { insight.run(stopping).await.map_err(|error| error.to_string()) }
        });
        if let Some(recordings) = recordings {
            tasks.spawn("recording", OnEnd::Show, recordings.run(stopping.clone()));
        }
        tasks.spawn("bundles", OnEnd::Show, {
            let limit = config.traces.keep_bundles.0;
            bundles.run(engine.clone(), limit, stopping.clone())
        });
        tasks.spawn("external runs", OnEnd::Show, {
            let (externals, stopping) = (externals.clone(), stopping.clone());
            async move { externals.run(stopping).await.map_err(|error| error.to_string()) }
        });
        let (busy_sender, busy) = watch::channel(false);
        tasks.spawn("store", OnEnd::StopDaemon, {
            let (engine, state_dir) = (engine.clone(), paths.state_dir.clone());
            let floor = config.store_options().free_space_floor;
            let stopping = stopping.clone();
            async move { watch_store(engine, state_dir, floor, stopping).await }
        });
        tasks.spawn("housekeeping", OnEnd::Show, keep_house(engine.clone(), busy_sender, stopping.clone()));

        let reload = reloader(engine.clone(), config, reload);
        let facts = Arc::new(api::DaemonFacts {
            state_dir: paths.state_dir.clone(),
            socket: paths.socket.clone(),
            config: paths.config.clone(),
            log,
            started_at: Timestamp::now(),
            stop: {
                let (stopping, stop_runs) = (stopping.clone(), stop_runs.clone());
                Box::new(move |runs_too| {
                    if runs_too {
                        stop_runs.cancel();
                    }
                    stopping.cancel();
                })
            },
            reload: {
                let reload = Arc::clone(&reload);
                Box::new(move || reload())
            },
        });
        let autorunner = api::Autorunner::new(engine.clone(), codex, stopping.clone());
        let faces = Faces { schedules, facts, autorunner, insight, externals };
        let router = router(&engine, &tasks, faces, stopping.clone()).await;
        tasks.spawn("server", OnEnd::StopDaemon, {
            let stopping = stopping.clone();
            async move {
                let stopped = stopping.cancelled_owned();
                router
                    .serve_with_incoming_shutdown(incoming, stopped)
                    .await
                    .map_err(|error| error.to_string())
            }
        });
        Ok(Self { engine, tasks, stopping, stop_runs, reload, busy })
    }

    /// Resolves when the daemon is to end.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// The word to end; the second one stops all runs first.
    pub(crate) fn terminate(&self) {
        if self.stopping.is_cancelled() {
            self.stop_runs.cancel();
        }
        self.stopping.cancel();
    }

    /// Reads the configuration again.
    pub(crate) fn reload(&self) -> Result<Vec<String>, String> {
        (self.reload)()
    }

    /// Goes once around through the engine and its store: a sign that both are alive.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        self.engine.probe().await.map_err(|error| error.to_string())
    }

    /// Whether runs are at work.
    pub(crate) fn busy(&self) -> watch::Receiver<bool> {
        self.busy.clone()
    }

    /// Ends: calls are drained, the store is closed. Processes go on with their shims, unless
    /// their runs are to be stopped.
    pub(crate) async fn end(self) -> Result<(), ServeError> {
        self.stopping.cancel();
        let drained = tokio::time::timeout(DRAIN, self.tasks.wait());
        tokio::select! {
            result = drained => if result.is_err() {
                tracing::warn!("open calls did not end in time and are cut off");
            },
            () = self.stop_runs.cancelled() => {}
        }
        if self.stop_runs.is_cancelled() {
            tracing::info!("stopping all runs");
            let stopped = self.engine.stop_all("the daemon was told to stop all runs");
            if tokio::time::timeout(STOP_RUNS, stopped).await.is_err() {
                tracing::warn!("some runs did not end in time; their processes go on");
            }
        }
        if let Err(error) = self.engine.close().await {
            tracing::error!(%error, "the store could not be closed; it will be checked at the next start");
        }
        match (self.engine.store_problem(), self.tasks.failure()) {
            (Some(problem), Some(_)) => Err(ServeError::StoreBroken(problem)),
            (None, Some(failure)) => Err(ServeError::Task(failure)),
            // Who is told to end does not start anew, whatever the store is like.
            (_, None) => Ok(()),
        }
    }
}

async fn open_engine(paths: &Paths, config: &Config, listener: Listener) -> Result<Engine, ServeError> {
    let soft_limit = raise_open_files().map_err(ServeError::Processes)?;
    let shim = ShimCommand::own_program([SHIM]).map_err(ServeError::Processes)?;
    let keeper = ShimCommand::own_program([KEEPER]).map_err(ServeError::Processes)?;
    let autorun = Autorun::new(keeper, config.codex_binary())
        .with_bundles(config.traces.bundles)
        .witnessed_by(Arc::new(listener));
    let setup = Setup {
        state_dir: paths.state_dir.clone(),
        settings: config.engine_settings(),
        registry: Registry::default().with(Exec).with(autorun),
        supervisor: Supervisor::new(shim, soft_limit),
        clock: Arc::new(SystemClock),
        on_end: hooks(config),
        tables: TABLES,
        store: config.store_options(),
    };
    Engine::open(setup).await.map_err(ServeError::Engine)
}

fn hooks(config: &Config) -> RunEnd {
    let hooks = config.hooks.clone();
    Arc::new(move |run| {
        hooks.iter().enumerate().filter_map(|(number, hook)| hook.on_end(number, run)).collect()
    })
}

/// Takes a new configuration: what can change at run time changes, the rest is told.
fn reloader(
    engine: Engine,
    config: Config,
    read: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
) -> Arc<dyn Fn() -> Result<Vec<String>, String> + Send + Sync> {
    Arc::new(move || {
        let new = read()?;
        let engine = engine.clone();
        let settings = new.engine_settings();
        tokio::spawn(async move {
            if let Err(error) = engine.reload(settings).await {
                tracing::error!(%error, "the new settings could not be taken");
            }
        });
        Ok(config.needs_restart(&new))
    })
}

/// Waits until the store breaks, and then until there is room again: from then on a new start may
/// help, and until then the daemon still answers what can be answered.
async fn watch_store(
    engine: Engine,
    state_dir: PathBuf,
    floor: u64,
    stopping: CancellationToken,
) -> Result<(), String> {
    let problem = tokio::select! {
        problem = engine.store_broken() => problem,
        () = stopping.cancelled() => return Ok(()),
    };
    loop {
        // Nobody tells when a disk has room again.
        tokio::select! {
            () = tokio::time::sleep(LOOK_FOR_ROOM) => {}
            () = stopping.cancelled() => return Ok(()),
        }
        let disk = nix::sys::statvfs::statvfs(&state_dir).map_err(|error| error.to_string())?;
        if disk.blocks_available().saturating_mul(disk.fragment_size()) > floor.max(ROOM) {
            return Err(problem);
        }
    }
}

/// What needs doing now and then: forgetting old runs, and knowing whether any run is at work.
async fn keep_house(
    engine: Engine,
    busy: watch::Sender<bool>,
    stopping: CancellationToken,
) -> Result<(), String> {
    let whole = |error: engine::RunError| error.to_string();
    let mut events = engine.events();
    engine.sweep_directories().await.map_err(whole)?;
    let mut next = engine.now();
    loop {
        busy.send_if_modified(|busy| {
            let now = engine.counts()[1] > 0;
            std::mem::replace(busy, now) != now
        });
        if engine.keeps_too_many() || engine.now() >= next {
            while engine.retain().await.map_err(whole)? > 0 && !stopping.is_cancelled() {}
            next = engine.now().checked_add(RETENTION).unwrap_or(Timestamp::MAX);
        }
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = engine.clock().sleep_until(next) => {}
            page = events.next() => if page.is_err() {
                // It fell behind by more than is kept: only the newest events matter here.
                events = engine.events();
            },
        }
    }
}
