//! User turns in spines.

use serde_json::json;
use trace::record::TokenCounts;
use trace::session::TurnEnd;

use crate::scene::*;

#[test]
fn a_turn_is_what_the_user_asked_for_and_not_a_request_to_the_model() {
    let mut records = opened("1");
    records.extend([context("1"), context("1"), context("1"), complete("1")]);
    let (session, told) = of_spine(&records);
    assert_eq!((session.counts.turns, session.counts.requests), (1, 4));
    let turn = told.turns()[0];
    assert_eq!(
        (turn.requests, &turn.end, turn.user_message.as_deref()),
        (4, &TurnEnd::Complete, Some("do it"))
    );
    assert_eq!((turn.started.seq, turn.ended.unwrap().seq, turn.user_place.unwrap().line), (3, 9, 3));
    assert_eq!(turn.model.as_deref(), Some("gpt-5"));
    assert_eq!(turn.sandbox_policy.as_deref(), Some("workspace-write"));
}

#[test]
fn words_that_are_sent_while_a_turn_runs_belong_to_it() {
    let mut records = opened("1");
    records.extend([
        user("2", "and be quick"),
        event("1", json!({ "type": "user_message", "message": "and be quick" })),
        complete("1"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.turns, 1);
    assert_eq!(told.facts_with("user:"), ["user: do it @0", "user: and be quick @0"]);
    assert_eq!(told.turns()[0].user_message.as_deref(), Some("do it"));
}

#[test]
fn words_that_came_too_late_for_a_turn_begin_one_of_their_own() {
    let mut records = opened("1");
    records.extend([user("2", "then this"), complete("1"), started("2"), complete("2")]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.turns, 2);
    assert_eq!(told.turns()[1].user_message.as_deref(), Some("then this"));
    assert_eq!(told.facts_with("user:").len(), 2);
}

#[test]
fn words_are_told_once_whether_submitted_told_or_both() {
    let echo = |turn: &str, text: &str| event(turn, json!({ "type": "user_message", "message": text }));
    let records = [
        meta(),
        configured(),
        submit(
            "1",
            json!({ "type": "user_input", "items": [{"type": "text", "text": "first\n"}, {"type": "text", "text": "line"}] }),
        ),
        started("1"),
        echo("1", "first\nline"),
        complete("1"),
        started("2"),
        echo("2", "only told"),
        complete("2"),
    ];
    let (session, told) = of_spine(&records);
    assert_eq!(told.facts_with("user:"), ["user: first\n\nline @0", "user: only told @1"]);
    assert_eq!(session.counts.turns, 2);
    assert_eq!(told.turns()[1].user_message.as_deref(), Some("only told"));
}

#[test]
fn what_codex_says_in_the_users_name_is_not_the_users_word() {
    let records = [
        meta(),
        configured(),
        submit(
            "1",
            json!({ "type": "user_turn", "items": [
            {"type": "text", "text": "<environment_context>\n<cwd>/srv</cwd></environment_context>"},
            {"type": "text", "text": "fix it"} ] }),
        ),
        started("1"),
        event("1", json!({ "type": "user_message", "message": "# AGENTS.md instructions for /srv" })),
        complete("1"),
    ];
    let (_, told) = of_spine(&records);
    assert_eq!(told.facts_with("user:"), ["user: fix it @0"]);
}

#[test]
fn compacting_undoing_and_the_users_own_commands_are_no_user_turns() {
    let mut records = opened("1");
    records.extend([
        complete("1"),
        submit("2", json!({ "type": "compact" })),
        started("2"),
        context("2"),
        complete("2"),
        submit("3", json!({ "type": "undo" })),
        started("3"),
        event("3", json!({ "type": "undo_completed", "success": true, "message": null })),
        complete("3"),
        submit("4", json!({ "type": "run_user_shell_command", "command": "ls" })),
        started("4"),
        begin("4", "mine", "ls"),
        end("4", "mine", 0, ""),
        complete("4"),
        context("auto-compact-0"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.turns, 1);
    assert_eq!((told.call("mine").turn, &*told.call("mine").turn_id), (None, "4"));
    assert_eq!(told.facts_with("undo"), ["undo None @-", "undo Some(true) @-"]);
}

#[test]
fn a_rollback_is_one_fact_whether_asked_for_told_or_both() {
    let mut records = opened("1");
    records.extend([
        complete("1"),
        submit("2", json!({ "type": "thread_rollback", "num_turns": 2 })),
        event("2", json!({ "type": "thread_rolled_back", "num_turns": 2 })),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.facts_with("rollback").len(), 1);
    assert_eq!(session.counts.turns, 1);
}

#[test]
fn tokens_that_are_told_again_are_counted_once() {
    let usage = |input: u64, total: u64| {
        let counts = |n: u64| {
            json!({ "input_tokens": n, "cached_input_tokens": 0, "output_tokens": n / 10,
            "reasoning_output_tokens": 0, "total_tokens": n })
        };
        json!({ "type": "token_count", "info": { "last_token_usage": counts(input), "total_token_usage": counts(total) } })
    };
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "token_count", "info": null })),
        event("1", usage(100, 100)),
        event("1", usage(100, 100)),
        event("1", usage(200, 300)),
        complete("1"),
    ]);
    let (session, told) = of_spine(&records);
    let expected = TokenCounts { input: 300, cached_input: 0, output: 30, reasoning: 0 };
    assert_eq!((session.tokens, told.turns()[0].tokens), (expected, expected));
    assert_eq!(told.facts_with("tokens").len(), 2);
}

#[test]
fn a_compaction_begins_a_new_context_for_the_turns_after_it() {
    let boundary = (
        "compaction_boundary",
        json!({ "turn_id": "auto-compact-0", "kind": "local",
        "summary_message": "so far", "pre_compaction_history": [], "post_compaction_history": [] }),
    );
    let mut records = opened("1");
    records.extend([
        context("auto-compact-0"),
        boundary,
        event("auto-compact-0", json!({ "type": "context_compacted" })),
        complete("1"),
        user("2", "go on"),
        started("2"),
        complete("2"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.compactions, 1);
    let contexts: Vec<_> = told.turns().iter().map(|turn| turn.context).collect();
    assert_eq!(contexts, [0, 1]);
    let row = &told.rows.compactions[&0];
    assert_eq!((row.kind.as_deref(), &*row.turn_id), (Some("local"), "auto-compact-0"));
}

#[test]
fn errors_warnings_and_reconnects_are_counted_each_by_its_kind() {
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "stream_error", "message": "Reconnecting... 1/5" })),
        event("1", json!({ "type": "warning", "message": "careful" })),
        event(
            "1",
            json!({ "type": "error", "message": "full", "codex_error_info": "context_window_exceeded" }),
        ),
        complete("1"),
    ]);
    let (session, told) = of_spine(&records);
    let counts = session.counts;
    assert_eq!((counts.errors, counts.warnings, counts.stream_errors), (1, 1, 1));
    assert_eq!(told.facts_with("error: full"), ["error: full @0"]);
}

#[test]
fn an_orderly_end_closes_the_session_whatever_is_still_said() {
    let mut records = opened("1");
    records.extend([
        submit("9", json!({ "type": "shutdown" })),
        event("1", json!({ "type": "turn_aborted", "reason": "interrupted" })),
    ]);
    let (session, told) = of_spine(&records);
    assert!(session.closed);
    assert_eq!(told.facts_with("shutdown").len(), 1);
}
