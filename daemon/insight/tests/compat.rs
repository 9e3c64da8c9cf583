//! The rule set `compat` finds in the five documented fixtures what the earlier tool found in its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use insight::compat::{self, Counts, Report};
use insight::rules::check_category;
use insight::signal::SignalType;
use trace::Place;

fn places(text: &str) -> impl Iterator<Item = (Place, &str)> {
    (1..).zip(text.lines()).map(|(line, text)| (Place { line, ..Place::default() }, text))
}

fn read(text: &str) -> Report {
    compat::read(&"test".parse().unwrap(), places(text)).unwrap()
}

fn fixture(name: &str) -> Report {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension("jsonl");
    read(&std::fs::read_to_string(path).unwrap())
}

/// The signals as `category: first[-last]`.
fn found(report: &Report) -> Vec<String> {
    let signal = |signal: &insight::Signal| match (signal.seq_start, signal.seq_end) {
        (None, _) => signal.category.clone(),
        (Some(first), None) => format!("{}: {first}", signal.category),
        (Some(first), Some(last)) => format!("{}: {first}-{last}", signal.category),
    };
    report.signals.iter().map(signal).collect()
}

#[test]
fn three_denials_are_found_at_their_records_and_together() {
    let report = fixture("friction_repeated_denial");
    assert_eq!(
        found(&report),
        ["denial_exec: 6", "denial_exec: 9", "denial_exec: 12", "repeated_denial: 6-12"]
    );
    assert_eq!(report.signals[0].turn_id.as_deref(), Some("sub_1"), "the submission, not the turn");
    assert_eq!(report.signals[3].evidence["denial_count"], 3);
}

#[test]
fn a_failure_and_the_later_success_are_both_told() {
    let report = fixture("friction_exec_failure");
    assert_eq!(found(&report), ["exec_failure: 5", "fast_completion"]);
    assert_eq!(report.signals[0].call_id, None, "an id beside the nested fields is not seen");
    let evidence = &report.signals[1].evidence;
    assert_eq!((&evidence["successful_execs"], &evidence["successful_patches"]), (&1.into(), &1.into()));
}

#[test]
fn compactions_are_found_by_number_across_gaps() {
    let report = fixture("friction_compaction_churn");
    assert_eq!(
        found(&report),
        [
            "truncation_warning: 31",
            "compaction: 10",
            "compaction: 20",
            "compaction: 30",
            "repeated_compaction: 10-30"
        ]
    );
}

#[test]
fn one_patch_is_a_fast_completion() {
    let report = fixture("delight_fast_completion");
    assert_eq!(found(&report), ["fast_completion"]);
    let evidence = &report.signals[0].evidence;
    assert_eq!((&evidence["successful_execs"], &evidence["successful_patches"]), (&0.into(), &1.into()));
}

#[test]
fn all_three_kinds_of_delight_are_found_together() {
    let report = fixture("delight_zero_denial");
    assert_eq!(found(&report), ["fast_completion", "zero_denial", "first_attempt_success"]);
    assert_eq!(report.signals[1].evidence["approval_count"], 2);
    assert_eq!(report.signals[2].evidence["exec_count"], 1);
}

#[test]
fn the_five_fixtures_have_the_documented_totals() {
    let all = [
        ("friction_repeated_denial", 14),
        ("friction_exec_failure", 10),
        ("friction_compaction_churn", 7),
        ("delight_fast_completion", 6),
        ("delight_zero_denial", 12),
    ];
    let mut signals = Vec::new();
    let (mut turns, mut calls) = (0, 0);
    for (name, records) in all {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        assert_eq!(std::fs::read_to_string(path.with_extension("jsonl")).unwrap().lines().count(), records);
        let report = fixture(name);
        turns += report.counts.turns;
        calls += report.counts.calls;
        signals.extend(report.signals);
    }
    let friction = signals.iter().filter(|signal| signal.kind == SignalType::Friction).count();
    assert_eq!((signals.len(), friction, turns, calls), (15, 10, 6, 0));
    // Both rule sets have the same words.
    assert!(signals.iter().all(|signal| check_category(&signal.category).is_ok()));
}

/// A spine of Codex itself, with everything that goes wrong in that tool.
const REAL: &str = r#"
{"seq":1,"type":"session_meta","payload":{"id":"t"}}
{"seq":2,"type":"submission","payload":{"id":"0","op":{"type":"user_turn","items":[{"type":"text","text":"Add a cancel button"}]}}}
{"seq":3,"type":"turn_context","payload":{"turn_id":"0"}}
{"seq":4,"type":"turn_context","payload":{"turn_id":"0"}}
{"seq":5,"type":"turn_context","payload":{"turn_id":"0"}}
{"seq":6,"type":"turn_context","payload":{"turn_id":"0"}}
{"seq":7,"type":"event","payload":{"id":"0","msg":{"type":"exec_command_begin","call_id":"c1"}}}
{"seq":8,"type":"submission","payload":{"id":"1","op":{"type":"exec_approval","id":"0","decision":"denied"}}}
{"seq":9,"type":"event","payload":{"id":"0","msg":{"type":"exec_command_end","call_id":"c1","exit_code":-1}}}
{"seq":10,"type":"submission","payload":{"id":"2","op":{"type":"exec_approval","id":"0","decision":"abort"}}}
{"seq":11,"type":"submission","payload":{"id":"3","op":{"type":"undo"}}}
{"seq":12,"type":"submission","payload":{"id":"4","op":{"type":"thread_rollback","num_turns":1}}}
{"seq":13,"type":"submission","payload":{"id":"5","op":{"type":"interrupt"}}}
{"seq":14,"type":"event","payload":{"id":"0","msg":{"type":"exec_command_end","call_id":"c2","exit_code":0}}}
"#;

