//! The trace service: what is asked of sessions. What is made of them is in `write`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use futures_util::{Stream, StreamExt as _};
use insight::rules::check_category;
use insight::{
    Ingest, Ingested, Insight, InsightError, InsightStats, Page, PageRequest, Progress, Report, SessionFilter,
};
use prost::Message;
use spindle_client::v1;
use spindle_client::v1::trace_service_server::TraceService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use trace::SessionId;
use trace::session::{Approval, CallOutcome, ToolCall};
use trace::source::Store;

use super::error::from_insight;
use super::{verify, view, write};
use crate::api::error::invalid;
use crate::api::list::{Listing, Streamed, page_size, until_stopped};
use crate::api::view::{read_time, time};

/// How many rows beside turns and calls a session is shown with.
const SHOWN_ROWS: usize = 1000;

/// Serves sessions.
#[derive(Clone)]
pub(crate) struct Traces {
    pub(super) insight: Insight,
    stopping: CancellationToken,
}

impl Traces {
    /// Over what is known; streams end with `stopping`.
    pub(crate) fn new(insight: Insight, stopping: CancellationToken) -> Self {
        Self { insight, stopping }
    }

    /// A home to be read once. One that is watched need not be there yet.
    fn home(&self, path: PathBuf) -> Result<PathBuf, Status> {
        if Store::is_home(&path) || self.insight.settings().homes.contains(&path) {
            return Ok(path);
        }
        Err(from_insight(InsightError::NoHome { path }))
    }

    async fn resolve(&self, text: &str) -> Result<SessionId, Status> {
        Ok(self.insight.session(text).await.map_err(from_insight)?.view.session.id)
    }

    /// All of a session's approvals, as far as a session is shown with them.
    async fn approvals(&self, id: &SessionId) -> Result<Vec<Approval>, Status> {
        Ok(self.insight.approvals(id, rows()).await.map_err(from_insight)?.items)
    }
}

fn rows() -> PageRequest {
    PageRequest { size: SHOWN_ROWS, token: String::new() }
}

/// A page of a list, and the list that its token belongs to: with `asked`, what narrows the list.
pub(super) struct Paged {
    listing: Listing,
    pub(super) request: PageRequest,
}

impl Paged {
    pub(super) fn new(name: &str, asked: &impl Message, size: u32, token: &str) -> Result<Self, Status> {
        let listing = Listing::new(name, asked);
        let token = listing.place(token)?.to_owned();
        Ok(Self { listing, request: PageRequest { size: page_size(size), token } })
    }

    /// The token of the page that follows one.
    pub(super) fn next<T>(&self, page: &Page<T>) -> String {
        self.listing.token(&page.next)
    }
}

/// A filter without its times, as page tokens know it.
pub(super) fn timeless(filter: Option<&v1::SessionFilter>) -> v1::SessionFilter {
    v1::SessionFilter { since: None, until: None, ..filter.cloned().unwrap_or_default() }
}

/// A filter, from the wire.
pub(super) fn filter(wire: v1::SessionFilter) -> Result<SessionFilter, Status> {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let time = |time: Option<prost_types::Timestamp>| match time {
        Some(time) => {
            read_time(time).map(Some).ok_or_else(|| invalid("INVALID_SPEC", "a time is out of range"))
        }
        None => Ok(None),
    };
    Ok(SessionFilter {
        since: time(wire.since)?,
        until: time(wire.until)?,
        categories: categories(wire.categories)?,
        severity: None,
        source: given(wire.source),
        model: given(wire.model),
        repository: given(wire.repository),
        policy: given(wire.policy),
        profile: given(wire.profile),
    })
}

/// A path of the wire: absolute, or it would mean another one to the daemon than to who sent it.
pub(super) fn path(bytes: &[u8], what: &str) -> Result<PathBuf, Status> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    if path.is_absolute() && !bytes.contains(&0) {
        return Ok(path);
    }
    Err(invalid(
        "INVALID_PATH",
        format!("{what} must be an absolute path, not {:?}", path.display().to_string()),
    ))
}

#[tonic::async_trait]
impl TraceService for Traces {
    type IngestStream = Streamed<v1::IngestProgress>;

