//! Examining a repository: what would keep a loop from running well, and what to do about it.
//!
//! Nothing is changed. What concerns Codex itself (where the binary is, whether the arguments can be
//! mapped) is asked of the caller through [`CodexProbe`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::{self, Codex, Config, Loaded};
use crate::lock::{self, Assessment};
use crate::repo::{Layout, Repository};
use crate::state::{State, Status};
use crate::todo::{TodoList, Unclosed};

/// A temporary file that is younger may belong to a write that is going on.
const LEFTOVER_AGE: Duration = Duration::from_mins(1);

/// How a check went. Ordered: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// A loop would run, but perhaps not as expected.
    Warning,
    /// A loop would not start, or not work.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at; the same word in every release.
    pub id: &'static str,
    /// How it went.
    pub status: Level,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do, unless all is well.
    pub fix: Option<String>,
}

/// All findings, in the order in which they matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The findings.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst level of all findings.
    pub fn worst(&self) -> Level {
        self.checks.iter().map(|check| check.status).max().unwrap_or(Level::Ok)
    }

    fn ok(&mut self, id: &'static str, message: impl Into<String>) {
        self.add(id, Level::Ok, message, None);
    }

    fn warning(&mut self, id: &'static str, message: impl Into<String>, fix: &str) {
        self.add(id, Level::Warning, message, Some(fix));
    }

    fn error(&mut self, id: &'static str, message: impl Into<String>, fix: &str) {
        self.add(id, Level::Error, message, Some(fix));
    }

    fn add(&mut self, id: &'static str, status: Level, message: impl Into<String>, fix: Option<&str>) {
        let fix = fix.map(str::to_owned);
        self.checks.push(Check { id, status, message: message.into(), fix });
    }
}

/// What the driver of Codex knows.
pub trait CodexProbe {
    /// Finds the binary: a sentence about it (path, version), or why it cannot be used.
    fn locate(&self, binary: &str) -> Result<String, String>;

    /// Maps `codex.args` to the driver's settings: a sentence about the result, or one line for each
    /// argument that cannot be mapped.
    fn map_args(&self, codex: &Codex) -> Result<String, Vec<String>>;
}

/// Examines the repository that holds `start`.
pub fn examine(start: &Path, codex: &dyn CodexProbe) -> Report {
    let mut report = Report::default();
    let repository = match Repository::discover(start) {
        Ok(repository) => repository,
        Err(error) => {
            report.error("git", error.to_string(), "run this inside a git repository, or use --repo");
            return report;
        }
    };
    report.ok("git", format!("the repository is {}", repository.root().display()));
    let layout = repository.layout();
    if let Some(config) = check_config(&mut report, &layout) {
        check_documents(&mut report, &layout, &config);
        check_codex(&mut report, &config.codex, codex);
    }
    check_lock_and_state(&mut report, &layout);
    check_leftovers(&mut report, &layout);
    report
}

fn check_config(report: &mut Report, layout: &Layout) -> Option<Config> {
    match config::load(layout) {
        Ok(Loaded { config, warnings }) => {
            if warnings.is_empty() {
                report.ok("config", "config.yml is valid");
            }
            for warning in warnings {
                report.warning("config", warning.to_string(), "edit config.yml");
            }
            Some(config)
        }
        Err(error) => {
            let fix = match error {
                config::ConfigError::Missing { .. } => "run `spindle auto init`",
                _ => "edit config.yml, or run `spindle auto init --force` (it keeps a backup)",
            };
            report.error("config", error.to_string(), fix);
            None
        }
    }
}

fn check_documents(report: &mut Report, layout: &Layout, config: &Config) {
    let [todo, progress, opinions] = config.docs.resolve(layout.root());
    for document in [&todo, &progress, &opinions] {
        if let Err(error) = fs::metadata(document) {
            report.warning(
                "docs",
                format!("{}: {error}; it reads as empty", document.display()),
                "run `spindle auto init`, which writes what is missing",
            );
        } else if config.git.auto_commit && lies_outside(document, layout.root()) {
            report.error(
                "docs",
                format!("{} lies outside of the repository", document.display()),
                "move it into the repository, or set git.auto_commit to false",
            );
        }
    }
    if let Ok(text) = fs::read(&todo) {
        check_todo(report, &TodoList::parse(&text));
    }
}

