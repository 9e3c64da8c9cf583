//! Rollouts, as both versions of Codex write them.

use serde_json::{Value, json};
use trace::record::TokenCounts;
use trace::session::{CallOutcome, TurnEnd};

use crate::scene::*;

pub(crate) const TURN: &str = "01a1fafb-4c97-7c73-955a-dc4f5b912cc5";
pub(crate) const NEXT: &str = "01a1fafb-5035-7ba3-b177-0d77dca46a8f";

pub(crate) fn msg(payload: Value) -> (&'static str, Value) {
    ("event_msg", payload)
}

pub(crate) fn item(payload: Value) -> (&'static str, Value) {
    ("response_item", payload)
}

pub(crate) fn old_meta() -> (&'static str, Value) {
    (
        "session_meta",
        json!({ "id": THREAD, "timestamp": "2026-03-02T07:59:59Z", "cwd": "/srv/app", "source": "exec",
        "originator": "codex_exec", "cli_version": "0.75.0", "instructions": null, "model_provider": "openai",
        "git": { "commit_hash": "c0ffee", "branch": "main" } }),
    )
}

pub(crate) fn usage(n: u64) -> Value {
    json!({ "input_tokens": 100 * n, "cached_input_tokens": 0, "output_tokens": 20 * n,
        "reasoning_output_tokens": 0, "total_tokens": 120 * n })
}

pub(crate) fn token_count(total: u64) -> (&'static str, Value) {
    msg(
        json!({ "type": "token_count", "info": { "last_token_usage": usage(1), "total_token_usage": usage(total) }, "rate_limits": {} }),
    )
}

pub(crate) fn user_item(text: &str) -> (&'static str, Value) {
    item(json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] }))
}

/// The user's words as 0.75.0 has them: as an item and as an event.
pub(crate) fn old_user(text: &str) -> Vec<(&'static str, Value)> {
    let context = json!({ "cwd": "/srv/app", "approval_policy": "never", "sandbox_policy": {"type": "read-only"}, "model": "gpt-5" });
    vec![
        user_item(text),
        msg(json!({ "type": "user_message", "message": text, "images": [] })),
        ("turn_context", context),
    ]
}

pub(crate) fn old_call(call: &str, script: &str, exit_code: i64, output: &str) -> Vec<(&'static str, Value)> {
    let arguments = json!({ "command": ["bash", "-lc", script] }).to_string();
    let output = json!({ "output": output, "metadata": { "exit_code": exit_code, "duration_seconds": 0.5 } })
        .to_string();
    vec![
        item(json!({ "type": "function_call", "name": "shell", "arguments": arguments, "call_id": call })),
        item(json!({ "type": "function_call_output", "call_id": call, "output": output })),
    ]
}

#[test]
fn in_a_rollout_of_0_75_words_begin_a_turn_and_the_next_words_end_it() {
    let mut records = vec![old_meta(), user_item("<environment_context>\n</environment_context>")];
    records.extend(old_user("first"));
    records.extend(old_call("a", "make", 2, "no rule"));
    records.push(token_count(1));
    records.extend([token_count(1), msg(json!({ "type": "agent_message", "message": "it fails" })),
        item(json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "it fails" }] })),
        token_count(2)]);
    records.extend(old_user("second"));
    records.extend([token_count(1), msg(json!({ "type": "turn_aborted", "reason": "interrupted" }))]);
    let (session, told) = of_old_rollout(&records);
    assert_eq!(
        (session.counts.turns, session.counts.requests, session.counts.calls, session.counts.execs),
        (2, 2, 1, 1)
    );
    let turns = told.turns();
    assert_eq!((&turns[0].end, turns[0].ended.unwrap().seq, &*turns[0].id), (&TurnEnd::Open, 12, ""));
    assert_eq!(turns[1].end, TurnEnd::Aborted { reason: "interrupted".into() });
    assert_eq!(
        (turns[0].user_message.as_deref(), turns[1].user_message.as_deref()),
        (Some("first"), Some("second"))
    );
    let call = told.call("a");
    assert_eq!((&*call.arguments, call.outcome, call.exit_code), ("make", CallOutcome::Failed, Some(2)));
    assert_eq!((call.duration_ms, call.turn), (Some(500), Some(0)));
    assert_eq!(told.facts_with("user:"), ["user: first @0", "user: second @1"]);
    assert_eq!(told.facts_with("agent:"), ["agent: it fails @0"]);
    assert_eq!(told.facts_with("interrupt @"), ["interrupt @1"]);
    // Resumed: the second process counted its tokens anew.
    assert_eq!(session.tokens, TokenCounts { input: 300, output: 60, ..TokenCounts::default() });
    assert_eq!(session.git_commit.as_deref(), Some("c0ffee"));
}

