//! Epochs: process runs of Codex over one thread.

use serde_json::json;
use trace::session::{CallOutcome, TurnEnd};

use crate::scene::*;

#[test]
fn after_a_resume_the_same_ids_are_other_turns_and_other_calls() {
    let mut records = opened("0");
    records.extend([begin("0", "call", "sleep 9"), asks("0", "call", None)]);
    // Killed; then resumed.
    records.extend([configured(), user("0", "again"), started("0")]);
    records.extend([
        begin("0", "call", "make"),
        answer("1", "0", "approved"),
        end("0", "call", 0, "ok"),
        complete("0"),
    ]);
    let (session, told) = of_spine(&records);
    assert_eq!((session.counts.epochs, session.counts.turns, session.counts.calls), (2, 2, 2));
    let turns = told.turns();
    assert_eq!((turns[0].epoch, &turns[0].end, turns[0].ended.unwrap().seq), (0, &TurnEnd::Cut, 7));
    assert_eq!((turns[1].epoch, &turns[1].end, &*turns[1].id), (1, &TurnEnd::Complete, "0"));
    let outcomes: Vec<_> = told.rows.calls.values().map(|call| (call.epoch, call.outcome)).collect();
    assert_eq!(outcomes, [(0, CallOutcome::Open), (1, CallOutcome::Succeeded)]);
    assert_eq!(told.facts_with("unanswered"), ["call unanswered @0"]);
    let orphan = told.approvals()[1];
    assert_eq!((orphan.epoch, orphan.requested), (1, None), "an answer is never joined across a resume");
}

#[test]
fn the_first_epoch_begins_with_the_first_record_and_is_counted_once() {
    let (session, told) = of_spine(&opened("0"));
    assert_eq!(session.counts.epochs, 1);
    assert_eq!(told.facts_with("epoch"), ["epoch 0 @-"]);
}

#[test]
fn a_spine_without_metadata_is_a_session_all_the_same() {
    let (session, told) = of_spine(&[user("3", "hello"), started("3"), complete("3")]);
    assert_eq!((&*session.source, session.cli_version), ("unknown", None));
    assert_eq!(session.started_at.unwrap().to_string(), "2026-03-02T08:00:00Z");
    assert_eq!(session.counts.turns, 1);
    assert_eq!(told.turns()[0].id, "3");
}

#[test]
fn a_spine_that_begins_in_the_middle_of_a_turn_still_has_that_turn() {
    let (session, told) = of_spine(&[begin("4", "call", "make"), end("4", "call", 0, ""), complete("4")]);
    assert_eq!((session.counts.turns, told.call("call").turn), (1, Some(0)));
    assert_eq!(told.turns()[0].end, TurnEnd::Complete);
}

#[test]
fn a_number_that_comes_twice_does_not_mix_up_records() {
    let mut lines = spine_lines(&opened("0"));
    let again = spine_lines(&[configured(), user("0", "again"), started("0"), complete("0")]);
    lines.extend(again);
    let (session, told) = feed(trace::session::Format::Spine, &lines, |_, deriver, _| deriver);
    assert_eq!((session.counts.turns, session.counts.epochs), (2, 2));
    assert_eq!(told.turns()[1].started.seq, 2);
}

#[test]
fn git_is_what_the_first_artifact_says_and_metadata_only_without_one() {
    let git = |commit: &str, branch: &str| {
        (
            "artifact_ref",
            json!({ "kind": "git_info", "repo_root": "/srv/app", "git": { "commit_hash": commit,
            "branch": branch, "repository_url": "https://me:secret@example.org/app.git" } }),
        )
    };
    let diff = (
        "artifact_ref",
        json!({ "kind": "git_diff", "base_sha": "b0", "artifact_path": "artifacts/git_diff.patch", "sha256": "aa" }),
    );
    let mut first = meta();
    first.1["git"] = json!({ "commit_hash": "from-meta", "branch": "old" });
    let (session, _) = of_spine(&[first.clone()]);
    assert_eq!(session.git_commit.as_deref(), Some("from-meta"));
    let (session, told) = of_spine(&[first, git("c1", "main"), diff, configured(), git("c2", "later")]);
    assert_eq!((session.git_commit.as_deref(), session.git_branch.as_deref()), (Some("c1"), Some("main")));
    assert_eq!(session.git_url.as_deref(), Some("https://example.org/app.git"));
    assert_eq!(session.repo_root.as_deref(), Some("/srv/app"));
    let kinds: Vec<_> = told.rows.artifacts.values().map(|row| (&*row.kind, row.base.as_deref())).collect();
    assert_eq!(kinds, [("git_info", None), ("git_diff", Some("b0")), ("git_info", None)]);
}
