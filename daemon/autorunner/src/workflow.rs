//! The workflow `autorun`: a loop of Codex iterations over a repository's TODO list, as a durable run.
//!
//! Each iteration has the steps `prepare N` (stop rules and prompt), `iteration N` (Codex itself), `finish N`
//! (commit, progress, stop rules) and `pause N`, where N counts from 1 in the run; its number in the log and in
//! `state.json` counts in the repository and is given when its process begins. All that the loop decides on is a
//! value of these steps. A keeper process owns the lock file from before the first step to the end.

mod course;
mod finish;
mod iteration;
mod keeping;
mod prepare;
mod record;
mod scribe;
mod settle;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use codex::Witness;
use engine::process::{OsText, ShimCommand};
use engine::{Failure, FailureKind, LeaseKey, OnInterrupt, Run, RunContext, Workflow};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::settle::Ending;
use crate::config::{self, ConfigError};
use crate::driver;
use crate::repo::{Layout, Repository};

/// The word for runs of the autorunner.
pub const KIND: &str = "autorun";

/// What the loop is told by [`engine::Engine::tell`] to make it end after the iteration under way.
pub const STOP_SIGNAL: &str = "stop";

/// The longest path that is put into a lease or label as it is, in bytes.
const LONGEST_KEY: usize = 200;

/// What a loop is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutorunSpec {
    /// A directory in the repository.
    pub repo: OsText,
    /// Just one iteration.
    #[serde(default)]
    pub once: bool,
}

/// What a loop that ended well has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutorunOutput {
    /// Iterations of this run, whether they succeeded or not.
    pub iterations: u64,
    /// Why it ended, as a sentence.
    pub reason: String,
    /// Exit code of the last iteration; none if there was none.
    pub last_exit_code: Option<i32>,
    /// Open TODO items at the end.
    pub outstanding: usize,
    /// Ticked TODO items at the end.
    pub done: usize,
    /// Tokens used by all iterations, as Codex itself counts them.
    pub tokens: u64,
}

/// The workflow.
#[derive(Debug, Clone)]
pub struct Autorun {
    keeper: ShimCommand,
    codex: Option<String>,
    witness: Option<Arc<dyn Witness>>,
    bundles: bool,
}

impl Autorun {
    /// `keeper` is the command that becomes [`crate::keeper::main`]. `codex` is the daemon's own idea of the Codex
    /// command; it wins over `config.yml`, and the run's variable [`driver::BINARY_VARIABLE`] wins over it.
    pub fn new(keeper: ShimCommand, codex: Option<String>) -> Self {
        Self { keeper, codex, witness: None, bundles: false }
    }

    /// The same, telling somebody of the threads that Codex works on. Each iteration ends only when the witness has
    /// taken in what it left, so that a daemon that dies meanwhile tells of it again.
    #[must_use]
    pub fn witnessed_by(self, witness: Arc<dyn Witness>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The same, asking Codex for rollout trace bundles or not. Where the run's own variables say something about
    /// them, that counts.
    #[must_use]
    pub fn with_bundles(self, bundles: bool) -> Self {
        Self { bundles, ..self }
    }
}

/// The key of a repository's lease, by its root.
pub fn lease_key(root: &Path) -> LeaseKey {
    LeaseKey(format!("repo:{}", short_name(root)))
}

/// The value of the label `repo` of a repository's runs, by its root.
pub fn repo_label(root: &Path) -> String {
    short_name(root)
}

/// The path as text without control characters; a long one keeps its end, and a digest of it tells it apart.
fn short_name(root: &Path) -> String {
    let text = root.to_string_lossy();
    if text.len() <= LONGEST_KEY && !text.contains(char::is_control) && root.to_str().is_some() {
        return text.into_owned();
    }
    let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
    let digest = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let shown = text.replace(char::is_control, "?");
    let start =
        (shown.len().saturating_sub(LONGEST_KEY)..=shown.len()).find(|at| shown.is_char_boundary(*at));
    format!("{}#{digest:016x}", &shown[start.unwrap_or_default()..])
}

impl Workflow for Autorun {
    const KIND: &'static str = KIND;
    type Spec = AutorunSpec;
    type Output = AutorunOutput;

    fn check(&self, spec: &AutorunSpec) -> Result<(), Failure> {
        let layout = layout_of(spec)?;
        let config = config::load(&layout).map_err(|error| bad_config(&error))?.config;
        driver::settings(&config.codex).map(drop).map_err(|faults| bad_args(&faults))
    }

    fn leases(&self, spec: &AutorunSpec) -> Vec<LeaseKey> {
        // What is no repository is refused by `check`.
        layout_of(spec).map(|layout| lease_key(layout.root())).into_iter().collect()
    }

    fn on_interrupt(&self) -> OnInterrupt {
        OnInterrupt::Resume
    }

    async fn run(&self, ctx: &RunContext, spec: AutorunSpec) -> Result<AutorunOutput, Failure> {
        let start = spec.clone();
        let root = ctx.step(
            "find the repository",
            blocking(move || layout_of(&start).map(|layout| OsText::from(layout.root()))),
        );
        let layout = Layout::of_root(PathBuf::from(root.await?));
        let result = course::run(ctx, self, &layout, spec.once).await;
        if let Err(failure) = &result {
            // While the keeper still has the lock, so that nobody else writes here.
            put_right(layout, ctx.directory(), Ending::of(Err(failure))).await;
        }
        result
    }

    async fn settle(&self, _: &Run, directory: &Path, spec: AutorunSpec, result: Result<(), Failure>) {
        let Ok(layout) = layout_of(&spec) else { return };
        put_right(layout, directory.to_owned(), Ending::of(result.as_ref().copied())).await;
        settle::empty_mailboxes(directory);
    }
}

async fn put_right(layout: Layout, directory: PathBuf, ending: Ending) {
    let root = layout.root().to_owned();
    let put = blocking(move || {
        settle::put_right(&layout, &directory, &ending, Timestamp::now()).map_err(Failure::internal)
    });
    if let Err(failure) = put.await {
        tracing::error!(repo = %root.display(), %failure, "could not set right what a loop has left");
    }
}

fn layout_of(spec: &AutorunSpec) -> Result<Layout, Failure> {
    let found = Repository::discover(Path::new(spec.repo.as_os_str()));
    found.map(|repository| repository.layout()).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Invalid, message)
}

fn bad_config(error: &ConfigError) -> Failure {
    let hint = match error {
        ConfigError::Missing { .. } => "`spindle auto init` writes one",
        _ => "edit config.yml; `spindle auto doctor` says whether it is valid then",
    };
    invalid(error.to_string()).with_hint(hint)
}

fn bad_args(faults: &[String]) -> Failure {
    let hint = "change codex.args in config.yml; `spindle auto doctor` says whether it is understood then";
    invalid(faults.join("\n")).with_hint(hint)
}

/// Does file work off the runtime's own threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The daemon goes down. An error would be stored as the outcome of a step.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_by_its_path() {
        assert_eq!(lease_key(Path::new("/home/me/project")).0, "repo:/home/me/project");
    }

    #[test]
    fn long_and_odd_paths_are_shortened_and_still_told_apart() {
        let long = |last: &str| PathBuf::from(format!("/{}/{last}", "x".repeat(3000)));
        assert_ne!(repo_label(&long("a")), repo_label(&long("b")));
        assert!(repo_label(&long("a")).len() < 256);
        let odd = repo_label(Path::new("/a\nb"));
        assert!(!odd.contains('\n') && odd != repo_label(Path::new("/a?b")), "{odd}");
    }
}
