//! Before an iteration: is there one to be, and what is it asked to do.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use codex::{Invocation, Snapshot, Transcript, Turn};
use engine::{Failure, FailureKind, ProcessSpec, RunContext, Variable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::course::{Progressed, read};
use super::keeping::Keeper;
use super::{Autorun, STOP_SIGNAL, bad_args, bad_config, iteration};
use crate::config::{self, Config};
use crate::driver::{self, FoundCodex};
use crate::git::Git;
use crate::prompt::{self, Document, Documents};
use crate::repo::Layout;
use crate::state::State;
use crate::stop::{self, Decision, Progress, ProgressTracker, Situation, StopReason};
use crate::todo::{self, TodoList};

/// Largest log of events that is searched for the last message of an earlier loop.
const LARGEST_EVENTS: u64 = 64 << 20;

/// The variables that the git of a loop gets: whose name, keys and configuration a commit has.
const GIT_VARIABLES: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_SSH_COMMAND",
    "EMAIL",
];

/// What the step before an iteration found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Prepared {
    /// There is none to be.
    Stop { reason: StopReason, todo: todo::Fingerprint },
    /// Nobody owns the lock any more.
    KeeperLost,
    /// This is it.
    Go(Box<Plan>),
}

/// An iteration that is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The run's attempt that prepared it.
    pub(super) attempt: u32,
    /// When that was.
    pub(super) now: Timestamp,
    /// The Codex that was found.
    pub(super) codex: FoundCodex,
    /// What was in the working directory before.
    pub(super) snapshot: Snapshot,
    /// What is to run.
    pub(super) process: ProcessSpec,
}

/// The beginning of a loop that was never begun before.
pub(super) async fn begin(ctx: &RunContext, layout: &Layout) -> Result<Progressed, Failure> {
    let (layout, git) = (layout.clone(), git(ctx, layout.root()));
    let attempt = ctx.record().map_or(1, |run| run.attempt);
    let begin = move || {
        let config = load(&layout)?;
        let state = State::load(&layout.state()).map_err(Failure::internal)?;
        // A wish to stop that is older than the loop was meant for another one.
        match fs::remove_file(layout.stop_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::internal(format!(
                    "cannot remove {}: {error}",
                    layout.stop_file().display()
                )));
            }
            _ => {}
        }
        Ok(Progressed {
            attempt,
            started_at: Timestamp::now(),
            next: 1,
            iterations: 0,
            last_run_id: state.last_run_id.unwrap_or_default(),
            last_exit_code: None,
            failures_in_a_row: 0,
            last_failure: None,
            progress: ProgressTracker::starting_from(progress(&layout, &config, &git)?),
            previous: state.last_run_id.and_then(|run| answer_of(&layout, run)),
            tokens: 0,
            codex: None,
            keepers: 1,
            failed: None,
        })
    };
    read(ctx, "begin", begin).await
}

/// Looks whether there is an iteration to be, and makes it ready.
pub(super) async fn prepare(
    ctx: &RunContext,
    autorun: &Autorun,
    layout: &Layout,
    once: bool,
    at: &Progressed,
    keeper: &Keeper,
) -> Result<Prepared, Failure> {
    let name = format!("prepare {}", at.next);
    let attempt = ctx.record().map_or(1, |run| run.attempt);
    let (at, layout, told, lost) = (at.clone(), layout.clone(), stop_told(ctx), keeper.has_ended());
    let command = ctx.variable(driver::BINARY_VARIABLE).and_then(|value| value.into_string().ok());
    let command = command.filter(|command| !command.trim().is_empty()).or_else(|| autorun.codex.clone());
    let environment = environment(ctx, &["PATH", "HOME", "CODEX_HOME", "LANG"]);
    let bundles = bundles(ctx, autorun, layout.root());
    let prepare = move || {
        let config = load(&layout)?;
        let todo = read_todo(&layout, &config)?;
        let now = Timestamp::now();
        let resumed = attempt > at.attempt;
        let since = if resumed { now } else { at.started_at };
        let situation = Situation {
            stop_requested: told.or_else(|| stop_file(&layout)),
            elapsed: std::time::Duration::try_from(now.duration_since(since)).unwrap_or_default(),
            open_items: todo.open,
            iterations: if resumed { 0 } else { at.iterations },
            failures_in_a_row: at.failures_in_a_row,
            last_exit_code: at.last_exit_code.unwrap_or_default(),
            unchanged_in_a_row: 0,
        };
        if let Decision::Stop(reason) = stop::before_iteration(&config.runner.limits(once), &situation) {
            return Ok(Prepared::Stop { reason, todo });
        }
        if lost {
            return Ok(Prepared::KeeperLost);
        }
        let command = command.as_deref().unwrap_or(&config.codex.binary);
        let found = FoundCodex::find(command, at.codex.as_ref(), &environment, layout.root());
        let codex = found.map_err(|error| {
            let hint = "install the Codex CLI, or set codex.binary in config.yml";
            Failure::new(FailureKind::Spawn, error.to_string()).with_hint(hint)
        })?;
        let settings = driver::settings(&config.codex).map_err(|faults| bad_args(&faults))?;
        let turn = Turn {
            prompt: assemble(&layout, &config, at.previous.as_deref())?.into_bytes(),
            resume: None,
            cwd: layout.root().to_owned(),
            last_message_file: None,
        };
        let invocation = Invocation::new(&codex.binary, codex.version, &settings, turn)
            .map_err(|error| super::invalid(format!("{error}; look at prompt.template in config.yml")))?;
        let mut process = iteration::process(invocation, &config.runner);
        process.env.extend(bundles);
        let snapshot = Snapshot::take(layout.root());
        Ok(Prepared::Go(Box::new(Plan { attempt, now, codex, snapshot, process })))
    };
    read(ctx, &name, prepare).await
}