#[test]
fn the_faults_of_the_earlier_tool_are_kept() {
    let report = read(REAL);
    assert_eq!(found(&report), ["denial_exec: 8", "revert_in_message: 2", "exec_failure: 9"]);
    assert_eq!(report.signals[0].turn_id.as_deref(), Some("1"));
    assert_eq!(report.counts, Counts { turns: 4, calls: 1, denials: 1, ..Counts::default() });
}

#[test]
fn the_documented_corpus_has_the_documented_signals() {
    let home = tempfile::tempdir().unwrap();
    corpus::demo(home.path(), 42).unwrap();
    let mut signals = BTreeMap::<String, u64>::new();
    let (mut turns, mut calls, mut compactions) = (0, 0, 0);
    for spine in std::fs::read_dir(home.path().join("trace_spine")).unwrap() {
        let text = std::fs::read_to_string(spine.unwrap().path().join("segment-000.jsonl")).unwrap();
        let report = read(&text);
        turns += report.counts.turns;
        calls += report.counts.calls;
        compactions += report.counts.compactions;
        for signal in report.signals {
            *signals.entry(signal.category).or_default() += 1;
        }
    }
    let expected = corpus::DEMO;
    assert_eq!((turns, calls, compactions), (expected.turns, expected.calls, expected.compactions));
    let expected =
        expected.signals.iter().map(|(category, count)| ((*category).to_owned(), *count)).collect();
    assert_eq!(signals, expected);
}

#[test]
fn records_are_taken_in_the_order_of_their_numbers() {
    let mut lines: Vec<_> = REAL.trim().lines().collect();
    lines.reverse();
    assert_eq!(found(&read(&lines.join("\n"))), found(&read(REAL)));
}

#[test]
fn a_line_that_is_no_json_is_passed_over_and_one_that_is_no_object_loses_the_spine() {
    let torn = format!("{REAL}\n{{\"seq\":15,\"ty");
    assert_eq!(read(&torn).unreadable, 1);
    assert_eq!(found(&read(&torn)), found(&read(REAL)));
    let session = "test".parse().unwrap();
    assert!(compat::read(&session, places("{\"seq\":1}\n[]")).is_err());
}

#[test]
fn errors_plans_and_files_are_counted_as_documented() {
    let mut text = String::new();
    let mut event = |msg: serde_json::Value| {
        let record = serde_json::json!({ "seq": 1, "type": "event", "payload": { "id": "0", "msg": msg } });
        writeln!(text, "{record}").unwrap();
    };
    for _ in 0..5 {
        event(serde_json::json!({ "type": "plan_update", "plan": [] }));
    }
    event(serde_json::json!({ "type": "error", "message": "Request TIMEOUT" }));
    event(serde_json::json!({ "type": "error", "payload": { "message": "it timed out" } }));
    event(serde_json::json!({ "type": "stream_error", "message": "gone" }));
    for kind in ["delete", "add"] {
        event(
            serde_json::json!({ "type": "patch_apply_end", "success": false, "changes": { "a": { "type": kind } } }),
        );
    }
    let report = read(&text);
    let categories: Vec<_> = report.signals.iter().map(|signal| signal.category.as_str()).collect();
    assert_eq!(
        categories,
        [
            "timeout",
            "error_event",
            "stream_error",
            "file_churn",
            "plan_update_churn",
            "patch_failure",
            "patch_failure"
        ]
    );
    let ids: BTreeSet<_> = report.signals.iter().map(|signal| &signal.id).collect();
    assert_eq!(ids.len(), report.signals.len(), "the same number does not make the same signal");
}

#[test]
fn an_exit_code_that_is_out_of_range_is_a_failure() {
    for code in ["1e999", "-1e999", "99999999999999999999999"] {
        let line = |seq: u32, code: &str| {
            format!(
                r#"{{"seq":{seq},"type":"event","payload":{{"id":"1","msg":{{"type":"exec_command_end","call_id":"c","exit_code":{code}}}}}}}"#
            )
        };
        let report = read(&[line(1, "0"), line(2, code)].join("\n"));
        assert_eq!((found(&report), report.unreadable), (vec!["exec_failure: 2".to_owned()], 0), "{code}");
    }
}
