//! What the published releases print, recorded against the project's model server, and what this
//! crate makes of it. `tests/codex/recordings` says how the recordings are made.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use codex::{
    ChangeKind, Decoder, ExitFacts, ItemState, Outcome, OutcomeKind, Renderer, StopCause, ThreadId,
    TokenUsage, Transcript, UsageBasis, UsageContext, Version, classify,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// How each recorded case ends: case, 0.169.0, 0.75.0. A dash stands where the case does not exist.
const EXPECTED: &str = "
    message                 succeeded                           succeeded
    multi                   succeeded                           succeeded
    shell                   succeeded                           succeeded
    shell-fails             succeeded                           succeeded
    parallel                succeeded                           succeeded
    patch                   succeeded                           succeeded
    web-search              succeeded                           succeeded
    todo-list               -                                   succeeded
    code-mode-shell         succeeded                           -
    code-mode-parallel      succeeded                           -
    background-command      succeeded                           -
    command-timeout         -                                   succeeded
    mcp-tool-call           -                                   succeeded
    code-mode-mcp-tool-call succeeded                           -
    code-mode-mcp-tool-refused  succeeded                       -
    refused-command         succeeded                           -
    escalate                succeeded                           succeeded
    empty                   succeeded                           succeeded
    output-schema           succeeded                           succeeded
    ephemeral               succeeded                           -
    unknown-model           succeeded                           succeeded
    http-400                refused                             refused
    http-401                refused:401                         refused:401
    http-429                rate_limited                        rate_limited
    http-429-once           succeeded                           succeeded
    http-500                server_error                        server_error
    http-500-once           succeeded                           succeeded
    http-503                server_error                        server_error
    usage-limit             usage_limit                         usage_limit
    usage-limit-soon        usage_limit                         usage_limit
    failed-rate-limit       rate_limited                        rate_limited
    failed-context-length   context_full                        context_full
    failed-quota            quota_exceeded                      quota_exceeded
    failed-server-error     server_error                        server_error
    incomplete              model_error                         cut_stream
    stream-cut              cut_stream                          cut_stream
    stream-cut-once         succeeded                           succeeded
    stream-cut-after-tool   cut_stream                          cut_stream
    stream-reset            cut_stream                          cut_stream
    stream-idle             cut_stream                          cut_stream
    server-down             network                             network
    server-down-unbounded   killed:9                            -
    missing-api-key         refused                             refused
    sigint-in-stream        interrupted                         interrupted
    sigint-in-tool          interrupted                         interrupted
    sigterm-in-stream       killed:15                           killed:15
    sigterm-in-tool         killed:15                           killed:15
    sigkill-in-stream       killed:9                            killed:9
    sigkill-in-tool         killed:9                            killed:9
    stdout-gone             panicked                            panicked
    usage-error             startup_failure:usage               startup_failure:usage
    removed-flag            startup_failure:usage               -
    empty-prompt            startup_failure:prompt              startup_failure:prompt
    broken-config           startup_failure:configuration       startup_failure:configuration
    not-a-repository        startup_failure:not_trusted         startup_failure:not_trusted
    resume                  succeeded                           succeeded
    resume-last             succeeded                           succeeded
    resume-other-model      succeeded                           succeeded
    resume-other-version    succeeded                           succeeded
    resume-after-sigint     succeeded                           succeeded
    resume-after-sigkill    succeeded                           succeeded
    resume-not-a-uuid       succeeded                           succeeded
    resume-unknown-id       startup_failure:thread_not_found    wrong_thread
    resume-busy-thread      startup_failure:thread_busy         succeeded
";

/// One entry of the index.
#[derive(Debug, Deserialize)]
struct Recording {
    case: String,
    version: String,
    exit_code: Option<i32>,
    signal: Option<String>,
    resume_requested: Option<String>,
    stderr: Vec<String>,
}

impl Recording {
    fn all() -> Vec<Self> {
        serde_json::from_slice(&fs::read(directory().join("index.json")).unwrap()).unwrap()
    }

    /// The recording of a case by the newer release, and by the older.
    fn both(case: &str) -> [Self; 2] {
        [Self::of(case, Version::NEWEST_KNOWN), Self::of(case, Version::OLDEST_KNOWN)]
    }

