//! The state can be stored and taken up again anywhere.

use proptest::prelude::*;
use serde_json::{Value, json};
use trace::derive::{Derive, Deriver};
use trace::session::Format;

use crate::scene::*;

/// A record of a spine, out of few turns and calls, so that they meet.
fn any_record() -> impl Strategy<Value = (&'static str, Value)> {
    let turn = prop::sample::select(vec!["", "0", "1", "2", "auto-compact-0"]);
    let call = prop::sample::select(vec!["a", "b", "c", "0", "1"]);
    let exit = prop::sample::select(vec![0, 1, -1, 124]);
    let decision = prop::sample::select(vec!["approved", "denied", "abort", "perhaps"]);
    (0..24_u8, turn, call, exit, decision).prop_map(|(kind, turn, call, exit, decision)| match kind {
        0 => configured(),
        1 | 2 => user(turn, call),
        3 => started(turn),
        4 => complete(turn),
        5 => event(turn, json!({ "type": "turn_aborted", "reason": "interrupted" })),
        6 | 7 => begin(turn, call, "make"),
        8 | 9 => end(turn, call, exit, REJECTED),
        10 | 11 => asks(turn, call, None),
        12 | 13 => answer(call, turn, decision),
        14 => context(turn),
        15 => (
            "bridge",
            json!({ "bridge_kind": "exec_approval", "parent_turn_id": turn, "sub_agent_thread_id": CHILD,
            "sub_agent_call_id": call, "decision": decision }),
        ),
        16 => event(turn, json!({ "type": "entered_review_mode" })),
        17 => event(turn, json!({ "type": "exited_review_mode" })),
        18 => event(turn, json!({ "type": "user_message", "message": call })),
        19 => event(turn, json!({ "type": "agent_message", "message": call })),
        20 => event(
            turn,
            json!({ "type": "token_count", "info": { "last_token_usage": {"input_tokens": 3},
            "total_token_usage": {"input_tokens": exit + 7} } }),
        ),
        21 => ("compaction_boundary", json!({ "turn_id": turn, "kind": "local" })),
        22 => event(turn, json!({ "type": "context_compacted" })),
        _ => submit(call, json!({ "type": "interrupt" })),
    })
}

/// A record of a rollout, likewise.
fn any_rollout_record() -> impl Strategy<Value = (&'static str, Value)> {
    let turn = prop::sample::select(vec!["", "t1", "t2"]);
    let call = prop::sample::select(vec!["a", "b", "c"]);
    let status = prop::sample::select(vec!["completed", "failed", "declined"]);
    (0..12_u8, turn, call, status).prop_map(|(kind, turn, call, status)| match kind {
        0 => ("event_msg", json!({ "type": "task_started", "turn_id": turn })),
        1 => ("event_msg", json!({ "type": "task_complete", "turn_id": turn })),
        2 => ("event_msg", json!({ "type": "turn_aborted", "turn_id": turn, "reason": "interrupted" })),
        3 | 4 => ("event_msg", json!({ "type": "user_message", "message": call })),
        5 | 6 => (
            "response_item",
            json!({ "type": "function_call", "name": "shell", "call_id": call,
            "arguments": "{\"command\":[\"ls\"]}" }),
        ),
        7 => (
            "response_item",
            json!({ "type": "function_call_output", "call_id": call, "output": "aborted by user" }),
        ),
        8 => (
            "response_item",
            json!({ "type": "function_call_output", "call_id": call,
            "output": "{\"output\":\"\",\"metadata\":{\"exit_code\":1}}" }),
        ),
        9 => (
            "event_msg",
            json!({ "type": "item_completed", "turn_id": turn, "item": { "type": "CommandExecution",
            "id": call, "command": ["ls"], "status": status } }),
        ),
        10 => ("turn_context", json!({ "turn_id": turn, "model": call })),
        _ => ("token_usage_record", json!({ "turn_id": turn, "usage": {"input_tokens": 1} })),
    })
}

/// Feeds lines, and stores the state and takes it up again before those that are marked.
fn with_restarts(format: Format, lines: &[String], marks: &[bool]) -> (trace::session::Session, Told) {
    feed(format, lines, |index, mut deriver, told| {
        if !marks.get(index).copied().unwrap_or_default() {
            return deriver;
        }
        deriver.flush(told);
        let stored = serde_json::to_vec(&deriver).unwrap();
        let again: Deriver = serde_json::from_slice(&stored).unwrap();
        assert_eq!(again, deriver);
        again
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn rows_and_facts_of_a_spine_are_the_same_wherever_it_is_cut(
        records in prop::collection::vec(any_record(), 0..80),
        marks in prop::collection::vec(any::<bool>(), 80),
    ) {
        let lines = spine_lines(&records);
        let whole = with_restarts(Format::Spine, &lines, &[]);
        prop_assert_eq!(with_restarts(Format::Spine, &lines, &marks), whole);
    }

    #[test]
    fn rows_and_facts_of_a_rollout_are_the_same_wherever_it_is_cut(
        records in prop::collection::vec(any_rollout_record(), 0..80),
        marks in prop::collection::vec(any::<bool>(), 80),
    ) {
        let lines = rollout_lines(true, &records);
        let whole = with_restarts(Format::Rollout, &lines, &[]);
        prop_assert_eq!(with_restarts(Format::Rollout, &lines, &marks), whole);
    }

    #[test]
    fn whatever_comes_facts_and_rows_agree(records in prop::collection::vec(any_record(), 0..120)) {
        let (session, told) = of_spine(&records);
        // Nothing ends twice or without having begun.
        let count = |word: &str| told.facts.iter().filter(|fact| fact.contains(word)).count();
        prop_assert_eq!(count(" began @"), told.rows.turns.len());
        prop_assert_eq!(session.counts.turns, told.rows.turns.len() as u64);
        prop_assert!(count(" opened @") <= told.rows.calls.len());
        let own = told.rows.calls.values().filter(|call| call.source.as_deref() != Some(trace::session::COPIED));
        prop_assert_eq!(own.count() as u64, session.counts.calls);
        for (ordinal, call) in &told.rows.calls {
            prop_assert_eq!(*ordinal, call.ordinal);
            prop_assert_eq!(call.closed.is_some(), call.outcome != trace::session::CallOutcome::Open);
            for approval in &call.approvals {
                prop_assert!(told.rows.approvals.contains_key(approval));
            }
        }
    }
}
