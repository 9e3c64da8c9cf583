//! Sub-agents: who belongs to whom, and that nothing is counted twice.

use serde_json::json;
use trace::session::{COPIED, CallOutcome};

use crate::scene::*;

#[test]
fn a_sub_agent_knows_its_parent_and_its_depth() {
    let mut first = meta();
    first.1["source"] = json!({ "subagent": { "thread_spawn": { "parent_thread_id": CHILD, "depth": 2 } } });
    let (session, _) = of_spine(&[first]);
    assert_eq!((&*session.source, session.depth), ("subagent:thread_spawn", Some(2)));
    assert_eq!(session.parent.unwrap().as_str(), CHILD);
}

#[test]
fn a_fork_has_the_thread_that_it_was_forked_from_for_a_parent() {
    let mut first = meta();
    first.1["forked_from_id"] = json!(CHILD);
    assert_eq!(of_spine(&[first]).0.parent.unwrap().as_str(), CHILD);
}

#[test]
fn metadata_of_the_parent_behind_a_forks_own_changes_nothing() {
    let mut other = meta();
    other.1["cwd"] = json!("/elsewhere");
    let (session, _) = of_spine(&[meta(), other]);
    assert_eq!(session.cwd.as_deref(), Some("/srv/app"));
}

fn bridge(decision: &str) -> (&'static str, serde_json::Value) {
    (
        "bridge",
        json!({ "bridge_kind": "exec_approval", "parent_thread_id": THREAD, "parent_turn_id": "1",
        "sub_agent_thread_id": CHILD, "sub_agent_turn_id": "0", "sub_agent_call_id": "call_r", "decision": decision }),
    )
}

#[test]
fn what_a_reviewer_does_is_shown_in_the_parent_but_counted_only_in_its_own_session() {
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "entered_review_mode", "target": {"type": "uncommittedChanges"} })),
        begin("1", "call_r", "git diff"),
        asks("1", "1", None),
        answer("2", "1", "approved"),
        bridge("approved"),
        end("1", "call_r", 1, "no"),
        event("1", json!({ "type": "error", "message": "the reviewer's" })),
        event("1", json!({ "type": "exited_review_mode", "review_output": null })),
        begin("1", "own", "make"),
        end("1", "own", 0, ""),
        complete("1"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.children.iter().map(trace::SessionId::as_str).collect::<Vec<_>>(), [CHILD]);
    let copied = told.call("call_r");
    assert_eq!((copied.source.as_deref(), copied.outcome), (Some(COPIED), CallOutcome::Failed));
    assert_eq!(copied.approvals, [0]);
    assert_eq!((&*told.approvals()[0].call_id, told.approvals()[0].approved), ("call_r", Some(true)));
    let counts = session.counts;
    assert_eq!(
        (counts.calls, counts.execs, counts.approval_requests, counts.approvals, counts.errors),
        (1, 1, 0, 0, 0)
    );
    assert_eq!(told.turns()[0].calls, 1);
    assert_eq!(told.facts_with("call_r"), [""; 0]);
    assert_eq!(told.facts_with("own").len(), 2);
}

#[test]
fn a_bridge_alone_makes_a_call_the_sub_agents() {
    let mut records = opened("1");
    records.extend([
        begin("1", "call_r", "git diff"),
        asks("1", "1", None),
        bridge("denied"),
        end("1", "call_r", -1, REJECTED),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!((session.counts.calls, session.counts.denials), (0, 0));
    assert_eq!((told.rows.calls.len(), told.rows.approvals.len()), (1, 1));
    assert_eq!((told.outcome("call_r"), told.approvals()[0].approved), (CallOutcome::Rejected, Some(false)));
    assert_eq!(told.facts_with("Rejected"), [""; 0]);
}

#[test]
fn threads_that_the_agent_speaks_to_are_its_children() {
    let mut records = opened("1");
    records.extend([
        event("1", json!({ "type": "collab_agent_spawn_begin", "call_id": "s", "sender_thread_id": THREAD, "prompt": "go" })),
        event("1", json!({ "type": "collab_agent_spawn_end", "call_id": "s", "sender_thread_id": THREAD,
            "new_thread_id": CHILD, "prompt": "go", "status": "running" })),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!(session.children[0].as_str(), CHILD);
    assert_eq!(told.outcome("s"), CallOutcome::Succeeded);
}