    fn of(case: &str, version: Version) -> Self {
        let wanted = |recording: &Self| recording.case == case && recording.version() == version;
        Self::all().into_iter().find(wanted).unwrap()
    }

    fn version(&self) -> Version {
        self.version.parse().unwrap()
    }

    fn stdout(&self) -> Vec<u8> {
        fs::read(directory().join(format!("{}-{}.jsonl", self.version, self.case))).unwrap()
    }

    fn transcript(&self) -> Transcript {
        Transcript::read(&self.stdout(), recorded_at())
    }

    fn exit(&self) -> ExitFacts {
        let signal = self.signal.as_ref().map(|name| match name.as_str() {
            "SIGKILL" => 9,
            "SIGTERM" => 15,
            other => panic!("unexpected signal {other}"),
        });
        ExitFacts { code: self.exit_code, signal, stopped: None }
    }

    fn outcome(&self) -> Outcome {
        self.outcome_with(self.exit())
    }

    fn outcome_with(&self, exit: ExitFacts) -> Outcome {
        // What is not a UUID cannot be asked for with this crate.
        let requested: Option<ThreadId> = self.resume_requested.as_ref().and_then(|id| id.parse().ok());
        let stderr = self.stderr.join("\n");
        classify(&self.transcript(), exit, stderr.as_bytes(), requested.as_ref(), &TimeZone::UTC)
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/codex/recordings")
}

/// A moment before every reset time in the recordings.
fn recorded_at() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// An outcome as one word, with what tells it from others of its kind.
fn word(kind: &OutcomeKind) -> String {
    let value = serde_json::to_value(kind).unwrap();
    let detail =
        ["reason", "status", "signal"].into_iter().find_map(|key| value.get(key).filter(|v| !v.is_null()));
    let name = value["kind"].as_str().unwrap();
    match detail {
        Some(serde_json::Value::String(detail)) => format!("{name}:{detail}"),
        Some(detail) => format!("{name}:{detail}"),
        None => name.to_owned(),
    }
}

#[test]
fn every_recorded_case_ends_as_the_table_says() {
    let mut expected = BTreeMap::new();
    for line in EXPECTED.trim().lines() {
        let [case, new, old] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        for (version, outcome) in [("0.169.0", new), ("0.75.0", old)] {
            if outcome != "-" {
                expected.insert((case.to_owned(), version.to_owned()), outcome.to_owned());
            }
        }
    }
    let recorded: BTreeMap<_, _> = Recording::all()
        .into_iter()
        .map(|recording| {
            let outcome = word(&recording.outcome().kind);
            ((recording.case, recording.version), outcome)
        })
        .collect();
    let differing: Vec<_> = expected
        .keys()
        .chain(recorded.keys())
        .filter(|key| expected.get(*key) != recorded.get(*key))
        .map(|key| format!("{key:?}: expected {:?}, recorded {:?}", expected.get(key), recorded.get(key)))
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn every_line_of_both_releases_is_understood() {
    for recording in Recording::all() {
        assert_eq!(recording.transcript().unread(), 0, "{recording:?}");
    }
}

#[test]
fn reading_byte_by_byte_gives_the_same_transcript() {
    for recording in Recording::all() {
        let mut decoder = Decoder::new();
        let mut transcript = Transcript::new();
        for byte in recording.stdout() {
            for event in decoder.feed(&[byte], recorded_at()) {
                transcript.push(&event);
            }
        }
        transcript.close();
        assert_eq!(transcript, recording.transcript(), "{recording:?}");
        assert_eq!(decoder.finish(recorded_at()), None);
    }
}

#[test]
fn a_stop_on_request_is_an_interrupt_whatever_signal_it_took() {
    for case in
        ["sigint-in-tool", "sigterm-in-tool", "sigkill-in-tool", "sigint-in-stream", "sigterm-in-stream"]
    {
        for recording in Recording::both(case) {
            let exit = ExitFacts { stopped: Some(StopCause::Requested), ..recording.exit() };
            assert_eq!(recording.outcome_with(exit).kind, OutcomeKind::Interrupted, "{recording:?}");
        }
    }
}

#[test]
fn a_usage_limit_says_when_it_ends() {
    for recording in Recording::both("usage-limit") {
        let resets_at = Some("2099-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(recording.outcome().kind, OutcomeKind::UsageLimit { resets_at }, "{recording:?}");
    }
    for recording in Recording::both("usage-limit-soon") {
        assert!(
            matches!(recording.outcome().kind, OutcomeKind::UsageLimit { resets_at: Some(_) }),
            "{recording:?}"
        );
    }
}

#[test]
fn a_rate_limit_says_how_long_to_wait() {
    for recording in Recording::both("failed-rate-limit") {
        let retry_after = Some(SignedDuration::from_millis(500));
        assert_eq!(recording.outcome().kind, OutcomeKind::RateLimited { retry_after }, "{recording:?}");
    }
}

#[test]
fn connecting_again_is_counted() {
    for (case, count) in
        [("message", 0), ("http-500-once", 0), ("stream-cut-once", 1), ("http-500", 2), ("stream-reset", 2)]
    {
        for recording in Recording::both(case) {
            assert_eq!(recording.transcript().reconnects(), count, "{recording:?}");
        }
    }
}

#[test]
fn the_answer_is_the_last_message() {
    for recording in Recording::both("message") {
        assert_eq!(recording.transcript().answer(), Some("hello from the model server"));
    }
    for recording in Recording::both("multi") {
        let transcript = recording.transcript();
        assert_eq!(transcript.messages().len(), 3);
        assert_eq!(transcript.answer(), transcript.messages().last().map(String::as_str));
    }
    for recording in Recording::both("empty") {
        assert_eq!(recording.transcript().answer(), None);
    }
}

#[test]
fn commands_have_their_output_and_their_end() {
    for recording in Recording::both("shell") {
        let transcript = recording.transcript();
        let [command] = transcript.commands() else { panic!("{transcript:?}") };
        assert!(command.output_tail.starts_with("hello\n"), "{command:?}");
        assert_eq!((command.exit_code, command.state), (Some(0), ItemState::Completed));
    }
    for recording in Recording::both("shell-fails") {
        let transcript = recording.transcript();
        let [command] = transcript.commands() else { panic!("{transcript:?}") };
        assert_eq!((command.exit_code, command.state), (Some(3), ItemState::Failed));
        assert_eq!(command.output_tail, "oops\n");
    }
}

#[test]
fn commands_side_by_side_are_kept_apart() {
    let code_mode = Recording::of("code-mode-parallel", Version::NEWEST_KNOWN);
    for recording in Recording::both("parallel").into_iter().chain([code_mode]) {
        let transcript = recording.transcript();
        assert_eq!(transcript.commands().len(), 2, "{recording:?}");
        for command in transcript.commands() {
            assert_eq!(command.state, ItemState::Completed);
            let printed = command.output_tail.trim();
            assert!(!printed.is_empty() && command.command.contains(printed), "{command:?}");
        }
    }
}

#[test]
fn a_command_left_running_was_abandoned_though_the_turn_succeeded() {
    let transcript = Recording::of("background-command", Version::NEWEST_KNOWN).transcript();
    let [command] = transcript.commands() else { panic!("{transcript:?}") };
    assert_eq!(command.state, ItemState::Abandoned);
    for recording in Recording::both("sigkill-in-tool") {
        assert_eq!(recording.transcript().commands()[0].state, ItemState::Abandoned, "{recording:?}");
    }
}

#[test]
fn a_command_that_codex_refuses_is_not_among_the_commands() {
    let recording = Recording::of("refused-command", Version::NEWEST_KNOWN);
    assert!(recording.transcript().commands().is_empty());
    assert!(recording.stderr.iter().any(|line| line.contains("rejected")));
}

#[test]
fn calls_of_mcp_tools_are_kept() {
    let new = Recording::of("code-mode-mcp-tool-call", Version::NEWEST_KNOWN);
    let old = Recording::of("mcp-tool-call", Version::OLDEST_KNOWN);
    for recording in [new, old] {
        let transcript = recording.transcript();
        let [call] = transcript.mcp_calls() else { panic!("{transcript:?}") };
        assert_eq!((call.server.as_str(), call.tool.as_str()), ("echo", "say"));
        assert_eq!((call.state, &call.error), (ItemState::Completed, &None));
        assert!(call.arguments.is_object(), "{call:?}");
    }
}

#[test]
fn a_call_that_would_need_an_approval_failed_and_says_so() {
    let transcript = Recording::of("code-mode-mcp-tool-refused", Version::NEWEST_KNOWN).transcript();
    let [call] = transcript.mcp_calls() else { panic!("{transcript:?}") };
    assert_eq!(call.state, ItemState::Failed);
    assert!(call.error.as_ref().is_some_and(|error| error.contains("approval")), "{call:?}");
}

#[test]
fn a_patch_is_a_file_change_once() {
    for recording in Recording::both("patch") {
        let transcript = recording.transcript();
        let [change] = transcript.file_changes() else { panic!("{transcript:?}") };
        assert!(change.path.ends_with("/new.txt"), "{change:?}");
        assert_eq!(change.kind, ChangeKind::Add);
    }
}

#[test]
fn searches_and_plans_are_kept() {
    for recording in Recording::both("web-search") {
        assert_eq!(recording.transcript().web_searches(), ["rust daemon"], "{recording:?}");
    }
    let plan = Recording::of("todo-list", Version::OLDEST_KNOWN).transcript();
    assert!(!plan.plan().is_empty() && plan.plan().iter().all(|entry| entry.completed), "{plan:?}");
}

#[test]
fn a_warning_ends_nothing() {
    for case in ["unknown-model", "resume-other-model"] {
        let transcript = Recording::of(case, Version::NEWEST_KNOWN).transcript();
        assert!(!transcript.warnings().is_empty(), "{case}");
    }
}

#[test]
fn the_cost_of_a_resumed_run_is_its_own_in_both_releases() {
    let one_request = |recording: &Recording| {
        let context = UsageContext { version: Some(recording.version()), ..UsageContext::default() };
        recording.transcript().usage(&context).unwrap().run.unwrap()
    };
    for (first, second) in Recording::both("message").iter().zip(Recording::both("resume")) {
        let first = one_request(first);
        for version in [Some(second.version()), None] {
            let context = UsageContext { version, resumed: true, baseline: Some(first) };
            let usage = second.transcript().usage(&context).unwrap();
            assert_eq!(usage.run, Some(first), "{second:?}");
            assert_eq!(usage.thread.map(|tokens| tokens.total()), Some(2 * first.total()));
        }
    }
}

#[test]
fn a_thread_that_changes_its_release_is_still_counted_rightly() {
    let old = TokenUsage { input_tokens: 100, output_tokens: 20, ..TokenUsage::default() };
    let new = Recording::of("resume-other-version", Version::NEWEST_KNOWN);
    let context = UsageContext { version: Some(new.version()), resumed: true, baseline: Some(old) };
    let usage = new.transcript().usage(&context).unwrap();
    assert_eq!(usage.run.map(|tokens| tokens.total()), Some(120));
    assert_eq!(usage.basis, UsageBasis::Difference);
}

#[test]
fn a_resumed_thread_keeps_its_id_and_another_one_is_noticed() {
    for recording in Recording::both("resume") {
        let requested = recording.resume_requested.as_ref().unwrap().parse().unwrap();
        assert!(!recording.transcript().is_on_wrong_thread(&requested), "{recording:?}");
    }
    let old = Recording::of("resume-unknown-id", Version::OLDEST_KNOWN);
    assert!(old.transcript().is_on_wrong_thread(&old.resume_requested.as_ref().unwrap().parse().unwrap()));
}

#[test]
fn the_text_log_ends_with_the_answer_below_the_tokens() {
    for recording in Recording::all() {
        let mut renderer = Renderer::new(UsageContext::default());
        let events = Decoder::new().feed(&recording.stdout(), recorded_at());
        let lines: Vec<String> = events.iter().flat_map(|event| renderer.render(event)).collect();
        assert!(
            lines.iter().all(|line| !line.contains(|c: char| c.is_control() && c != '\t')),
            "{recording:?}"
        );
        let after = lines.iter().position(|line| line == "tokens used").map(|at| lines[at + 2..].join("\n"));
        let transcript = recording.transcript();
        let expected = transcript.terminal().filter(|_| recording.exit_code == Some(0));
        assert_eq!(
            after,
            expected.map(|_| transcript.answer().unwrap_or_default().trim_end().to_owned()),
            "{recording:?}"
        );
    }
}