fn check_todo(report: &mut Report, list: &TodoList) {
    let counts = list.fingerprint();
    let counted = format!("{} open and {} done TODO items", counts.open, counts.done);
    match list.unclosed {
        Some(Unclosed::Fence(line)) => report.warning(
            "todo",
            format!("{counted}; the code fence of line {line} is never closed and hides all behind it"),
            "close the fence",
        ),
        Some(Unclosed::Comment(line)) => report.warning(
            "todo",
            format!("{counted}; the comment of line {line} is never closed and hides all behind it"),
            "close the comment",
        ),
        None if counts.open == 0 => {
            report.warning(
                "todo",
                format!("{counted}; a loop would end at once"),
                "add open items (`- [ ] …`)",
            );
        }
        None => report.ok("todo", counted),
    }
}

fn check_codex(report: &mut Report, settings: &Codex, codex: &dyn CodexProbe) {
    match codex.locate(&settings.binary) {
        Ok(found) => report.ok("binary", found),
        Err(why) => report.error("binary", why, "install the Codex CLI, or set codex.binary in config.yml"),
    }
    match codex.map_args(settings) {
        Ok(found) => report.ok("args", found),
        Err(lines) => {
            for line in lines {
                report.error("args", line, "change codex.args in config.yml");
            }
        }
    }
}

fn check_lock_and_state(report: &mut Report, layout: &Layout) {
    let assessment = match lock::assess(&layout.lock()) {
        Ok(assessment) => Some(assessment),
        Err(error) => {
            report.error("lock", error.to_string(), "check the permissions of the file");
            None
        }
    };
    match &assessment {
        Some(Assessment::Free) => report.ok("lock", "no loop runs"),
        Some(Assessment::Held { holder, .. }) => {
            let holder = holder.as_ref().map_or_else(|| "a process".to_owned(), ToString::to_string);
            report.ok("lock", format!("a loop runs, owned by {holder}"));
        }
        Some(Assessment::Stale { reason, .. }) => report.warning(
            "lock",
            format!("a lock was left behind: {reason}"),
            "nothing: the next start replaces it",
        ),
        None => {}
    }
    match State::load(&layout.state()) {
        Err(error) => report.error("state", error.to_string(), "repair the file, or move it away"),
        Ok(state) => check_state(report, &state, assessment.as_ref()),
    }
}

fn check_state(report: &mut Report, state: &State, lock: Option<&Assessment>) {
    let holder = match lock {
        Some(Assessment::Held { holder, .. }) => Some(holder.as_ref().map(|holder| holder.pid)),
        _ => None,
    };
    match (state.status, holder) {
        (Status::Running, None) => report.warning(
            "state",
            "state.json says that an iteration runs, but nobody holds the lock",
            "nothing: the next start corrects it",
        ),
        (Status::Running, Some(Some(pid))) if state.runner_pid != Some(pid) => report.warning(
            "state",
            format!("state.json and the lock name different owners ({:?} and {pid})", state.runner_pid),
            "stop the loop, then start it again",
        ),
        _ => report.ok("state", "state.json is consistent"),
    }
}

fn check_leftovers(report: &mut Report, layout: &Layout) {
    let leftovers = leftovers(&layout.dir());
    if leftovers.is_empty() {
        report.ok("leftovers", "no temporary files were left behind");
    }
    for path in leftovers {
        report.warning(
            "leftovers",
            format!("{} was left behind by a write that never finished", path.display()),
            "delete it, unless you miss something that it holds",
        );
    }
}

fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let is_leftover = |path: &PathBuf| {
        let age = fs::metadata(path)
            .and_then(|found| found.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        path.extension().is_some_and(|extension| extension == "tmp")
            && age.is_some_and(|age| age > LEFTOVER_AGE)
    };
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_leftover)
        .collect();
    found.sort();
    found
}

fn lies_outside(document: &Path, root: &Path) -> bool {
    document.canonicalize().is_ok_and(|real| !real.starts_with(root))
}

#[cfg(test)]
mod tests;
