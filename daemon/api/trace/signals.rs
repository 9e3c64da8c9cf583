//! The signal service.

use std::collections::HashMap;
use std::path::PathBuf;

use futures_util::{Stream, StreamExt as _};
use insight::{
    EvidenceContent, Insight, InsightError, Phase, SessionFilter, Signal, SignalChange, SignalFilter,
    SignalStream,
};
use spindle_client::v1;
use spindle_client::v1::signal_service_server::SignalService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use trace::SessionId;
use trace::redact::Redactor;

use super::error::from_insight;
use super::query::{Paged, categories, timeless};
use super::view;
use crate::api::error::invalid;
use crate::api::list::{Streamed, until_stopped};
use crate::api::view::time;

/// Longest evidence that fits a message.
const LARGEST_EVIDENCE: usize = 2 * 1024 * 1024;

/// Serves signals.
#[derive(Clone)]
pub(crate) struct Signals {
    insight: Insight,
    stopping: CancellationToken,
}

impl Signals {
    /// Over what is known; streams end with `stopping`.
    pub(crate) fn new(insight: Insight, stopping: CancellationToken) -> Self {
        Self { insight, stopping }
    }

    async fn shown(&self, signals: &[Signal]) -> Result<Vec<v1::Signal>, Status> {
        let mut files = Files::new(&self.insight);
        let mut shown = Vec::with_capacity(signals.len());
        for signal in signals {
            shown.push(files.show(signal).await?);
        }
        Ok(shown)
    }
}

/// The files of sessions, each looked up once.
struct Files<'a> {
    insight: &'a Insight,
    known: HashMap<SessionId, HashMap<u32, PathBuf>>,
}

impl<'a> Files<'a> {
    fn new(insight: &'a Insight) -> Self {
        Self { insight, known: HashMap::new() }
    }

    async fn show(&mut self, signal: &Signal) -> Result<v1::Signal, Status> {
        if !self.known.contains_key(&signal.session_id) {
            let files = match self.insight.session(signal.session_id.as_str()).await {
                Ok(detail) => detail.files.into_iter().map(|file| (file.index, file.path)).collect(),
                // Forgotten between two looks: its signals are on their way out too.
                Err(InsightError::NoSession(_)) => HashMap::new(),
                Err(error) => return Err(from_insight(error)),
            };
            self.known.insert(signal.session_id.clone(), files);
        }
        let files = self.known.get(&signal.session_id);
        Ok(view::signal(signal, |index| files?.get(&index).map(PathBuf::as_path)))
    }
}

#[tonic::async_trait]
impl SignalService for Signals {
    async fn list_signals(
        &self,
        request: Request<v1::ListSignalsRequest>,
    ) -> Result<Response<v1::ListSignalsResponse>, Status> {
        let request = request.into_inner();
        let mut asked = v1::ListSignalsRequest {
            page_size: 0,
            page_token: String::new(),
            filter: Some(timeless(request.filter.as_ref())),
            ..request.clone()
        };
        let (size, token) = (request.page_size, request.page_token.clone());
        let filter = self.filter(request).await?;
        // However the session was abbreviated.
        asked.session = filter.session.as_ref().map(ToString::to_string).unwrap_or_default();
        let paged = Paged::new("signals", &asked, size, &token)?;
        let page = self.insight.signals(filter, paged.request.clone()).await.map_err(from_insight)?;
        let signals = self.shown(&page.items).await?;
        Ok(Response::new(v1::ListSignalsResponse { signals, next_page_token: paged.next(&page) }))
    }

    async fn get_signal(
        &self,
        request: Request<v1::GetSignalRequest>,
    ) -> Result<Response<v1::Signal>, Status> {
        let signal = self.insight.signal(&request.get_ref().signal).await.map_err(from_insight)?;
        Ok(Response::new(Files::new(&self.insight).show(&signal).await?))
    }

    type WatchSignalsStream = Streamed<v1::SignalChange>;

    async fn watch_signals(
        &self,
        request: Request<v1::WatchSignalsRequest>,
    ) -> Result<Response<Self::WatchSignalsStream>, Status> {
        let request = request.into_inner();
        categories(request.categories.clone())?;
        severity(request.min_severity)?;
        let changes = self.insight.watch_signals(request.from.unwrap_or(0)).map_err(from_insight)?;
        let watch = Watch { signals: self.clone(), request };
        Ok(Response::new(until_stopped(&self.stopping, watch.stream(changes))))
    }

