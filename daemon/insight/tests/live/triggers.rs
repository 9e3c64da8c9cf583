//! Schedules that signals set off.

use std::time::Duration;

use engine::schedule::{EventTriggers, Missed, NewSchedule, Overlap, SchedulerHandle, Start, Trigger};
use engine::{Engine, Event, RunId};
use insight::owner::Owner;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::lab::Lab;
use crate::spine::Spine;

fn triggers(lab: &Lab) -> EventTriggers {
    let mut triggers = EventTriggers::default();
    triggers.register(lab.insight().trigger());
    triggers
}

/// The events of insight from the beginning to one of this kind.
fn events_until(lab: &Lab, engine: &Engine, kind: &str) -> Vec<Event> {
    lab.block_on(async {
        let mut stream = engine.events_from(engine.oldest_event().max(1)).unwrap();
        let mut found = Vec::new();
        loop {
            let events = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap();
            for event in events {
                let last = event.kind == kind;
                if ["signal.", "session.", "schedule."].iter().any(|about| event.kind.starts_with(about)) {
                    found.push((*event).clone());
                }
                if last {
                    return found;
                }
            }
        }
    })
}

#[test]
fn what_happens_live_is_told_as_events_and_the_past_is_not() {
    let mut lab = Lab::new();
    let mut old = Spine::begin(&lab.home(), "old", 100_000);
    old.failing_turn(1);
    lab.settings.settle_after = Duration::from_millis(1500);
    lab.start();
    lab.until_settled();
    let mut spine = Spine::begin(&lab.home(), "new", 0);
    spine.failing_turn(1);
    let events = events_until(&lab, &lab.engine(), "session.settled");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.first(), Some(&"session.started"));
    assert!(kinds.contains(&"signal.raised") && kinds.contains(&"signal.settled"), "{kinds:?}");
    assert!(events.iter().all(|event| event.data["session"] == "new"), "{events:?}");
    assert_eq!(lab.signals(&old.id).len(), 1);
}

/// By default a session settles when its last record is just too old to be news by itself.
#[test]
fn that_a_session_settles_is_news_if_its_records_were_also_after_a_restart() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_secs(4);
    lab.settings.live_window = lab.settings.settle_after;
    let mut spine = Spine::begin(&lab.home(), "new", 6);
    spine.ask(1, "please make it work");
    spine.run(1, "call_1", "make", 0);
    spine.finish(1);
    lab.start();
    lab.until(async |insight| (insight.stats().await.unwrap().signals > 0).then_some(()));
    lab.kill();
    lab.start();
    let events = events_until(&lab, &lab.engine(), "signal.settled");
    assert!(events.iter().any(|event| event.kind == "session.settled"), "{events:?}");
}

#[test]
fn a_session_that_is_found_as_an_empty_file_is_told_of_when_its_first_record_comes() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_millis(1500);
    lab.start();
    let directory = lab.home().join("trace_spine/new");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("segment-000.jsonl"), "").unwrap();
    lab.read_all();
    let mut spine = Spine::begin(&lab.home(), "new", 0);
    spine.failing_turn(1);
    let events = events_until(&lab, &lab.engine(), "session.settled");
    assert_eq!(events.first().map(|event| event.kind.as_str()), Some("session.started"));
}

#[test]
fn a_wrong_filter_is_refused() {
    let mut lab = Lab::new();
    lab.start();
    let triggers = triggers(&lab);
    for wrong in [
        json!({"category": "x"}),
        json!({"categories": []}),
        json!({"severity": 2}),
        json!({"count": 3}),
        json!({"count": 0, "within": 60}),
        json!({"phase": "withdrawn"}),
    ] {
        assert!(triggers.check("signal", &wrong).is_err(), "{wrong}");
    }
    for right in [
        Value::Null,
        json!({"type": "friction", "severity": 0.5, "phase": "settled"}),
        json!({"count": 3, "within": 60}),
    ] {
        assert!(triggers.check("signal", &right).is_ok(), "{right}");
    }
}

/// A workflow that has nothing to do.
struct Noted;

impl engine::Workflow for Noted {
    const KIND: &'static str = "noted";
    type Spec = Value;
    type Output = Value;

