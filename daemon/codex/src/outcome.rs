//! How a run ended, decided from its events, its exit and its stderr, and why.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::stderr::{StderrLine, telling_lines};
use crate::transcript::Terminal;
use crate::{ThreadId, Transcript, message};

/// The exit code of a Rust program that panicked.
const PANIC_CODE: i32 = 101;

/// The exit code of a command line that was not understood.
const USAGE_CODE: i32 = 2;

/// The number of SIGINT on every system.
const SIGINT: i32 = 2;

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
            | OutcomeKind::StartupFailure {
                reason: StartupFailure::ThreadBusy,
            } => true,
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
            Self::UsageLimit {
                resets_at: Some(at),
            } => write!(f, "usage limit reached, resets at {at:.0}"),
            Self::UsageLimit { resets_at: None } => f.write_str("usage limit reached"),
            Self::RateLimited {
                retry_after: Some(wait),
            } => write!(f, "rate limited, retry after {wait:#}"),
            Self::RateLimited { retry_after: None } => f.write_str("rate limited"),
            Self::ContextFull => f.write_str("the thread is too long for the model"),
            Self::QuotaExceeded => f.write_str("quota exceeded"),
            Self::Network => f.write_str("the model service could not be reached"),
            Self::Refused {
                status: Some(status),
            } => write!(f, "the request was refused (HTTP {status})"),
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

/// Decides how a run ended.
///
/// `stderr_tail` is the end of stderr, some kilobytes are enough. `requested` is the thread that was
/// to be resumed, if one was. `zone` is Codex's local time zone, in which it writes reset times.
///
/// Rules, in this order: a run on another thread than the one asked for has failed, whatever else;
/// an event that closed the turn decides, whatever the exit; what the supervisor did explains an end
/// without one; then the exit and stderr are asked.
pub fn classify(
    transcript: &Transcript,
    exit: ExitFacts,
    stderr_tail: &[u8],
    requested: Option<&ThreadId>,
    zone: &TimeZone,
) -> Outcome {
    let ended = Ended {
        transcript,
        exit,
        stderr: telling_lines(stderr_tail),
    };
    ended
        .wrong_thread(requested)
        .or_else(|| ended.closed_turn(stderr_tail, zone))
        .or_else(|| ended.stopped())
        .unwrap_or_else(|| ended.without_closing_event())
}

struct Ended<'a> {
    transcript: &'a Transcript,
    exit: ExitFacts,
    stderr: Vec<String>,
}

