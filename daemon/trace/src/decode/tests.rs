//! What records become, dialect by dialect.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod events;
mod lenient;
mod properties;
mod rollout;
mod spine;

use super::*;
use crate::record::*;

fn place(line: u64) -> Place {
    Place { line, ..Place::default() }
}

/// A line of a spine, as Codex writes it.
fn spine_line(kind: &str, payload: &str) -> String {
    format!(
        r#"{{"schema_version":"codex_trace_spine_v1","thread_id":"t","seq":17,"timestamp":"2026-03-02T08:01:10.500Z","type":"{kind}","payload":{payload}}}"#
    )
}

/// Line as bytes for a test's lifetime: records borrow from it.
fn leak(line: String) -> &'static [u8] {
    line.leak().as_bytes()
}

fn spine_body(kind: &str, payload: &str) -> Body<'static> {
    spine(leak(spine_line(kind, payload)), place(9)).unwrap().body
}

fn event(message: &str) -> Event<'static> {
    let usual = spine_body("event", &format!(r#"{{"id":"1","msg":{message}}}"#));
    // Another order of members must make no difference.
    let turned = format!(
        r#"{{"payload":{{"msg":{message},"id":"1"}},"type":"event","seq":17,"timestamp":"2026-03-02T08:01:10.500Z"}}"#
    );
    assert_eq!(spine(leak(turned), place(9)).unwrap().body, usual);
    match usual {
        Body::Event { turn, event } => {
            assert_eq!(turn, "1");
            event
        }
        other => panic!("{other:?}"),
    }
}

fn op(op: &str) -> Op<'static> {
    let usual = spine_body("submission", &format!(r#"{{"id":"3","op":{op}}}"#));
    let turned = format!(r#"{{"payload":{{"op":{op},"id":"3"}},"type":"submission","seq":17}}"#);
    assert_eq!(spine(leak(turned), place(9)).unwrap().body, usual);
    match usual {
        Body::Submission { id, op } => {
            assert_eq!(id, "3");
            op
        }
        other => panic!("{other:?}"),
    }
}

/// Lines of a rollout of 0.169.0 and of 0.75.0.
fn rollout_body(kind: &str, payload: &str) -> Body<'static> {
    let old = format!(r#"{{"timestamp":"2026-03-02T08:01:10.500Z","type":"{kind}","payload":{payload}}}"#);
    let new = format!(
        r#"{{"timestamp":"2026-03-02T08:01:10.500Z","ordinal":16,"type":"{kind}","payload":{payload},"metadata":{{"history_sequence":1}}}}"#
    );
    let (old, new) = (rollout(leak(old), place(9)).unwrap(), rollout(leak(new), place(9)).unwrap());
    assert_eq!((old.seq, new.seq), (9, 17));
    assert_eq!(old.body, new.body);
    new.body
}

fn rollout_event(payload: &str) -> (Text<'static>, Event<'static>) {
    match rollout_body("event_msg", payload) {
        Body::Event { turn, event } => (turn, event),
        other => panic!("{other:?}"),
    }
}

fn item(payload: &str) -> Item<'static> {
    match rollout_body("response_item", payload) {
        Body::Item { item, .. } => item,
        other => panic!("{other:?}"),
    }
}
