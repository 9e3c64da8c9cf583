//! How a run ended, and why one thinks so.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ThreadId;

/// What is known of the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitFacts {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that killed it, if one did. With neither, nobody saw the end.
    pub signal: Option<i32>,
    /// Why the supervisor stopped it, if it did.
    pub stopped: Option<StopCause>,
}

/// Why a supervisor stops a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Somebody asked for it.
    Requested,
    /// It took too long.
    TimeLimit,
    /// It was silent for too long.
    IdleLimit,
    /// It printed too much.
    OutputLimit,
}

/// How a run ended, and what that was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub kind: OutcomeKind,
    /// What it was decided by; never empty.
    pub evidence: Vec<Evidence>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The turn was completed. The exit does not matter: a process may be killed after it.
    Succeeded,
    /// The turn failed for a reason that is none of those below.
    ModelError,
    /// The service failed or was overloaded.
    ServerError,
    /// The plan's limit is used up.
    UsageLimit {
        /// When it starts anew, if Codex said so.
        resets_at: Option<Timestamp>,
    },
    /// Too many requests.
    RateLimited {
        /// How long to wait, if the service said so.
        retry_after: Option<SignedDuration>,
    },
    /// The thread is too long for the model; only a new thread helps.
    ContextFull,
    /// The account is out of money.
    QuotaExceeded,
    /// The service could not be reached.
    Network,
    /// The service, or Codex's configuration of it, does not allow the request: bad credentials, an
    /// invalid request.
    Refused {
        /// The HTTP status, if Codex said so.
        status: Option<u16>,
    },
    /// The answer broke off, time and again.
    CutStream,
    /// It was stopped on request, or by an interrupt from elsewhere.
    Interrupted,
    /// A signal that the supervisor did not send killed it.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// Nobody saw how it ended.
    Lost,
    /// It ended before the model began to work.
    StartupFailure {
        /// Why.
        reason: StartupFailure,
    },
    /// It works, or worked, on another thread than it was asked to resume.
    WrongThread {
        /// The thread that was asked for.
        requested: ThreadId,
        /// The thread that Codex named, in its own words.
        started: String,
    },
    /// It was stopped at a limit.
    TimedOut {
        /// Which one.
        limit: StopCause,
    },
    /// Codex itself failed. Most often: nobody read its stdout any more.
    Panicked,
    /// It ended in mid-turn with an exit code that says nothing more.
    Died {
        /// The exit code.
        code: i32,
    },
}

/// Why a run ended before the model began to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartupFailure {
    /// The directory is no git work tree, and `--skip-git-repo-check` was not given.
    NotTrusted,
    /// The configuration cannot be read or is wrong, or there is no `CODEX_HOME`.
    Configuration,
    /// The command line was not understood: a flag that this release does not have.
    Usage,
    /// The thread to resume does not exist.
    ThreadNotFound,
    /// Another process works on the thread.
    ThreadBusy,
    /// The prompt was empty or not UTF-8.
    Prompt,
    /// It exited with 0 and printed no events: a text such as a help page, or a wrapper that ran
    /// something else.
    NothingRan,
    /// Another reason; the evidence may tell.
    Other,
}

/// One thing that an outcome was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it was seen.
    pub source: Source,
    /// What was seen.
    pub text: String,
}

/// Where evidence was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In an event.
    Event,
    /// In what was printed to stdout, but is no event.
    Stdout,
    /// In a line of stderr.
    Stderr,
    /// In how the process ended.
    Exit,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Event => "event",
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
            Source::Exit => "exit",
        };
        write!(f, "{source}: {}", self.text)
    }
}

impl Outcome {
    /// Whether the turn did what it was asked to do.
    pub fn is_success(&self) -> bool {
        self.kind == OutcomeKind::Succeeded
    }

    /// Whether the same turn may well succeed when it is tried again later, without anybody having
    /// changed anything. What was stopped on purpose or by a limit is not tried again by itself.
    pub fn is_retryable(&self) -> bool {
        match &self.kind {
            OutcomeKind::ServerError
            | OutcomeKind::UsageLimit { .. }
            | OutcomeKind::RateLimited { .. }
            | OutcomeKind::Network
            | OutcomeKind::CutStream
            | OutcomeKind::Killed { .. }
            | OutcomeKind::Lost
            | OutcomeKind::Panicked
            | OutcomeKind::StartupFailure { reason: StartupFailure::ThreadBusy } => true,
            OutcomeKind::Succeeded
            | OutcomeKind::ModelError
            | OutcomeKind::ContextFull
            | OutcomeKind::QuotaExceeded
            | OutcomeKind::Refused { .. }
            | OutcomeKind::Interrupted
            | OutcomeKind::StartupFailure { .. }
            | OutcomeKind::WrongThread { .. }
            | OutcomeKind::TimedOut { .. }
            | OutcomeKind::Died { .. } => false,
        }
    }

    /// When a run that ended at `ended_at` may be tried again at the earliest, as far as Codex said.
    pub fn retry_not_before(&self, ended_at: Timestamp) -> Option<Timestamp> {
        match self.kind {
            OutcomeKind::UsageLimit { resets_at } => resets_at,
            OutcomeKind::RateLimited { retry_after } => ended_at.checked_add(retry_after?).ok(),
            _ => None,
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::ModelError => f.write_str("the turn failed"),
            Self::ServerError => f.write_str("the model service failed"),
            Self::UsageLimit { resets_at: Some(at) } => write!(f, "usage limit reached, resets at {at:.0}"),
            Self::UsageLimit { resets_at: None } => f.write_str("usage limit reached"),
            Self::RateLimited { retry_after: Some(wait) } => write!(f, "rate limited, retry after {wait:#}"),
            Self::RateLimited { retry_after: None } => f.write_str("rate limited"),
            Self::ContextFull => f.write_str("the thread is too long for the model"),
            Self::QuotaExceeded => f.write_str("quota exceeded"),
            Self::Network => f.write_str("the model service could not be reached"),
            Self::Refused { status: Some(status) } => write!(f, "the request was refused (HTTP {status})"),
            Self::Refused { status: None } => f.write_str("the request was refused"),
            Self::CutStream => f.write_str("the answer broke off"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Killed { signal } => write!(f, "killed by signal {signal}"),
            Self::Lost => f.write_str("lost: nobody saw how it ended"),
            Self::StartupFailure { reason } => write!(f, "Codex did not start: {reason}"),
            Self::WrongThread { requested, started } => {
                write!(f, "Codex went to thread {started} instead of {requested}")
            }
            Self::TimedOut { limit } => write!(f, "stopped: {limit}"),
            Self::Panicked => f.write_str("Codex panicked"),
            Self::Died { code } => write!(f, "Codex ended in mid-turn with exit code {code}"),
        }
    }
}

impl fmt::Display for StartupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTrusted => "not inside a git work tree",
            Self::Configuration => "its configuration is wrong",
            Self::Usage => "it does not understand its command line",
            Self::ThreadNotFound => "there is no such thread",
            Self::ThreadBusy => "another process works on the thread",
            Self::Prompt => "the prompt is empty or not UTF-8",
            Self::NothingRan => "it printed no events",
            Self::Other => "it ended before the model began to work",
        })
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "on request",
            Self::TimeLimit => "the time limit was reached",
            Self::IdleLimit => "it was silent for too long",
            Self::OutputLimit => "it printed too much",
        })
    }
}
