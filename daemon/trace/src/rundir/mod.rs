//! Runs of other tools, recognised by the files that they keep.
//!
//! | tool | what lies in a directory | state comes from |
//! | --- | --- | --- |
//! | orchestrator | `.runs/<task>/cli/<run>/manifest.json`, `.heartbeat` | its status, and the heartbeat while it runs |
//! | tournament | `runs/<slug>/run.json` | which sections the file has |
//! | autorunner | `.codex-autorunner/state.json`, `lock` | its status, and whether the process lives |
//! | workspaces | `tasks/<task>/meta.json` | its status |
//!
//! A directory is named as a user would: the repository, the tool's home, or the directory of runs itself.
//! [`recognise`] looks once; [`RunDirs`] watches and tells what changes. All of it reads only, and trusts nothing:
//! files are limited in size, texts are cut, links that leave the directory are not followed.

mod autorunner;
mod fields;
mod layout;
mod orchestrator;
mod process;
mod survey;
mod tournament;
mod watch;
mod workspaces;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use watch::{Change, DirectoryStatus, RunChange, RunDirs, Told, WatchSettings};

/// The tool that a run belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Plan, build, test, review, with a manifest as evidence.
    Orchestrator,
    /// Best of several cloud attempts.
    Tournament,
    /// An agent run over a TODO again and again.
    Autorunner,
    /// A task in a worktree of its own.
    Workspaces,
}

/// What a run does, as far as its files and its process say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternalState {
    /// It runs, or waits to run.
    Running,
    /// Its files say that it runs, but its heartbeat is too old or its process is gone.
    Stale,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Somebody stopped it.
    Canceled,
    /// Its files cannot be read or say something unknown.
    Unknown,
}

impl ExternalState {
    /// Whether it will not change any more unless somebody starts the run again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// A run of another tool, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalRun {
    /// The tool.
    pub tool: Tool,
    /// The tool's own id of the run. For the autorunner, whose loop is one run here, the repository's name.
    pub id: String,
    /// The run's own directory; no two runs share one.
    pub directory: PathBuf,
    /// What a person calls it (at most 200 bytes).
    pub title: String,
    /// What it does.
    pub state: ExternalState,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When its files were changed last, by their own word.
    pub updated_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its sign of life, while it runs and where the tool gives one.
    pub heartbeat: Option<Heartbeat>,
    /// Its process, while it runs and where the tool names it.
    pub process: Option<ExternalProcess>,
    /// More about the state: the stage, the error, the exit code (at most 200 bytes).
    pub detail: Option<String>,
}

impl ExternalRun {
    /// Whether it ended earlier than at this time, of which its files tell now: then it has ended again.
    fn ended_before(&self, finished_at: Option<Timestamp>) -> bool {
        self.state.is_final()
            && self.finished_at.is_some_and(|ended| finished_at.is_some_and(|at| at > ended))
    }
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The last one.
    pub at: Timestamp,
    /// How often it comes.
    pub interval: Duration,
    /// After what time without one the run counts as stale.
    pub stale_after: Duration,
}

impl Heartbeat {
    /// When it will be stale if none comes.
    pub fn stale_at(&self) -> Timestamp {
        self.at.saturating_add(self.stale_after).unwrap_or(Timestamp::MAX)
    }
}

/// A process that a tool names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalProcess {
    /// Its number.
    pub pid: u32,
    /// The host that it runs on, where the tool says it.
    pub host: Option<String>,
    /// Whether it lives; none for one on another host.
    pub alive: Option<bool>,
}

/// The runs that lie in a directory, in order of their directories.
///
/// Looks at once and remembers nothing; a heartbeat is judged by the time that is given. What cannot be read is
/// left out, unless its name alone says that it is a run.
pub fn recognise(path: &Path, now: Timestamp) -> Vec<ExternalRun> {
    let mut survey = survey::Survey::new(path);
    survey.look(now);
    survey.into_runs()
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Orchestrator => "orchestrator",
            Self::Tournament => "tournament",
            Self::Autorunner => "autorunner",
            Self::Workspaces => "workspaces",
        })
    }
}

impl fmt::Display for ExternalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Stale => "stale",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Unknown => "unknown",
        })
    }
}
