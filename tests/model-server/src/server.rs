//! The server: one route, on a thread of its own.

use crate::agent::AgentFiles;
use crate::beats::Beat;
use crate::conversation::Conversation;
use crate::directive::{BadDirective, Directive};
use crate::record::{ReceivedRequest, Record, unix_ms};
use crate::reply::Reply;
use crate::scenario::Scenario;
use crate::tools::Tools;
use crate::wire::{BreakableListener, Grip};
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use futures_util::{StreamExt, future, stream};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The largest request that is read. A history of some hundred steps is a few megabytes.
const MAX_BODY_BYTES: usize = 32 << 20;

/// How a server is to behave.
#[derive(Debug, Clone)]
pub struct Options {
    /// The TCP port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// What the model does when the prompt has no directive: a scenario and its parameters, such as
    /// `agent` or `message text=hello`.
    pub default: String,
    /// A file to which one JSON line per request is appended.
    pub log: Option<PathBuf>,
    /// A wait before every answer.
    pub delay: Duration,
    /// The TODO document that the agent ticks, relative to the client's working directory.
    pub todo: String,
    /// The document in which the agent notes its progress, likewise.
    pub progress: String,
    /// Headers added to every stream, such as `x-codex-primary-used-percent`.
    pub headers: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        let AgentFiles { todo, progress } = AgentFiles::default();
        Self {
            port: 0,
            default: "message".to_owned(),
            log: None,
            delay: Duration::ZERO,
            todo,
            progress,
            headers: Vec::new(),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The default behaviour is not a scenario.
    #[error("the default behaviour {text:?} cannot be used: {reason}")]
    Default {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header to be added is not a valid one.
    #[error("{0:?} is not a valid HTTP header")]
    Header(String),
    /// The log file cannot be opened.
    #[error("cannot open the request log {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The server's thread could not be started.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
}

/// A running model server. It stops when dropped.
#[derive(Debug)]
pub struct ModelServer {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Starts a server on a thread of its own. It can be used from async code and from plain code.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let port = options.port;
        let shared = Arc::new(Shared::new(options)?);
        let listen_failed = |source| StartError::Listen { port, source };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen_failed)?;
        listener.set_nonblocking(true).map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("model-server".to_owned())
            .spawn(move || runtime.block_on(serve(listener, state, stopped)))
            .map_err(StartError::Thread)?;
        Ok(Self { url: format!("http://{address}"), shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, such as `http://127.0.0.1:40123`; the API is below `/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The last requests, oldest first (at most 256).
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.shared.record().requests()
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        // Dropping the sender is the signal to stop.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves until told to stop, or until the other end of `stopped` is dropped. The runtime ends with
/// this function, and with it every stream that is still being sent.
async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => BreakableListener(listener),
        Err(error) => {
            eprintln!("model-server: cannot serve: {error}");
            return;
        }
    };
    let routes = Router::new()
        .route("/v1/responses", post(answer))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared);
    let service = routes.into_make_service_with_connect_info::<Grip>();
    tokio::select! {
        result = axum::serve(listener, service).into_future() => {
            if let Err(error) = result {
                eprintln!("model-server: {error}");
            }
        }
        _ = stopped => {}
    }
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    default: Directive,
    files: AgentFiles,
    delay: Duration,
    headers: HeaderMap,
    record: Mutex<Record>,
}

impl Shared {
    fn new(options: Options) -> Result<Self, StartError> {
        let unusable = |reason: BadDirective| StartError::Default {
            text: options.default.clone(),
            reason: reason.to_string(),
        };
        let default = Directive::parse(&options.default).map_err(unusable)?;
        Scenario::check(&default).map_err(unusable)?;
        let open = |path: &PathBuf| {
            let opened = File::options().append(true).create(true).open(path);
            opened.map_err(|source| StartError::Log { path: path.clone(), source })
        };
        let log = options.log.as_ref().map(open).transpose()?;
        Ok(Self {
            default,
            files: AgentFiles { todo: options.todo, progress: options.progress },
            delay: options.delay,
            headers: extra_headers(&options.headers)?,
            record: Mutex::new(Record::new(log)),
        })
    }

    /// Decides what to answer, and remembers the request.
    fn reply(&self, headers: &HeaderMap, body: Value) -> Reply {
        let turn = Conversation::read(&body);
        let tools = Tools::read(&body);
        let chosen = Scenario::choose(&turn, &self.default, &self.files);
        let thread = thread_of(headers, &body);
        let mut record = self.record();
        let attempt = record.count(thread.as_deref(), &body);
        let scenario = chosen.as_ref().map(|scenario| scenario.name.clone()).unwrap_or_default();
        let reply = Reply::decide(chosen, attempt, &turn, &tools);
        record.remember(ReceivedRequest {
            unix_ms: unix_ms(),
            thread,
            model: body["model"].as_str().map(str::to_owned),
            scenario,
            step: turn.step,
            attempt,
            faulty: reply.is_faulty(),
            prompt: turn.prompt,
            tools: tools.names(),
            body,
        });
        reply
    }

    /// The record is a list of facts: it is whole even when a thread panicked while it held the lock.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn extra_headers(pairs: &[(String, String)]) -> Result<HeaderMap, StartError> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let invalid = || StartError::Header(format!("{name}: {value}"));
        let key = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        map.append(key, HeaderValue::try_from(value.as_str()).map_err(|_| invalid())?);
    }
    Ok(map)
}

/// `POST /v1/responses`.
async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(grip): ConnectInfo<Grip>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return refusal(&format!("the body is not JSON: {error}")),
    };
    let reply = shared.reply(&headers, body);
    tokio::time::sleep(shared.delay).await;
    match reply {
        Reply::Refused(mistake) => refusal(&mistake.to_string()),
        Reply::HttpError { status, body, retry_after } => http_error(status, body, retry_after.as_deref()),
        Reply::Stream { beats, .. } => play(beats, grip, shared.headers.clone()),
    }
}

/// Sends the beats as server-sent events, each when its time comes.
fn play(beats: Vec<Beat>, grip: Grip, headers: HeaderMap) -> Response {
    let events = stream::iter(beats).then(move |beat| {
        let grip = grip.clone();
        async move {
            match beat {
                Beat::Event { name, data } => Some(Ok(Event::default().event(name).data(data.to_string()))),
                Beat::Pause(duration) => {
                    tokio::time::sleep(duration).await;
                    None
                }
                Beat::Reset => {
                    grip.reset_at_close();
                    Some(Err(io::Error::from(io::ErrorKind::ConnectionReset)))
                }
            }
        }
    });
    (headers, Sse::new(events.filter_map(future::ready))).into_response()
}

fn http_error(status: u16, body: Value, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(header::RETRY_AFTER, value);
    }
    (status, headers, Json(body)).into_response()
}

fn refusal(message: &str) -> Response {
    let body = json!({"error": {"type": "invalid_request_error", "code": null, "message": message}});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// The client's thread: newer and older releases name it in different headers, both in the body.
fn thread_of(headers: &HeaderMap, body: &Value) -> Option<String> {
    let named = ["thread-id", "conversation_id"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    named.or_else(|| body["prompt_cache_key"].as_str()).map(str::to_owned)
}
