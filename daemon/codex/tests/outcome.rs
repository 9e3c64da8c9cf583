//! How an end without a closing event is understood. Closed turns are in `recordings.rs` and in the
//! unit tests of their texts.

#![allow(clippy::unwrap_used)]

use codex::{
    ExitFacts, Outcome, OutcomeKind, Source, StartupFailure, StopCause, ThreadId, Transcript, classify,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

const STARTED: &str = r#"{"type":"thread.started","thread_id":"01a1fafb-4c87-7a22-8307-df19e86425a2"}"#;
const TURN: &str = r#"{"type":"turn.started"}"#;
const COMPLETED: &str = r#"{"type":"turn.completed"}"#;

fn outcome(lines: &[&str], exit: ExitFacts, stderr: &str) -> Outcome {
    let transcript = Transcript::read(lines.join("\n").as_bytes(), Timestamp::UNIX_EPOCH);
    classify(&transcript, exit, stderr.as_bytes(), None, &TimeZone::UTC)
}

fn code(code: i32) -> ExitFacts {
    ExitFacts { code: Some(code), ..ExitFacts::default() }
}

fn signal(signal: i32) -> ExitFacts {
    ExitFacts { signal: Some(signal), ..ExitFacts::default() }
}

fn startup(stderr: &str, exit: i32) -> StartupFailure {
    match outcome(&[], code(exit), stderr).kind {
        OutcomeKind::StartupFailure { reason } => reason,
        other => panic!("not a startup failure: {other}"),
    }
}

#[test]
fn only_the_closing_event_is_success() {
    assert_eq!(outcome(&[STARTED, TURN], code(0), "").kind, OutcomeKind::Interrupted);
    assert!(!outcome(&[], code(0), "").is_success());
    assert!(!outcome(&[STARTED, TURN, r#"{"type":"turn.comple"#], code(0), "").is_success());
}

#[test]
fn a_kill_after_the_closing_event_changes_nothing() {
    let late = ExitFacts { stopped: Some(StopCause::TimeLimit), ..signal(15) };
    for exit in [signal(15), code(101), late, ExitFacts::default()] {
        assert!(outcome(&[STARTED, TURN, COMPLETED], exit, "").is_success());
    }
}

#[test]
fn an_error_event_is_not_the_end() {
    let error = r#"{"type":"error","message":"Reconnecting... 1/5"}"#;
    assert!(outcome(&[STARTED, TURN, error, COMPLETED], code(0), "").is_success());
    let warning = r#"{"type":"item.completed","item":{"type":"error","message":"unknown model"}}"#;
    assert!(outcome(&[STARTED, warning, TURN, COMPLETED], code(0), "").is_success());
}

#[test]
fn what_the_supervisor_did_explains_an_end_without_closing_event() {
    let stopped = |cause| outcome(&[STARTED, TURN], ExitFacts { stopped: Some(cause), ..signal(9) }, "").kind;
    assert_eq!(stopped(StopCause::Requested), OutcomeKind::Interrupted);
    for limit in [StopCause::TimeLimit, StopCause::IdleLimit, StopCause::OutputLimit] {
        assert_eq!(stopped(limit), OutcomeKind::TimedOut { limit });
    }
}

#[test]
fn signals_of_others_are_told_apart() {
    assert_eq!(outcome(&[STARTED, TURN], signal(2), "").kind, OutcomeKind::Interrupted);
    assert_eq!(outcome(&[STARTED, TURN], signal(9), "").kind, OutcomeKind::Killed { signal: 9 });
    assert_eq!(outcome(&[], signal(15), "").kind, OutcomeKind::Killed { signal: 15 });
    // As a shell or a container tells it.
    assert_eq!(outcome(&[STARTED, TURN], code(137), "").kind, OutcomeKind::Killed { signal: 9 });
    assert_eq!(outcome(&[STARTED, TURN], code(130), "").kind, OutcomeKind::Interrupted);
}

#[test]
fn an_end_that_nobody_saw_is_lost() {
    assert_eq!(outcome(&[STARTED, TURN], ExitFacts::default(), "").kind, OutcomeKind::Lost);
}

#[test]
fn a_panic_is_told_by_its_code_or_by_stderr() {
    let panic = "thread 'main' panicked at library/std/src/io/stdio.rs:1165:9:\nfailed printing to stdout: Broken pipe";
    assert_eq!(outcome(&[STARTED, TURN], code(101), panic).kind, OutcomeKind::Panicked);
    assert_eq!(outcome(&[STARTED, TURN], code(1), panic).kind, OutcomeKind::Panicked);
}

#[test]
fn an_error_in_mid_turn_is_not_an_interrupt() {
    assert_eq!(outcome(&[STARTED, TURN], code(1), "").kind, OutcomeKind::Interrupted);
    assert_eq!(outcome(&[STARTED, TURN], code(1), "Error: out of luck").kind, OutcomeKind::Died { code: 1 });
    assert_eq!(outcome(&[STARTED, TURN], code(3), "").kind, OutcomeKind::Died { code: 3 });
}

#[test]
fn a_failure_at_start_is_explained_by_stderr() {
    for (stderr, exit, expected) in [
        (
            "Not inside a trusted directory and --skip-git-repo-check was not specified.",
            1,
            StartupFailure::NotTrusted,
        ),
        ("error: unexpected argument '--full-auto' found", 2, StartupFailure::Usage),
        ("Error loading config.toml: unclosed array", 1, StartupFailure::Configuration),
        ("Error finding codex home: No such file", 1, StartupFailure::Configuration),
        ("Error: config profile `x` not found", 1, StartupFailure::Configuration),
        ("Failed to read output schema file /none: No such file", 1, StartupFailure::Configuration),
        ("Error: thread/resume failed: no rollout found for thread id x", 1, StartupFailure::ThreadNotFound),
        ("Error: thread x already has an active writer", 1, StartupFailure::ThreadBusy),
        ("No prompt provided via stdin.", 1, StartupFailure::Prompt),
        ("Failed to read prompt from stdin: stream did not contain valid UTF-8", 1, StartupFailure::Prompt),
        ("", 0, StartupFailure::NothingRan),
        ("docker: command not found", 127, StartupFailure::Other),
    ] {
        assert_eq!(startup(stderr, exit), expected, "{stderr}");
    }
}

#[test]
fn a_help_page_is_evidence_that_nothing_ran() {
    let outcome = outcome(&["Run Codex non-interactively"], code(0), "");
    assert_eq!(outcome.kind, OutcomeKind::StartupFailure { reason: StartupFailure::NothingRan });
    assert!(outcome.evidence.iter().any(|evidence| evidence.source == Source::Stdout));
}

#[test]
fn work_on_another_thread_is_a_failure_even_if_it_succeeded() {
    let transcript =
        Transcript::read([STARTED, TURN, COMPLETED].join("\n").as_bytes(), Timestamp::UNIX_EPOCH);
    let requested: ThreadId = "00000000-0000-7000-8000-000000000000".parse().unwrap();
    let outcome = classify(&transcript, code(0), b"", Some(&requested), &TimeZone::UTC);
    let started = "01a1fafb-4c87-7a22-8307-df19e86425a2".to_owned();
    assert_eq!(outcome.kind, OutcomeKind::WrongThread { requested, started });
    assert!(!outcome.is_retryable());
}

#[test]
fn the_exact_reset_time_in_stderr_is_preferred_to_the_minute_in_the_message() {
    let failed =
        r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit, try again at 1:00 AM."}}"#;
    let log = r#"1970-01-01T00:00:00.5Z ERROR codex_api: Some("{\"resets_at\": 3599, \"resets_in_seconds\": 3599}")"#;
    let resets_at = |stderr| match outcome(&[STARTED, TURN, failed], code(1), stderr).kind {
        OutcomeKind::UsageLimit { resets_at } => resets_at.unwrap().as_second(),
        other => panic!("not a usage limit: {other}"),
    };
    assert_eq!(resets_at(""), 3600);
    assert_eq!(resets_at(log), 3599);
}

#[test]
fn an_outcome_always_has_evidence_and_survives_being_stored() {
    let failed = r#"{"type":"turn.failed","error":{"message":"rate limit exceeded: try again in 1.5s."}}"#;
    for outcome in [
        outcome(&[STARTED, TURN, COMPLETED], code(0), ""),
        outcome(&[STARTED, TURN, failed], code(1), ""),
        outcome(&[STARTED, TURN], signal(9), ""),
        outcome(&[], ExitFacts::default(), ""),
        outcome(&[], code(2), "error: unexpected argument"),
    ] {
        assert!(!outcome.evidence.is_empty(), "{outcome:?}");
        let stored = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&stored).unwrap(), outcome);
    }
}

#[test]
fn the_next_try_waits_for_as_long_as_codex_said() {
    let ended_at = Timestamp::from_second(100).unwrap();
    let not_before = |message: &str| {
        let failed = serde_json::json!({"type": "turn.failed", "error": {"message": message}}).to_string();
        outcome(&[STARTED, TURN, &failed], code(1), "").retry_not_before(ended_at).map(Timestamp::as_second)
    };
    assert_eq!(not_before("rate limit exceeded: Please try again in 2s."), Some(102));
    assert_eq!(not_before("You've hit your usage limit, try again at 1:00 AM."), Some(3600));
    assert_eq!(not_before("You've hit your usage limit."), None);
    assert_eq!(not_before("something else"), None);
}

proptest! {
    #[test]
    fn no_message_and_no_stderr_make_the_classification_panic(
        message in "(You've hit your usage limit)?( try again (at|in) )?[0-9:.,a-zA-Zäé ]{0,30}",
        stderr in prop::collection::vec(any::<u8>(), 0..200),
        exit in any::<Option<i32>>(),
    ) {
        let failed = serde_json::json!({"type": "turn.failed", "error": {"message": message}}).to_string();
        let transcript = Transcript::read(failed.as_bytes(), Timestamp::MAX);
        let exit = ExitFacts { code: exit, ..ExitFacts::default() };
        prop_assert!(!classify(&transcript, exit, &stderr, None, &TimeZone::UTC).evidence.is_empty());
        prop_assert!(!classify(&Transcript::new(), exit, &stderr, None, &TimeZone::UTC).evidence.is_empty());
    }
}
