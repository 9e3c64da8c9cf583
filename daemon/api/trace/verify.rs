//! Verification: of a session, of a path, of everything that is watched.

use std::iter;
use std::path::{Path, PathBuf};

use futures_util::Stream;
use insight::{PageRequest, SessionFilter};
use spindle_client::v1;
use spindle_client::v1::verify_trace_request::What;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use trace::Catalog;
use trace::session::Format;
use trace::source::Store;
use trace::verify::{Finding, Level, verify};

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
) -> Result<impl Stream<Item = Result<v1::Finding, Status>> + Send + use<>, Status> {
    let targets = match request.what {
        None => watched(traces).await?,
        Some(What::Session(text)) => vec![of_session(traces, &text).await?],
        Some(What::Path(bytes)) => at(path(&bytes, "the path")?).await?,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        for target in targets {
            for finding in verify(&target.path) {
                // Nobody listens any longer.
                if sender.blocking_send(Ok(show(&finding, &target.session))).is_err() {
                    return;
                }
            }
        }
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

/// What lies at a path: a Codex home or a bundle has several things to verify.
async fn at(path: PathBuf) -> Result<Vec<Target>, Status> {
    if !path.exists() {
        let text = format!("there is nothing at {}", path.display());
        return Err(status(Code::NotFound, "INVALID_PATH", text, ""));
    }
    if Store::is_home(&path) {
        let listed = tokio::task::spawn_blocking(move || in_home(path)).await;
        return listed.map_err(|error| Status::internal(error.to_string()));
    }
    let targets = if path.join("bundle.json").is_file() { in_bundle(&path) } else { vec![path] };
    Ok(targets.into_iter().map(|path| Target { path, session: String::new() }).collect())
}

fn in_home(home: PathBuf) -> Vec<Target> {
    let catalog = Catalog::new(vec![home]);
    let mut ids = Vec::new();
    catalog.scan(&mut |id| ids.push(id.clone()));
    let sources = ids.iter().filter_map(|id| catalog.source(id));
    let target = |source: trace::SessionSource| {
        let first = source.files.first()?;
        Some(Target { path: root(source.format, &first.path), session: source.id.to_string() })
    };
    sources.filter_map(target).collect()
}

/// A bundle, which is verified against its list and with its spines, and the rollouts in it.
fn in_bundle(bundle: &Path) -> Vec<PathBuf> {
    let rollouts = std::fs::read_dir(bundle.join("rollout")).into_iter().flatten().flatten();
    iter::once(bundle.to_owned()).chain(rollouts.map(|entry| entry.path())).collect()
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
