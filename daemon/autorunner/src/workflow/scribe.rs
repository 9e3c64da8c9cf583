//! Writing an iteration down while it runs: the text log, its copy, the events as Codex printed them, and
//! `state.json`.
//!
//! Everything here is done again from the first line when the daemon comes back in the middle: lines that are in
//! the log are skipped, events are written to the place that they have in the stream, and the state is set to
//! what it is. So nothing is lost and nothing is there twice.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use codex::{
    Decoder, Event, Renderer, Snapshot, Testimony, ThreadId, Transcript, UsageContext, Witness, Work,
    plain_text,
};
use engine::RunId;
use engine::logs::{Line, Stream};
use engine::process::UnixNanos;
use jiff::Timestamp;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::record::{IterationEnd, Record};
use crate::log::{self, BlockWriter, KeepAll};
use crate::repo::Layout;
use crate::state::{self, State, Status};

/// How much of the end of standard error is kept for the verdict.
const STDERR_TAIL: usize = 64 * 1024;

/// Which attempt is written down, and where.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    /// The repository's files.
    pub(super) layout: Layout,
    /// The directory of the run.
    pub(super) directory: PathBuf,
    /// See [`Record`].
    pub(super) iteration: u64,
    /// See [`Record`].
    pub(super) attempt: u32,
    /// When the attempt began.
    pub(super) started_at: Timestamp,
    /// The number of the last iteration that this loop has seen: the next one is greater, whatever has become of
    /// `state.json`.
    pub(super) last_run_id: u64,
    /// The process that owns the loop in the eyes of other tools.
    pub(super) runner_pid: Option<u32>,
    /// Taken before the process began.
    pub(super) snapshot: Snapshot,
    /// Makes the tokens of the thread those of the iteration.
    pub(super) usage: UsageContext,
    /// Who is told of the thread.
    pub(super) witness: Option<Watching>,
}

/// Somebody to tell of the thread, and what they want to know beside it.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    pub(super) witness: Arc<dyn Witness>,
    /// The Codex home of the process.
    pub(super) home: PathBuf,
    /// Its working directory.
    pub(super) cwd: PathBuf,
    /// The run.
    pub(super) run: RunId,
    /// The schedules that led to it.
    pub(super) lineage: Vec<Uuid>,
    /// See [`Work`].
    pub(super) bundles: Option<PathBuf>,
}

impl Watching {
    fn begun(self, thread: ThreadId, started_at: Timestamp) -> Box<dyn Testimony> {
        let Self { witness, home, cwd, run, lineage, bundles } = self;
        witness.begun(Work { thread, home, cwd, run: run.0, lineage, bundles, started_at })
    }
}

/// Why an iteration could not be written down.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScribeError {
    #[error(transparent)]
    Log(#[from] log::LogError),
    #[error(transparent)]
    State(#[from] state::StateError),
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
}

/// What was seen of an attempt, and what its end has to be written into.
pub(super) struct Seen {
    pub(super) transcript: Transcript,
    pub(super) stderr_tail: Vec<u8>,
    /// The first thing that could not be written.
    pub(super) problem: Option<ScribeError>,
    /// Who was told of the thread, and is to hear of the end.
    pub(super) testimony: Option<Box<dyn Testimony>>,
    desk: Option<Desk>,
}

/// The open files of an attempt.
struct Desk {
    layout: Layout,
    directory: PathBuf,
    record: Record,
    block: BlockWriter,
    events: File,
    events_path: PathBuf,
}

/// Writes down what comes until the sender is gone. Blocks.
pub(super) fn write_down(mut assignment: Assignment, mut lines: mpsc::Receiver<Line>) -> Seen {
    let (usage, started_at) = (assignment.usage, assignment.started_at);
    let mut watching = assignment.witness.take();
    let (desk, problem) = match Desk::open(assignment) {
        Ok(desk) => (Some(desk), None),
        Err(problem) => (None, Some(problem)),
    };
    let mut seen =
        Seen { transcript: Transcript::new(), stderr_tail: Vec::new(), problem, testimony: None, desk };
    let mut reading =
        Reading { decoder: Decoder::new(), renderer: Renderer::new(usage), stderr: VecDeque::new() };
    let mut last = Timestamp::UNIX_EPOCH;
    while let Some(line) = lines.blocking_recv() {
        last = timestamp(line.time);
        seen.take(&mut reading, line);
        if watching.is_some()
            && let Some(thread) = seen.transcript.thread_id()
            && let Some(watching) = watching.take()
        {
            seen.testimony = Some(watching.begun(thread, started_at));
        }
    }
    if let Some(event) = reading.decoder.finish(last) {
        seen.event(&mut reading, &event);
    }
    seen.transcript.close();
    seen.stderr_tail = reading.stderr.into();
    seen
}

struct Reading {
    decoder: Decoder,
    renderer: Renderer,
    stderr: VecDeque<u8>,
}

impl Seen {
    fn take(&mut self, reading: &mut Reading, line: Line) {
        let at = timestamp(line.time);
        let Line { stream, offset, mut bytes, complete, .. } = line;
        if stream == Stream::Stderr {
            reading.stderr.extend(&bytes);
            reading.stderr.push_back(b'\n');
            let surplus = reading.stderr.len().saturating_sub(STDERR_TAIL);
            reading.stderr.drain(..surplus);
            self.write(|desk| {
                Ok(desk.block.append(at, &plain_text(&String::from_utf8_lossy(&bytes))).map(drop)?)
            });
            return;
        }
        if complete {
            bytes.push(b'\n');
        }
        self.write(|desk| {
            let written = desk.events.write_all_at(&bytes, offset);
            written.map_err(|source| ScribeError::Write { path: desk.events_path.clone(), source })
        });
        for event in reading.decoder.feed(&bytes, at) {
            self.event(reading, &event);
        }
    }

    fn event(&mut self, reading: &mut Reading, event: &Event) {
        self.transcript.push(event);
        let lines = reading.renderer.render(event);
        if !lines.is_empty() {
            self.write(|desk| Ok(desk.block.append(event.at, &lines.join("\n")).map(drop)?));
        }
    }

    /// Writes as long as that works. What was seen counts all the same: it decides how the iteration ended.
    fn write(&mut self, write: impl FnOnce(&mut Desk) -> Result<(), ScribeError>) {
        if self.problem.is_none()
            && let Some(desk) = &mut self.desk
        {
            self.problem = write(desk).err();
        }
    }

    /// The number of the iteration, if its files could be opened.
    pub(super) fn run_id(&self) -> Option<u64> {
        self.desk.as_ref().map(|desk| desk.record.run_id)
    }

    /// Closes the block, and writes the end into state and record. Blocks.
    pub(super) fn close(self, end: IterationEnd, at: Timestamp) -> Result<(), ScribeError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let Some(mut desk) = self.desk else { return Ok(()) };
        let synced = desk.events.sync_data();
        synced.map_err(|source| ScribeError::Write { path: desk.events_path.clone(), source })?;
        if end.exit_code != 0 {
            report_cleaning(&desk.record.snapshot);
        }
        desk.block.end(end.exit_code)?;
        let mut state = State::load(&desk.layout.state())?;
        state.finish(end.exit_code, at);
        state.store(&desk.layout.state())?;
        desk.record.end = Some(end);
        store(&desk.record, &desk.directory)
    }
}

