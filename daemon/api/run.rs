//! The run service.

use engine::{Engine, EventStream, Filter, Origin, RunError, RunId, StartRun, Token, WatchError};
use futures_util::{Stream, StreamExt};
use spindle_client::v1;
use spindle_client::v1::run_service_server::RunService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::error::{from_run, from_start, from_watch, invalid};
use super::list::{Listing, Streamed, page_size, until_stopped};
use super::log;
use super::template;
use super::view::{self, read_time, state_of};

/// Serves runs.
#[derive(Clone)]
pub(crate) struct Runs {
    engine: Engine,
    stopping: CancellationToken,
}

impl Runs {
    /// Over an engine; streams end when the token is canceled.
    pub(crate) fn new(engine: Engine, stopping: CancellationToken) -> Self {
        Self { engine, stopping }
    }

    async fn shown(&self, run: RunId) -> Result<Response<v1::Run>, Status> {
        let run = self.engine.record(run).await.map_err(from_run)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    async fn resolve(&self, text: &str) -> Result<RunId, Status> {
        self.engine.resolve(text).await.map_err(from_run)
    }

    fn open_events(&self, request: &v1::WatchEventsRequest) -> Result<EventStream, Status> {
        if !request.after.is_empty() {
            let token: Token = request
                .after
                .parse()
                .map_err(|error: engine::InvalidToken| invalid("INVALID_ID", error.to_string()))?;
            return self.engine.events_after(token).map_err(from_watch);
        }
        match request.from_seq {
            Some(seq) => self.engine.events_from(seq.max(1)).map_err(from_watch),
            None => Ok(self.engine.events()),
        }
    }
}

fn reason(given: &str, default: &str) -> String {
    let given: String = given.chars().filter(|char| !char.is_control()).take(200).collect();
    if given.is_empty() { default.to_owned() } else { given }
}

#[tonic::async_trait]
impl RunService for Runs {
    async fn start_run(&self, request: Request<v1::StartRunRequest>) -> Result<Response<v1::Run>, Status> {
        let v1::StartRunRequest { request_id, template } = request.into_inner();
        let asked = template::read(&self.engine, template).await?;
        let start = StartRun {
            request_id: Some(request_id).filter(|id| !id.is_empty()),
            kind: asked.kind,
            spec: asked.spec,
            options: asked.options,
            origin: Origin::Client,
            lineage: Vec::new(),
            refuse_if_held: false,
        };
        let run = self.engine.start(start).await.map_err(from_start)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::RunDetail>, Status> {
        let run = self.resolve(&request.get_ref().run).await?;
        let detail = self.engine.detail(run).await.map_err(from_run)?;
        Ok(Response::new(view::detail(&self.engine, &detail)))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let request = request.into_inner();
        let (size, listing) = (page_size(request.page_size), listing(&request));
        let before = before(&listing, &request.page_token)?;
        let page = self.engine.list(filter(request)?, size, before).await.map_err(from_run)?;
        Ok(Response::new(v1::ListRunsResponse {
            runs: page.runs.iter().map(|run| view::run(&self.engine, run)).collect(),
            next_page_token: page.next.map(|run| listing.token(&run.to_string())).unwrap_or_default(),
        }))
    }

    async fn wait_run(&self, request: Request<v1::WaitRunRequest>) -> Result<Response<v1::Run>, Status> {
        let run = self.resolve(&request.get_ref().run).await?;
        let ended = self.stopping.run_until_cancelled(self.engine.wait(run)).await;
        let run = ended.unwrap_or(Err(RunError::Closed)).map_err(from_run)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    type WatchEventsStream = Streamed<v1::Event>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let request = request.into_inner();
        let run = match request.run.as_str() {
            "" => None,
            text => Some(self.resolve(text).await?),
        };
        let events = self.open_events(&request)?;
        let watch = Watch {
            engine: self.engine.clone(),
            run,
            types: request.types,
            until_finished: request.until_finished,
        };
        Ok(Response::new(until_stopped(&self.stopping, watch.stream(events))))
    }

    type ReadLogStream = Streamed<v1::LogChunk>;

    async fn read_log(
        &self,
        request: Request<v1::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        let request = request.into_inner();
        let run = self.resolve(&request.run).await?;
        let stream = log::read(self.engine.clone(), run, request).await?;
        Ok(Response::new(until_stopped(&self.stopping, stream)))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Result<Response<v1::Run>, Status> {
        let request = request.into_inner();
        let run = self.resolve(&request.run).await?;
        let reason = reason(&request.reason, "canceled by request");
        self.engine.cancel(run, &reason).await.map_err(from_run)?;
        self.shown(run).await
    }

    async fn kill_run(&self, request: Request<v1::KillRunRequest>) -> Result<Response<v1::Run>, Status> {
        let request = request.into_inner();
        let run = self.resolve(&request.run).await?;
        let reason = reason(&request.reason, "killed by request");
        self.engine.kill(run, &reason).await.map_err(from_run)?;
        self.shown(run).await
    }

    async fn resume_run(&self, request: Request<v1::ResumeRunRequest>) -> Result<Response<v1::Run>, Status> {
        let run = self.resolve(&request.get_ref().run).await?;
        self.engine.resume(run).await.map_err(from_run)?;
        self.shown(run).await
    }

    async fn retry_run(&self, request: Request<v1::RetryRunRequest>) -> Result<Response<v1::Run>, Status> {
        let request = request.into_inner();
        let run = self.resolve(&request.run).await?;
        let detail = self.engine.detail(run).await.map_err(from_run)?;
        let mut options = detail.start.options;
        // Whoever asks for it has seen how those ended: they would only fail it again.
        options.after.clear();
        let start = StartRun {
            request_id: Some(request.request_id).filter(|id| !id.is_empty()),
            kind: detail.run.kind,
            spec: detail.start.spec,
            options,
            origin: Origin::Client,
            lineage: Vec::new(),
            refuse_if_held: false,
        };
        let run = self.engine.start(start).await.map_err(from_start)?;
        Ok(Response::new(view::run(&self.engine, &run)))
    }

    async fn delete_run(
        &self,
        request: Request<v1::DeleteRunRequest>,
    ) -> Result<Response<v1::DeleteRunResponse>, Status> {
        let run = self.resolve(&request.get_ref().run).await?;
        self.engine.delete(run).await.map_err(from_run)?;
        Ok(Response::new(v1::DeleteRunResponse {}))
    }
}

/// What a watcher wants to see.
struct Watch {
    engine: Engine,
    run: Option<RunId>,
    types: Vec<String>,
    until_finished: bool,
}

impl Watch {
    fn wants(&self, event: &engine::Event) -> bool {
        let run = self.run.is_none() || event.run == self.run;
        run && (self.types.is_empty()
            || self.types.iter().any(|start| event.kind.starts_with(start.as_str())))
    }

    /// Whether the run that is watched is over with this event.
    fn ends_with(&self, event: &engine::Event) -> bool {
        let over = matches!(event.kind.as_str(), "run.finished" | "run.deleted");
        self.until_finished && self.run.is_some() && event.run == self.run && over
    }

    fn stream(self, events: EventStream) -> impl Stream<Item = Result<v1::Event, Status>> + Send {
        let pages = futures_util::stream::unfold(Some((self, events)), |state| async move {
            let (watch, mut events) = state?;
            if watch.is_over(&events).await {
                return None;
            }
            let page: Result<Vec<_>, WatchError> = events.next().await;
            match page {
                Ok(page) => {
                    let end = page.iter().position(|event| watch.ends_with(event));
                    let upto = end.map_or(page.len(), |place| place + 1);
                    let wanted = page[..upto].iter().filter(|event| watch.wants(event));
                    let shown: Vec<_> = wanted.map(|event| Ok(view::event(&watch.engine, event))).collect();
                    let next = end.is_none().then_some((watch, events));
                    Some((shown, next))
                }
                Err(error) => Some((vec![Err(from_watch(error))], None)),
            }
        });
        pages.flat_map(futures_util::stream::iter)
    }

    /// The run ended before the point from which it is watched: there is nothing to wait for.
    async fn is_over(&self, events: &EventStream) -> bool {
        let (Some(run), true) = (self.run, self.until_finished) else { return false };
        if events.position() <= self.engine.last_event() {
            return false;
        }
        // What ends it after this look has a higher number, and will be seen.
        self.engine.record(run).await.map_or(true, |record| record.state.is_ended())
    }
}

/// What a page of runs goes on with.
fn listing(request: &v1::ListRunsRequest) -> Listing {
    let asked = v1::ListRunsRequest {
        page_size: 0,
        page_token: String::new(),
        created_after: None,
        created_before: None,
        ..request.clone()
    };
    Listing::new("runs", &asked)
}

/// The run that a page comes after; none for the first page.
fn before(listing: &Listing, token: &str) -> Result<Option<RunId>, Status> {
    match listing.place(token)? {
        "" => Ok(None),
        place => place.parse().map(|id| Some(RunId(id))).map_err(|_| Listing::refusal(token)),
    }
}

fn filter(request: v1::ListRunsRequest) -> Result<Filter, Status> {
    let mut states = Vec::new();
    for state in request.states {
        let status = v1::RunState::try_from(state).ok().and_then(state_of);
        states.push(status.ok_or_else(|| invalid("INVALID_SPEC", "a state to filter by is unknown"))?);
    }
    let time = |time: Option<prost_types::Timestamp>| match time {
        Some(time) => {
            read_time(time).map(Some).ok_or_else(|| invalid("INVALID_SPEC", "a time is out of range"))
        }
        None => Ok(None),
    };
    Ok(Filter {
        states,
        kind: Some(request.kind).filter(|kind| !kind.is_empty()),
        labels: request.labels.into_iter().collect(),
        name: Some(request.name).filter(|name| !name.is_empty()),
        created_after: time(request.created_after)?,
        created_before: time(request.created_before)?,
    })
}
