//! The daemon service.

use std::path::PathBuf;
use std::sync::Arc;

use engine::Engine;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use spindle_client::v1::daemon_service_server::DaemonService;
use spindle_client::{PROTOCOL, v1};
use tokio::io::AsyncReadExt;
use tonic::{Code, Request, Response, Status};

use super::error::{status, whole};
use super::list::Streamed;
use super::view::time;
use crate::tasks::Tasks;

/// What the daemon knows of itself.
pub(crate) struct DaemonFacts {
    /// Where everything is kept.
    pub(crate) state_dir: PathBuf,
    /// The socket that it listens on.
    pub(crate) socket: PathBuf,
    /// The configuration file, whether it exists or not.
    pub(crate) config: PathBuf,
    /// Where the log goes.
    pub(crate) log: String,
    /// When it started.
    pub(crate) started_at: Timestamp,
    /// Ends the daemon; true: stop all runs first.
    pub(crate) stop: Box<dyn Fn(bool) + Send + Sync>,
    /// Reads the configuration again; says what needs a restart, or what is wrong.
    pub(crate) reload: Box<dyn Fn() -> Result<Vec<String>, String> + Send + Sync>,
}

/// Serves the daemon itself.
#[derive(Clone)]
pub(crate) struct Daemon {
    engine: Engine,
    tasks: Tasks,
    facts: Arc<DaemonFacts>,
}

impl Daemon {
    /// Over an engine.
    pub(crate) fn new(engine: Engine, tasks: Tasks, facts: Arc<DaemonFacts>) -> Self {
        Self { engine, tasks, facts }
    }

    fn info(&self) -> v1::DaemonInfo {
        let (engine, facts) = (&self.engine, &self.facts);
        let [queued, running, waiting] =
            engine.counts().map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let settings = engine.settings();
        let stats = engine.store_stats();
        let text = |path: &PathBuf| path.display().to_string();
        let workflows = engine.kinds().into_iter().map(|kind| v1::WorkflowInfo {
            kind: kind.to_owned(),
            slots: settings
                .slots_by_kind
                .get(kind)
                .map_or(0, |slots| u32::try_from(*slots).unwrap_or(u32::MAX)),
            running: u32::try_from(engine.running_of(kind)).unwrap_or(u32::MAX),
        });
        v1::DaemonInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: i32::try_from(std::process::id()).unwrap_or_default(),
            started_at: Some(time(facts.started_at)),
            state_dir: text(&facts.state_dir),
            socket: text(&facts.socket),
            config_file: text(&facts.config),
            store_id: engine.token(0).store.to_string(),
            paused: engine.is_paused(),
            queued,
            running,
            waiting,
            slots: u32::try_from(settings.slots).unwrap_or(u32::MAX),
            workflows: workflows.collect(),
            last_seq: engine.last_event(),
            store: Some(v1::StoreInfo {
                size_bytes: size_of(&facts.state_dir.join("store").join("sled")),
                commits: stats.commits,
                syncs: stats.syncs,
                queue_depth: u32::try_from(stats.queue_depth).unwrap_or(u32::MAX),
            }),
            tasks: self.tasks.list(),
            log: facts.log.clone(),
            uptime: std::time::Duration::try_from(engine.now().duration_since(facts.started_at))
                .ok()
                .and_then(|uptime| uptime.try_into().ok()),
            warnings: self.warnings(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let store = self.engine.store_problem().map(|problem| {
            format!("the store cannot be written ({problem}); free some space on the disk, and the daemon goes on by itself")
        });
        let tasks = self.tasks.list().into_iter().filter(|task| !task.running);
        let tasks = tasks.map(|task| format!("the task {:?} has ended: {}", task.name, task.last_error));
        let unreadable = self.engine.unreadable_runs().into_iter().map(|run| {
            let problem = run.state.failure().map(|failure| failure.message.clone()).unwrap_or_default();
            format!(
                "run {} cannot be read back and does nothing ({problem}); `spindle run show` says more",
                run.id
            )
        });
        store.into_iter().chain(tasks).chain(unreadable).collect()
    }
}

/// The size of the database's files.
fn size_of(directory: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

fn store_failed(error: &engine::store::StoreError) -> Status {
    status(Code::Unavailable, "STORE_FAILED", whole(error), "")
}

#[tonic::async_trait]
impl DaemonService for Daemon {
    async fn get_info(&self, _: Request<v1::GetInfoRequest>) -> Result<Response<v1::DaemonInfo>, Status> {
        Ok(Response::new(self.info()))
    }

    async fn pause(&self, _: Request<v1::PauseRequest>) -> Result<Response<v1::DaemonInfo>, Status> {
        self.engine.pause().await.map_err(|error| store_failed(&error))?;
        Ok(Response::new(self.info()))
    }

    async fn resume(&self, _: Request<v1::ResumeRequest>) -> Result<Response<v1::DaemonInfo>, Status> {
        self.engine.unpause().await.map_err(|error| store_failed(&error))?;
        Ok(Response::new(self.info()))
    }

    async fn reload(&self, _: Request<v1::ReloadRequest>) -> Result<Response<v1::ReloadResponse>, Status> {
        let needs_restart = (self.facts.reload)().map_err(|problem| {
            status(
                Code::InvalidArgument,
                "INVALID_CONFIG",
                problem,
                "`spindle config check` lists what is wrong",
            )
        })?;
        Ok(Response::new(v1::ReloadResponse { needs_restart }))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::StopResponse>, Status> {
        (self.facts.stop)(request.get_ref().stop_runs);
        Ok(Response::new(v1::StopResponse {}))
    }

    type ExportStream = Streamed<v1::ExportChunk>;

    async fn export(&self, _: Request<v1::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let path = self.facts.state_dir.join(format!("export-{}.tmp", uuid::Uuid::now_v7()));
        let exported = self.engine.export(path.clone()).await;
        let opened = match exported {
            Ok(()) => tokio::fs::File::open(&path).await.map_err(|error| Status::internal(error.to_string())),
            Err(error) => Err(store_failed(&error)),
        };
        // The open file is all that is needed: whatever becomes of the client, nothing is left.
        let _ = tokio::fs::remove_file(&path).await;
        let chunks = stream::unfold(Some(opened?), |file| async move {
            let mut file = file?;
            let mut data = vec![0; 64 * 1024];
            match file.read(&mut data).await {
                Ok(0) => None,
                Ok(length) => {
                    data.truncate(length);
                    Some((Ok(v1::ExportChunk { data }), Some(file)))
                }
                Err(error) => Some((Err(Status::internal(error.to_string())), None)),
            }
        });
        Ok(Response::new(chunks.boxed()))
    }
}
