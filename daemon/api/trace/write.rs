//! What is made of traces: bundles, trajectories, tasks, datasets, exports, spines.
//!
//! All of it reads whole sessions and writes files, so it is done on threads that may block.

use std::path::{Path, PathBuf};

use insight::Insight;
use insight::dataset::{self, DatasetError};
use insight::distill::{self, DistillError, Distilled, Selection};
use insight::export::{ExportError, ExportFormat, OUTPUT_LIMIT};
use jiff::Timestamp;
use spindle_client::v1;
use spindle_client::v1::distill_task_request::Window;
use spindle_client::v1::export_traces_request::Format as WireFormat;
use spindle_client::v1::write_atif_request::From as AtifFrom;
use tonic::{Code, Status};
use trace::SessionId;
use trace::atif::{self, AtifError};
use trace::bundle::{self, BundleError};
use trace::output::OutputError;
use trace::recording::{self, RecordingError};
use trace::redact::{Redactor, Report};
use trace::session::Format;
use trace::source::Store;
use trace::spine;
use trace::transcript::{FilesError, SessionFiles};

use super::error::from_insight;
use super::query::{Traces, filter, path};
use super::view;
use crate::api::error::{invalid, status, whole};

/// A session with its files.
struct Source {
    id: SessionId,
    files: SessionFiles,
    children: Vec<SessionId>,
}

/// The files of a session, which must still be there.
async fn source(insight: &Insight, text: &str) -> Result<Source, Status> {
    let detail = insight.session(text).await.map_err(from_insight)?;
    let id = detail.view.session.id;
    if detail.view.gone_at.is_some() {
        return Err(from_insight(insight::InsightError::Gone(id)));
    }
    let paths: Vec<(u32, PathBuf)> = detail.files.into_iter().map(|file| (file.index, file.path)).collect();
    let root = match detail.view.session.format {
        Format::Spine => detail.view.path.parent().map(Path::to_owned),
        Format::Rollout | Format::Bundle => None,
    };
    let mut files =
        SessionFiles { format: detail.view.session.format, paths, root, rollout: None, recorded: None };
    let (home, thread) = (detail.view.home, id.clone());
    // Walks the directories of rollouts.
    let files = blocking(move || {
        files.find_beside(&home, &thread);
        Ok(files)
    });
    Ok(Source { id, files: files.await?, children: detail.children })
}

fn redactor(raw: bool) -> Redactor {
    if raw { Redactor::inactive() } else { Redactor::new() }
}

/// Does blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        // A panic in here is a mistake of ours, and no reason to end the daemon.
        tracing::error!(%error, "evidence could not be made");
        Err(Status::internal("making it failed within the daemon; its log says more"))
    })
}

pub(super) async fn bundle(
    traces: &Traces,
    request: v1::WriteBundleRequest,
) -> Result<v1::WrittenFiles, Status> {
    let directory = path(&request.directory, "the output directory")?;
    let session = source(&traces.insight, &request.session).await?;
    let mut lineage = Vec::new();
    if request.lineage {
        for child in &session.children {
            let child = source(&traces.insight, child.as_str()).await?;
            lineage.push((child.id, child.files));
        }
    }
    let contents = bundle::Contents {
        thread: session.id,
        session: session.files,
        lineage,
        created_at: Timestamp::now(),
    };
    blocking(move || {
        let mut redactor = redactor(request.raw);
        let manifest =
            bundle::write(&contents, &directory, &mut redactor).map_err(|error| from_bundle(&error))?;
        let files = std::iter::once("bundle.json".to_owned()).chain(manifest.files.into_keys()).collect();
        Ok(written(&directory, files, manifest.redaction.unwrap_or_default()))
    })
    .await
}

pub(super) async fn atif(traces: &Traces, request: v1::WriteAtifRequest) -> Result<v1::WrittenFiles, Status> {
    let directory = path(&request.directory, "the output directory")?;
    let files = match request.from {
        Some(AtifFrom::Session(text)) => source(&traces.insight, &text).await?.files,
        Some(AtifFrom::Bundle(bytes)) => {
            let bundle = path(&bytes, "the bundle")?;
            blocking(move || SessionFiles::at(&bundle).map_err(|error| from_files(&error))).await?
        }
        None => return Err(invalid("INVALID_SPEC", "neither a session nor a bundle is named")),
    };
    blocking(move || {
        let mut redactor = redactor(request.raw);
        let done = atif::write(&files, &directory, &mut redactor).map_err(|error| from_atif(&error))?;
        Ok(written(&done.directory, done.files, done.redaction))
    })
    .await
}

