//! Requests for approval and their answers.

use serde_json::json;
use trace::record::ApprovalKind;
use trace::session::CallOutcome;

use crate::scene::*;

#[test]
fn a_denied_command_with_begin_and_end_is_one_rejected_call_and_no_failure() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_7", "make deploy"),
        asks("1", "call_7", None),
        answer("9", "1", "denied"),
        end("1", "call_7", -1, REJECTED),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.outcome("call_7"), CallOutcome::Rejected);
    assert_eq!(told.call("call_7").approvals, [0]);
    let approval = told.approvals()[0];
    assert_eq!((approval.approved, approval.decision.as_deref()), (Some(false), Some("denied")));
    assert_eq!((&*approval.turn_id, approval.submission_id.as_deref()), ("1", Some("9")));
    assert_eq!(approval.latency_ms(), Some(1000));
    assert_eq!((session.counts.denials, session.counts.approval_requests), (1, 1));
    assert_eq!((session.counts.calls, session.counts.execs), (1, 1));
    assert_eq!(
        told.facts[4..],
        ["call_7 opened @0", "call_7 asked @0", "call_7 denied @0", "call_7 Rejected @0"]
    );
}

#[test]
fn abort_is_a_denial_that_stops_the_turn() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_7", "make deploy"),
        asks("1", "call_7", None),
        answer("9", "1", "abort"),
        end("1", "call_7", -1, REJECTED),
        event("1", json!({ "type": "turn_aborted", "reason": "interrupted" })),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.counts.denials, 1);
    assert_eq!(told.outcome("call_7"), CallOutcome::Rejected);
    assert_eq!(told.facts_with("interrupt @"), [""; 0], "the user did not interrupt");
    assert_eq!(told.facts_with("ended").len(), 1);
}

#[test]
fn a_denied_call_that_never_began_is_ended_by_the_answer() {
    let mut records = opened("1");
    records.extend([asks("1", "call_7", None), answer("9", "1", "denied"), complete("1")]);
    let (_, told) = of_spine(&records);
    let call = told.call("call_7");
    assert_eq!((call.outcome, call.closed.unwrap().seq), (CallOutcome::Rejected, 7));
    assert_eq!(call.arguments, "make deploy");
}

#[test]
fn a_retry_outside_the_sandbox_is_a_second_request_of_the_same_call() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_7", "make deploy"),
        asks("1", "call_7", Some("network access")),
        answer("9", "1", "approved"),
        asks("1", "call_7", Some("command failed; retry without sandbox?")),
        answer("10", "1", "approved_for_session"),
        end("1", "call_7", 0, "ok"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.call("call_7").approvals, [0, 1]);
    assert_eq!(told.outcome("call_7"), CallOutcome::Succeeded);
    assert!(told.approvals().iter().all(|approval| approval.approved == Some(true)));
    assert_eq!((session.counts.calls, session.counts.approvals), (1, 2));
    assert_eq!(told.facts_with("unanswered"), [""; 0]);
}

#[test]
fn a_retry_that_is_denied_rejects_the_call_in_spite_of_the_first_answer() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_7", "make deploy"),
        asks("1", "call_7", None),
        answer("9", "1", "approved"),
        asks("1", "call_7", Some("command failed; retry without sandbox?")),
        answer("10", "1", "denied"),
        end("1", "call_7", 1, "sandbox: no"),
    ]);
    assert_eq!(of_spine(&records).1.outcome("call_7"), CallOutcome::Rejected);
}

#[test]
fn a_second_request_in_a_turn_takes_the_place_of_the_first() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_a", "make a"),
        begin("1", "call_b", "make b"),
        asks("1", "call_a", None),
        asks("1", "call_b", None),
        answer("9", "1", "approved"),
        end("1", "call_a", -1, REJECTED),
        end("1", "call_b", 0, "ok"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.facts_with("unanswered"), ["call_a unanswered @0"]);
    assert_eq!(told.facts_with("approved"), ["call_b approved @0"]);
    assert_eq!(told.approvals()[0].approved, None);
    assert_eq!(told.outcome("call_a"), CallOutcome::Rejected);
    assert_eq!((session.counts.approvals, session.counts.denials), (1, 0));
}

