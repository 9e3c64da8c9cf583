//! A stand-in for the daemon: it answers on a real socket, from a script, and
//! can be killed in the middle of a call.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use spindle_client::v1::daemon_service_server::{DaemonService, DaemonServiceServer};
use spindle_client::v1::run_service_server::{RunService, RunServiceServer};
use spindle_client::v1::*;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

pub const RUN_ID: &str = "01934f2a-7b3c-7d1e-8f00-0123456789ab";

const DEADLINE: Duration = Duration::from_secs(20);

/// What the daemon knows and has been asked; it outlives a crash, as a store does.
#[derive(Default)]
pub struct World {
    /// How the run ends.
    pub run: Run,
    pub events: Vec<Event>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Requests by name of the call, with their metadata.
    pub calls: Vec<(&'static str, MetadataMap)>,
    pub starts: Vec<StartRunRequest>,
    pub watches: Vec<WatchEventsRequest>,
    pub reads: Vec<ReadLogRequest>,
    /// Starts that are never answered.
    pub swallow_starts: usize,
}

/// The shared world, and a bell that rings at each call.
#[derive(Clone, Default)]
pub struct Story(Arc<(Mutex<World>, Condvar)>);

impl Story {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.0.lock().unwrap()
    }

    fn called(&self, name: &'static str, metadata: &MetadataMap) {
        self.world().calls.push((name, metadata.clone()));
        self.0.1.notify_all();
    }

    /// Waits until the call was made so often.
    pub fn wait_for(&self, name: &str, times: usize) {
        let missing = |world: &mut World| world.calls.iter().filter(|call| call.0 == name).count() < times;
        let (_world, waited) = self.0.1.wait_timeout_while(self.world(), DEADLINE, missing).unwrap();
        assert!(!waited.timed_out(), "{name} was not called {times} times");
    }
}

/// One life of the daemon.
pub struct Fake {
    runtime: Option<Runtime>,
    ended: watch::Sender<bool>,
}

