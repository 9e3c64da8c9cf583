//! The handle: what the daemon's faces call.

use std::path::PathBuf;
use std::sync::Arc;

use engine::Engine;
use engine::schedule::EventTrigger;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trace::SessionId;
use trace::redact::Redactor;
use trace::session::{Approval, ArtifactRow, CompactionRow, ToolCall, Turn};

use crate::export::{ExportError, ExportFormat, Exported, export};
use crate::ingest::board::Tracker;
use crate::ingest::service::{Asked, Service};
use crate::log::SignalStream;
use crate::owner::Owners;
use crate::query::Query;
use crate::settings::Settings;
use crate::signal::Signal;
use crate::store::page::{Kind, Packed};
use crate::trigger::SignalTrigger;
use crate::view::{
    Evidence, FindingView, Ingested, InsightError, InsightStats, Page, PageRequest, Progress, Report,
    SessionDetail, SessionFilter, SessionView, SignalFilter, SourceView,
};

/// Sessions and signals, as they are and as they come. Clones are the same.
#[derive(Clone)]
pub struct Insight {
    service: Arc<Service>,
}

/// An ingest under way.
pub struct Ingest {
    /// How far it has come, and how it goes on.
    pub progress: watch::Receiver<Progress>,
    service: Arc<Service>,
    asked: Arc<Asked>,
}

impl Ingest {
    /// What there is by now, without waiting for the rest.
    pub async fn so_far(self) -> Result<Ingested, InsightError> {
        let (service, asked) = (self.service, self.asked);
        blocking(move || Query { reader: &service.reader }.ingested(|id, home| asked.counts(id, home))).await
    }

    /// Resolves when everything that was there when it began is read and stored.
    pub async fn done(mut self) -> Result<Ingested, InsightError> {
        tokio::select! {
            waited = self.progress.wait_for(Progress::is_done) => drop(waited.map_err(|_| InsightError::Closed)?),
            () = self.service.ended() => return Err(InsightError::Closed),
        }
        self.so_far().await
    }
}

/// Runs what waits for the disk beside the async threads.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, InsightError> + Send + 'static,
) -> Result<T, InsightError> {
    tokio::task::spawn_blocking(ask).await.map_err(|_| InsightError::Closed)?
}

impl Insight {
    /// Reads how far everything has come. Nothing is read of any home before [`Insight::run`]. What happens in the
    /// sessions of `owners` is told as caused by their runs.
    pub async fn open(engine: Engine, settings: Settings, owners: Owners) -> Result<Self, InsightError> {
        blocking(move || Ok(Self { service: Service::open(engine, settings, owners)? })).await
    }