#[test]
fn the_same_words_twice_are_two_turns_in_0_75() {
    let mut records = vec![old_meta()];
    records.extend(old_user("continue"));
    records.extend(old_user("continue"));
    assert_eq!(of_old_rollout(&records).0.counts.turns, 2);
}

#[test]
fn what_0_75_says_of_calls_that_did_not_run_is_understood() {
    let call = |call: &str, output: &str| {
        vec![
            item(
                json!({ "type": "function_call", "name": "shell", "arguments": "{\"command\":[\"ls\"]}", "call_id": call }),
            ),
            item(json!({ "type": "function_call_output", "call_id": call, "output": output })),
        ]
    };
    let mut records = vec![old_meta()];
    records.extend(old_user("go"));
    records.extend(call("no", "exec command rejected by user"));
    records.extend(call("broken", "execution error: Io(Os { code: 2 })"));
    records.extend(old_call("slow", "sleep 9", 124, "command timed out after 1000 milliseconds"));
    let (session, told) = of_old_rollout(&records);
    assert_eq!(told.outcome("no"), CallOutcome::Rejected);
    assert_eq!(told.outcome("broken"), CallOutcome::Broken);
    assert_eq!(told.outcome("slow"), CallOutcome::TimedOut);
    // The rejection is the only trace of an answer.
    assert_eq!((session.counts.denials, session.counts.approval_requests), (1, 0));
    let denial = told.approvals()[0];
    assert_eq!((&*denial.call_id, denial.approved, denial.requested), ("no", Some(false), None));
    assert_eq!(told.call("no").approvals, [0]);
}

pub(crate) fn new_meta() -> (&'static str, Value) {
    let mut meta = old_meta();
    meta.1["cli_version"] = json!("0.169.0");
    meta.1["session_id"] = json!(THREAD);
    meta
}

/// A turn of 0.169.0 up to the user's words.
pub(crate) fn new_turn(turn: &str, text: &str) -> Vec<(&'static str, Value)> {
    let user = json!({ "type": "UserMessage", "id": "u", "content": [{ "type": "text", "text": text, "text_elements": [] }] });
    vec![
        msg(json!({ "type": "task_started", "turn_id": turn, "model_context_window": 1000 })),
        user_item("<environment_context>\n</environment_context>"),
        ("world_state", json!({ "full": true, "state": {} })),
        (
            "turn_context",
            json!({ "turn_id": turn, "cwd": "/srv/app", "approval_policy": "never",
            "sandbox_policy": {"type": "read-only"}, "model": "gpt-5" }),
        ),
        user_item(text),
        msg(json!({ "type": "item_completed", "thread_id": THREAD, "turn_id": turn, "item": user })),
    ]
}

pub(crate) fn exec_call(call: &str, cmd: &str) -> (&'static str, Value) {
    item(json!({ "type": "function_call", "name": "exec_command", "call_id": call,
        "arguments": json!({ "cmd": cmd }).to_string(),
        "internal_chat_message_metadata_passthrough": { "turn_id": TURN } }))
}

pub(crate) fn exec_output(call: &str, output: &str) -> (&'static str, Value) {
    item(json!({ "type": "function_call_output", "call_id": call, "output": output,
        "internal_chat_message_metadata_passthrough": { "turn_id": TURN } }))
}

pub(crate) fn executed(call: &str, status: &str, exit_code: Option<i64>) -> (&'static str, Value) {
    msg(
        json!({ "type": "item_completed", "thread_id": THREAD, "turn_id": TURN, "item": { "type": "CommandExecution",
        "id": call, "command": ["/bin/bash", "-lc", "make"], "cwd": "file:///srv/app", "source": "unified_exec_startup",
        "status": status, "aggregated_output": "", "exit_code": exit_code, "duration": {"secs": 0, "nanos": 7_000_000} } }),
    )
}

