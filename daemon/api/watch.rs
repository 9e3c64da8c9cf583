//! The watch service: registered directories, and the runs that other tools keep in them.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use insight::Externals;
use insight::external::{ExternalError, Watched};
use serde_json::json;
use spindle_client::v1;
use spindle_client::v1::watch_service_server::WatchService;
use tonic::{Code, Request, Response, Status};
use trace::rundir::ExternalRun;
use trace::tail::RootState;

use super::error::{invalid, shutting_down, status, store_failed, whole};
use super::list::{Listing, page_size};
use super::view::time;

/// Serves registered directories.
#[derive(Clone)]
pub(crate) struct Watches {
    externals: Externals,
}

impl Watches {
    /// Over the watch of directories.
    pub(crate) fn new(externals: Externals) -> Self {
        Self { externals }
    }
}

#[tonic::async_trait]
impl WatchService for Watches {
    async fn add_watch(&self, request: Request<v1::AddWatchRequest>) -> Result<Response<v1::Watch>, Status> {
        let added = self.externals.add(path(request.into_inner().path)).await.map_err(from_external)?;
        Ok(Response::new(watch(&added)))
    }

    async fn list_watches(
        &self,
        _: Request<v1::ListWatchesRequest>,
    ) -> Result<Response<v1::ListWatchesResponse>, Status> {
        let watches = self.externals.watched().map_err(from_external)?;
        Ok(Response::new(v1::ListWatchesResponse { watches: watches.iter().map(watch).collect() }))
    }

    async fn remove_watch(
        &self,
        request: Request<v1::RemoveWatchRequest>,
    ) -> Result<Response<v1::RemoveWatchResponse>, Status> {
        self.externals.remove(&path(request.into_inner().path)).await.map_err(from_external)?;
        Ok(Response::new(v1::RemoveWatchResponse {}))
    }

    async fn list_external_runs(
        &self,
        request: Request<v1::ListExternalRunsRequest>,
    ) -> Result<Response<v1::ListExternalRunsResponse>, Status> {
        let mut request = request.into_inner();
        let page_token = std::mem::take(&mut request.page_token);
        let size = page_size(std::mem::take(&mut request.page_size));
        let listing = Listing::new("external runs", &request);
        let v1::ListExternalRunsRequest { state, tool, .. } = request;
        let fits = |word: String, wanted: &str| wanted.is_empty() || word == wanted;
        let mut runs = self.externals.runs().map_err(from_external)?;
        runs.retain(|run| fits(run.state.to_string(), &state) && fits(run.tool.to_string(), &tool));
        runs.sort_by_cached_key(place);
        let after = listing.place(&page_token)?;
        if !after.is_empty() {
            let after = read_place(after).ok_or_else(|| Listing::refusal(&page_token))?;
            runs.retain(|run| place(run) > after);
        }
        let more = runs.len() > size;
        runs.truncate(size);
        let next = runs.last().filter(|_| more).map(|run| shown(&place(run))).unwrap_or_default();
        Ok(Response::new(v1::ListExternalRunsResponse {
            runs: runs.iter().map(external_run).collect(),
            next_page_token: listing.token(&next),
        }))
    }
}

/// Where a run stands in the list: newest first.
type Place = (Reverse<i64>, String);

fn place(run: &ExternalRun) -> Place {
    let began = run.started_at.or(run.updated_at).map_or(i64::MIN, jiff::Timestamp::as_microsecond);
    (Reverse(began), id(run))
}

fn shown((Reverse(began), id): &Place) -> String {
    format!("{began}/{id}")
}

fn read_place(shown: &str) -> Option<Place> {
    let (began, id) = shown.split_once('/')?;
    Some((Reverse(began.parse().ok()?), id.to_owned()))
}

/// Unique and stable: the tool and the place.
fn id(run: &ExternalRun) -> String {
    format!("{}:{}", run.tool, run.directory.display())
}

fn path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

fn watch(watched: &Watched) -> v1::Watch {
    let (method, problem) = match &watched.state {
        RootState::Watched => ("notify", String::new()),
        RootState::Polled(why) => ("polling", why.clone()),
        RootState::Absent => ("waiting", "there is no such directory yet".to_owned()),
    };
    v1::Watch {
        path: watched.path.as_os_str().as_bytes().to_vec(),
        added_at: Some(time(watched.added_at)),
        method: method.to_owned(),
        problem,
        runs: u32::try_from(watched.runs).unwrap_or(u32::MAX),
    }
}

fn external_run(run: &ExternalRun) -> v1::ExternalRun {
    let process = run.process.as_ref();
    let detail = json!({
        "id": run.id,
        "detail": run.detail,
        "host": process.and_then(|process| process.host.as_ref()),
        "heartbeat_interval_seconds": run.heartbeat.map(|heartbeat| heartbeat.interval.as_secs()),
        "heartbeat_stale_after_seconds": run.heartbeat.map(|heartbeat| heartbeat.stale_after.as_secs()),
    });
    v1::ExternalRun {
        id: id(run),
        tool: run.tool.to_string(),
        title: run.title.clone(),
        directory: run.directory.as_os_str().as_bytes().to_vec(),
        state: run.state.to_string(),
        started_at: run.started_at.map(time),
        updated_at: run.updated_at.map(time),
        finished_at: run.finished_at.map(time),
        heartbeat_at: run.heartbeat.map(|heartbeat| time(heartbeat.at)),
        pid: process.map(|process| process.pid),
        pid_alive: process.and_then(|process| process.alive),
        detail_json: detail.to_string(),
    }
}

fn from_external(error: ExternalError) -> Status {
    let text = whole(&error);
    match error {
        ExternalError::InvalidPath { .. } => invalid("INVALID_PATH", text),
        ExternalError::Exists(_) => {
            status(Code::AlreadyExists, "WATCH_EXISTS", text, "`spindle watch ls` lists what is watched")
        }
        ExternalError::NotFound(_) => {
            status(Code::NotFound, "WATCH_NOT_FOUND", text, "`spindle watch ls` lists what is watched")
        }
        ExternalError::Store(error) => store_failed(&error),
        ExternalError::Watch(_) => Status::internal(text),
        ExternalError::Closed => shutting_down(),
    }
}
