//! Decides how a run ended, from its events, its exit and its stderr.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::stderr::{StderrLine, telling_lines};
use crate::{
    Evidence, ExitFacts, Outcome, OutcomeKind, Source, StartupFailure, StopCause, Terminal, ThreadId,
    Transcript, message,
};

/// The exit code of a Rust program that panicked.
const PANIC_CODE: i32 = 101;

/// The exit code of a command line that was not understood.
const USAGE_CODE: i32 = 2;

/// The number of SIGINT on every system.
const SIGINT: i32 = 2;

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
    let ended = Ended { transcript, exit, stderr: telling_lines(stderr_tail) };
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
            let evidence = vec![event(format!("thread.started {started}")), self.exit_evidence()];
            Outcome { kind: OutcomeKind::WrongThread { requested, started }, evidence }
        })
    }

    fn closed_turn(&self, stderr_tail: &[u8], zone: &TimeZone) -> Option<Outcome> {
        let at = self.transcript.terminal_at()?;
        Some(match self.transcript.terminal()? {
            Terminal::Completed(_) => {
                Outcome { kind: OutcomeKind::Succeeded, evidence: vec![event("turn.completed".to_owned())] }
            }
            Terminal::Failed(text) => {
                let mut kind = message::failure(text, at, zone);
                let mut evidence = vec![event(text.clone())];
                if let OutcomeKind::UsageLimit { resets_at } = &mut kind
                    && let Some((exact, line)) = exact_reset(stderr_tail)
                {
                    *resets_at = Some(exact);
                    evidence.push(Evidence { source: Source::Stderr, text: line });
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
        let stopped = Evidence { source: Source::Exit, text: format!("stopped: {cause}") };
        Some(Outcome { kind, evidence: vec![stopped, self.exit_evidence()] })
    }

    fn without_closing_event(&self) -> Outcome {
        let mut evidence = vec![self.exit_evidence()];
        evidence
            .extend(self.stderr.iter().map(|line| Evidence { source: Source::Stderr, text: line.clone() }));
        let kind = match (self.exit.code, self.signal()) {
            (Some(PANIC_CODE), _) => OutcomeKind::Panicked,
            (_, Some(SIGINT)) => OutcomeKind::Interrupted,
            (_, Some(signal)) => OutcomeKind::Killed { signal },
            (Some(code), None) if self.transcript.turn_started() => self.mid_turn(code),
            (Some(code), None) => {
                let strays = self.transcript.strays().iter();
                evidence.extend(strays.map(|text| Evidence { source: Source::Stdout, text: text.clone() }));
                OutcomeKind::StartupFailure { reason: self.startup_failure(code) }
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
            || lines().any(|line| matches!(line, StderrLine::Text(text) if text.starts_with("Error")))
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
        Evidence { source: Source::Exit, text }
    }
}

fn event(text: String) -> Evidence {
    Evidence { source: Source::Event, text }
}

/// The reset of a usage limit to the second: 0.75.0 logs the service's answer, in which it stands as
/// `"resets_at": 1795215791`, with or without backslashes.
fn exact_reset(stderr_tail: &[u8]) -> Option<(Timestamp, String)> {
    telling_lines(stderr_tail).into_iter().rev().find_map(|line| {
        let (_, after) = line.rsplit_once("resets_at")?;
        let digits = after.trim_start_matches(['\\', '"', ':', ' ']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let second = digits[..end].parse().ok()?;
        Some((Timestamp::from_second(second).ok()?, line))
    })
}
