//! The handle: what the daemon's faces call.

use std::path::PathBuf;
use std::sync::Arc;

use engine::Engine;
use engine::schedule::EventTrigger;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trace::SessionId;
use trace::session::{Approval, ArtifactRow, CompactionRow, ToolCall, Turn};

use crate::settings::Settings;
use crate::signal::Signal;
use crate::view::{
    Evidence, FindingView, Ingested, InsightError, InsightStats, Page, PageRequest, Progress, Report,
    SessionDetail, SessionFilter, SessionView, SignalChange, SignalFilter, SourceView,
};

/// Sessions and signals, as they are and as they come. Clones are the same.
#[derive(Clone)]
pub struct Insight {
    engine: Engine,
}

/// An ingest under way.
pub struct Ingest {
    /// How far it has come.
    pub progress: watch::Receiver<Progress>,
}

impl Ingest {
    /// Resolves when everything that was there when it began is read and stored.
    pub async fn done(self) -> Result<Ingested, InsightError> {
        todo!()
    }
}

/// A watcher's place in the log of signals.
pub struct SignalStream {
    next: u64,
}

impl SignalStream {
    /// The number of the change that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next changes, at least one: waits until there is one.
    pub async fn next(&mut self) -> Result<Vec<SignalChange>, InsightError> {
        todo!()
    }
}

impl Insight {
    /// Reads how far everything has come. Nothing is read of any home before [`Insight::run`].
    pub async fn open(engine: Engine, settings: Settings) -> Result<Self, InsightError> {
        todo!()
    }

    /// Follows the homes until it is told to stop; resolves when what was read is stored.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), InsightError> {
        todo!()
    }

    /// Takes new settings; homes that are new are read, homes that are left out are followed no longer.
    pub fn reload(&self, settings: Settings) {
        todo!()
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        todo!()
    }

    /// The trigger `signal`, to be registered with [`EventTriggers`](engine::schedule::EventTriggers).
    pub fn trigger(&self) -> Arc<dyn EventTrigger> {
        todo!()
    }

    /// Sessions, the latest beginning first.
    pub async fn sessions(
        &self,
        filter: SessionFilter,
        page: PageRequest,
    ) -> Result<Page<SessionView>, InsightError> {
        todo!()
    }

    /// The session with an id, or the only one whose id begins so.
    pub async fn session(&self, id: &str) -> Result<SessionDetail, InsightError> {
        todo!()
    }

    /// What a session is read from, for those who read it themselves.
    pub async fn source(&self, id: &str) -> Result<SourceView, InsightError> {
        todo!()
    }

    /// A session's user turns, in order.
    pub async fn turns(&self, id: &SessionId, page: PageRequest) -> Result<Page<Turn>, InsightError> {
        todo!()
    }

    /// A session's tool calls, in order.
    pub async fn calls(&self, id: &SessionId, page: PageRequest) -> Result<Page<ToolCall>, InsightError> {
        todo!()
    }

    /// A session's requests for approval, in order.
    pub async fn approvals(&self, id: &SessionId, page: PageRequest) -> Result<Page<Approval>, InsightError> {
        todo!()
    }

    /// A session's compactions, in order.
    pub async fn compactions(
        &self,
        id: &SessionId,
        page: PageRequest,
    ) -> Result<Page<CompactionRow>, InsightError> {
        todo!()
    }

    /// A session's artifacts, in order.
    pub async fn artifacts(
        &self,
        id: &SessionId,
        page: PageRequest,
    ) -> Result<Page<ArtifactRow>, InsightError> {
        todo!()
    }

    /// Signals: those of the latest session first, within a session in the order in which they were found.
    pub async fn signals(
        &self,
        filter: SignalFilter,
        page: PageRequest,
    ) -> Result<Page<Signal>, InsightError> {
        todo!()
    }

    /// The signal with an id, or the only one whose id begins so.
    pub async fn signal(&self, id: &str) -> Result<Signal, InsightError> {
        todo!()
    }

    /// A signal with its records, each cut to so many bytes.
    pub async fn evidence(&self, id: &str, limit: usize) -> Result<Evidence, InsightError> {
        todo!()
    }

    /// What the sessions of a filter add up to.
    pub async fn report(&self, filter: SessionFilter) -> Result<Report, InsightError> {
        todo!()
    }

    /// What could not be read, by session; of one session only if it is given.
    pub async fn findings(
        &self,
        session: Option<SessionId>,
        page: PageRequest,
    ) -> Result<Page<FindingView>, InsightError> {
        todo!()
    }

    /// Looks everything over now: all watched homes, or one directory, which is read and not watched. Works
    /// also while [`Insight::run`] does not.
    pub fn ingest(&self, home: Option<PathBuf>) -> Ingest {
        todo!()
    }

    /// Numbers about the pipeline.
    pub async fn stats(&self) -> Result<InsightStats, InsightError> {
        todo!()
    }

    /// Follows the changes of signals from a number on: first those that are kept, then those to come. 0 is from
    /// now on.
    pub fn watch_signals(&self, from: u64) -> Result<SignalStream, InsightError> {
        todo!()
    }
}
