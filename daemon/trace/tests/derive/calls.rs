//! Tool calls in spines.

use serde_json::json;
use trace::record::ChangeKind;
use trace::session::CallOutcome;

use crate::scene::*;

fn outcome_of(exit_code: i64, output: &str) -> (CallOutcome, Option<String>) {
    let mut records = opened("1");
    records.extend([begin("1", "call", "make"), end("1", "call", exit_code, output)]);
    let (_, told) = of_spine(&records);
    (told.outcome("call"), told.call("call").message.clone())
}

#[test]
fn a_command_ends_as_its_exit_code_says() {
    assert_eq!(outcome_of(0, "rejected by user"), (CallOutcome::Succeeded, None));
    assert_eq!(outcome_of(2, "no rule"), (CallOutcome::Failed, Some("no rule".into())));
    assert_eq!(
        outcome_of(1, "exec command rejected by user").0,
        CallOutcome::Failed,
        "the command's own words"
    );
    assert_eq!(outcome_of(124, "command timed out after 1000 milliseconds").0, CallOutcome::TimedOut);
    assert_eq!(outcome_of(-1, "execution error: no such file").0, CallOutcome::Broken);
    assert_eq!(outcome_of(-1, "").0, CallOutcome::Broken);
}

#[test]
fn a_call_has_its_words_its_times_and_its_turn() {
    let mut records = opened("1");
    records.extend([begin("1", "call", "make  test"), end("1", "call", 0, "ok"), complete("1")]);
    let (session, told) = of_spine(&records);
    let call = told.call("call");
    assert_eq!((&*call.tool, &*call.arguments), ("exec_command", "make  test"));
    assert_eq!((call.cwd.as_deref(), call.source.as_deref()), (Some("/srv/app"), Some("agent")));
    assert_eq!((call.turn, &*call.turn_id, call.duration_ms), (Some(0), "1", Some(1500)));
    assert_eq!((call.opened.seq, call.closed.unwrap().seq), (6, 7));
    assert_eq!((told.turns()[0].calls, session.counts.calls), (1, 1));
}

#[test]
fn an_end_that_is_told_twice_counts_once() {
    let mut records = opened("1");
    records.extend([begin("1", "call", "make"), end("1", "call", 1, "no"), end("1", "call", 1, "no")]);
    let (session, told) = of_spine(&records);
    assert_eq!((session.counts.calls, session.counts.execs), (1, 1));
    assert_eq!(told.facts_with("Failed").len(), 1);
}

#[test]
fn an_end_without_beginning_is_a_whole_call() {
    let mut records = opened("1");
    records.push(end("1", "call", 3, "no"));
    let (session, told) = of_spine(&records);
    assert_eq!((told.outcome("call"), &*told.call("call").arguments), (CallOutcome::Failed, "make"));
    assert_eq!(told.facts[4..], ["call opened @0", "call Failed @0"]);
    assert_eq!(session.counts.calls, 1);
}

#[test]
fn a_command_in_the_background_ends_turns_later() {
    let startup = json!({ "type": "exec_command_begin", "call_id": "server", "turn_id": "1",
        "source": "unified_exec_startup", "command": ["bash", "-lc", "serve"], "cwd": "/srv/app", "parsed_cmd": [] });
    let mut records = opened("1");
    records.extend([event("1", startup), complete("1"), user("2", "next"), started("2"), complete("2")]);
    records.push(end("1", "server", 0, "bye"));
    let (session, told) = of_spine(&records);
    let call = told.call("server");
    assert_eq!((call.outcome, call.turn, call.opened.seq), (CallOutcome::Succeeded, Some(0), 6));
    assert_eq!((session.counts.turns, session.counts.calls), (2, 1));
    assert_eq!(told.facts.last().unwrap(), "server Succeeded @0");
}

#[test]
fn what_ran_when_the_user_interrupted_is_interrupted_and_not_failed() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call", "sleep 100"),
        submit("2", json!({ "type": "interrupt" })),
        event("1", json!({ "type": "turn_aborted", "reason": "interrupted" })),
        end("1", "call", -1, ""),
    ]);
    let (_, told) = of_spine(&records);
    assert_eq!(told.outcome("call"), CallOutcome::Interrupted);
    assert_eq!(told.facts_with("interrupt @"), ["interrupt @0"]);
    assert_eq!(told.facts_with("call ").len(), 2, "{:?}", told.facts);
}

#[test]
fn a_patch_is_known_by_the_files_that_it_changes() {
    let changes = json!({ "b.rs": {"type": "update", "unified_diff": "@@", "move_path": null}, "a.rs": {"type": "delete", "content": ""} });
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "patch_apply_begin", "call_id": "p", "turn_id": "1", "auto_approved": true, "changes": changes })),
        event("1", json!({ "type": "patch_apply_end", "call_id": "p", "turn_id": "1", "stdout": "Done", "stderr": "", "success": true, "changes": changes })),
        event("1", json!({ "type": "turn_diff", "unified_diff": "" })),
    ]);
    let (session, told) = of_spine(&records);
    let call = told.call("p");
    assert_eq!((&*call.tool, call.outcome), ("apply_patch", CallOutcome::Succeeded));
    assert!(call.changes.contains(&("a.rs".into(), ChangeKind::Delete)), "{:?}", call.changes);
    assert_eq!(session.counts.patches, 1);
    assert_eq!(told.facts.last().unwrap(), "diff, empty: true @0");
}

#[test]
fn tools_of_servers_and_searches_have_names_of_their_own() {
    let invocation = json!({ "server": "docs", "tool": "find", "arguments": {"q": 1} });
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "mcp_tool_call_begin", "call_id": "m", "invocation": invocation })),
        event(
            "1",
            json!({ "type": "mcp_tool_call_end", "call_id": "m", "invocation": invocation,
            "duration": {"secs": 0, "nanos": 2_000_000}, "result": {"Err": "server gone"} }),
        ),
        event("1", json!({ "type": "web_search_begin", "call_id": "w" })),
        event("1", json!({ "type": "web_search_end", "call_id": "w", "query": "rust" })),
    ]);
    let (_, told) = of_spine(&records);
    let call = told.call("m");
    assert_eq!(
        (&*call.tool, call.outcome, call.duration_ms),
        ("mcp:docs.find", CallOutcome::Failed, Some(2))
    );
    assert_eq!(call.message.as_deref(), Some("server gone"));
    assert_eq!((&*told.call("w").tool, told.outcome("w")), ("web_search", CallOutcome::Succeeded));
    assert_eq!(told.call("w").arguments, "rust");
}

#[test]
fn a_question_of_the_model_ends_with_the_users_answer() {
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "request_user_input", "call_id": "q", "turn_id": "1", "questions": [] })),
        submit("5", json!({ "type": "user_input_answer", "id": "1", "response": {"answers": {}} })),
    ]);
    let (_, told) = of_spine(&records);
    assert_eq!((&*told.call("q").tool, told.outcome("q")), ("request_user_input", CallOutcome::Succeeded));
}