/// Removes what a Codex that did not end well has left in the working directory.
pub(super) fn report_cleaning(snapshot: &Snapshot) {
    for (path, error) in snapshot.clean().failed {
        tracing::warn!(path = %path.display(), %error, "could not remove what Codex has left");
    }
}

impl Desk {
    fn open(assignment: Assignment) -> Result<Self, ScribeError> {
        let record = find_record(&assignment)?;
        let Assignment { layout, directory, started_at, runner_pid, .. } = assignment;

        let mut state = State::load(&layout.state())?;
        let shown = state.status == Status::Running && state.last_run_id == Some(record.run_id);
        if record.end.is_none() && !(shown && state.runner_pid == runner_pid) {
            state.begin(record.run_id, runner_pid.unwrap_or_default(), started_at);
            state.runner_pid = runner_pid;
            state.store(&layout.state())?;
        }
        let block = BlockWriter::open(&layout, record.run_id, record.log_offset, Arc::new(KeepAll))?;
        let events_path = layout.run_events(record.run_id);
        // A file of that name from before the state was reset is emptied; one of this attempt is gone on with.
        let anew = block.lines_written() == 0 && !block.is_closed();
        let opened = File::options().write(true).create(true).truncate(anew).open(&events_path);
        let events = opened.map_err(|source| ScribeError::Write { path: events_path.clone(), source })?;
        Ok(Self { layout, directory, record, block, events, events_path })
    }
}

/// The record of the attempt: the one that is there, or a new one with the next number of the repository.
fn find_record(assignment: &Assignment) -> Result<Record, ScribeError> {
    let Assignment { layout, directory, iteration, attempt, .. } = assignment;
    let known = load(directory)?;
    if let Some(record) = &known
        && record.is_of(*iteration, *attempt)
    {
        return Ok(record.clone());
    }
    let mut last = assignment.last_run_id;
    if let Some(lost) = known.filter(|record| record.iteration == *iteration) {
        // The attempt before was lost with its process: its block must not stay open.
        let note = "the process of this iteration was lost; it is started again";
        log::recover(layout, lost.run_id, lost.log_offset, state::LOST, note, assignment.started_at)?;
        last = last.max(lost.run_id);
    }
    let state = State::load(&layout.state())?;
    let record = Record {
        iteration: *iteration,
        attempt: *attempt,
        run_id: state.next_run_id().max(last + 1),
        log_offset: log::position(&layout.log())?,
        snapshot: assignment.snapshot.clone(),
        end: None,
    };
    store(&record, directory)?;
    Ok(record)
}

fn load(directory: &Path) -> Result<Option<Record>, ScribeError> {
    Record::load(directory).map_err(|source| ScribeError::Write { path: directory.to_owned(), source })
}

fn store(record: &Record, directory: &Path) -> Result<(), ScribeError> {
    let stored = fs::create_dir_all(directory).and_then(|()| record.store(directory));
    stored.map_err(|source| ScribeError::Write { path: directory.to_owned(), source })
}

pub(super) fn timestamp(time: UnixNanos) -> Timestamp {
    Timestamp::try_from(SystemTime::from(time)).unwrap_or(Timestamp::UNIX_EPOCH)
}
