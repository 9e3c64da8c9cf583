//! What holds for all rules together, whatever happens in a session.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use trace::record::{ApprovalKind, ChangeKind};
use trace::session::{CallOutcome, TurnEnd};

use super::story::Story;
use super::{Change, DESCRIPTORS, Reach, RuleSetV1};
use crate::signal::Signal;

/// Something that happens in a session.
#[derive(Clone, Debug)]
enum Deed {
    Says(&'static str),
    AgentSays,
    Ends(TurnEnd),
    Exec(&'static str, i64),
    UserShell(i64),
    TimedOut,
    Tool(CallOutcome),
    Patch(&'static str, ChangeKind, CallOutcome),
    /// A request, its answer, and whether the end of the call is on record.
    Asked(ApprovalKind, &'static str, bool),
    Unanswered(ApprovalKind),
    /// A rejected call without an answer on record.
    Rejected,
    Error(&'static str, Option<&'static str>),
    StreamError(&'static str),
    Warning(&'static str),
    Compacts,
    Plan(&'static str),
    Diff(u64),
    Undo(Option<bool>),
    Rollback(u64),
    Waits(i64),
    Resumes,
    Settles,
}

fn happens(story: &mut Story, deed: &Deed) {
    match deed {
        Deed::Says(words) => story.says(words),
        Deed::AgentSays => story.agent_says("done"),
        Deed::Ends(end) => story.ends(end.clone()),
        Deed::Exec(command, code) => story.exec(command, *code),
        Deed::UserShell(code) => story.call(|call| {
            call.source = Some("user_shell".into());
            call.exit_code = Some(*code);
            call.outcome = if *code == 0 { CallOutcome::Succeeded } else { CallOutcome::Failed };
        }),
        Deed::TimedOut => story.call(|call| call.outcome = CallOutcome::TimedOut),
        Deed::Tool(outcome) => story.call(|call| {
            call.tool = "mcp:docs.search".into();
            call.outcome = *outcome;
        }),
        Deed::Patch(path, kind, outcome) => story.patch(&[(path, *kind)], *outcome),
        Deed::Asked(kind, decision, ended) => {
            story.asks(*kind).answers(decision);
            match (*ended, *decision) {
                (false, _) => story,
                (true, "denied" | "abort") => story.closes(CallOutcome::Rejected, Some(-1)),
                (true, _) => story.closes(CallOutcome::Succeeded, Some(0)),
            }
        }
        Deed::Unanswered(kind) => story.asks(*kind).leaves_unanswered(),
        Deed::Rejected => story.call(|call| call.outcome = CallOutcome::Rejected),
        Deed::Error(message, info) => story.error(message, *info),
        Deed::StreamError(message) => story.stream_error(message),
        Deed::Warning(message) => story.warning(message),
        Deed::Compacts => story.compacts(),
        Deed::Plan(steps) => story.plans(steps),
        Deed::Diff(hash) => story.diff(*hash),
        Deed::Undo(success) => story.undoes(*success),
        Deed::Rollback(turns) => story.rolls_back(*turns),
        Deed::Waits(seconds) => story.waits(*seconds),
        Deed::Resumes => story.resumes(),
        Deed::Settles => story.settles(),
    };
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn deed() -> impl Strategy<Value = Deed> {
    let ends = [
        TurnEnd::Complete,
        TurnEnd::Open,
        TurnEnd::Cut,
        TurnEnd::Failed { info: Some("usage_limit_exceeded".into()) },
        TurnEnd::Aborted { reason: "interrupted".into() },
        TurnEnd::Aborted { reason: "replaced".into() },
    ];
    let kinds = [ApprovalKind::Exec, ApprovalKind::Patch];
    let outcomes = [CallOutcome::Succeeded, CallOutcome::Failed, CallOutcome::Broken];
    let changes = [ChangeKind::Add, ChangeKind::Delete, ChangeKind::Update];
    let commands = ["cargo test", "ls", "bash -lc 'grep a b'"];
    let answers = ["approved", "approved_for_session", "denied", "abort", "maybe"];
    prop_oneof![
        one_of(&["fix it", "undo that", "please go back to the old one"]).prop_map(Deed::Says),
        Just(Deed::AgentSays),
        one_of(&ends).prop_map(Deed::Ends),
        (one_of(&commands), one_of(&[0, 0, 1, 2])).prop_map(|(command, code)| Deed::Exec(command, code)),
        (0..2_i64).prop_map(Deed::UserShell),
        Just(Deed::TimedOut),
        one_of(&outcomes).prop_map(Deed::Tool),
        (one_of(&["a", "b"]), one_of(&changes), one_of(&outcomes))
            .prop_map(|(path, kind, outcome)| Deed::Patch(path, kind, outcome)),
        (one_of(&kinds), one_of(&answers), any::<bool>())
            .prop_map(|(kind, answer, ended)| Deed::Asked(kind, answer, ended)),
        one_of(&kinds).prop_map(Deed::Unanswered),
        Just(Deed::Rejected),
        one_of(&[("broken", None), ("timed out", None), ("full", Some("context_window_exceeded"))])
            .prop_map(|(message, info)| Deed::Error(message, info)),
        one_of(&["Reconnecting... 1/5", "gone"]).prop_map(Deed::StreamError),
        one_of(&["was truncated", "old version"]).prop_map(Deed::Warning),
        Just(Deed::Compacts),
        one_of(&["a> b-", "a+ b>", "a+ b+", "c>", "c+"]).prop_map(Deed::Plan),
        (0..3_u64).prop_map(Deed::Diff),
        one_of(&[None, Some(true), Some(false)]).prop_map(Deed::Undo),
        (1..3_u64).prop_map(Deed::Rollback),
        one_of(&[1, 10]).prop_map(Deed::Waits),
        Just(Deed::Resumes),
        Just(Deed::Settles),
    ]
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(deed(), 0..50)
}

fn told(deeds: &[Deed]) -> Story {
    let mut story = Story::new();
    for deed in deeds {
        happens(&mut story, deed);
    }
    story
}

fn without_pauses(deeds: &[Deed]) -> Vec<Deed> {
    deeds.iter().filter(|deed| !matches!(deed, Deed::Settles)).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn storing_the_state_and_taking_it_up_again_changes_nothing(
        deeds in deeds(), cuts in prop::collection::vec(any::<bool>(), 50),
    ) {
        let whole = told(&deeds);
        let mut cut = Story::new();
        for (deed, stored) in deeds.iter().zip(cuts) {
            happens(&mut cut, deed);
            if stored {
                let text = serde_json::to_vec(&cut.rules).unwrap();
                let taken_up: RuleSetV1 = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(&taken_up, &cut.rules);
                cut.rules = taken_up;
            }
        }
        prop_assert_eq!(cut.changes, whole.changes);
    }

    #[test]
    fn pauses_between_records_leave_no_trace(deeds in deeds()) {
        let mut paused = told(&deeds);
        let mut read_at_once = told(&without_pauses(&deeds));
        paused.agent_says("more");
        read_at_once.agent_says("more");
        prop_assert_eq!(&paused.live, &read_at_once.live, "while it goes on");
        paused.settles();
        read_at_once.settles();
        prop_assert_eq!(paused.live, read_at_once.live, "at last");
    }

    #[test]
    fn what_is_live_is_what_the_records_say(deeds in deeds()) {
        let mut story = told(&without_pauses(&deeds));
        let expected = Expected::of(&without_pauses(&deeds));
        for (category, count) in expected.counts {
            prop_assert_eq!(story.found(category).len(), count, "{}", category);
        }
        story.settles();
        prop_assert!(story.live.values().all(|signal| signal.settled), "all is final at last");
    }

    #[test]
    fn no_two_signals_share_an_id_and_nothing_is_withdrawn_that_was_not_there(deeds in deeds()) {
        let story = told(&deeds);
        let mut live = BTreeMap::new();
        for change in story.changes {
            match change {
                Change::Raised(signal) => {
                    if let Some(before) = live.insert(signal.id.clone(), (*signal).clone()) {
                        prop_assert!(is_the_same(&before, &signal), "{before:#?} and {signal:#?}");
                    }
                },
                Change::Withdrawn(id) => {
                    let gone: Option<Signal> = live.remove(&id);
                    prop_assert_eq!(reach(&gone.unwrap()), Reach::Session);
                },
            }
        }
        prop_assert_eq!(live, story.live);
    }

    #[test]
    fn signals_stay_small_whatever_they_are_about(text in ".{0,2000}", words in "\\PC{0,300}") {
        let mut story = Story::begun(&words);
        story.error(&text, Some(&words)).warning(&format!("truncated {text}")).stream_error(&text);
        story.call(|call| {
            call.arguments.clone_from(&text);
            call.message = Some(words.clone());
            call.outcome = CallOutcome::Failed;
            call.changes = vec![(text.clone(), ChangeKind::Add); 64];
        });
        story.settles();
        for signal in story.live.values() {
            prop_assert!(signal.description.chars().count() <= 240);
            prop_assert!(!signal.description.contains(char::is_control));
            prop_assert!(signal.evidence.to_string().len() <= 16 * 1024);
            prop_assert!(signal.places.len() <= 16);
        }
    }
}

fn reach(signal: &Signal) -> Reach {
    DESCRIPTORS.iter().find(|rule| rule.category == signal.category).unwrap().reach
}

/// Whether one signal may take the place of another.
fn is_the_same(before: &Signal, after: &Signal) -> bool {
    let grows = reach(after) != Reach::Moment || after.category == "undo";
    grows && before.category == after.category && before.seq_start == after.seq_start
}

/// What the rules must find, counted in the plainest way.
struct Expected {
    counts: Vec<(&'static str, usize)>,
}

impl Expected {
    fn of(deeds: &[Deed]) -> Self {
        let count = |wanted: &dyn Fn(&Deed) -> bool| deeds.iter().filter(|deed| wanted(deed)).count();
        let denied = |deed: &Deed| matches!(deed, Deed::Asked(_, "denied" | "abort", _) | Deed::Rejected);
        let granted = |deed: &Deed| matches!(deed, Deed::Asked(_, "approved" | "approved_for_session", _));
        let patch_denied =
            |deed: &Deed| matches!(deed, Deed::Asked(ApprovalKind::Patch, "denied" | "abort", _));
        let denials = count(&denied);
        let compactions = count(&|deed| matches!(deed, Deed::Compacts));
        let failed = |outcome: &CallOutcome| matches!(outcome, CallOutcome::Failed | CallOutcome::Broken);
        let agent_failed = |deed: &Deed| match deed {
            Deed::Exec(command, code) => *code != 0 && !(*code == 1 && command.contains("grep")),
            Deed::Tool(outcome) | Deed::Patch(_, _, outcome) => failed(outcome),
            Deed::TimedOut => true,
            _ => false,
        };
        // Calls that were approved and ended count as commands, too; their command is `true`, which looks.
        let worked = |deed: &Deed| matches!(deed, Deed::Exec("cargo test", 0));
        let churned = ["a", "b"].iter().any(|path| {
            let kinds: BTreeSet<_> = deeds
                .iter()
                .filter_map(|deed| match deed {
                    Deed::Patch(at, kind, CallOutcome::Succeeded) if at == path => Some(*kind),
                    _ => None,
                })
                .collect();
            kinds.contains(&ChangeKind::Add) && kinds.contains(&ChangeKind::Delete)
        });
        let one = usize::from;
        Self {
            counts: vec![
                ("denial_exec", denials - count(&patch_denied)),
                ("denial_patch", count(&patch_denied)),
                ("repeated_denial", one(denials >= 3)),
                ("zero_denial", one(denials == 0 && count(&granted) > 0)),
                ("compaction", compactions),
                ("repeated_compaction", one(compactions >= 2)),
                ("stream_error", count(&|deed| matches!(deed, Deed::StreamError(_)))),
                ("rollback", count(&|deed| matches!(deed, Deed::Rollback(_)))),
                (
                    "exec_failure",
                    count(&|deed| matches!(deed, Deed::Exec(_, code) | Deed::UserShell(code) if *code != 0)),
                ),
                (
                    "patch_failure",
                    count(&|deed| matches!(deed, Deed::Patch(_, _, outcome) if failed(outcome))),
                ),
                ("tool_failure", count(&|deed| matches!(deed, Deed::Tool(outcome) if failed(outcome)))),
                ("timeout", count(&|deed| matches!(deed, Deed::TimedOut | Deed::Error("timed out", _)))),
                (
                    "truncation_warning",
                    count(&|deed| matches!(deed, Deed::Warning("was truncated") | Deed::Error("full", _))),
                ),
                ("first_attempt_success", one(count(&agent_failed) == 0 && count(&worked) > 0)),
                ("file_churn", one(churned)),
            ],
        }
    }
}

#[test]
fn every_category_is_described_once_and_by_sensible_numbers() {
    let categories: BTreeSet<_> = DESCRIPTORS.iter().map(|rule| rule.category).collect();
    assert_eq!(categories.len(), DESCRIPTORS.len());
    for rule in DESCRIPTORS {
        assert!(rule.severity > 0.0 && rule.severity <= 1.0, "{}", rule.category);
    }
}

#[test]
fn what_the_rules_remember_does_not_grow_with_the_session() {
    let mut story = Story::begun("fix it");
    let size = |story: &Story| serde_json::to_vec(&story.rules).unwrap().len();
    for round in 0..1_500_u64 {
        let path = format!("src/{round}");
        story.patch(&[(&path, ChangeKind::Add)], CallOutcome::Succeeded);
        story.patch(&[(&path, ChangeKind::Delete)], CallOutcome::Succeeded);
        story.asks(ApprovalKind::Exec).answers("denied").diff(round).compacts().rolls_back(1).plans("a> b-");
    }
    assert!(size(&story) < 128 * 1024, "{} bytes", size(&story));
}