/// What asks Codex for a rollout trace bundle, if one is wanted.
fn bundles(ctx: &RunContext, autorun: &Autorun, cwd: &Path) -> Option<Variable> {
    if !autorun.bundles || ctx.variable(codex::BUNDLES_VARIABLE).is_some() {
        return None;
    }
    let home = codex::home_of(|name| ctx.variable(name), cwd)?;
    let directory = codex::bundles_below(&home).into_os_string();
    Some(Variable { name: codex::BUNDLES_VARIABLE.to_owned(), value: directory.into() })
}

/// The configuration, as it is now: a loop follows its changes.
pub(super) fn load(layout: &Layout) -> Result<Config, Failure> {
    config::load(layout).map(|loaded| loaded.config).map_err(|error| bad_config(&error))
}

/// The counts of the TODO document; a missing one has no items.
pub(super) fn read_todo(layout: &Layout, config: &Config) -> Result<todo::Fingerprint, Failure> {
    let [todo, ..] = config.docs.resolve(layout.root());
    match fs::read(&todo) {
        Ok(text) => Ok(TodoList::parse(&text).fingerprint()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(todo::Fingerprint::default()),
        Err(error) => Err(Failure::internal(format!("cannot read {}: {error}", todo.display()))),
    }
}

/// What the repository is like. One that git cannot read counts as changed, so the reason is only logged.
pub(super) fn progress(layout: &Layout, config: &Config, git: &Git) -> Result<Progress, Failure> {
    let fingerprint = git.fingerprint(&config.docs.resolve(layout.root()));
    let fingerprint =
        fingerprint.inspect_err(|error| tracing::warn!(%error, "cannot see what an iteration changes"));
    Ok(Progress { todo: read_todo(layout, config)?, repository: fingerprint.ok() })
}

/// git as the person who started the run would use it.
pub(super) fn git(ctx: &RunContext, root: &Path) -> Git {
    Git::new(root).with_env(environment(ctx, &GIT_VARIABLES))
}

/// Some of the run's variables. A run without a `PATH` gets the daemon's: nothing works without one.
fn environment(ctx: &RunContext, names: &[&str]) -> Vec<(OsString, OsString)> {
    let own = |name: &&str| {
        let value = ctx.variable(name).or_else(|| std::env::var_os(name).filter(|_| *name == "PATH"));
        Some((OsStr::new(*name).to_owned(), value?))
    };
    names.iter().filter_map(own).collect()
}

/// Whether the run was told to stop, and by what.
pub(super) fn stop_told(ctx: &RunContext) -> Option<String> {
    ctx.told().iter().any(|signal| signal == STOP_SIGNAL).then(|| "`spindle auto stop`".to_owned())
}

/// Whether another tool has left the file that asks for a stop.
pub(super) fn stop_file(layout: &Layout) -> Option<String> {
    let path = layout.stop_file();
    path.exists().then(|| format!("the file {}", path.display()))
}

fn assemble(layout: &Layout, config: &Config, previous: Option<&str>) -> Result<String, Failure> {
    let root = layout.root();
    let document = |path: &Path| Document::read(root, path).map_err(Failure::internal);
    let [todo, progress, opinions] = config.docs.resolve(root);
    let documents =
        Documents { todo: document(&todo)?, progress: document(&progress)?, opinions: document(&opinions)? };
    let template = config.prompt.template.as_ref().map(|path| prompt::read_template(&root.join(path)));
    let template = template.transpose().map_err(Failure::internal)?.flatten();
    Ok(prompt::assemble(template.as_deref(), &documents, previous, config.prompt.prev_run_max_chars))
}

/// The last message of an iteration of an earlier loop, if its events are still there.
fn answer_of(layout: &Layout, run_id: u64) -> Option<String> {
    let path = layout.run_events(run_id);
    let small = fs::metadata(&path).is_ok_and(|found| found.len() <= LARGEST_EVENTS);
    let events = small.then(|| fs::read(&path).ok()).flatten()?;
    let transcript = Transcript::read(&events, Timestamp::UNIX_EPOCH);
    transcript.answer().map(|answer| iteration::shortened(answer).to_owned())
}
