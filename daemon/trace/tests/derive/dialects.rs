//! The dialects that other writers of spines have.

use serde_json::{Value, json};
use trace::session::{CallOutcome, TurnEnd};

use crate::scene::*;

/// Metadata as test fixtures and generators nest it.
fn nested_meta(source: &str) -> (&'static str, Value) {
    (
        "session_meta",
        json!({ "meta": { "id": "test-001", "timestamp": "2026-03-02T08:00:00Z", "cwd": "/srv",
        "originator": "codex", "cli_version": "0.90.0", "source": source, "model_provider": "openai" },
        "git": { "commit_hash": "c0ffee", "branch": "main" } }),
    )
}

#[test]
fn fixtures_with_nested_events_and_answers_that_name_calls_are_understood() {
    let records = [
        nested_meta("CLI"),
        (
            "turn_context",
            json!({ "turn_id": "turn-1", "context": { "cwd": "/srv", "approval_policy": "suggest",
            "sandbox_policy": "read-only", "model": "gpt-5" } }),
        ),
        submit("sub-1", json!({ "type": "user_input", "items": [{"type": "text", "text": "install it"}] })),
        event(
            "turn-1",
            json!({ "type": "exec_approval_request", "call_id": "c1", "command": ["npm", "install"] }),
        ),
        submit("sub-2", json!({ "type": "exec_approval", "call_id": "c1", "decision": {"type": "denied"} })),
        event("turn-1", json!({ "type": "agent_message", "text": "then I stop" })),
        event("turn-1", json!({ "type": "exec_command_begin", "call_id": "c2", "command": ["npm", "test"] })),
        event(
            "turn-1",
            json!({ "type": "exec_command_end", "call_id": "c2", "payload": { "exit_code": 1, "stderr": "no" } }),
        ),
        event(
            "turn-1",
            json!({ "type": "patch_apply_end", "call_id": "c3", "payload": { "success": true } }),
        ),
        event("turn-1", json!({ "type": "warning", "payload": { "message": "truncated" } })),
    ];
    let (session, told) = of_spine(&records);
    assert_eq!((&*session.source, session.git_commit.as_deref()), ("CLI", Some("c0ffee")));
    assert_eq!(
        (session.approval_policy.as_deref(), session.sandbox_policy.as_deref()),
        (Some("suggest"), Some("read-only"))
    );
    assert_eq!(told.outcome("c1"), CallOutcome::Rejected);
    assert_eq!((told.outcome("c2"), told.call("c2").exit_code), (CallOutcome::Failed, Some(1)));
    assert_eq!(told.outcome("c3"), CallOutcome::Succeeded);
    let counts = session.counts;
    assert_eq!((counts.denials, counts.execs, counts.patches, counts.warnings), (1, 2, 1, 1));
    assert!(told.facts.contains(&"agent: then I stop @0".to_owned()), "{:?}", told.facts);
    assert_eq!(told.facts_with("user:"), ["user: install it @0"]);
    assert_eq!(counts.turns, 1);
}

#[test]
fn a_context_and_the_words_it_is_for_are_one_turn_in_any_order_and_under_any_ids() {
    let context = |turn: &str| ("turn_context", json!({ "turn_id": turn, "context": { "model": "gpt-5" } }));
    let work = |call: &str, turn: &str| {
        event(turn, json!({ "type": "exec_command_end", "call_id": call, "payload": { "exit_code": 0 } }))
    };
    for (first, second) in [("turn-1", "turn-2"), ("sub-1", "sub-2")] {
        let turns = [
            [context("turn-1"), user(first, "one"), work("c1", "turn-1")],
            [context("turn-2"), user(second, "two"), work("c2", "turn-2")],
        ];
        for words_first in [false, true] {
            let mut records = vec![nested_meta("CLI")];
            for mut turn in turns.clone() {
                if words_first {
                    turn.swap(0, 1);
                }
                records.extend(turn);
            }
            let (session, told) = of_spine(&records);
            assert_eq!((session.counts.turns, session.counts.requests), (2, 2), "{records:?}");
            let said: Vec<_> =
                told.turns().iter().map(|turn| (&*turn.id, turn.user_message.as_deref())).collect();
            assert_eq!(said, [("turn-1", Some("one")), ("turn-2", Some("two"))]);
            assert_eq!((told.call("c1").turn, told.call("c2").turn), (Some(0), Some(1)));
        }
    }
}

#[test]
fn words_under_the_id_of_the_running_turn_are_that_turns() {
    let context = ("turn_context", json!({ "turn_id": "turn_1", "model": "gpt-5" }));
    let denied = submit("turn_1", json!({ "type": "exec_approval", "id": "c1", "decision": "denied" }));
    let records =
        [nested_meta("CLI"), context, user("turn_1", "do it"), denied, user("turn_1", "never mind")];
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.turns, 1);
    assert_eq!(told.facts_with("user:"), ["user: do it @0", "user: never mind @0"]);
}

#[test]
fn a_generated_turn_is_one_that_its_context_names() {
    let records = [
        nested_meta("SubAgent"),
        (
            "turn_context",
            json!({ "turn_id": "t1", "approval_policy": "always", "sandbox_policy": "none", "model": "gpt-5" }),
        ),
        event("t1", json!({ "type": "exec_approval_request", "call_id": "call-1", "command": ["rm", "x"] })),
        submit("s1", json!({ "type": "exec_approval", "id": "call-1", "decision": {"type": "approved"} })),
        event("t1", json!({ "type": "exec_command_begin", "call_id": "call-1", "command": ["rm", "x"] })),
        event("t1", json!({ "type": "exec_command_end", "call_id": "call-1", "exit_code": 0 })),
        (
            "turn_context",
            json!({ "turn_id": "t2", "approval_policy": "always", "sandbox_policy": "none", "model": "gpt-5" }),
        ),
        ("compaction_boundary", json!({ "reason": "limit", "pre_tokens": 9, "post_tokens": 1 })),
    ];
    let (session, told) = of_spine(&records);
    assert_eq!(session.source, "SubAgent");
    assert!(trace::session::is_sub_agent(&session.source));
    assert_eq!((session.counts.turns, session.counts.compactions, session.counts.calls), (2, 1, 1));
    assert_eq!(told.approvals()[0].approved, Some(true));
    assert_eq!(told.outcome("call-1"), CallOutcome::Succeeded);
    assert_eq!(told.turns()[0].end, TurnEnd::Open);
    assert_eq!(told.turns()[0].ended.unwrap().seq, 6);
}

#[test]
fn unknown_kinds_are_counted_and_change_nothing() {
    let mut records = opened("1");
    records.extend([
        ("brand_new", json!({ "a": 1 })),
        event("1", json!({ "type": "brand_new_event" })),
        submit("2", json!({ "type": "brand_new_op" })),
        complete("1"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!((session.counts.unknown, session.counts.turns, session.counts.records), (3, 1, 9));
    assert_eq!(told.turns()[0].end, TurnEnd::Complete);
}
