//! Asking a program which Codex it is.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Binary, InvalidVersion, Version};

/// How much of a probe's output is read; `codex-cli 0.169.0` is all that is expected.
const PROBE_OUTPUT_LIMIT: u64 = 64 * 1024;

/// How often a running probe is looked at.
const PROBE_POLL: Duration = Duration::from_millis(5);

/// Why a program's version could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The probe could not be started or watched.
    #[error("cannot ask {program:?} for its version")]
    Io {
        /// The program that was asked.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program did not answer in time and was killed.
    #[error("{program:?} did not print its version within {limit:?}")]
    TimedOut {
        /// The program that was asked.
        program: PathBuf,
        /// The time it was given.
        limit: Duration,
    },
    /// The program answered with a failure.
    #[error("{program:?} --version failed ({status})")]
    Failed {
        /// The program that was asked.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// The program answered something else.
    #[error("{program:?} --version did not print a version")]
    NotCodex {
        /// The program that was asked.
        program: PathBuf,
        /// What it printed.
        source: InvalidVersion,
    },
}

impl Binary {
    /// Asks the program for its version; blocks for at most `limit` (and a little for the clean-up).
    ///
    /// It is asked as it would be run, in the run's directory and with the run's environment on top of
    /// this process's own: what a wrapper such as `npx` starts depends on both.
    ///
    /// `CODEX_HOME` and `TMPDIR` point into a scratch directory that is removed afterwards: every
    /// `codex --version` leaves a directory in `TMPDIR`, and newer ones create files below
    /// `CODEX_HOME` even then.
    pub fn version<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        cwd: &Path,
        environment: impl IntoIterator<Item = (K, V)>,
        limit: Duration,
    ) -> Result<Version, ProbeError> {
        let io_error = |source| ProbeError::Io { program: self.program().to_owned(), source };
        let scratch = tempfile::Builder::new().prefix("codex-probe-").tempdir().map_err(io_error)?;
        let answer = scratch.path().join("answer");
        let mut command = Command::new(self.program());
        command
            .args(self.leading_words())
            .arg("--version")
            .current_dir(cwd)
            .envs(environment)
            .envs(self.environment())
            .env("CODEX_HOME", scratch.path())
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            // A file, not a pipe: a grandchild that keeps a pipe open could hold the probe up.
            .stdout(File::create(&answer).map_err(io_error)?)
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = command.spawn().map_err(io_error)?;
        match wait_within(&mut child, limit).map_err(io_error)? {
            None => Err(ProbeError::TimedOut { program: self.program().to_owned(), limit }),
            Some(status) if !status.success() => {
                Err(ProbeError::Failed { program: self.program().to_owned(), status })
            }
            Some(_) => {
                let mut bytes = Vec::new();
                let file = File::open(&answer).map_err(io_error)?;
                file.take(PROBE_OUTPUT_LIMIT).read_to_end(&mut bytes).map_err(io_error)?;
                Version::parse_output(&String::from_utf8_lossy(&bytes))
                    .map_err(|source| ProbeError::NotCodex { program: self.program().to_owned(), source })
            }
        }
    }
}

/// Waits for the child, or kills its whole process group when the time is up (`None`).
fn wait_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            // A launcher's native child would survive a kill of the launcher alone.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PROBE_POLL);
    }
}