pub(super) async fn distill(
    traces: &Traces,
    request: v1::DistillTaskRequest,
) -> Result<v1::DistilledTask, Status> {
    let directory = path(&request.directory, "the output directory")?;
    let (session, selection) = match request.window {
        Some(Window::Signal(text)) => {
            let signal = traces.insight.signal(&text).await.map_err(from_insight)?;
            (signal.session_id.to_string(), Selection::Signal(Box::new(signal)))
        }
        Some(Window::Seqs(v1::SeqWindow { session, from_seq, to_seq })) => {
            (session, Selection::Records { first: from_seq, last: to_seq })
        }
        Some(Window::Turns(v1::TurnWindow { session, from_turn, to_turn })) => {
            (session, Selection::Turns { first: from_turn, last: to_turn })
        }
        None => return Err(invalid("INVALID_SPEC", "no signal, records or turns are named")),
    };
    let session = source(&traces.insight, &session).await?;
    blocking(move || {
        let mut redactor = redactor(request.raw);
        let base_image = Some(request.base_image).filter(|image| !image.is_empty());
        let options = distill::Options { allow_file_urls: request.allow_file_urls, base_image };
        let task = distill::distill(&session.files, &selection, &options, &directory, &mut redactor)
            .map_err(|error| from_distill(&error))?;
        Ok(show_task(&session.id, task))
    })
    .await
}

fn show_task(session: &SessionId, task: Distilled) -> v1::DistilledTask {
    let Distilled { directory, metadata, redaction } = task;
    let (first, last) = metadata.seq_range.split_once('-').unwrap_or_default();
    let seq = |text: &str| text.parse().unwrap_or_default();
    let reason = metadata.verifier_missing_reason.unwrap_or_else(|| {
        let call = metadata.verifier_call_id.unwrap_or_default();
        format!("the command of call {call}")
    });
    v1::DistilledTask {
        name: metadata.task_name,
        directory: view::bytes(&directory),
        session_id: session.to_string(),
        seq_start: seq(first),
        seq_end: seq(last),
        verifier_type: metadata.verifier_type,
        verifier_reason: reason,
        has_solution: metadata.has_solution,
        redactions: redactions(redaction),
    }
}

pub(super) async fn dataset(request: v1::WriteDatasetRequest) -> Result<v1::WrittenDataset, Status> {
    let directory = path(&request.directory, "the output directory")?;
    let tasks: Vec<PathBuf> =
        request.tasks.iter().map(|task| path(task, "a task")).collect::<Result<_, _>>()?;
    let default = dataset::Options::default();
    let given = |text: String, default: String| if text.is_empty() { default } else { text };
    let named = directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let options = dataset::Options {
        name: given(request.name, named.unwrap_or_else(|| default.name.clone())),
        version: given(request.version, default.version.clone()),
        include_missing: request.include_unverified,
        ..default
    };
    blocking(move || {
        let built = dataset::build(&tasks, &options, &directory).map_err(|error| from_dataset(&error))?;
        let left_out = built.left_out.into_iter();
        Ok(v1::WrittenDataset {
            directory: view::bytes(&built.directory),
            tasks: built.tasks,
            left_out: left_out
                .map(|(task, reason)| v1::LeftOutTask { task: view::bytes(&task), reason })
                .collect(),
        })
    })
    .await
}

pub(super) async fn export(
    traces: &Traces,
    request: v1::ExportTracesRequest,
) -> Result<v1::WrittenFiles, Status> {
    let file = path(&request.file, "the file")?;
    let format = match request.format() {
        WireFormat::Sqlite => ExportFormat::Sqlite { output_limit: OUTPUT_LIMIT },
        WireFormat::Jsonl => ExportFormat::Jsonl,
        WireFormat::Unspecified => return Err(invalid("INVALID_SPEC", "no format is named")),
    };
    let filter = filter(request.filter.unwrap_or_default())?;
    let exported =
        traces.insight.export(file.clone(), request.force, format, filter, redactor(request.raw)).await;
    let (_, redactor) = exported.map_err(from_export)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let directory = file.parent().unwrap_or(&file);
    Ok(written(directory, name.into_iter().collect(), redactor.report()))
}

pub(super) async fn record(request: v1::RecordSpineRequest) -> Result<v1::RecordedSpine, Status> {
    let rollout = path(&request.rollout, "the rollout")?;
    // What cannot be asked is said when it is read.
    if !tokio::fs::try_exists(&rollout).await.unwrap_or(true) {
        let text = format!("there is nothing at {}", rollout.display());
        return Err(status(Code::NotFound, "INVALID_PATH", text, ""));
    }
    let home = match request.codex_home.as_slice() {
        [] => home_of(&rollout)?,
        bytes => path(bytes, "the Codex home")?,
    };
    blocking(move || {
        let spines = Store::Spines.below(&home);
        let recorded =
            recording::record_rollout(&rollout, &spines).map_err(|error| from_recording(&error))?;
        let name = recorded.directory.file_name().map(|name| name.to_string_lossy().into_owned());
        let segments = spine::segments(&recorded.directory).map_or(0, |segments| segments.len() as u64);
        Ok(v1::RecordedSpine {
            session_id: name.unwrap_or_default(),
            directory: view::bytes(&recorded.directory),
            records: recorded.records,
            segments,
        })
    })
    .await
}

