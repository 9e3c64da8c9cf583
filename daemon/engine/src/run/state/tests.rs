//! Every path of the state machine, at random and as the documentation draws it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "as it was")
}

fn ending(kill: bool) -> Ending {
    Ending { kill, reason: "enough".to_owned() }
}

/// The states as the documentation names them.
fn states() -> Vec<(&'static str, RunState)> {
    vec![
        ("queued_after", RunState::Queued { until: Turn::After }),
        ("queued", RunState::Queued { until: Turn::Slot }),
        ("queued_retry", RunState::Queued { until: Turn::Retry { at: Timestamp::UNIX_EPOCH } }),
        ("running", RunState::Running { ending: None }),
        ("ending", RunState::Running { ending: Some(ending(false)) }),
        ("waiting", RunState::Waiting { on: Wait::Time { until: Timestamp::UNIX_EPOCH } }),
        ("succeeded", RunState::Succeeded),
        ("failed", RunState::Failed { failure: failure(FailureKind::Exit) }),
        ("canceled", RunState::Canceled { failure: failure(FailureKind::Canceled) }),
        ("interrupted", RunState::Interrupted { failure: failure(FailureKind::Interrupted) }),
    ]
}

/// The events as the documentation names them.
fn events() -> Vec<(&'static str, RunEvent)> {
    let lost = || failure(FailureKind::Interrupted);
    let verdicts = vec![
        ("its workflow succeeds", Verdict::Succeed),
        ("its workflow fails", Verdict::Fail(failure(FailureKind::Exit))),
        (
            "its workflow fails and is tried again",
            Verdict::Retry { failure: failure(FailureKind::Exit), at: Timestamp::UNIX_EPOCH },
        ),
        ("its process is lost and it is held", Verdict::Hold(lost())),
        ("its process is lost and it goes on", Verdict::GoOn(lost())),
    ];
    let mut all = vec![
        ("it gets a slot and its leases", RunEvent::Admitted),
        ("the runs before it ended as wanted", RunEvent::PredecessorsDone),
        ("a run before it ended otherwise", RunEvent::PredecessorFailed(failure(FailureKind::Dependency))),
        ("the time of its next attempt comes", RunEvent::RetryDue),
        ("it waits for something", RunEvent::Suspended(Wait::Time { until: Timestamp::UNIX_EPOCH })),
        ("what it waited for is there", RunEvent::Woken),
        ("cancel", RunEvent::EndRequested(ending(false))),
        ("kill", RunEvent::EndRequested(ending(true))),
        ("resume", RunEvent::Resumed),
    ];
    all.extend(verdicts.into_iter().map(|(name, verdict)| (name, RunEvent::Returned(verdict))));
    all
}

fn name_of(state: &RunState) -> &'static str {
    match state {
        RunState::Queued { until: Turn::After } => "queued_after",
        RunState::Queued { until: Turn::Retry { .. } } => "queued_retry",
        RunState::Running { ending: Some(_) } => "ending",
        other => other.word(),
    }
}

/// Whether a run in such a state can have been started before, and whether it can not.
fn begun(name: &str) -> &'static [bool] {
    match name {
        "queued_after" => &[false],
        "queued" => &[false, true],
        "canceled" => &[true, false],
        _ => &[true],
    }
}

fn diagram() -> String {
    let mut lines = BTreeSet::new();
    for (from, state) in states() {
        for (word, event) in events() {
            for begun in begun(from) {
                let Ok((next, _)) = step(&state, event.clone(), *begun) else { continue };
                if next == state {
                    continue;
                }
                let when = match (from, word, *begun) {
                    ("queued", "cancel" | "kill", false) => " before it has begun",
                    ("queued", "cancel" | "kill", true) => " after it has begun",
                    _ => "",
                };
                lines.insert(format!("    {from} --> {}: {word}{when}", name_of(&next)));
            }
        }
    }
    let lines = lines.into_iter().collect::<Vec<_>>().join("\n");
    format!("```mermaid\nstateDiagram-v2\n    [*] --> queued_after\n    [*] --> queued\n{lines}\n```\n")
}