    async fn ingest(
        &self,
        request: Request<v1::IngestRequest>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let request = request.into_inner();
        let mut paths = Vec::with_capacity(request.paths.len() + 1);
        if !request.codex_home.is_empty() {
            paths.push(self.home(path(&request.codex_home, "the Codex home")?)?);
        }
        for bytes in &request.paths {
            paths.push(path(bytes, "what to read")?);
        }
        let ingest = self.insight.ingest(paths).await.map_err(from_insight)?;
        let stream = progress(ingest, request.wait);
        Ok(Response::new(until_stopped(&self.stopping, stream)))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let request = request.into_inner();
        let asked = timeless(request.filter.as_ref());
        let filter = filter(request.filter.unwrap_or_default())?;
        let paged = Paged::new("sessions", &asked, request.page_size, &request.page_token)?;
        let page = self.insight.sessions(filter, paged.request.clone()).await.map_err(from_insight)?;
        Ok(Response::new(v1::ListSessionsResponse {
            sessions: page.items.iter().map(view::session_view).collect(),
            next_page_token: paged.next(&page),
        }))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::SessionDetail>, Status> {
        let detail = self.insight.session(&request.get_ref().session).await.map_err(from_insight)?;
        let id = &detail.view.session.id;
        let compactions = self.insight.compactions(id, rows()).await.map_err(from_insight)?;
        let artifacts = self.insight.artifacts(id, rows()).await.map_err(from_insight)?;
        let mut session = view::session_view(&detail.view);
        for child in &detail.children {
            let child = child.to_string();
            if !session.child_ids.contains(&child) {
                session.child_ids.push(child);
            }
        }
        Ok(Response::new(v1::SessionDetail {
            session: Some(session),
            approvals: self.approvals(id).await?.iter().map(view::approval).collect(),
            compactions: compactions.items.iter().map(view::compaction).collect(),
            artifacts: artifacts.items.iter().map(view::artifact).collect(),
        }))
    }

    async fn list_turns(
        &self,
        request: Request<v1::ListTurnsRequest>,
    ) -> Result<Response<v1::ListTurnsResponse>, Status> {
        let request = request.into_inner();
        let id = self.resolve(&request.session).await?;
        let asked = v1::ListTurnsRequest { session: id.to_string(), ..Default::default() };
        let paged = Paged::new("turns", &asked, request.page_size, &request.page_token)?;
        let page = self.insight.turns(&id, paged.request.clone()).await.map_err(from_insight)?;
        Ok(Response::new(v1::ListTurnsResponse {
            turns: page.items.iter().map(view::turn).collect(),
            next_page_token: paged.next(&page),
        }))
    }

    async fn list_calls(
        &self,
        request: Request<v1::ListCallsRequest>,
    ) -> Result<Response<v1::ListCallsResponse>, Status> {
        let request = request.into_inner();
        let outcome = match request.outcome.as_str() {
            "" => None,
            word => Some(outcome(word)?),
        };
        let id = self.resolve(&request.session).await?;
        let asked =
            v1::ListCallsRequest { session: id.to_string(), outcome: request.outcome, ..Default::default() };
        let paged = Paged::new("calls", &asked, request.page_size, &request.page_token)?;
        let page = self.insight.calls(&id, paged.request.clone()).await.map_err(from_insight)?;
        let approvals = self.approvals(&id).await?;
        let wanted = page.items.iter().filter(|call| outcome.is_none_or(|outcome| call.outcome == outcome));
        Ok(Response::new(v1::ListCallsResponse {
            calls: wanted.map(|call| view::call(call, decision(call, &approvals))).collect(),
            next_page_token: paged.next(&page),
        }))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::TraceReport>, Status> {
        let filter = filter(request.into_inner().filter.unwrap_or_default())?;
        let report = self.insight.report(filter).await.map_err(from_insight)?;
        Ok(Response::new(show_report(report)))
    }

    async fn get_trace_stats(
        &self,
        _: Request<v1::GetTraceStatsRequest>,
    ) -> Result<Response<v1::TraceStats>, Status> {
        let stats = self.insight.stats().await.map_err(from_insight)?;
        Ok(Response::new(show_stats(stats)))
    }

    type VerifyTraceStream = Streamed<v1::Verified>;

    async fn verify_trace(
        &self,
        request: Request<v1::VerifyTraceRequest>,
    ) -> Result<Response<Self::VerifyTraceStream>, Status> {
        let findings = verify::findings(self, request.into_inner()).await?;
        Ok(Response::new(until_stopped(&self.stopping, findings)))
    }

    async fn write_bundle(
        &self,
        request: Request<v1::WriteBundleRequest>,
    ) -> Result<Response<v1::WrittenFiles>, Status> {
        write::bundle(self, request.into_inner()).await.map(Response::new)
    }

    async fn write_atif(
        &self,
        request: Request<v1::WriteAtifRequest>,
    ) -> Result<Response<v1::WrittenFiles>, Status> {
        write::atif(self, request.into_inner()).await.map(Response::new)
    }

    async fn distill_task(
        &self,
        request: Request<v1::DistillTaskRequest>,
    ) -> Result<Response<v1::DistilledTask>, Status> {
        write::distill(self, request.into_inner()).await.map(Response::new)
    }

    async fn write_dataset(
        &self,
        request: Request<v1::WriteDatasetRequest>,
    ) -> Result<Response<v1::WrittenDataset>, Status> {
        write::dataset(request.into_inner()).await.map(Response::new)
    }

    async fn export_traces(
        &self,
        request: Request<v1::ExportTracesRequest>,
    ) -> Result<Response<v1::WrittenFiles>, Status> {
        write::export(self, request.into_inner()).await.map(Response::new)
    }

    async fn record_spine(
        &self,
        request: Request<v1::RecordSpineRequest>,
    ) -> Result<Response<v1::RecordedSpine>, Status> {
        write::record(request.into_inner()).await.map(Response::new)
    }
}

/// The last decision about a call.
fn decision<'a>(call: &ToolCall, approvals: &'a [Approval]) -> Option<&'a str> {
    let of_call = |ordinal: &u32| approvals.iter().find(|approval| approval.ordinal == *ordinal);
    call.approvals.iter().rev().filter_map(of_call).find_map(|approval| approval.decision.as_deref())
}