    async fn read_evidence(
        &self,
        request: Request<v1::ReadEvidenceRequest>,
    ) -> Result<Response<v1::Evidence>, Status> {
        let request = request.into_inner();
        let limit = match request.max_bytes as usize {
            0 => LARGEST_EVIDENCE,
            asked => asked.min(LARGEST_EVIDENCE),
        };
        let evidence = self.insight.evidence(&request.signal, limit).await.map_err(from_insight)?;
        let signal = Files::new(&self.insight).show(&evidence.signal).await?;
        let (mut records, mut room, mut cut) = (Vec::new(), limit, false);
        let mut redactor = if request.raw { Redactor::inactive() } else { Redactor::new() };
        for record in &evidence.records {
            if let EvidenceContent::Bytes { bytes, .. } = &record.content {
                redactor.foresee_json(bytes);
            }
        }
        for record in evidence.records {
            let (line, gone) = match record.content {
                EvidenceContent::Bytes { bytes, cut: shortened } => {
                    cut |= shortened;
                    (bytes, false)
                }
                EvidenceContent::Gone | EvidenceContent::Unreadable { .. } => (Vec::new(), true),
            };
            let mut line = redactor.json(&line).into_owned();
            cut |= line.len() > room;
            line.truncate(room);
            room -= line.len();
            records.push(v1::EvidenceRecord {
                place: Some(view::place(&record.path, record.place)),
                line,
                gone,
            });
        }
        Ok(Response::new(v1::Evidence { signal: Some(signal), records, cut }))
    }
}

impl Signals {
    async fn filter(&self, request: v1::ListSignalsRequest) -> Result<SignalFilter, Status> {
        let session = match request.session.as_str() {
            "" => None,
            text => Some(self.insight.session(text).await.map_err(from_insight)?.view.session.id),
        };
        let (rules, kind) = (request.rules(), request.r#type());
        let sessions = super::query::filter(request.filter.unwrap_or_default())?;
        Ok(SignalFilter {
            sessions: SessionFilter {
                categories: categories(request.categories)?,
                severity: severity(request.min_severity)?,
                ..sessions
            },
            session,
            kind: view::kind_of(kind),
            rules: view::rules_of(rules),
            settled: None,
        })
    }
}

fn severity(least: f64) -> Result<Option<f64>, Status> {
    if !(0.0..=1.0).contains(&least) {
        return Err(invalid("INVALID_SPEC", format!("a severity is from 0 to 1, not {least}")));
    }
    Ok(Some(least).filter(|least| *least > 0.0))
}

/// What a watcher wants to see.
struct Watch {
    signals: Signals,
    request: v1::WatchSignalsRequest,
}

impl Watch {
    fn wants(&self, change: &SignalChange) -> bool {
        let kind = view::kind_of(self.request.r#type());
        kind.is_none_or(|kind| kind == change.kind)
            && (self.request.categories.is_empty() || self.request.categories.contains(&change.category))
            && change.severity >= self.request.min_severity
    }

    async fn show(&self, change: SignalChange) -> Result<v1::SignalChange, Status> {
        let signal = match &change.signal {
            Some(signal) => Files::new(&self.signals.insight).show(signal).await?,
            None => view::withdrawn_since(&change),
        };
        Ok(v1::SignalChange {
            number: change.number,
            time: Some(time(change.told_at)),
            kind: match change.phase {
                Phase::Raised => v1::signal_change::Kind::Raised,
                Phase::Withdrawn => v1::signal_change::Kind::Withdrawn,
                Phase::Settled => v1::signal_change::Kind::Settled,
            }
            .into(),
            signal: Some(signal),
            live: change.live,
        })
    }

    fn stream(self, changes: SignalStream) -> impl Stream<Item = Result<v1::SignalChange, Status>> + Send {
        let pages = futures_util::stream::unfold(Some((self, changes)), |state| async move {
            let (watch, mut changes) = state?;
            match changes.next().await {
                Ok(page) => {
                    let mut shown = Vec::new();
                    for change in page.into_iter().filter(|change| watch.wants(change)).collect::<Vec<_>>() {
                        shown.push(watch.show(change).await);
                    }
                    Some((shown, Some((watch, changes))))
                }
                Err(error) => Some((vec![Err(from_insight(error))], None)),
            }
        });
        pages.flat_map(futures_util::stream::iter)
    }
}
