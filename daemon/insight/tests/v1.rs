//! The rule set `v1` from the bytes of whole spines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use insight::Signal;
use insight::profile::Profile;
use insight::rules::RuleSetV1;
use insight::signal::SignalId;
use trace::derive::Sink;
use trace::session::{Format, Row, Stamp};
use trace::{Fact, Place, What};

struct Rules {
    rules: RuleSetV1,
    live: BTreeMap<SignalId, Signal>,
}

impl Sink for Rules {
    fn row(&mut self, _: Row) {}

    fn fact(&mut self, fact: &Fact<'_>) {
        self.rules.feed(fact, &mut self.live);
    }
}

/// The signals of a settled spine as `category turn`, and its profile.
fn read(path: &Path) -> (Vec<String>, String) {
    let rules = Rules { rules: RuleSetV1::new("test".parse().unwrap()), live: BTreeMap::new() };
    let mut batch = trace::batch::read("test".parse().unwrap(), Format::Spine, &[(0, path)], rules);
    assert_eq!(batch.unread, 0, "{:?}", batch.findings);
    let at = Stamp { seq: 0, time: None, place: Place::default() };
    let what = What::Settled(&batch.session);
    batch.sink.fact(&Fact { at, epoch: 0, turn_id: "", turn: None, what });
    let Rules { rules, live } = batch.sink;
    let profile = Profile::of(rules.course(), true, live.values()).unwrap();
    let mut found: Vec<_> = live.into_values().collect();
    assert!(found.iter().all(|signal| signal.settled));
    found.sort_by_key(|signal| (signal.seq_start, signal.seq_end));
    let word = |signal: &Signal| {
        format!("{} {}", signal.category, signal.turn_id.as_deref().unwrap_or_default()).trim_end().to_owned()
    };
    (found.iter().map(word).collect(), profile.to_string())
}

fn fixture(name: &str) -> (Vec<String>, String) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    read(&directory.join(name).with_extension("jsonl"))
}

#[test]
fn denials_belong_to_the_turn_that_asked() {
    let (found, _) = fixture("friction_repeated_denial");
    assert_eq!(found, ["denial_exec turn_1", "repeated_denial", "denial_exec turn_1", "denial_exec turn_1"]);
}

#[test]
fn the_other_fixtures_give_what_the_corrected_rules_say() {
    let (found, profile) = fixture("friction_exec_failure");
    assert_eq!(
        (found, &*profile),
        (vec!["fast_completion".into(), "exec_failure turn_1".into()], "success_some_friction")
    );
    let (found, profile) = fixture("delight_fast_completion");
    assert_eq!((found, &*profile), (vec!["fast_completion".into()], "success_smooth"));
    let (found, _) = fixture("friction_compaction_churn");
    assert_eq!(found.len(), 5, "{found:?}");
    let (found, _) = fixture("delight_zero_denial");
    assert!(
        found.contains(&"zero_denial".to_owned()) && found.contains(&"fast_completion".to_owned()),
        "{found:?}"
    );
}

/// What the earlier tool got wrong in a spine of Codex itself: a denial counted twice and in no turn, a
/// feature taken for a wish, and everything else unseen.
#[test]
fn a_spine_of_codex_itself_is_understood() {
    let lines = [
        r#"{"type":"session_meta","payload":{"id":"t","timestamp":"2026-03-02T09:00:00.000Z","cwd":"/srv","originator":"codex_exec","cli_version":"0.93.0","source":"exec"}}"#,
        r#"{"type":"event","payload":{"id":"","msg":{"type":"session_configured","session_id":"t","model":"m"}}}"#,
        r#"{"type":"submission","payload":{"id":"0","op":{"type":"user_turn","items":[{"type":"text","text":"Add a cancel button"}]}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"task_started"}}}"#,
        r#"{"type":"turn_context","payload":{"turn_id":"0","context":{"model":"m"}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"exec_command_begin","call_id":"c1","turn_id":"0","command":["bash","-lc","npm i"],"cwd":"/srv"}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"exec_approval_request","call_id":"c1","turn_id":"0","command":["bash","-lc","npm i"],"cwd":"/srv"}}}"#,
        r#"{"type":"submission","payload":{"id":"1","op":{"type":"exec_approval","id":"0","decision":"denied"}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"exec_command_end","call_id":"c1","turn_id":"0","command":["bash","-lc","npm i"],"cwd":"/srv","exit_code":-1,"stderr":"exec command rejected by user"}}}"#,
        r#"{"type":"turn_context","payload":{"turn_id":"0","context":{"model":"m"}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"exec_command_begin","call_id":"c2","turn_id":"0","command":["make"],"cwd":"/srv"}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"exec_command_end","call_id":"c2","turn_id":"0","command":["make"],"cwd":"/srv","exit_code":0}}}"#,
        r#"{"type":"event","payload":{"id":"0","msg":{"type":"task_complete"}}}"#,
        r#"{"type":"submission","payload":{"id":"2","op":{"type":"undo"}}}"#,
        r#"{"type":"event","payload":{"id":"2","msg":{"type":"undo_completed","success":true}}}"#,
        r#"{"type":"submission","payload":{"id":"3","op":{"type":"thread_rollback","num_turns":1}}}"#,
        r#"{"type":"submission","payload":{"id":"4","op":{"type":"user_turn","items":[{"type":"text","text":"Try again"}]}}}"#,
        r#"{"type":"event","payload":{"id":"4","msg":{"type":"task_started"}}}"#,
        r#"{"type":"submission","payload":{"id":"5","op":{"type":"interrupt"}}}"#,
        r#"{"type":"event","payload":{"id":"4","msg":{"type":"turn_aborted","reason":"interrupted"}}}"#,
    ];
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (seq, line) in (1..).zip(lines) {
        let head = r#"{"schema_version":"codex_trace_spine_v1","thread_id":"t""#;
        let rest = &line[1..];
        writeln!(file, r#"{head},"seq":{seq},"timestamp":"2026-03-02T09:00:{seq:02}.000Z",{rest}"#).unwrap();
    }
    let (found, profile) = read(file.path());
    assert_eq!(
        found,
        [
            "first_attempt_success",
            "denial_exec 0",
            "undo 2",
            "backtracking",
            "rollback",
            "abandoned_tool_flow 4"
        ]
    );
    assert_eq!(profile, "abandoned");
}