    /// Follows the homes until it is told to stop; resolves when what was read is stored.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), InsightError> {
        self.service.run(stop).await
    }

    /// Takes new settings; homes that are new are read, homes that are left out are followed no longer.
    pub fn reload(&self, settings: Settings) {
        self.service.reload(settings);
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.service.settings()
    }

    /// The trigger `signal`, to be registered with [`EventTriggers`](engine::schedule::EventTriggers).
    pub fn trigger(&self) -> Arc<dyn EventTrigger> {
        Arc::new(SignalTrigger::new(Arc::clone(&self.service.log)))
    }

    /// Sessions, the latest beginning first.
    pub async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest,
    ) -> Result<Page<SessionView>, InsightError> {
        self.ask(move |query| query.sessions(&filter, &page)).await
    }

    /// The session with an id, or the only one whose id begins so.
    pub async fn session(&self, id: &str) -> Result<SessionDetail, InsightError> {
        let id = id.to_owned();
        self.ask(move |query| query.session(&id)).await
    }

    /// What a session is read from, for those who read it themselves.
    pub async fn source(&self, id: &str) -> Result<SourceView, InsightError> {
        let id = id.to_owned();
        self.ask(move |query| query.source(&id)).await
    }

    /// A session's user turns, in order.
    pub async fn turns(&self, id: &SessionId, page: PageRequest) -> Result<Page<Turn>, InsightError> {
        self.rows(id, Kind::Turns, page).await
    }

    /// A session's tool calls, in order.
    pub async fn calls(&self, id: &SessionId, page: PageRequest) -> Result<Page<ToolCall>, InsightError> {
        self.rows(id, Kind::Calls, page).await
    }

    /// A session's requests for approval, in order.
    pub async fn approvals(&self, id: &SessionId, page: PageRequest) -> Result<Page<Approval>, InsightError> {
        self.rows(id, Kind::Approvals, page).await
    }

    /// A session's compactions, in order.
    pub async fn compactions(
        &self,
        id: &SessionId,
        page: PageRequest,
    ) -> Result<Page<CompactionRow>, InsightError> {
        self.rows(id, Kind::Compactions, page).await
    }

    /// A session's artifacts, in order.
    pub async fn artifacts(
        &self,
        id: &SessionId,
        page: PageRequest,
    ) -> Result<Page<ArtifactRow>, InsightError> {
        self.rows(id, Kind::Artifacts, page).await
    }

    /// Signals: those of the latest session first, within a session in the order in which they were found.
    pub async fn signals(
        &self,
        filter: SignalFilter,
        page: PageRequest,
    ) -> Result<Page<Signal>, InsightError> {
        self.ask(move |query| query.signals(&filter, &page)).await
    }

    /// The signal with an id, or the only one whose id begins so.
    pub async fn signal(&self, id: &str) -> Result<Signal, InsightError> {
        let id = id.to_owned();
        self.ask(move |query| query.signal(&id)).await
    }

    /// A signal with its records, each cut to so many bytes.
    pub async fn evidence(&self, id: &str, limit: usize) -> Result<Evidence, InsightError> {
        let id = id.to_owned();
        self.ask(move |query| query.evidence(&id, limit)).await
    }

    /// What the sessions of a filter add up to.
    pub async fn report(&self, filter: SessionFilter) -> Result<Report, InsightError> {
        self.ask(move |query| query.report(&filter)).await
    }

    /// What could not be read, by session; of one session only if it is given.
    pub async fn findings(
        &self,
        session: Option<SessionId>,
        page: PageRequest,
    ) -> Result<Page<FindingView>, InsightError> {
        self.ask(move |query| query.findings(session.as_ref(), &page)).await
    }

    /// Writes the sessions of a filter to a file, with everything that belongs to them, and gives the redactor
    /// back with what it has replaced.
    pub async fn export(
        &self,
        file: PathBuf,
        replace: bool,
        format: ExportFormat,
        filter: SessionFilter,
        mut redactor: Redactor,
    ) -> Result<(Exported, Redactor), ExportError> {
        let reader = self.service.reader.clone();
        let write = move || {
            let query = Query { reader: &reader };
            export(&file, replace, format, query.exported(filter), &mut redactor).map(|done| (done, redactor))
        };
        tokio::task::spawn_blocking(write).await.map_err(|_| InsightError::Closed)?
    }

    /// Looks over now what lies at some paths, or in all watched homes if there are none. A path is a Codex home or lies
    /// in one: a rollout, the directory of a spine or a bundle, one with many of them. What is not watched is read, and
    /// not watched afterwards. It is [`Insight::run`] that reads.
    pub async fn ingest(&self, paths: Vec<PathBuf>) -> Result<Ingest, InsightError> {
        let (tracker, progress) = Tracker::new();
        let service = Arc::clone(&self.service);
        let asked = Arc::new(blocking(move || service.find(&paths)).await?);
        let (service, found) = (Arc::clone(&self.service), Arc::clone(&asked));
        tokio::task::spawn_blocking(move || service.look_now(&found, &tracker));
        Ok(Ingest { progress, service: Arc::clone(&self.service), asked })
    }

    /// Numbers about the pipeline.
    pub async fn stats(&self) -> Result<InsightStats, InsightError> {
        let service = Arc::clone(&self.service);
        blocking(move || {
            let totals = Query { reader: &service.reader }.ingested(|_, _| true)?;
            Ok(service.stats(&totals))
        })
        .await
    }

    /// Follows the changes of signals from a number on: first those that are kept, then those to come. 0 is from
    /// now on.
    pub fn watch_signals(&self, from: u64) -> Result<SignalStream, InsightError> {
        self.service.log.follow(from)
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Query<'_>) -> Result<T, InsightError> + Send + 'static,
    ) -> Result<T, InsightError> {
        let reader = self.service.reader.clone();
        blocking(move || question(Query { reader: &reader })).await
    }

    async fn rows<R: Packed + Send + 'static>(
        &self,
        id: &SessionId,
        kind: Kind,
        page: PageRequest,
    ) -> Result<Page<R>, InsightError> {
        let id = id.clone();
        self.ask(move |query| query.rows(&id, kind, &page)).await
    }
}
