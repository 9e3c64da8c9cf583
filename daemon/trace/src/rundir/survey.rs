//! The runs of one registered directory, read again only where their files changed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;

use super::fields::{self, Fields};
use super::layout::{LAYOUTS, Layout};
use super::{ExternalRun, ExternalState, process};
use crate::source::{self, Fence, FileStat};

/// How large a run's file may be, in bytes.
const FILE_LIMIT: u64 = 8 * 1024 * 1024;

/// Changes of a file that are nearer together than this may look like one.
const CLOCK_MARGIN: Duration = Duration::from_secs(2);

/// The runs of a registered directory.
#[derive(Debug)]
pub(super) struct Survey {
    registered: PathBuf,
    fence: Fence,
    runs: BTreeMap<PathBuf, Surveyed>,
    /// Directories in which runs may appear.
    pub(super) passed: Vec<PathBuf>,
    /// What could not be looked into.
    pub(super) unreadable: Vec<PathBuf>,
}

#[derive(Debug)]
struct Surveyed {
    layout: &'static Layout,
    stats: [Option<FileStat>; 2],
    /// As the files have it; none if they are of something else.
    told: Option<ExternalRun>,
    /// As it is, with its process and heartbeat looked at.
    judged: Option<ExternalRun>,
}

/// What a reader is given besides the parsed file.
pub(super) struct RunFiles<'a> {
    pub(super) directory: &'a Path,
    /// The beginning of the second file.
    pub(super) second: Option<String>,
    /// When the second file changed last.
    pub(super) second_at: Option<Timestamp>,
    /// When the files are read.
    pub(super) now: Timestamp,
}

impl Survey {
    pub(super) fn new(registered: &Path) -> Self {
        Self {
            registered: registered.to_owned(),
            fence: Fence::around(registered),
            runs: BTreeMap::new(),
            passed: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Looks at everything.
    pub(super) fn look(&mut self, now: Timestamp) {
        let mut before = std::mem::take(&mut self.runs);
        let mut kept = Vec::new();
        self.passed.clear();
        self.unreadable.clear();
        for layout in &LAYOUTS {
            let walked = layout.walk(&self.registered, &self.fence);
            self.passed.extend(walked.passed);
            for (directory, known) in &before {
                if known.layout.tool == layout.tool
                    && walked.unreadable.iter().any(|path| directory.starts_with(path))
                {
                    kept.push(directory.clone());
                }
            }
            self.unreadable.extend(walked.unreadable);
            for directory in walked.runs {
                let known = before.remove(&directory).filter(|known| known.layout.tool == layout.tool);
                let surveyed = read(layout, &directory, &self.fence, known, now);
                self.runs.insert(directory, surveyed);
            }
        }
        self.runs.extend(kept.into_iter().filter_map(|directory| before.remove_entry(&directory)));
        self.judge(now);
    }

    /// Looks at one run. False if it is none that is known, so that everything has to be looked at.
    pub(super) fn look_at(&mut self, directory: &Path, now: Timestamp) -> bool {
        let Some(known) = self.runs.remove(directory) else { return false };
        let layout = known.layout;
        if self.fence.file(&directory.join(layout.file)).is_err() {
            self.runs.insert(directory.to_owned(), known);
            return false;
        }
        let mut surveyed = read(layout, directory, &self.fence, Some(known), now);
        surveyed.judge(now);
        self.runs.insert(directory.to_owned(), surveyed);
        true
    }

    /// Looks at heartbeats and processes, at no file.
    pub(super) fn judge(&mut self, now: Timestamp) {
        for run in self.runs.values_mut() {
            run.judge(now);
        }
    }

    /// The runs, each with the time of its files' last change.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&ExternalRun, SystemTime)> {
        self.runs.values().filter_map(|run| {
            let written = run.stats.iter().flatten().map(|stat| stat.mtime).max();
            Some((run.judged.as_ref()?, written.unwrap_or(SystemTime::UNIX_EPOCH)))
        })
    }

    pub(super) fn into_runs(self) -> Vec<ExternalRun> {
        self.runs.into_values().filter_map(|run| run.judged).collect()
    }
}

impl Surveyed {
    fn judge(&mut self, now: Timestamp) {
        self.judged = self.told.clone().map(|run| judged(run, now));
    }
}

/// A run as its files tell it, with what they cannot know: whether it still lives.
fn judged(mut run: ExternalRun, now: Timestamp) -> ExternalRun {
    if let Some(named) = &mut run.process {
        named.alive = process::is_alive(named.pid, named.host.as_deref(), run.started_at);
        match (run.state, named.alive) {
            (ExternalState::Running, Some(false)) => {
                run.state = ExternalState::Stale;
                run.detail = Some(format!("process {} is gone", named.pid));
            }
            // Between two runs of a loop.
            (ExternalState::Succeeded, Some(true)) => {
                run.state = ExternalState::Running;
                run.finished_at = None;
            }
            _ => {}
        }
    }
    if run.state.is_final() {
        run.process = None;
    }
    if run.state == ExternalState::Running
        && run.heartbeat.is_some_and(|heartbeat| heartbeat.stale_at() <= now)
    {
        run.state = ExternalState::Stale;
    }
    run
}

fn read(
    layout: &'static Layout,
    directory: &Path,
    fence: &Fence,
    known: Option<Surveyed>,
    now: Timestamp,
) -> Surveyed {
    let path = directory.join(layout.file);
    let second = layout.second.map(|name| directory.join(name));
    let stats = [fence.file(&path).ok(), second.as_ref().and_then(|second| fence.file(second).ok())];
    let known = match known {
        // Two changes within a tick of the filesystem's clock look like one.
        Some(known)
            if known.stats == stats && stats.iter().flatten().all(|stat| stat.is_settled(CLOCK_MARGIN)) =>
        {
            return known;
        }
        known => known,
    };
    let files = RunFiles {
        directory,
        second: second.as_ref().and_then(|path| contents(path, fields::SECOND_LIMIT).ok()),
        second_at: stats[1].and_then(|stat| Timestamp::try_from(stat.mtime).ok()),
        now,
    };
    let told = match contents(&path, FILE_LIMIT)
        .and_then(|text| serde_json::from_str::<Value>(&text).map_err(Into::into))
    {
        Ok(value) => (layout.read)(&files, Fields::of(&value)),
        // Written in place by some tools: what was known holds until the rest of it is there.
        Err(error) => known.and_then(|known| known.told).or_else(|| unreadable(layout, directory, &error)),
    };
    Surveyed { layout, stats, told, judged: None }
}

/// A run of which nothing is known but where it lies; only where the place alone says that it is one.
fn unreadable(layout: &Layout, directory: &Path, error: &std::io::Error) -> Option<ExternalRun> {
    if !layout.is_certain_by_place() {
        return None;
    }
    let name = directory.file_name()?.to_string_lossy();
    Some(ExternalRun {
        tool: layout.tool,
        id: fields::shown(&name)?,
        directory: directory.to_owned(),
        title: fields::shown(&name)?,
        state: ExternalState::Unknown,
        started_at: None,
        updated_at: None,
        finished_at: None,
        heartbeat: None,
        process: None,
        detail: fields::shown(&format!("{} cannot be read: {error}", layout.file)),
    })
}

fn contents(path: &Path, limit: u64) -> std::io::Result<String> {
    let (file, metadata) = source::open_file(path)?;
    if metadata.len() > limit {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is too large"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
