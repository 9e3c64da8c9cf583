//! The workflow `exec`: one command, run as one supervised process.

use std::time::Duration;

use engine::process::{
    AtOutputLimit, FirstSignal, Launch, Leftovers, Limits, OsText, OutputLimit, StopLadder,
};
use engine::{Failure, FailureKind, LeaseKey, ProcessSpec, RunContext, Workflow};
use serde::{Deserialize, Serialize};

/// The name of its only step.
pub const STEP: &str = "command";

/// Largest standard input, in bytes.
const STDIN_LIMIT: usize = 1024 * 1024;

/// The workflow.
#[derive(Debug, Clone, Copy)]
pub struct Exec;

/// What to run, where, and within which limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// Program and arguments; no shell is involved.
    pub argv: Vec<OsText>,
    /// Absolute working directory.
    pub cwd: OsText,
    /// Limit of wall-clock time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Limit of time without output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
    /// Limit of each stream of output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputLimit>,
    /// How it is stopped.
    #[serde(default)]
    pub stop: StopLadder,
    /// What becomes of processes that it leaves behind.
    #[serde(default)]
    pub leftovers: Leftovers,
    /// What it reads from its standard input; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<OsText>,
}

impl ExecSpec {
    /// A command without limits.
    pub fn new(argv: impl IntoIterator<Item = impl Into<OsText>>, cwd: impl Into<OsText>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: cwd.into(),
            timeout: None,
            idle_timeout: None,
            output: None,
            stop: StopLadder::default(),
            leftovers: Leftovers::default(),
            stdin: None,
        }
    }

    fn launch(&self) -> Option<Launch> {
        let (program, args) = self.argv.split_first()?;
        let mut launch = Launch::new(program.clone(), self.cwd.clone()).args(args.iter().cloned());
        launch.stop = self.stop;
        launch.leftovers = self.leftovers;
        launch.limits = Limits { wall: self.timeout, idle: self.idle_timeout, output: self.output };
        Some(launch)
    }
}

impl Workflow for Exec {
    const KIND: &'static str = "exec";
    type Spec = ExecSpec;
    type Output = ();

    fn check(&self, spec: &ExecSpec) -> Result<(), Failure> {
        let invalid = |text: &str| Err(Failure::new(FailureKind::Invalid, text));
        if spec.argv.first().is_none_or(|program| program.as_bytes().is_empty()) {
            return invalid("there is no command to run");
        }
        if !spec.cwd.as_bytes().starts_with(b"/") {
            return invalid("the working directory must be an absolute path");
        }
        if spec.argv.iter().chain([&spec.cwd]).any(|text| text.as_bytes().contains(&0)) {
            return invalid("a NUL byte cannot be part of a command or a path");
        }
        if spec.stdin.as_ref().is_some_and(|input| input.as_bytes().len() > STDIN_LIMIT) {
            return invalid("standard input is larger than 1 MiB: put it into a file and name that");
        }
        Ok(())
    }

    fn leases(&self, _: &ExecSpec) -> Vec<LeaseKey> {
        Vec::new()
    }

    async fn run(&self, run: &RunContext, spec: ExecSpec) -> Result<(), Failure> {
        let launch = spec.launch();
        let launch =
            launch.ok_or_else(|| Failure::new(FailureKind::Invalid, "there is no command to run"))?;
        let process = ProcessSpec { launch, env: Vec::new(), stdin: spec.stdin };
        run.process(STEP, process).await.map(drop)
    }
}

/// The first signal of a stop ladder by its number, as far as it can be one.
pub fn first_signal(number: i32) -> Option<FirstSignal> {
    match number {
        1 => Some(FirstSignal::Hup),
        2 => Some(FirstSignal::Int),
        15 => Some(FirstSignal::Term),
        _ => None,
    }
}

/// What happens at the limit of a stream of output.
pub fn output_limit(bytes: u64, drop_oldest: bool) -> OutputLimit {
    OutputLimit { bytes, then: if drop_oldest { AtOutputLimit::DropOldest } else { AtOutputLimit::Stop } }
}
