//! The ordered log: no gap, no repeat, whatever happens between.

use std::sync::Arc;

use engine::{Event, Token, WatchError};
use serde_json::{Value, json};
use uuid::Uuid;

use super::lab::Lab;

/// The events from `from` to the newest.
pub(crate) fn history(lab: &Lab, from: u64) -> Vec<Arc<Event>> {
    let engine = lab.engine();
    let last = engine.last_event();
    lab.block(async {
        let mut stream = engine.events_from(from).unwrap();
        let mut all = Vec::new();
        while stream.position() <= last {
            all.extend(stream.next().await.unwrap());
        }
        all
    })
}

/// Every number once, from the first to the last.
pub(crate) fn expect_contiguous(events: &[Arc<Event>]) {
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    let first = numbers.first().copied().unwrap_or(1);
    assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>());
}

fn chatty(lab: &mut Lab, events: u64) {
    lab.play(move |run, _| async move {
        for number in 0..events {
            run.emit(&number.to_string(), "test.said", json!({ "number": number })).await?;
        }
        Ok(Value::Null)
    });
}

#[test]
fn when_nothing_is_under_way_the_events_tell_of_every_end() {
    let mut lab = Lab::new();
    chatty(&mut lab, 1);
    lab.open();
    let engine = lab.engine();
    for _ in 0..100 {
        let run = lab.start(Value::Null);
        while engine.counts() != [0, 0, 0] {
            std::thread::yield_now();
        }
        let told =
            history(&lab, 1).into_iter().any(|event| event.kind == "run.finished" && event.run == Some(run));
        assert!(told, "run {run} is over, and no event tells of it");
    }
}

#[test]
fn history_and_then_what_happens_live_come_without_gap_or_repeat() {
    let mut lab = Lab::new();
    chatty(&mut lab, 50);
    lab.open();
    let engine = lab.engine();
    let first = lab.start(Value::Null);
    lab.ends(first, "succeeded");
    let second = lab.ask("play", Value::Null);
    let seen = lab.block(async {
        let mut stream = engine.events_from(1).unwrap();
        let watcher = tokio::spawn(async move {
            let mut all = Vec::new();
            while all.iter().filter(|event: &&Arc<Event>| event.kind == "run.finished").count() < 2 {
                all.extend(stream.next().await.unwrap());
            }
            all
        });
        engine.start(second).await.unwrap();
        watcher.await.unwrap()
    });
    expect_contiguous(&seen);
    assert_eq!(seen[0].seq, 1);
    assert_eq!(seen.iter().filter(|event| event.kind == "test.said").count(), 100);
}

#[test]
fn a_watcher_goes_on_after_a_restart_where_it_was() {
    let mut lab = Lab::new();
    chatty(&mut lab, 20);
    lab.open();
    lab.ends(lab.start(Value::Null), "succeeded");
    let before = history(&lab, 1);
    let token = lab.engine().token(before[9].seq).to_string().parse::<Token>().unwrap();
    lab.reopen();
    lab.ends(lab.start(Value::Null), "succeeded");
    let engine = lab.engine();
    let after = lab.block(async {
        let mut stream = engine.events_after(token).unwrap();
        let mut all = Vec::new();
        while stream.position() <= engine.last_event() {
            all.extend(stream.next().await.unwrap());
        }
        all
    });
    assert_eq!(after[0].seq, before[9].seq + 1);
    assert_eq!(after[..10], before[10..20], "what was told before is told alike");
    expect_contiguous(&after);
}

#[test]
fn a_watcher_far_behind_reads_what_has_left_memory() {
    let mut lab = Lab::new();
    chatty(&mut lab, 5000);
    lab.open();
    lab.ends(lab.start(Value::Null), "succeeded");
    let all = history(&lab, 1);
    assert!(all.len() > 5000);
    expect_contiguous(&all);
}

#[test]
fn a_token_of_another_store_is_refused() {
    let mut lab = Lab::new();
    lab.open();
    let foreign = Token { store: Uuid::now_v7(), seq: 1 };
    assert!(matches!(lab.engine().events_after(foreign), Err(WatchError::Foreign { .. })));
    assert!("nonsense".parse::<Token>().is_err());
}

#[test]
fn trimmed_events_are_told_to_be_gone_and_numbers_never_repeat() {
    let mut lab = Lab::new();
    lab.settings.keep_events = 0;
    chatty(&mut lab, 200);
    lab.open();
    lab.ends(lab.start(Value::Null), "succeeded");
    let engine = lab.engine();
    let (oldest, last) = (engine.oldest_event(), engine.last_event());
    assert!(oldest > 100, "the oldest have gone: {oldest} of {last}");
    match engine.events_after(engine.token(1)) {
        Err(WatchError::Expired { wanted: 2, oldest: told }) => assert!(told >= oldest),
        _ => panic!("an expired token must be refused"),
    }
    drop(engine);
    for _ in 0..3 {
        let last = lab.engine().last_event();
        lab.reopen();
        assert!(lab.engine().last_event() > last, "numbers go on after a restart");
    }
}