#[test]
fn an_answer_belongs_to_the_newest_request_of_its_kind() {
    let mut records = opened("1");
    records.extend([
        event(
            "1",
            json!({ "type": "patch_apply_begin", "call_id": "call_p", "turn_id": "1", "auto_approved": false,
            "changes": {"a.rs": {"type": "add", "content": "x"}} }),
        ),
        event(
            "1",
            json!({ "type": "apply_patch_approval_request", "call_id": "call_p", "turn_id": "1",
            "changes": {"a.rs": {"type": "add", "content": "x"}} }),
        ),
        answer("8", "1", "approved"),
        submit("9", json!({ "type": "patch_approval", "id": "1", "decision": "denied" })),
        event(
            "1",
            json!({ "type": "patch_apply_end", "call_id": "call_p", "turn_id": "1", "stdout": "",
            "stderr": "patch rejected by user", "success": false, "changes": {} }),
        ),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.outcome("call_p"), CallOutcome::Rejected);
    let approvals = told.approvals();
    assert_eq!((approvals[0].kind, approvals[0].approved), (ApprovalKind::Patch, Some(false)));
    let orphan = approvals[1];
    assert_eq!((orphan.kind, &*orphan.call_id, orphan.requested), (ApprovalKind::Exec, "", None));
    assert_eq!((session.counts.patches, session.counts.denials, session.counts.approvals), (1, 1, 1));
}

#[test]
fn a_request_of_a_turn_that_ended_is_unanswered_and_a_late_answer_belongs_to_nothing() {
    let mut records = opened("1");
    records.extend([
        asks("1", "call_7", None),
        event("1", json!({ "type": "turn_aborted", "reason": "interrupted" })),
        answer("9", "1", "approved"),
    ]);
    let (_, told) = of_spine(&records);
    assert_eq!(told.facts_with("unanswered"), ["call_7 unanswered @0"]);
    let approvals = told.approvals();
    assert_eq!((approvals[0].approved, approvals[0].decided), (None, None));
    assert_eq!((approvals[1].approved, approvals[1].requested), (Some(true), None));
    assert_eq!(told.outcome("call_7"), CallOutcome::Interrupted);
}

#[test]
fn an_amendment_of_the_policy_is_an_approval() {
    let mut records = opened("1");
    let amended = json!({ "approved_execpolicy_amendment": { "proposed_execpolicy_amendment": ["make"] } });
    records.extend([
        asks("1", "call_7", None),
        submit("9", json!({ "type": "exec_approval", "id": "1", "decision": amended })),
    ]);
    let (_, told) = of_spine(&records);
    assert_eq!(told.approvals()[0].approved, Some(true));
    assert_eq!(told.approvals()[0].decision.as_deref(), Some("approved_execpolicy_amendment"));
}

#[test]
fn an_answer_that_nobody_knows_is_neither_yes_nor_no() {
    let mut records = opened("1");
    records.extend([asks("1", "call_7", None), answer("9", "1", "perhaps")]);
    let (session, told) = of_spine(&records);
    assert_eq!((told.approvals()[0].approved, told.approvals()[0].decided.is_some()), (None, true));
    assert_eq!((session.counts.approvals, session.counts.denials), (0, 0));
    assert_eq!(told.outcome("call_7"), CallOutcome::Open);
}

#[test]
fn requests_that_wait_together_are_answered_by_call_where_the_dialect_names_calls() {
    let by_call = |id: &str, call: &str, decision: &str| {
        submit(id, json!({ "type": "exec_approval", "call_id": call, "decision": {"type": decision} }))
    };
    let mut records = opened("1");
    records.extend([
        asks("1", "call_a", None),
        by_call("2", "call_a", "approved"),
        asks("1", "call_b", None),
        asks("1", "call_c", None),
        by_call("3", "call_b", "denied"),
        by_call("4", "call_c", "approved"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(told.facts_with("unanswered"), [""; 0]);
    let approved: Vec<_> = told.approvals().iter().map(|approval| approval.approved).collect();
    assert_eq!(approved, [Some(true), Some(false), Some(true)]);
    assert_eq!((session.counts.approvals, session.counts.denials), (2, 1));
}

#[test]
fn an_answer_may_name_the_call_in_place_of_the_turn() {
    let mut records = opened("1");
    records.extend([
        asks("1", "call_a", None),
        submit("7", json!({ "type": "exec_approval", "id": "call_a", "decision": {"type": "denied"} })),
    ]);
    let (_, told) = of_spine(&records);
    assert_eq!(told.approvals().len(), 1);
    assert_eq!(told.outcome("call_a"), CallOutcome::Rejected);
}