/// Steps of an ingest and its totals; without waiting only these, as they are.
fn progress(ingest: Ingest, wait: bool) -> impl Stream<Item = Result<v1::IngestProgress, Status>> + Send {
    let mut steps = ingest.progress.clone();
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        if wait {
            let told = sender.clone();
            let teller = async move {
                loop {
                    let step = show_progress(&steps.borrow_and_update().clone());
                    if told.send(Ok(step)).await.is_err() || steps.changed().await.is_err() {
                        break;
                    }
                    // More often than that nobody can read.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            };
            let totals = tokio::select! {
                () = teller => return,
                totals = ingest.done() => totals,
            };
            let _ = sender.send(totals.map(|totals| show_totals(&totals)).map_err(from_insight)).await;
        } else {
            let _ = sender
                .send(ingest.so_far().await.map(|totals| show_totals(&totals)).map_err(from_insight))
                .await;
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver).boxed()
}

fn show_progress(progress: &Progress) -> v1::IngestProgress {
    v1::IngestProgress {
        files: progress.sessions_done,
        total_files: progress.sessions_total,
        bytes: progress.bytes_done,
        total_bytes: progress.bytes_total,
        totals: None,
    }
}

fn show_totals(totals: &Ingested) -> v1::IngestProgress {
    let &Ingested { sessions, records, bytes, signals, findings } = totals;
    v1::IngestProgress {
        files: sessions,
        total_files: sessions,
        bytes,
        total_bytes: bytes,
        totals: Some(v1::IngestTotals { sessions, records, bytes, signals, findings }),
    }
}

fn show_report(report: Report) -> v1::TraceReport {
    v1::TraceReport {
        sessions: report.sessions,
        settled: report.processed,
        friction: report.friction.into_iter().collect(),
        delight: report.delight.into_iter().collect(),
        profiles: report.profiles.into_iter().collect(),
        repositories: report
            .repositories
            .into_iter()
            .map(|line| v1::RepositoryReport {
                repository: line.repository,
                sessions: line.sessions,
                friction: line.friction,
                delight: line.delight,
            })
            .collect(),
        days: report
            .days
            .into_iter()
            .map(|line| v1::DayReport {
                day: line.day.to_string(),
                sessions: line.sessions,
                friction: line.friction,
                delight: line.delight,
            })
            .collect(),
    }
}

fn show_stats(stats: InsightStats) -> v1::TraceStats {
    v1::TraceStats {
        sessions: stats.sessions,
        unsettled: stats.open_sessions,
        signals: stats.signals,
        records: stats.records,
        bytes: stats.bytes,
        findings: stats.findings,
        homes: stats
            .homes
            .into_iter()
            .map(|home| v1::TraceHome {
                path: view::bytes(&home.path),
                exists: home.present,
                method: if home.notified { "notify" } else { "polling" }.to_owned(),
                problem: home.problem.unwrap_or_default(),
                watched_directories: home.watches,
            })
            .collect(),
        queued: stats.queue_depth,
        last_scan: stats.last_scan.map(time),
        last_scan_took: stats.last_scan_took.and_then(|took| took.try_into().ok()),
        last_change: stats.last_change,
    }
}

/// The categories that are asked for; none for all.
pub(super) fn categories(names: Vec<String>) -> Result<Vec<String>, Status> {
    for name in &names {
        check_category(name).map_err(|unknown| invalid("INVALID_SPEC", unknown.to_string()))?;
    }
    Ok(names)
}

fn outcome(word: &str) -> Result<CallOutcome, Status> {
    CallOutcome::ALL.into_iter().find(|outcome| outcome.word() == word).ok_or_else(|| {
        let known = CallOutcome::ALL.map(CallOutcome::word).join(", ");
        invalid("INVALID_SPEC", format!("{word:?} is no outcome: {known}"))
    })
}