#[test]
fn the_documentation_draws_the_states_as_they_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/architecture.md");
    let (begin, end) = ("<!-- states: begin -->\n", "<!-- states: end -->");
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(begin).expect("the page has a mark where the diagram begins") + begin.len();
    let length = text[start..].find(end).expect("the page has a mark where the diagram ends");
    let drawn = &text[start..start + length];
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{}{}{}", &text[..start], diagram(), &text[start + length..]);
        std::fs::write(&path, text).unwrap();
        return;
    }
    assert_eq!(drawn, diagram(), "run this test with UPDATE_DOCS=1 to draw it anew");
}

#[test]
fn what_was_asked_to_end_ends_so_unless_it_had_succeeded() {
    let state = RunState::Running { ending: Some(ending(true)) };
    let (next, effects) =
        step(&state, RunEvent::Returned(Verdict::Fail(failure(FailureKind::Exit))), true).unwrap();
    assert_eq!((next.failure().unwrap().kind.clone(), effects), (FailureKind::Killed, vec![Effect::Finish]));
    let (next, _) = step(&state, RunEvent::Returned(Verdict::Succeed), true).unwrap();
    assert_eq!(next, RunState::Succeeded);
}

#[test]
fn a_kill_overtakes_a_cancel_and_not_the_other_way() {
    let canceled = RunState::Running { ending: Some(ending(false)) };
    let (killed, effects) = step(&canceled, RunEvent::EndRequested(ending(true)), true).unwrap();
    assert_eq!(effects, [Effect::Kill]);
    let (still, effects) = step(&killed, RunEvent::EndRequested(ending(false)), true).unwrap();
    assert_eq!((still, effects), (killed, vec![]));
}

fn any_event() -> impl Strategy<Value = RunEvent> {
    proptest::sample::select(events()).prop_map(|(_, event)| event)
}

proptest! {
    /// Follows a run through any events at all, as the engine would.
    #[test]
    fn whatever_happens_a_run_stays_in_order(has_predecessors: bool, happened in prop::collection::vec(any_event(), 0..60)) {
        let mut state = RunState::accepted(has_predecessors);
        let mut begun = false;
        let mut finished = 0_i32;
        for event in happened {
            let resumed = event == RunEvent::Resumed;
            let asked_to_end = matches!(event, RunEvent::EndRequested(_));
            let Ok((next, effects)) = step(&state, event, begun) else {
                // An event that makes no sense is refused; being asked to end makes sense till the end.
                prop_assert!(!asked_to_end || state.is_ended());
                continue;
            };
            prop_assert_eq!(effects.contains(&Effect::Finish), !state.is_ended() && next.is_ended());
            if state.is_ended() {
                prop_assert!(resumed && state != RunState::Succeeded, "what has ended stays so until it is resumed");
                prop_assert_eq!(&effects[0], &Effect::Unpack);
            }
            prop_assert_eq!(effects.contains(&Effect::Unpack), resumed);
            let starts = effects.iter().any(|effect| matches!(effect, Effect::Run | Effect::Cancel | Effect::Kill));
            if next.status() == Status::Running && state.status() != Status::Running {
                prop_assert!(starts, "a run that begins to run is set to work");
            }
            if starts {
                prop_assert_eq!(next.status(), Status::Running, "whatever is set to work has a slot");
            }
            if let RunState::Queued { until: Turn::Retry { at } } = &next && next != state {
                prop_assert!(effects.contains(&Effect::AlarmAt(*at)), "nobody waits without an alarm");
            }
            let json = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(&serde_json::from_str::<RunState>(&json).unwrap(), &next, "a state survives being stored");
            finished += i32::from(effects.contains(&Effect::Finish)) - i32::from(effects.contains(&Effect::Unpack));
            prop_assert_eq!(finished, i32::from(next.is_ended()));
            begun |= next.status() == Status::Running;
            state = next;
        }
    }
}
