//! What a test asks the daemon to run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::{
    AfterRun, EnvironmentVariable, ExecSpec, RetryPolicy, Run, RunState, RunTemplate, StartOptions,
};

/// A command with its options. What has no method here is set in the two parts themselves.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// The command.
    pub(crate) exec: ExecSpec,
    /// How it is to be started.
    pub(crate) options: StartOptions,
}

impl Work {
    /// A command whose processes can be told by the home in their environment.
    pub(super) fn new<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>, cwd: &Path, home: &Path) -> Self {
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let environment = [("PATH", bytes(&path)), ("HOME", bytes(home.as_os_str()))];
        let variable = |(name, value): (&str, Vec<u8>)| EnvironmentVariable { name: name.to_owned(), value };
        Self {
            exec: ExecSpec {
                argv: argv.into_iter().map(|word| bytes(word.as_ref())).collect(),
                cwd: bytes(cwd.as_os_str()),
                ..ExecSpec::default()
            },
            options: StartOptions {
                environment: environment.into_iter().map(variable).collect(),
                ..StartOptions::default()
            },
        }
    }

    /// With a name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.options.name);
        self
    }

    /// With a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().as_bytes().to_vec();
        self.options.env.push(EnvironmentVariable { name: name.to_owned(), value });
        self
    }

    /// Holding a lease.
    pub(crate) fn lease(mut self, key: &str) -> Self {
        self.options.leases.push(key.to_owned());
        self
    }

    /// After the end of another run, with these outcomes; none: success.
    pub(crate) fn after(mut self, run: &str, outcomes: &[RunState]) -> Self {
        let outcomes = outcomes.iter().map(|state| (*state).into()).collect();
        self.options.after.push(AfterRun { run: run.to_owned(), outcomes });
        self
    }

    /// Within a limit of time.
    pub(crate) fn timeout(mut self, limit: Duration) -> Self {
        self.exec.timeout = Some(limit.try_into().unwrap());
        self
    }

    /// With a time between the first signal and SIGKILL.
    pub(crate) fn grace(mut self, grace: Duration) -> Self {
        self.exec.grace = Some(grace.try_into().unwrap());
        self
    }

    /// Up to so many attempts, one soon after the other.
    pub(crate) fn attempts(mut self, attempts: u32) -> Self {
        let pause = Some(Duration::from_millis(20).try_into().unwrap());
        self.options.retry =
            Some(RetryPolicy { attempts, backoff: pause, max_backoff: pause, ..RetryPolicy::default() });
        self
    }
}

impl From<Work> for RunTemplate {
    fn from(work: Work) -> Self {
        Self { workflow: Some(Workflow::Exec(work.exec)), options: Some(work.options) }
    }
}

/// How a run stands, in one line that is easy to compare: `failed exit 7`, `canceled canceled signal 15`.
pub(crate) fn outcome(run: &Run) -> String {
    let mut text = run.state().as_str_name().trim_start_matches("RUN_STATE_").to_lowercase();
    if let Some(failure) = &run.failure {
        text = format!("{text} {}", failure.kind);
    }
    if let Some(code) = run.exit_code {
        text = format!("{text} {code}");
    }
    if let Some(signal) = run.signal {
        text = format!("{text} signal {signal}");
    }
    text
}