    fn leases(&self, _: &Value) -> Vec<engine::LeaseKey> {
        Vec::new()
    }

    async fn run(&self, _: &engine::RunContext, _: Value) -> Result<Value, engine::Failure> {
        Ok(Value::Null)
    }
}

#[test]
fn so_many_signals_within_a_time_start_a_run_once_also_across_a_restart() {
    let mut lab = Lab::new();
    lab.workflows = || engine::Registry::default().with(Noted);
    lab.start();
    lab.read_all();
    let mut spine = Spine::begin(&lab.home(), "trouble", 10);
    let (stop, _) = add_schedule(&lab);
    spine.failing_turn(1);
    spine.failing_turn(2);
    lab.until(async |insight| (insight.stats().await.unwrap().signals >= 2).then_some(()));
    stop.cancel();
    assert_eq!(runs(&lab), 0);
    lab.kill();
    lab.start();
    let (stop, _) = follow_schedules(&lab);
    spine.failing_turn(3);
    lab.until(async |_| (runs_of(&lab.engine()).await == 1).then_some(()));
    // There are more than three within the time all along.
    spine.failing_turn(4);
    lab.until(async |insight| (insight.stats().await.unwrap().signals >= 4).then_some(()));
    lab.block_on(lab.engine().probe()).unwrap();
    assert_eq!(runs(&lab), 1);
    stop.cancel();
}

#[test]
fn what_happens_in_sessions_of_a_schedules_own_runs_does_not_count_for_it() {
    let mut lab = Lab::new();
    lab.workflows = || engine::Registry::default().with(Noted);
    lab.start();
    lab.read_all();
    let (stop, schedule) = add_schedule(&lab);
    let mut own = Spine::begin(&lab.home(), "own", 10);
    let mut other = Spine::begin(&lab.home(), "other", 10);
    let owner = Owner { run: RunId(Uuid::from_u128(1)), lineage: vec![Uuid::from_u128(2), schedule] };
    lab.tell_owner(&own.id, &owner);
    let signals = |count| {
        lab.until(async |insight| (insight.stats().await.unwrap().signals >= count).then_some(()));
    };
    for turn in 1..=2 {
        own.failing_turn(turn);
    }
    signals(2);
    for turn in 1..=3 {
        other.failing_turn(turn);
        signals(2 + u64::from(turn));
    }
    let events = events_until(&lab, &lab.engine(), "schedule.fired");
    let raised = |event: &&Event| event.kind == "signal.raised" && event.data["session"] == "other";
    let raised: Vec<_> = events.iter().filter(raised).map(|event| event.seq).collect();
    let cause = events.last().unwrap().data["cause"]["event"].as_u64().unwrap();
    assert_eq!(raised.iter().position(|seq| *seq == cause), Some(2), "{events:?}");
    stop.cancel();
}

/// The schedules that there are are followed, with a new one that three failures set off.
fn add_schedule(lab: &Lab) -> (CancellationToken, Uuid) {
    let (stop, handle) = follow_schedules(lab);
    let filter = json!({"categories": ["exec_failure"], "count": 3, "within": 3600});
    let new = NewSchedule {
        name: "supervisor".to_owned(),
        trigger: Trigger::Event { kind: "signal".to_owned(), filter },
        start: Start { workflow: "noted".to_owned(), ..Start::default() },
        overlap: Overlap::Queue,
        missed: Missed::Skip,
        enabled: true,
    };
    (stop, lab.block_on(handle.add(new)).unwrap().id)
}

fn follow_schedules(lab: &Lab) -> (CancellationToken, SchedulerHandle) {
    let stop = CancellationToken::new();
    let handle = lab.block_on(async {
        let (scheduler, handle) = lab.engine().schedules(triggers(lab)).await.unwrap();
        let (until, keep) = (stop.clone(), handle.clone());
        tokio::spawn(async move {
            // Without a handle, the scheduler would have nobody to work for.
            scheduler.run(until).await;
            drop(keep);
        });
        handle
    });
    (stop, handle)
}

fn runs(lab: &Lab) -> usize {
    lab.block_on(runs_of(&lab.engine()))
}

async fn runs_of(engine: &Engine) -> usize {
    engine.list(engine::Filter::default(), 10, None).await.unwrap().runs.len()
}