/// The Codex home that a rollout lies in: what is above `sessions` or `archived_sessions`.
fn home_of(rollout: &Path) -> Result<PathBuf, Status> {
    let around =
        Store::around(rollout).filter(|(store, _)| matches!(store, Store::Rollouts | Store::Archive));
    around.map(|(_, home)| home).ok_or_else(|| {
        let text = format!("{} lies in no Codex home", rollout.display());
        status(Code::InvalidArgument, "INVALID_PATH", text, "name one with --codex-home")
    })
}

fn written(directory: &Path, files: Vec<String>, report: Report) -> v1::WrittenFiles {
    v1::WrittenFiles { directory: view::bytes(directory), files, redactions: redactions(report) }
}

/// A line for each kind; the report has them by kind and file.
fn redactions(report: Report) -> Vec<v1::Redaction> {
    let mut lines: Vec<v1::Redaction> = Vec::new();
    for replaced in report.replaced {
        let kind = serde_json::to_value(replaced.kind).ok();
        let kind = kind.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        match lines.iter_mut().find(|line| line.kind == kind) {
            Some(line) => {
                line.count += replaced.count;
                line.files.push(replaced.file);
            }
            None => lines.push(v1::Redaction { kind, count: replaced.count, files: vec![replaced.file] }),
        }
    }
    lines
}

fn from_output(error: &OutputError) -> Status {
    let text = whole(error);
    match error {
        OutputError::Occupied(_) => status(Code::AlreadyExists, "NOT_EMPTY", text, ""),
        OutputError::Name(_) => invalid("INVALID_PATH", text),
        OutputError::Write { .. } => status(Code::FailedPrecondition, "WRITE_FAILED", text, ""),
    }
}

fn from_files(error: &FilesError) -> Status {
    let text = whole(error);
    match error {
        FilesError::NotASession(_) | FilesError::NoId(_) => invalid("INVALID_PATH", text),
        FilesError::Read { .. } => status(Code::FailedPrecondition, "EVIDENCE_GONE", text, ""),
        FilesError::TooLarge { .. } => status(Code::FailedPrecondition, "TOO_LARGE", text, ""),
    }
}

fn from_export(error: ExportError) -> Status {
    let text = whole(&error);
    match error {
        ExportError::Exists(_) => status(Code::AlreadyExists, "NOT_EMPTY", text, "--force replaces it"),
        ExportError::Write { .. } | ExportError::Database { .. } => {
            status(Code::FailedPrecondition, "WRITE_FAILED", text, "")
        }
        ExportError::Source(error) => from_insight(error),
    }
}

fn from_recording(error: &RecordingError) -> Status {
    let text = whole(error);
    match error {
        RecordingError::Foreign(_) => status(Code::AlreadyExists, "NOT_EMPTY", text, ""),
        RecordingError::Busy(_) => {
            let hint = "a session of a supervised run is recorded while it runs; its spine is there already";
            status(Code::FailedPrecondition, "BUSY", text, hint)
        }
        RecordingError::NoThread(_) => invalid("INVALID_PATH", text),
        RecordingError::Full(_) | RecordingError::Rewritten(_) | RecordingError::Io { .. } => {
            status(Code::FailedPrecondition, "WRITE_FAILED", text, "")
        }
    }
}

fn from_bundle(error: &BundleError) -> Status {
    match error {
        BundleError::Files(error) => from_files(error),
        BundleError::Output(error) => from_output(error),
        BundleError::LongLine { .. } | BundleError::Json(_) => {
            let hint = "--raw copies the files as they are";
            status(Code::FailedPrecondition, "WRITE_FAILED", whole(error), hint)
        }
    }
}

fn from_atif(error: &AtifError) -> Status {
    match error {
        AtifError::Files(error) => from_files(error),
        AtifError::Output(error) => from_output(error),
        AtifError::Json(_) => status(Code::Internal, "WRITE_FAILED", whole(error), ""),
    }
}

fn from_distill(error: &DistillError) -> Status {
    match error {
        DistillError::Files(error) => from_files(error),
        DistillError::Output(error) => from_output(error),
        DistillError::NothingThere | DistillError::NoWords => {
            status(Code::FailedPrecondition, "NO_TASK", whole(error), "")
        }
        DistillError::OtherSession { .. } | DistillError::Image(_) => invalid("INVALID_SPEC", whole(error)),
        DistillError::Toml(_) => status(Code::Internal, "WRITE_FAILED", whole(error), ""),
    }
}

fn from_dataset(error: &DatasetError) -> Status {
    let text = whole(error);
    match error {
        DatasetError::NoTask { .. } => invalid("INVALID_PATH", text),
        DatasetError::Clash { .. } => status(Code::AlreadyExists, "NAME_TAKEN", text, "rename one of them"),
        DatasetError::Empty(_) => {
            let hint = "--include-unverified takes tasks without a verifier too";
            status(Code::FailedPrecondition, "NO_TASK", text, hint)
        }
        DatasetError::Output(error) => from_output(error),
        DatasetError::Json(_) => status(Code::Internal, "WRITE_FAILED", text, ""),
    }
}