impl Ended<'_> {
    fn wrong_thread(&self, requested: Option<&ThreadId>) -> Option<Outcome> {
        let requested = *requested?;
        let started = self.transcript.started_thread()?.to_owned();
        self.transcript.is_on_wrong_thread(&requested).then(|| {
            let evidence = vec![
                event(format!("thread.started {started}")),
                self.exit_evidence(),
            ];
            Outcome {
                kind: OutcomeKind::WrongThread { requested, started },
                evidence,
            }
        })
    }

    fn closed_turn(&self, stderr_tail: &[u8], zone: &TimeZone) -> Option<Outcome> {
        let at = self.transcript.terminal_at()?;
        Some(match self.transcript.terminal()? {
            Terminal::Completed(_) => Outcome {
                kind: OutcomeKind::Succeeded,
                evidence: vec![event("turn.completed".to_owned())],
            },
            Terminal::Failed(text) => {
                let mut kind = message::failure(text, at, zone);
                let mut evidence = vec![event(text.clone())];
                if let OutcomeKind::UsageLimit { resets_at } = &mut kind
                    && let Some((exact, line)) = exact_reset(stderr_tail)
                {
                    *resets_at = Some(exact);
                    evidence.push(Evidence {
                        source: Source::Stderr,
                        text: line,
                    });
                }
                Outcome { kind, evidence }
            }
        })
    }

    fn stopped(&self) -> Option<Outcome> {
        let cause = self.exit.stopped?;
        let kind = match cause {
            StopCause::Requested => OutcomeKind::Interrupted,
            limit => OutcomeKind::TimedOut { limit },
        };
        let stopped = Evidence {
            source: Source::Exit,
            text: format!("stopped: {cause}"),
        };
        Some(Outcome {
            kind,
            evidence: vec![stopped, self.exit_evidence()],
        })
    }

    fn without_closing_event(&self) -> Outcome {
        let mut evidence = vec![self.exit_evidence()];
        evidence.extend(self.stderr.iter().map(|line| Evidence {
            source: Source::Stderr,
            text: line.clone(),
        }));
        let kind = match (self.exit.code, self.signal()) {
            (Some(PANIC_CODE), _) => OutcomeKind::Panicked,
            (_, Some(SIGINT)) => OutcomeKind::Interrupted,
            (_, Some(signal)) => OutcomeKind::Killed { signal },
            (Some(code), None) if self.transcript.turn_started() => self.mid_turn(code),
            (Some(code), None) => {
                let strays = self.transcript.strays().iter();
                evidence.extend(strays.map(|text| Evidence {
                    source: Source::Stdout,
                    text: text.clone(),
                }));
                OutcomeKind::StartupFailure {
                    reason: self.startup_failure(code),
                }
            }
            (None, None) => OutcomeKind::Lost,
        };
        // The last error event explains an end in mid-turn better than an exit code.
        evidence.extend(self.transcript.errors().last().cloned().map(event));
        Outcome { kind, evidence }
    }

    /// The signal that killed the process, also when a shell or a container told it as an exit code.
    fn signal(&self) -> Option<i32> {
        let told = |code: i32| (129..=192).contains(&code).then(|| code - 128);
        self.exit.signal.or_else(|| self.exit.code.and_then(told))
    }

    /// An interrupt from elsewhere looks like this: exit code 0 (0.75.0, and its launcher) or 1
    /// (0.169.0), with nothing said about it.
    fn mid_turn(&self, code: i32) -> OutcomeKind {
        let lines = || self.stderr.iter().map(|line| StderrLine::read(line));
        if lines().any(|line| matches!(line, StderrLine::Panic(_))) {
            OutcomeKind::Panicked
        } else if code > 1
            || lines()
                .any(|line| matches!(line, StderrLine::Text(text) if text.starts_with("Error")))
        {
            OutcomeKind::Died { code }
        } else {
            OutcomeKind::Interrupted
        }
    }

    fn startup_failure(&self, code: i32) -> StartupFailure {
        let said = message::plain_punctuation(&self.stderr.join("\n"));
        let says = |needle: &str| said.contains(needle);
        if says("--skip-git-repo-check was not specified") {
            StartupFailure::NotTrusted
        } else if says("already has an active writer") {
            StartupFailure::ThreadBusy
        } else if says("no rollout found") {
            StartupFailure::ThreadNotFound
        } else if says("No prompt provided") || says("valid UTF-8") {
            StartupFailure::Prompt
        } else if says("Error loading config")
            || says("Error finding codex home")
            || says("config profile")
            || says("Failed to read output schema")
        {
            StartupFailure::Configuration
        } else if code == USAGE_CODE {
            StartupFailure::Usage
        } else if code == 0 {
            StartupFailure::NothingRan
        } else {
            StartupFailure::Other
        }
    }

    fn exit_evidence(&self) -> Evidence {
        let text = match (self.exit.signal, self.exit.code) {
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "nobody saw the end".to_owned(),
        };
        Evidence {
            source: Source::Exit,
            text,
        }
    }
}

fn event(text: String) -> Evidence {
    Evidence {
        source: Source::Event,
        text,
    }
}

/// The reset of a usage limit to the second: 0.75.0 logs the service's answer, in which it stands as
/// `"resets_at": 1795215791`, with or without backslashes.
fn exact_reset(stderr_tail: &[u8]) -> Option<(Timestamp, String)> {
    telling_lines(stderr_tail)
        .into_iter()
        .rev()
        .find_map(|line| {
            let (_, after) = line.rsplit_once("resets_at")?;
            let digits = after.trim_start_matches(['\\', '"', ':', ' ']);
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            let second = digits[..end].parse().ok()?;
            Some((Timestamp::from_second(second).ok()?, line))
        })
}
