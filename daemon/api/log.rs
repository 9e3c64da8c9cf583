//! The bytes that processes write, as a stream: of one step, or from step to step as a run goes on.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use engine::logs::{LogError, LogReader, Stream};
use engine::{Engine, EventStream, RunDetail, RunId, StepKind};
use spindle_client::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::error::{from_run, from_watch, status, whole};

/// Chunks on their way to a client who reads slowly.
const QUEUE: usize = 4;

/// How long an attempt that is stored as begun may take to get its directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the log that is asked for.
pub(super) async fn read(
    engine: Engine,
    run: RunId,
    request: v1::ReadLogRequest,
) -> Result<ReceiverStream<Result<v1::LogChunk, Status>>, Status> {
    // Before the first look, so that no step begins unseen.
    let events = engine.events();
    let detail = engine.detail(run).await.map_err(from_run)?;
    if !request.step.is_empty() && !detail.steps.iter().any(|step| step.name == request.step) {
        let over = detail.run.state.is_ended() || !request.follow;
        if over {
            let names: Vec<_> = detail.steps.iter().map(|step| step.name.as_str()).collect();
            let text = format!("run {run} has no step {:?}; it has: {}", request.step, names.join(", "));
            return Err(status(Code::NotFound, "NO_SUCH_STEP", text, ""));
        }
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut tail = Tail { engine, run, request, events, sender, shown: HashSet::new() };
    tokio::spawn(async move {
        if let Err(status) = tail.send(detail).await {
            // A client that has gone wants no error either.
            let _ = tail.sender.send(Err(status)).await;
        }
    });
    Ok(ReceiverStream::new(receiver))
}

struct Tail {
    engine: Engine,
    run: RunId,
    request: v1::ReadLogRequest,
    events: EventStream,
    sender: mpsc::Sender<Result<v1::LogChunk, Status>>,
    /// Attempts that were read, by the step's ordinal and the attempt's number.
    shown: HashSet<(u32, u32)>,
}

/// One attempt at one step.
struct Part {
    step: String,
    place: (u32, u32),
    directory: PathBuf,
}

impl Tail {
    async fn send(&mut self, mut detail: RunDetail) -> Result<(), Status> {
        let goes_on = self.request.follow && self.request.attempt == 0;
        loop {
            let parts = self.parts(&detail);
            if parts.is_empty() {
                if !goes_on || detail.run.state.is_ended() {
                    return Ok(());
                }
                if !self.something_new().await? {
                    return Ok(());
                }
            }
            for part in parts {
                self.shown.insert(part.place);
                if !self.copy(&part).await? {
                    return Ok(());
                }
                // Only the first has the offset that was asked for.
                self.request.offset = 0;
                self.request.last_bytes = None;
            }
            if !goes_on {
                return Ok(());
            }
            detail = self.engine.detail(self.run).await.map_err(from_run)?;
        }
    }

    /// The attempts that are to be read next, in order: at first the one asked for, then what has
    /// been added.
    fn parts(&self, detail: &RunDetail) -> Vec<Part> {
        let named = |name: &str| match self.request.step.as_str() {
            "" => None,
            wanted => Some(wanted == name),
        };
        let wanted = |step: &&engine::Step| match step.kind {
            StepKind::Process => named(&step.name).unwrap_or(true),
            StepKind::Background => named(&step.name).unwrap_or(false),
            _ => false,
        };
        let steps = detail.steps.iter().filter(wanted);
        let all = steps.flat_map(|step| step.attempts.iter().map(move |attempt| (step, attempt)));
        let parts =
            all.filter(|(_, attempt)| self.request.attempt == 0 || attempt.number == self.request.attempt);
        let parts: Vec<_> = parts
            .map(|(step, attempt)| Part {
                step: step.name.clone(),
                place: (step.ordinal, attempt.number),
                directory: self.engine.attempt_directory(self.run, step, attempt.number),
            })
            .collect();
        if self.shown.is_empty() {
            return parts.into_iter().next_back().into_iter().collect();
        }
        let newest = self.shown.iter().max().copied().unwrap_or_default();
        parts.into_iter().filter(|part| part.place > newest).collect()
    }

    /// Waits until something happens to the run; false when the client has gone.
    async fn something_new(&mut self) -> Result<bool, Status> {
        loop {
            let page = tokio::select! {
                page = self.events.next() => page.map_err(from_watch)?,
                () = self.sender.closed() => return Ok(false),
            };
            if page.iter().any(|event| event.run == Some(self.run)) {
                return Ok(true);
            }
        }
    }

    /// Sends one attempt's log; false when the client has gone.
    async fn copy(&self, part: &Part) -> Result<bool, Status> {
        let Some(mut reader) = self.open(part).await? else { return Ok(true) };
        loop {
            let chunk = tokio::select! {
                chunk = reader.next() => chunk.map_err(|error| failed(&error))?,
                () = self.sender.closed() => return Ok(false),
            };
            let Some(chunk) = chunk else { return Ok(true) };
            let (step, attempt) = (part.step.clone(), part.place.1);
            let chunk = v1::LogChunk { offset: chunk.offset, data: chunk.bytes, step, attempt };
            if self.sender.send(Ok(chunk)).await.is_err() {
                return Ok(false);
            }
        }
    }

    /// Opens an attempt's log; none if nothing was ever written there.
    async fn open(&self, part: &Part) -> Result<Option<LogReader>, Status> {
        let stream = match v1::LogStream::try_from(self.request.stream) {
            Ok(v1::LogStream::Stderr) => Stream::Stderr,
            _ => Stream::Stdout,
        };
        let offset = match self.request.last_bytes {
            Some(last) => length(&part.directory, stream).await.saturating_sub(last),
            None => self.request.offset,
        };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.engine.logs().open(&part.directory, stream, offset, self.request.follow).await {
                Ok(reader) => return Ok(Some(reader)),
                Err(LogError::NoAttempt { .. }) => {
                    // Stored as begun, and about to get its directory, unless it never will.
                    if !self.request.follow || tokio::time::Instant::now() > deadline {
                        return Ok(None);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }
}

async fn length(directory: &std::path::Path, stream: Stream) -> u64 {
    let path = directory.join(stream.file_name());
    tokio::fs::metadata(path).await.map_or(0, |file| file.len())
}

fn failed(error: &LogError) -> Status {
    status(Code::Internal, "LOG_FAILED", whole(error), "")
}
