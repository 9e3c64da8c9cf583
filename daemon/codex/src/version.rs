//! Which Codex it is, and what follows from that.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Binary;

/// How much of a probe's output is read; `codex-cli 0.169.0` is all that is expected.
const PROBE_OUTPUT_LIMIT: u64 = 64 * 1024;

/// How often a running probe is looked at.
const PROBE_POLL: Duration = Duration::from_millis(5);

/// A version of the Codex CLI, as `codex --version` prints it. A suffix such as `-alpha.3` is
/// dropped: no decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number: the one that counts the releases.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// A text that holds no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version of the Codex CLI")]
pub struct InvalidVersion {
    /// The text, cut to a sensible length.
    pub text: String,
}

impl Version {
    /// The last release known to report tokens per process (and to know none of the newer flags).
    /// What came between this and [`Version::NEWEST_KNOWN`] was never tried, so decisions name one
    /// of the two and treat the gap by what they see.
    pub const OLDEST_KNOWN: Self = Self {
        major: 0,
        minor: 75,
        patch: 0,
    };

    /// The newest release that this crate was tested against.
    pub const NEWEST_KNOWN: Self = Self {
        major: 0,
        minor: 169,
        patch: 0,
    };

    /// Finds the version in what `codex --version` printed (`codex-cli 0.169.0`).
    ///
    /// Wrappers may print lines of their own, so the line that starts with `codex` is preferred;
    /// failing that, the output must be a bare version.
    pub fn parse_output(output: &str) -> Result<Self, InvalidVersion> {
        let named = output
            .lines()
            .filter(|line| line.trim_start().starts_with("codex"));
        let last_word = |line: &str| {
            line.split_whitespace()
                .last()
                .and_then(|word| word.parse().ok())
        };
        named
            .filter_map(last_word)
            .next_back()
            .or_else(|| output.trim().parse().ok())
            .ok_or_else(|| invalid(output))
    }
}

fn invalid(text: &str) -> InvalidVersion {
    InvalidVersion {
        text: text.trim().chars().take(80).collect(),
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let release = text.split(['-', '+']).next().unwrap_or(text);
        let numbers: Vec<u32> = release
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| invalid(text))?;
        match numbers[..] {
            [major, minor, patch] => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(invalid(text)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

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
        let io_error = |source| ProbeError::Io {
            program: self.program().to_owned(),
            source,
        };
        let scratch = tempfile::Builder::new()
            .prefix("codex-probe-")
            .tempdir()
            .map_err(io_error)?;
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
            None => Err(ProbeError::TimedOut {
                program: self.program().to_owned(),
                limit,
            }),
            Some(status) if !status.success() => Err(ProbeError::Failed {
                program: self.program().to_owned(),
                status,
            }),
            Some(_) => {
                let mut bytes = Vec::new();
                let file = File::open(&answer).map_err(io_error)?;
                file.take(PROBE_OUTPUT_LIMIT)
                    .read_to_end(&mut bytes)
                    .map_err(io_error)?;
                Version::parse_output(&String::from_utf8_lossy(&bytes)).map_err(|source| {
                    ProbeError::NotCodex {
                        program: self.program().to_owned(),
                        source,
                    }
                })
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
            if let Some(group) = i32::try_from(child.id())
                .ok()
                .and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PROBE_POLL);
    }
}