impl Fake {
    /// Listens on the socket of this state directory. With `ended`, the run
    /// has ended; otherwise call [`finish`](Self::finish).
    pub fn start(state_dir: &Path, story: &Story, ended: bool) -> Self {
        let socket = socket(state_dir);
        let _ = std::fs::remove_file(&socket);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, receiver) = watch::channel(ended);
        let service = Service { story: story.clone(), ended: receiver };
        // Bound before the first client is started.
        let listener = {
            let _guard = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        runtime.spawn(
            Server::builder()
                .add_service(RunServiceServer::new(service.clone()))
                .add_service(DaemonServiceServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self { runtime: Some(runtime), ended: sender }
    }

    /// Lets the run end.
    pub fn finish(&self) {
        self.ended.send_replace(true);
    }

    /// Dies as by SIGKILL: connections break off, the socket's file stays.
    pub fn crash(mut self) {
        self.runtime.take().unwrap().shutdown_timeout(DEADLINE);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("spindled.sock")
}

#[derive(Clone)]
struct Service {
    story: Story,
    ended: watch::Receiver<bool>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn not_found(run: &str) -> Status {
    let details = ErrorDetails::with_error_info("RUN_NOT_FOUND", "spindle", HashMap::new());
    Status::with_error_details(Code::NotFound, format!("no run fits {run:?}"), details)
}

impl Service {
    fn run(&self, id: &str) -> Result<Run, Status> {
        if !RUN_ID.starts_with(id) {
            return Err(not_found(id));
        }
        let run = self.story.world().run.clone();
        let state = if *self.ended.borrow() { run.state() } else { RunState::Running };
        Ok(Run { id: RUN_ID.into(), kind: "exec".into(), state: state.into(), ..run })
    }

    /// A stream that goes on until the run has ended.
    fn until_ended<T: Send + 'static>(&self, first: Vec<T>) -> Answers<T> {
        let mut ended = self.ended.clone();
        let end = async move {
            let _ = ended.wait_for(|ended| *ended).await;
            None
        };
        let rest = futures_util::stream::once(end).filter_map(|nothing: Option<Result<T, Status>>| nothing);
        Box::pin(tokio_stream::iter(first.into_iter().map(Ok)).chain(rest))
    }
}

#[tonic::async_trait]
impl RunService for Service {
    type WatchEventsStream = Answers<Event>;
    type ReadLogStream = Answers<LogChunk>;

    async fn start_run(&self, request: Request<StartRunRequest>) -> Result<Response<Run>, Status> {
        let swallow = {
            let mut world = self.story.world();
            world.starts.push(request.get_ref().clone());
            world.starts.len() <= world.swallow_starts
        };
        self.story.called("StartRun", request.metadata());
        if swallow {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(self.run(RUN_ID)?))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<RunDetail>, Status> {
        self.story.called("GetRun", request.metadata());
        let run = self.run(&request.get_ref().run)?;
        let attempt = Attempt { number: 1, state: "running".into(), ..Attempt::default() };
        let step =
            Step { name: "exec".into(), kind: "process".into(), attempts: vec![attempt], ..Step::default() };
        Ok(Response::new(RunDetail { run: Some(run), steps: vec![step], ..RunDetail::default() }))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        self.story.called("ListRuns", request.metadata());
        Ok(Response::new(ListRunsResponse { runs: vec![self.run(RUN_ID)?], next_page_token: "next".into() }))
    }

    async fn wait_run(&self, request: Request<WaitRunRequest>) -> Result<Response<Run>, Status> {
        self.run(&request.get_ref().run)?;
        self.story.called("WaitRun", request.metadata());
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
        Ok(Response::new(self.run(RUN_ID)?))
    }

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let events = {
            let mut world = self.story.world();
            let wanted = request.get_ref();
            world.watches.push(wanted.clone());
            let after = wanted.after.strip_prefix("token-").map(|seq| seq.parse::<u64>().unwrap() + 1);
            let from = after.or(wanted.from_seq).unwrap_or(u64::MAX);
            world.events.iter().filter(|event| event.seq >= from).cloned().collect()
        };
        self.story.called("WatchEvents", request.metadata());
        Ok(Response::new(self.until_ended(events)))
    }

    async fn read_log(
        &self,
        request: Request<ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        self.run(&request.get_ref().run)?;
        let chunks = {
            let mut world = self.story.world();
            let wanted = request.get_ref();
            world.reads.push(wanted.clone());
            let stderr = wanted.stream() == LogStream::Stderr;
            let bytes = if stderr { &world.stderr } else { &world.stdout };
            let begin = usize::try_from(wanted.offset).unwrap().min(bytes.len());
            let chunk = |(index, data): (usize, &[u8])| LogChunk {
                offset: (begin + index * 65_536) as u64,
                data: data.to_vec(),
                step: "exec".into(),
                attempt: 1,
            };
            bytes[begin..].chunks(65_536).enumerate().map(chunk).collect::<Vec<_>>()
        };
        let follow = request.get_ref().follow;
        self.story.called("ReadLog", request.metadata());
        let answer = if follow {
            self.until_ended(chunks)
        } else {
            Box::pin(tokio_stream::iter(chunks.into_iter().map(Ok)))
        };
        Ok(Response::new(answer))
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Result<Response<Run>, Status> {
        Ok(Response::new(self.run(&request.get_ref().run)?))
    }

    async fn kill_run(&self, _: Request<KillRunRequest>) -> Result<Response<Run>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn resume_run(&self, _: Request<ResumeRunRequest>) -> Result<Response<Run>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn retry_run(&self, _: Request<RetryRunRequest>) -> Result<Response<Run>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn delete_run(&self, _: Request<DeleteRunRequest>) -> Result<Response<DeleteRunResponse>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }
}

#[tonic::async_trait]
impl DaemonService for Service {
    type ExportStream = Answers<ExportChunk>;

    async fn get_info(&self, request: Request<GetInfoRequest>) -> Result<Response<DaemonInfo>, Status> {
        self.story.called("GetInfo", request.metadata());
        let last_seq = self.story.world().events.last().map_or(0, |event| event.seq);
        Ok(Response::new(DaemonInfo {
            version: "0.1.0".into(),
            protocol: 1,
            pid: 4242,
            last_seq,
            ..DaemonInfo::default()
        }))
    }

    async fn pause(&self, _: Request<PauseRequest>) -> Result<Response<DaemonInfo>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn resume(&self, _: Request<ResumeRequest>) -> Result<Response<DaemonInfo>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }

    async fn export(&self, _: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Err(Status::unimplemented("not part of the story"))
    }
}
