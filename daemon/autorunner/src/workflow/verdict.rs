//! What the end of an iteration means for the loop: a code for files and markers, a failure for the run.

use codex::{ExitFacts, Outcome, OutcomeKind, StopCause};
use engine::process::{Cause, Exit, ExitStatus};
use engine::{Failure, FailureKind};
use jiff::Timestamp;

/// The exit code for an iteration that ended at a time limit, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// What the driver needs to know of an exit record.
pub(super) fn facts(exit: &Exit) -> ExitFacts {
    let (code, signal) = match &exit.status {
        ExitStatus::Code(code) | ExitStatus::SpawnFailed { code, .. } => (Some(*code), None),
        ExitStatus::Signal(signal) => (None, Some(*signal)),
        ExitStatus::NotStarted | ExitStatus::ShimFailed { .. } => (None, None),
    };
    let stopped = match exit.cause {
        Cause::Ended => None,
        Cause::Stopped | Cause::Killed => Some(StopCause::Requested),
        Cause::WallLimit => Some(StopCause::TimeLimit),
        Cause::IdleLimit => Some(StopCause::IdleLimit),
        Cause::OutputLimit => Some(StopCause::OutputLimit),
    };
    ExitFacts { code, signal, stopped }
}

/// The code that the end marker and `state.json` show. 0 if, and only if, the turn was completed: Codex itself
/// may exit with 0 without that, and be killed after it.
pub(super) fn exit_code(outcome: &Outcome, exit: ExitFacts) -> i32 {
    if outcome.is_success() {
        return 0;
    }
    if matches!(exit.stopped, Some(StopCause::TimeLimit | StopCause::IdleLimit)) {
        return TIMED_OUT;
    }
    match (exit.code, exit.signal) {
        (_, Some(signal)) => 128 + signal,
        (Some(code), None) if code != 0 => code,
        _ => 1,
    }
}

/// Why an iteration did not succeed; `None` if it did.
pub(super) fn failure(outcome: &Outcome, ended_at: Timestamp) -> Option<Failure> {
    let kind = kind(&outcome.kind)?;
    // The evidence that says most stands last; what only repeats the exit code says nothing.
    let said = outcome.evidence.iter().rev().map(|evidence| evidence.text.as_str());
    let said =
        said.map(|text| text.lines().next().unwrap_or_default()).find(|text| !text.starts_with("exit code"));
    let message = match said {
        Some(said) => format!("{}: {said}", outcome.kind),
        None => outcome.kind.to_string(),
    };
    let failure = Failure::new(kind, message);
    Some(match advice(outcome, ended_at) {
        Some(advice) => failure.with_hint(advice),
        None => failure,
    })
}

fn kind(outcome: &OutcomeKind) -> Option<FailureKind> {
    let own = |word: &str| Some(FailureKind::Other(word.to_owned()));
    match outcome {
        OutcomeKind::Succeeded => None,
        OutcomeKind::ModelError => own("model-error"),
        OutcomeKind::ServerError => own("server-error"),
        OutcomeKind::UsageLimit { .. } => own("usage-limit"),
        OutcomeKind::RateLimited { .. } => own("rate-limit"),
        OutcomeKind::ContextFull => own("context-full"),
        OutcomeKind::QuotaExceeded => own("quota-exceeded"),
        OutcomeKind::Network => own("network"),
        OutcomeKind::Refused { .. } => own("refused"),
        OutcomeKind::CutStream => own("cut-stream"),
        OutcomeKind::StartupFailure { .. } => own("startup"),
        OutcomeKind::WrongThread { .. } => own("wrong-thread"),
        OutcomeKind::Panicked => own("agent-panic"),
        // Not the engine's word "interrupted": the process was not lost, somebody else stopped it.
        OutcomeKind::Interrupted | OutcomeKind::Killed { .. } => Some(FailureKind::Signal),
        OutcomeKind::Lost => Some(FailureKind::Internal),
        OutcomeKind::Died { .. } => Some(FailureKind::Exit),
        OutcomeKind::TimedOut { limit: StopCause::IdleLimit } => Some(FailureKind::IdleTimeout),
        OutcomeKind::TimedOut { limit: StopCause::OutputLimit } => Some(FailureKind::OutputLimit),
        OutcomeKind::TimedOut { .. } => Some(FailureKind::Timeout),
    }
}

fn advice(outcome: &Outcome, ended_at: Timestamp) -> Option<String> {
    if let Some(at) = outcome.retry_not_before(ended_at) {
        return Some(format!("it can go on after {at:.0}: `spindle auto resume`"));
    }
    let advice = match &outcome.kind {
        OutcomeKind::UsageLimit { .. } | OutcomeKind::RateLimited { .. } => {
            "Codex did not say when it can go on; `spindle auto resume` tries again"
        }
        OutcomeKind::Refused { .. } => "is Codex logged in? `codex login status` tells",
        OutcomeKind::QuotaExceeded => "look at the account's billing",
        OutcomeKind::StartupFailure { .. } => "`spindle auto doctor` looks at the usual causes",
        OutcomeKind::TimedOut { limit: StopCause::TimeLimit } => {
            "see runner.iteration_timeout_seconds in config.yml"
        }
        OutcomeKind::TimedOut { limit: StopCause::IdleLimit } => {
            "see runner.idle_timeout_seconds in config.yml"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use codex::{Evidence, Source};

    use super::*;

    fn outcome(kind: OutcomeKind) -> Outcome {
        let evidence = vec![Evidence { source: Source::Event, text: "it said so".to_owned() }];
        Outcome { kind, evidence }
    }

    #[test]
    fn only_a_completed_turn_has_code_0() {
        let exited = |code| ExitFacts { code: Some(code), ..ExitFacts::default() };
        assert_eq!(exit_code(&outcome(OutcomeKind::Succeeded), exited(1)), 0);
        assert_eq!(exit_code(&outcome(OutcomeKind::Interrupted), exited(0)), 1);
        assert_eq!(exit_code(&outcome(OutcomeKind::Died { code: 7 }), exited(7)), 7);
        let killed = ExitFacts { signal: Some(9), ..ExitFacts::default() };
        assert_eq!(exit_code(&outcome(OutcomeKind::Killed { signal: 9 }), killed), 137);
    }

    #[test]
    fn a_usage_limit_names_the_time_of_its_reset() {
        let resets_at = "2026-01-02T03:04:05Z".parse().ok();
        let failure =
            failure(&outcome(OutcomeKind::UsageLimit { resets_at }), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(failure.kind.as_str(), "usage-limit");
        assert!(failure.message.contains("2026-01-02T03:04:05Z"), "{failure}");
        assert!(failure.hint.unwrap().contains("2026-01-02T03:04:05Z"));
    }

    #[test]
    fn no_outcome_of_codex_is_taken_for_a_lost_process() {
        let kinds = [OutcomeKind::Interrupted, OutcomeKind::Lost, OutcomeKind::Killed { signal: 2 }];
        for kind in kinds.map(|kind| failure(&outcome(kind), Timestamp::UNIX_EPOCH).unwrap().kind) {
            assert_ne!(kind, FailureKind::Interrupted);
        }
    }
}
