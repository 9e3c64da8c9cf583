//! What a session may do without its state growing.

use serde_json::{Value, json};
use trace::derive::{Derive, Deriver};
use trace::session::{CallOutcome, Format};
use trace::{Body, Place, Record};

use crate::scene::*;

fn size(deriver: &Deriver) -> usize {
    serde_json::to_vec(deriver).unwrap().len()
}

/// Feeds a session and gives the largest state on the way.
fn largest_state(records: &[(&str, Value)]) -> (usize, Told) {
    let mut largest = 0;
    let lines = spine_lines(records);
    let (_, told) = feed(Format::Spine, &lines, |index, mut deriver, told| {
        if index % 97 == 0 || index + 1 == lines.len() {
            deriver.flush(told);
            largest = largest.max(size(&deriver));
        }
        deriver
    });
    (largest, told)
}

#[test]
fn ten_thousand_deltas_are_counted_and_leave_the_state_as_it_was() {
    let mut deriver = Deriver::new(THREAD.parse().unwrap(), Format::Spine);
    let mut told = Told::default();
    for seq in 1..=10_000 {
        deriver.feed(&Record { seq, time: None, place: Place::default(), body: Body::Nothing }, &mut told);
    }
    assert_eq!(deriver.session().counts.records, 10_000);
    assert_eq!(told.facts, ["epoch 0 @-"]);
    assert!(size(&deriver) < 4096, "{}", size(&deriver));
}

#[test]
fn calls_requests_and_turns_that_never_end_do_not_pile_up() {
    let mut records = opened("0");
    for n in 0..1000 {
        let (turn, call) = (format!("turn-{n}"), format!("call-{n}"));
        records.extend([
            started(&turn),
            begin(&turn, &call, "serve"),
            asks(&turn, &format!("other-{n}"), None),
        ]);
    }
    let (largest, told) = largest_state(&records);
    assert!(largest < 200_000, "{largest}");
    assert_eq!((told.rows.turns.len(), told.rows.calls.len(), told.rows.approvals.len()), (1001, 2000, 1000));
    assert_eq!(told.outcome("call-0"), CallOutcome::Open);
}

#[test]
fn texts_and_ids_without_measure_are_cut() {
    let long = "long ".repeat(100_000);
    let mut first = meta();
    first.1["cwd"] = json!(long);
    let records = [
        first,
        configured(),
        user(&long, &long),
        started(&long),
        begin(&long, &long, &long),
        end(&long, &long, 1, &long),
    ];
    let (largest, told) = largest_state(&records);
    assert!(largest < 20_000, "{largest}");
    assert_eq!((told.rows.turns.len(), told.rows.calls.len()), (1, 1));
    assert_eq!(told.rows.calls[&0].outcome, CallOutcome::Failed);
    assert_eq!(told.rows.calls[&0].turn, Some(0));
}