pub(crate) fn record_of_tokens(total: u64) -> (&'static str, Value) {
    (
        "token_usage_record",
        json!({ "thread_id": THREAD, "turn_id": TURN, "response_id": "r", "usage": usage(1),
        "turn_token_usage": usage(total), "thread_token_usage": usage(total) }),
    )
}

pub(crate) fn new_complete(turn: &str, error: Value) -> (&'static str, Value) {
    msg(json!({ "type": "task_complete", "turn_id": turn, "last_agent_message": null, "error": error }))
}

#[test]
fn in_a_rollout_of_0_169_item_call_and_output_are_one_call_and_tokens_count_once() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("a", "make"),
        record_of_tokens(1),
        executed("a", "completed", Some(0)),
        exec_output("a", "Chunk ID: 1\nWall time: 0.0 seconds\nProcess exited with code 0\nOutput:\nok\n"),
        token_count(1),
        msg(json!({ "type": "item_completed", "thread_id": THREAD, "turn_id": TURN,
            "item": { "type": "AgentMessage", "id": "m", "content": [{ "type": "Text", "text": "done" }] } })),
        record_of_tokens(2),
        token_count(2),
        new_complete(TURN, Value::Null),
    ]);
    let (session, told) = of_rollout(&records);
    assert_eq!((session.counts.turns, session.counts.calls, session.counts.execs), (1, 1, 1));
    assert_eq!((session.counts.requests, session.counts.epochs), (2, 1));
    let call = told.call("a");
    assert_eq!((call.outcome, call.exit_code, call.duration_ms), (CallOutcome::Succeeded, Some(0), Some(7)));
    assert_eq!(
        (call.source.as_deref(), call.cwd.as_deref()),
        (Some("unified_exec_startup"), Some("/srv/app"))
    );
    assert_eq!(told.turns()[0].tokens, TokenCounts { input: 200, output: 40, ..TokenCounts::default() });
    assert_eq!(told.facts_with("user:"), ["user: go @0"]);
    assert_eq!(told.facts_with("a ").len(), 2, "{:?}", told.facts);
    assert_eq!(told.turns()[0].end, TurnEnd::Complete);
}

#[test]
fn a_command_that_0_169_leaves_running_stays_open_until_it_ends() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("a", "serve"),
        exec_output(
            "a",
            "Chunk ID: 1\nWall time: 10.0 seconds\nProcess running with session ID 3\nOutput:\n",
        ),
        new_complete(TURN, Value::Null),
    ]);
    assert_eq!(of_rollout(&records).1.outcome("a"), CallOutcome::Open);
    records.push(executed("a", "failed", Some(1)));
    let (_, told) = of_rollout(&records);
    assert_eq!((told.outcome("a"), told.call("a").turn), (CallOutcome::Failed, Some(0)));
}

#[test]
fn a_command_that_was_declined_is_a_denial_and_no_failure() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("a", "rm x"),
        executed("a", "declined", None),
        exec_output("a", "rejected by user"),
    ]);
    let (session, told) = of_rollout(&records);
    assert_eq!((told.outcome("a"), session.counts.denials), (CallOutcome::Rejected, 1));
    assert_eq!(told.facts_with("declined"), ["a declined @0"]);
}

#[test]
fn a_denied_command_that_0_169_has_no_item_for_is_known_by_what_the_model_was_told() {
    let told_model = |call: &str, reason: &str| {
        exec_output(
            call,
            &format!(
                "exec_command failed: CreateProcess {{ message: {:?} }}",
                format!("Rejected({reason:?})")
            ),
        )
    };
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("user", "touch b"),
        told_model("user", "rejected by user"),
        exec_call("codex", "rm -f x"),
        told_model("codex", "rm -f style commands are not permitted"),
    ]);
    let (session, told) = of_rollout(&records);
    assert_eq!((told.outcome("user"), told.outcome("codex")), (CallOutcome::Rejected, CallOutcome::Failed));
    assert_eq!((session.counts.denials, told.approvals().len()), (1, 1));
}

#[test]
fn a_turn_that_stops_because_of_a_denial_was_not_interrupted() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("a", "rm x"),
        record_of_tokens(1),
        executed("a", "declined", None),
        exec_output("a", "rejected by user"),
        msg(json!({ "type": "turn_aborted", "turn_id": TURN, "reason": "interrupted" })),
    ]);
    let (_, told) = of_rollout(&records);
    assert_eq!(told.facts_with("interrupt @"), [""; 0]);
    assert_eq!(told.turns()[0].end, TurnEnd::Aborted { reason: "interrupted".into() });
}

