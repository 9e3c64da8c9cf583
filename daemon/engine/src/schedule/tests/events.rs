//! Firing by events.

use super::*;

fn on_run(filter: Value) -> Trigger {
    Trigger::Event { kind: "run.finished".to_owned(), filter }
}

/// A run that a person started has ended.
fn ended(outcome: RunOutcome) -> EventView {
    run_finished(Some(RunFacts {
        id: Uuid::now_v7(),
        workflow: "exec".to_owned(),
        outcome: Some(outcome),
        labels: BTreeMap::new(),
        schedule: None,
    }))
}

#[tokio::test]
async fn a_schedule_fires_for_each_event_that_matches() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let added = daemon.add("rescue", on_run(json!({"outcomes": ["failed"]}))).await;
    assert_eq!(added.next_at, None);
    for outcome in [RunOutcome::Failed, RunOutcome::Succeeded, RunOutcome::Failed] {
        daemon.host.emit(ended(outcome));
    }
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["event 1", "event 3"]);
    assert_eq!(daemon.host.stored_schedule("rescue").last_event, 3);
}

#[tokio::test]
async fn what_happened_before_a_schedule_was_added_or_while_it_was_disabled_does_not_count() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("disabled", on_run(Value::Null)).await;
    daemon.handle.disable("disabled").await.unwrap();
    daemon.host.emit(ended(RunOutcome::Failed));
    daemon.settle().await;
    daemon.handle.enable("disabled").await.unwrap();
    daemon.add("late", on_run(Value::Null)).await;
    daemon.settle().await;

    // Nor does it when a restarted daemon reads those events again.
    assert_eq!(daemon.host.look(|world| world.cursor), 0);
    daemon.restart_after(MINUTE).await;
    daemon.settle().await;
    assert!(daemon.fired().is_empty());

    daemon.host.emit(ended(RunOutcome::Failed));
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["event 2", "event 2"]);
}

#[tokio::test]
async fn a_schedule_does_not_answer_the_end_of_its_own_run() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("rescue", on_run(Value::Null)).await;
    daemon.host.emit(ended(RunOutcome::Failed));
    daemon.settle().await;
    let own_run = daemon.host.look(|world| world.runs[0].id);
    daemon.host.finish(own_run, RunOutcome::Failed);
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["event 1"]);
}

#[tokio::test]
async fn schedules_do_not_set_each_other_off_in_a_circle() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let ping = daemon.add("ping", on_run(json!({"schedule": "pong"}))).await;
    let pong = daemon.add("pong", on_run(json!({"schedule": "ping"}))).await;
    let run = daemon.handle.run_now("ping", "first").await.unwrap();
    daemon.host.finish(run, RunOutcome::Succeeded);
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["command first", "event 1"]);

    let (run, lineage) = daemon.host.look(|world| (world.runs[1].id, world.runs[1].firing.lineage.clone()));
    assert_eq!(lineage, [ping.id, pong.id]);
    daemon.host.finish(run, RunOutcome::Succeeded);
    daemon.settle().await;
    assert_eq!(daemon.fired().len(), 2);
}

#[tokio::test]
async fn an_event_is_answered_by_everyone_exactly_once_though_the_host_fails_in_between() {
    for fault in [Fault::Lost, Fault::Unacknowledged, Fault::CrashBefore, Fault::CrashAfter] {
        for nth in 0..3 {
            let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
            for name in ["first", "second", "third"] {
                daemon.add(name, on_run(Value::Null)).await;
            }
            // The first `nth` schedules have fired when it happens.
            let faults = std::iter::repeat_n(None, nth).chain([Some(fault.clone())]);
            daemon.host.change(|world| world.fire_faults.extend(faults));
            daemon.host.emit(ended(RunOutcome::Succeeded));
            daemon.host.emit(ended(RunOutcome::Failed));

            let crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
            if crash {
                within_deadline(daemon.host.crashed()).await;
                daemon.restart_after(MINUTE).await;
            } else {
                let failed = |world: &memory_host::World| !world.notices.is_empty();
                within_deadline(daemon.host.until(failed)).await;
                daemon.clock.advance(MINUTE);
            }
            daemon.settle().await;

            let mut answers = daemon.host.look(|world| {
                let runs = world.runs.iter();
                runs.map(|run| (run.schedule.clone(), run.firing.request_id.clone())).collect::<Vec<_>>()
            });
            assert_eq!(answers.len(), 6, "{fault:?} {nth} {answers:?}");
            answers.sort();
            answers.dedup();
            assert_eq!(answers.len(), 6);
            for name in ["first", "second", "third"] {
                assert_eq!(daemon.host.stored_schedule(name).counts.fired, 2, "{fault:?} {nth} {name}");
            }
        }
    }
}

