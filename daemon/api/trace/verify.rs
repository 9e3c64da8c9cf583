//! Verification: of a session, of a path, of everything that is watched.

use std::path::{Path, PathBuf};

use futures_util::Stream;
use insight::{PageRequest, SessionFilter};
use spindle_client::v1;
use spindle_client::v1::verified::What as Told;
use spindle_client::v1::verify_trace_request::What;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use trace::session::Format;
use trace::verify::{Finding, Level, below, verify};

use super::error::from_insight;
use super::query::{Traces, path};
use super::view;
use crate::api::error::status;

/// Findings on their way to a client who is slow.
const QUEUE: usize = 64;

/// Sessions asked for at once.
const PAGE: usize = 500;

/// What is verified in one go: a file or directory, and the session that it belongs to.
struct Target {
    path: PathBuf,
    session: String,
}

pub(super) async fn findings(
    traces: &Traces,
    request: v1::VerifyTraceRequest,
) -> Result<impl Stream<Item = Result<v1::Verified, Status>> + Send + use<>, Status> {
    let targets = match request.what {
        None => watched(traces).await?,
        Some(What::Session(text)) => vec![of_session(traces, &text).await?],
        Some(What::Path(bytes)) => at(path(&bytes, "the path")?).await?,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        // Not, when nobody listens any longer.
        let tell = |told| sender.blocking_send(Ok(v1::Verified { what: Some(told) })).is_ok();
        let mut totals = v1::VerifyTotals::default();
        for target in targets {
            totals.verified += 1;
            for finding in verify(&target.path) {
                match finding.level {
                    Level::Error => totals.errors += 1,
                    Level::Warning => totals.warnings += 1,
                }
                if !tell(Told::Finding(show(&finding, &target.session))) {
                    return;
                }
            }
        }
        tell(Told::Totals(totals));
    });
    Ok(ReceiverStream::new(receiver))
}

async fn of_session(traces: &Traces, text: &str) -> Result<Target, Status> {
    let view = traces.insight.session(text).await.map_err(from_insight)?.view;
    Ok(Target { path: root(view.session.format, &view.path), session: view.session.id.to_string() })
}

async fn watched(traces: &Traces) -> Result<Vec<Target>, Status> {
    let (mut targets, mut token) = (Vec::new(), String::new());
    loop {
        let page = PageRequest { size: PAGE, token };
        let page = traces.insight.sessions(SessionFilter::default(), page).await.map_err(from_insight)?;
        targets.extend(page.items.into_iter().filter(|view| view.gone_at.is_none()).map(|view| Target {
            path: root(view.session.format, &view.path),
            session: view.session.id.to_string(),
        }));
        token = page.next;
        if token.is_empty() {
            return Ok(targets);
        }
    }
}

/// What lies at a path or below it.
async fn at(path: PathBuf) -> Result<Vec<Target>, Status> {
    let shown = path.display().to_string();
    let missing = |text| status(Code::NotFound, "INVALID_PATH", text, "");
    if !path.exists() {
        return Err(missing(format!("there is nothing at {shown}")));
    }
    let found = tokio::task::spawn_blocking(move || below(&path)).await;
    let found = found.map_err(|error| Status::internal(error.to_string()))?;
    if found.is_empty() {
        return Err(missing(format!("there is no spine, rollout or bundle in {shown} or below it")));
    }
    let target = |target: trace::verify::Target| Target {
        path: target.path,
        session: target.thread.map(|thread| thread.to_string()).unwrap_or_default(),
    };
    Ok(found.into_iter().map(target).collect())
}

/// A spine and a bundle are verified as the directories that they are, with what lies beside their records.
fn root(format: Format, first: &Path) -> PathBuf {
    match format {
        Format::Spine | Format::Bundle => first.parent().unwrap_or(first).to_owned(),
        Format::Rollout => first.to_owned(),
    }
}

fn show(finding: &Finding, session: &str) -> v1::Finding {
    v1::Finding {
        level: match finding.level {
            Level::Error => "error",
            Level::Warning => "warning",
        }
        .to_owned(),
        // The word is the one that the code has in every JSON.
        code: serde_json::to_value(finding.code)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default(),
        path: view::bytes(&finding.file),
        line: finding.line.unwrap_or(0),
        offset: finding.byte.unwrap_or(0),
        message: finding.message.clone(),
        session_id: session.to_owned(),
    }
}
