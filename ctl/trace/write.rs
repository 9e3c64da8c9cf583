//! `spindle trace bundle|atif|distill|dataset|export|record`: what can be made of traces.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde::Serialize;
use spindle_client::Client;
use spindle_client::v1::distill_task_request::Window;
use spindle_client::v1::export_traces_request::Format;
use spindle_client::v1::write_atif_request::From as AtifFrom;
use spindle_client::v1::{
    DistillTaskRequest, DistilledTask, ExportTracesRequest, RecordSpineRequest, Redaction, SeqWindow,
    TurnWindow, WriteAtifRequest, WriteBundleRequest, WriteDatasetRequest, WrittenFiles,
};

use super::filter::FilterArgs;
use super::view::{RedactionView, path_bytes, path_text};
use crate::app::App;
use crate::error::{CtlError, calling};
use crate::exec::absolute;
use crate::exit::Exit;
use crate::show::text::{clean, count};

#[derive(Debug, Args)]
#[command(after_long_help = "\
The format is rollout_plus_v0, with a hash of every file. Secrets and home paths
are replaced, unless --raw is given.

Examples:
  spindle trace bundle 01930f5e -o ./bundle
  spindle trace bundle 01930f5e --lineage -o ./bundle")]
pub(crate) struct BundleArgs {
    /// Id of the session, or the beginning of it
    session: String,
    /// Where to; must not exist, or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The sessions of its sub-agents as well
    #[arg(long)]
    lineage: bool,
    /// Everything as it is, secrets and all
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
One file for each context of the model: trajectory.json, and trajectory.cont-1.json
and so on after compactions. Valid ATIF-v1.4.

Examples:
  spindle trace atif 01930f5e -o ./trajectories
  spindle trace atif ./bundle -o ./trajectories")]
pub(crate) struct AtifArgs {
    /// Id of the session or the beginning of it, or the path of a bundle
    #[arg(value_name = "SESSION|BUNDLE")]
    from: String,
    /// Where to; must not exist, or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Everything as it is, secrets and all
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("window").required(true)), after_long_help = "\
A task is a directory as Harbor wants it: what was asked, an environment, tests
that tell whether it was done, and a solution where the session has one. When no
honest verifier can be made, the task says so (verifier_type = \"missing\") and
datasets leave it out.

Examples:
  spindle trace distill --signal sig_3f2a -o ./task
  spindle trace distill --session 01930f5e --from-seq 40 --to-seq 90 -o ./task
  spindle trace distill --session 01930f5e --turns 2-3 -o ./task
  spindle trace distill --signal sig_3f2a --base-image registry.example.org/builder:1 -o ./task")]
pub(crate) struct DistillArgs {
    /// Around this signal
    #[arg(long, value_name = "SIGNAL", group = "window", conflicts_with_all = ["from_seq", "to_seq", "turns"])]
    signal: Option<String>,
    /// A part of this session, with --from-seq and --to-seq, or with --turns
    #[arg(long, value_name = "SESSION", group = "window")]
    session: Option<String>,
    /// First record
    #[arg(long, value_name = "SEQ", requires = "to_seq", conflicts_with = "turns")]
    from_seq: Option<u64>,
    /// Last record
    #[arg(long, value_name = "SEQ", requires = "from_seq")]
    to_seq: Option<u64>,
    /// A turn, or the first and last of several: 2, 2-3
    #[arg(long, value_name = "A-B", value_parser = turns)]
    turns: Option<(u32, u32)>,
    /// Where to; must not exist, or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The image that the container begins with, with the tools that build and test the
    /// repository [default: a public one that has those of the verifier]
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// Clones also from a file:// URL; the repository must lie there within the image
    #[arg(long)]
    allow_file_urls: bool,
    /// Everything as it is, secrets and all
    #[arg(long)]
    raw: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  spindle trace dataset ./task-1 ./task-2 -o ./dataset
  spindle trace dataset tasks/* -o ./dataset --name acme/friction --version 1.0")]
pub(crate) struct DatasetArgs {
    /// Directories of tasks
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<PathBuf>,
    /// Where to; must not exist, or be empty
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Its name in the registry entry [default: that of the directory]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its version in the registry entry
    #[arg(long, value_name = "VERSION", default_value = "1.0")]
    version: String,
    /// Tasks without a verifier as well
    #[arg(long)]
    include_unverified: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("format").required(true)), after_long_help = "\
The database has the tables of the earlier tool, with the same names and columns,
and some more.

Examples:
  spindle trace export --sqlite traces.db
  spindle trace export --jsonl traces.jsonl --since 7d")]
pub(crate) struct ExportArgs {
    /// An SQLite database
    #[arg(long, value_name = "FILE", group = "format")]
    sqlite: Option<PathBuf>,
    /// JSON lines
    #[arg(long, value_name = "FILE", group = "format")]
    jsonl: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    /// Everything as it is, secrets and all
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
The published Codex writes rollouts and no spines. The spine says in `originator`
that Spindle wrote it; one that Codex wrote is never touched. It is not read
while its rollout exists.

Examples:
  spindle trace record ~/.codex/sessions/2026/11/21/rollout-2026-11-21T10-00-00-01930f5e-….jsonl")]
pub(crate) struct RecordArgs {
    /// The rollout
    rollout: PathBuf,
    /// The Codex home to write below [default: the one that the rollout lies in]
    #[arg(long, value_name = "DIR")]
    codex_home: Option<PathBuf>,
}

#[derive(Serialize)]
struct FilesView<'a> {
    directory: String,
    files: &'a [String],
    redactions: Vec<RedactionView<'a>>,
}

#[derive(Serialize)]
struct TaskView<'a> {
    name: &'a str,
    directory: String,
    session_id: &'a str,
    seq_start: u64,
    seq_end: u64,
    verifier_type: &'a str,
    verifier_reason: &'a str,
    has_solution: bool,
    redactions: Vec<RedactionView<'a>>,
}

#[derive(Serialize)]
struct DatasetView<'a> {
    directory: String,
    tasks: &'a [String],
    left_out: Vec<LeftOutView<'a>>,
}

#[derive(Serialize)]
struct LeftOutView<'a> {
    task: String,
    reason: &'a str,
}

#[derive(Serialize)]
struct RecordedView<'a> {
    session_id: &'a str,
    directory: String,
    records: u64,
    segments: u64,
}

impl BundleArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let request = WriteBundleRequest {
            session: self.session,
            directory: path_bytes(absolute(&self.output)?),
            lineage: self.lineage,
            raw: self.raw,
        };
        let written = client.traces().write_bundle(request).await.map_err(calling("write the bundle"))?;
        show_files(app, &written.into_inner())
    }
}

impl AtifArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let path = PathBuf::from(&self.from);
        let from = if self.from.contains('/') || path.is_dir() {
            AtifFrom::Bundle(path_bytes(absolute(&path)?))
        } else {
            AtifFrom::Session(self.from)
        };
        let directory = path_bytes(absolute(&self.output)?);
        let request = WriteAtifRequest { from: Some(from), directory, raw: self.raw };
        let written = client.traces().write_atif(request).await.map_err(calling("write the trajectories"))?;
        show_files(app, &written.into_inner())
    }
}

impl DistillArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let request = DistillTaskRequest {
            directory: path_bytes(absolute(&self.output)?),
            raw: self.raw,
            base_image: self.base_image.clone().unwrap_or_default(),
            allow_file_urls: self.allow_file_urls,
            window: Some(self.window()?),
        };
        let task = client.traces().distill_task(request).await.map_err(calling("make a task"))?.into_inner();
        if app.out.is_json() {
            app.out.document(&TaskView::from(&task))?;
            return Ok(Exit::DONE);
        }
        app.out.pairs(&[
            ("task", clean(&task.name)),
            ("directory", clean(&path_text(&task.directory))),
            (
                "records",
                format!("{}-{} of session {}", task.seq_start, task.seq_end, clean(&task.session_id)),
            ),
            ("verifier", format!("{}: {}", clean(&task.verifier_type), clean(&task.verifier_reason))),
            (
                "solution",
                if task.has_solution { "solution/solve.sh" } else { "none was recorded" }.to_owned(),
            ),
        ])?;
        redactions(app, &task.redactions);
        Ok(Exit::DONE)
    }

    fn window(self) -> Result<Window, CtlError> {
        if let Some(signal) = self.signal {
            return Ok(Window::Signal(signal));
        }
        let session = self.session.unwrap_or_default();
        match (self.from_seq.zip(self.to_seq), self.turns) {
            (Some((from_seq, to_seq)), _) if from_seq <= to_seq => {
                Ok(Window::Seqs(SeqWindow { session, from_seq, to_seq }))
            }
            (_, Some((from_turn, to_turn))) => Ok(Window::Turns(TurnWindow { session, from_turn, to_turn })),
            (Some(_), None) => Err(CtlError::Usage {
                message: "--from-seq is after --to-seq".to_owned(),
                hint: "the first record comes first: --from-seq 40 --to-seq 90",
            }),
            (None, None) => Err(CtlError::Usage {
                message: "--session needs to know which part".to_owned(),
                hint: "add --from-seq A --to-seq B, or --turns A-B",
            }),
        }
    }
}

impl<'a> From<&'a DistilledTask> for TaskView<'a> {
    fn from(task: &'a DistilledTask) -> Self {
        Self {
            name: &task.name,
            directory: path_text(&task.directory),
            session_id: &task.session_id,
            seq_start: task.seq_start,
            seq_end: task.seq_end,
            verifier_type: &task.verifier_type,
            verifier_reason: &task.verifier_reason,
            has_solution: task.has_solution,
            redactions: task.redactions.iter().map(RedactionView::from).collect(),
        }
    }
}

impl DatasetArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let tasks = self.tasks.iter().map(|task| absolute(task).map(path_bytes)).collect::<Result<_, _>>()?;
        let request = WriteDatasetRequest {
            tasks,
            directory: path_bytes(absolute(&self.output)?),
            name: self.name.unwrap_or_default(),
            version: self.version,
            include_unverified: self.include_unverified,
        };
        let dataset =
            client.traces().write_dataset(request).await.map_err(calling("write the dataset"))?.into_inner();
        if app.out.is_json() {
            let left = dataset.left_out.iter();
            app.out.document(&DatasetView {
                directory: path_text(&dataset.directory),
                tasks: &dataset.tasks,
                left_out: left
                    .map(|one| LeftOutView { task: path_text(&one.task), reason: &one.reason })
                    .collect(),
            })?;
            return Ok(Exit::DONE);
        }
        app.out.line(&format!(
            "{} in {}",
            count(dataset.tasks.len(), "task"),
            clean(&path_text(&dataset.directory))
        ))?;
        for one in &dataset.left_out {
            app.out.warn(&format!("left out {}: {}", clean(&path_text(&one.task)), clean(&one.reason)));
        }
        Ok(Exit::DONE)
    }
}

impl ExportArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let (format, file) = match (self.sqlite, self.jsonl) {
            (Some(file), _) => (Format::Sqlite, file),
            (None, file) => (Format::Jsonl, file.unwrap_or_default()),
        };
        let request = ExportTracesRequest {
            format: format.into(),
            file: path_bytes(absolute(&file)?),
            force: self.force,
            raw: self.raw,
            filter: Some(self.filter.to_wire(&[])),
        };
        let written = client.traces().export_traces(request).await.map_err(calling("export traces"))?;
        show_files(app, &written.into_inner())
    }
}

impl RecordArgs {
    pub(crate) async fn perform(self, app: &App, client: &Client) -> Result<Exit, CtlError> {
        let home = self.codex_home.map(|home| absolute(&home)).transpose()?;
        let request = RecordSpineRequest {
            rollout: path_bytes(absolute(&self.rollout)?),
            codex_home: home.map(path_bytes).unwrap_or_default(),
        };
        let spine = client.traces().record_spine(request).await.map_err(calling("record the rollout"))?;
        let spine = spine.into_inner();
        if app.out.is_json() {
            app.out.document(&RecordedView {
                session_id: &spine.session_id,
                directory: path_text(&spine.directory),
                records: spine.records,
                segments: spine.segments,
            })?;
            return Ok(Exit::DONE);
        }
        let directory = clean(&path_text(&spine.directory));
        let (records, segments) = (count(spine.records, "record"), count(spine.segments, "segment"));
        app.out.line(&format!("{records} in {segments} in {directory}"))?;
        Ok(Exit::DONE)
    }
}

fn show_files(app: &App, written: &WrittenFiles) -> Result<Exit, CtlError> {
    if app.out.is_json() {
        app.out.document(&FilesView {
            directory: path_text(&written.directory),
            files: &written.files,
            redactions: written.redactions.iter().map(RedactionView::from).collect(),
        })?;
        return Ok(Exit::DONE);
    }
    let directory = PathBuf::from(path_text(&written.directory));
    for file in &written.files {
        app.out.line(&clean(&directory.join(file).display().to_string()))?;
    }
    redactions(app, &written.redactions);
    Ok(Exit::DONE)
}

/// What was replaced, for people who look on.
fn redactions(app: &App, redactions: &[Redaction]) {
    for one in redactions {
        let files: Vec<_> =
            one.files.iter().filter(|file| !file.is_empty()).map(|file| clean(file)).collect();
        // Of an export that is one file there is no more to say.
        let place = if files.is_empty() { String::new() } else { format!(" in {}", files.join(", ")) };
        app.out.note(&format!("replaced {} × {}{place}", one.count, clean(&one.kind)));
    }
}

/// "2" or "2-3".
fn turns(text: &str) -> Result<(u32, u32), String> {
    let wrong =
        || format!("{text:?} are no turns; write such as 2 or 2-3, as `spindle trace turns` numbers them");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first > last { Err(wrong()) } else { Ok((first, last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_one_or_a_range() {
        assert_eq!(turns("2"), Ok((2, 2)));
        assert_eq!(turns("2-13"), Ok((2, 13)));
        for wrong in ["", "-", "3-2", "a", "1-2-3"] {
            assert!(turns(wrong).is_err(), "{wrong:?}");
        }
    }
}