#[tokio::test]
async fn events_read_again_after_a_crash_are_not_answered_again() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("rescue", on_run(Value::Null)).await;
    daemon.host.emit(ended(RunOutcome::Failed));
    daemon.settle().await;
    assert_eq!(daemon.host.look(|world| world.cursor), 0, "the cursor lags behind");
    daemon.restart_after(MINUTE).await;
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["event 1"]);
}

#[tokio::test]
async fn the_cursor_is_stored_every_few_hundred_events_and_when_the_daemon_stops() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    for _ in 0..300 {
        daemon.host.emit(ended(RunOutcome::Succeeded));
    }
    daemon.settle().await;
    daemon.host.emit(ended(RunOutcome::Succeeded));
    daemon.settle().await;
    assert_eq!(daemon.host.look(|world| world.cursor), 256);
    daemon.stop.cancel();
    within_deadline(&mut daemon.task).await.unwrap();
    assert_eq!(daemon.host.look(|world| world.cursor), 301);
}

#[tokio::test]
async fn reading_events_is_tried_again_after_longer_and_longer_pauses() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("rescue", on_run(Value::Null)).await;
    daemon.host.change(|world| world.unreadable_events = 3);
    daemon.host.emit(ended(RunOutcome::Failed));
    let failures_left = async || {
        // Nothing is read during a pause, so the scheduler does nothing but sleep.
        within_deadline(daemon.clock.all_asleep()).await;
        daemon.handle.list().await.unwrap();
        daemon.host.look(|world| world.unreadable_events)
    };
    assert_eq!(failures_left().await, 2);
    for (seconds, left) in [(1, 1), (1, 1), (1, 0), (3, 0)] {
        daemon.clock.advance(SignedDuration::from_secs(seconds));
        assert_eq!(failures_left().await, left);
        assert!(daemon.fired().is_empty());
    }
    daemon.advance(SignedDuration::from_secs(1)).await;
    assert_eq!(daemon.fired(), ["event 1"]);
}

/// A trigger of another crate.
struct PathChanged;

impl EventTrigger for PathChanged {
    fn kind(&self) -> &'static str {
        "path.changed"
    }

    fn check(&self, filter: &Value) -> Result<(), String> {
        filter["path"].as_str().map(drop).ok_or_else(|| "`path` is missing".to_owned())
    }

    fn matches(&self, _: Uuid, filter: &Value, event: &EventView) -> bool {
        event.kind == self.kind() && event.data["path"] == filter["path"]
    }
}

#[tokio::test]
async fn other_crates_register_triggers_of_their_own() {
    let mut kinds = EventTriggers::default();
    kinds.register(Arc::new(PathChanged));
    let daemon = Daemon::start_in(MemoryHost::new(), at("2026-01-01T00:00:00Z"), kinds);
    let on_path = |filter| Trigger::Event { kind: "path.changed".to_owned(), filter };
    let refused = daemon.handle.add(new_schedule("wrong", on_path(json!({})))).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "the filter of the event trigger \"path.changed\" is not valid: `path` is missing"
    );
    daemon.add("on-todo", on_path(json!({"path": "TODO.md"}))).await;
    for path in ["README.md", "TODO.md"] {
        daemon.host.emit(EventView {
            kind: "path.changed".to_owned(),
            data: json!({ "path": path }),
            ..run_finished(None)
        });
    }
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["event 2"]);
}