#[test]
fn a_command_that_an_interrupt_killed_is_interrupted_also_when_its_end_comes_late() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.extend([
        exec_call("a", "sleep 47"),
        exec_output("a", "Wall time: 1.3 seconds\naborted by user"),
        user_item("<turn_aborted>\nThe user interrupted.\n</turn_aborted>"),
        msg(json!({ "type": "turn_aborted", "turn_id": TURN, "reason": "interrupted" })),
        executed("a", "failed", Some(-1)),
    ]);
    let (_, told) = of_rollout(&records);
    assert_eq!((told.outcome("a"), told.call("a").exit_code), (CallOutcome::Interrupted, Some(-1)));
    assert_eq!(told.facts_with("interrupt @"), ["interrupt @0"]);
    assert_eq!(told.facts_with("user:").len(), 1);
}

#[test]
fn a_turn_that_failed_says_why_once() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    let error = json!({ "message": "no more", "codex_error_info": "usage_limit_exceeded" });
    records.push(new_complete(TURN, error));
    let (session, told) = of_rollout(&records);
    assert_eq!(told.turns()[0].end, TurnEnd::Failed { info: Some("usage_limit_exceeded".into()) });
    assert_eq!((session.counts.errors, session.counts.requests), (1, 1));
    assert_eq!(told.facts_with("error: no more").len(), 1);
}

#[test]
fn a_turn_that_begins_while_another_runs_is_another_process() {
    let mut records = vec![new_meta()];
    records.extend(new_turn(TURN, "go"));
    records.push(exec_call("a", "sleep 47"));
    records.extend(new_turn(NEXT, "again"));
    records.push(new_complete(NEXT, Value::Null));
    let (session, told) = of_rollout(&records);
    assert_eq!((session.counts.epochs, session.counts.turns), (2, 2));
    assert_eq!((&told.turns()[0].end, told.turns()[1].epoch), (&TurnEnd::Cut, 1));
}

#[test]
fn a_thread_that_another_version_took_up_goes_on_in_a_new_epoch() {
    let mut records = vec![old_meta()];
    records.extend(old_user("old"));
    records.extend(new_turn(TURN, "new"));
    records.push(new_complete(TURN, Value::Null));
    records.extend(old_user("old again"));
    let (session, told) = of_rollout(&records);
    assert_eq!((session.counts.epochs, session.counts.turns), (3, 3));
    let ids: Vec<_> = told.turns().iter().map(|turn| (turn.epoch, &*turn.id)).collect();
    assert_eq!(ids, [(0, ""), (1, TURN), (2, "")]);
}

#[test]
fn a_plan_is_told_by_the_call_that_makes_it_where_nothing_else_tells_it() {
    let mut records = vec![old_meta()];
    records.extend(old_user("go"));
    let arguments = json!({ "plan": [{ "step": "look", "status": "completed" }, { "step": "mend", "status": "pending" }] });
    records.extend([
        item(json!({ "type": "function_call", "name": "update_plan", "arguments": arguments.to_string(), "call_id": "p" })),
        item(json!({ "type": "function_call_output", "call_id": "p", "output": "Plan updated" })),
    ]);
    let (_, told) = of_old_rollout(&records);
    assert_eq!(told.facts_with("plan"), ["plan of 2 @0"]);
    assert_eq!(told.outcome("p"), CallOutcome::Succeeded);
}

#[test]
fn a_compaction_in_a_rollout_is_counted_once_in_whichever_order_it_is_told() {
    let compacted = ("compacted", json!({ "message": "so far" }));
    let told_of = msg(json!({ "type": "context_compacted" }));
    for pair in [[compacted.clone(), told_of.clone()], [told_of.clone(), compacted.clone()]] {
        let mut records = vec![old_meta()];
        records.extend(old_user("go"));
        records.extend(pair);
        assert_eq!(of_old_rollout(&records).0.counts.compactions, 1);
    }
    let mut records = vec![old_meta()];
    records.extend([compacted.clone(), compacted]);
    assert_eq!(of_old_rollout(&records).0.counts.compactions, 2);
}
