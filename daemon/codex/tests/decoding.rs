//! From bytes to events.

#![allow(clippy::unwrap_used)]

use codex::{Body, Decoder, Event, ItemKind, ItemStatus, Transcript};
use jiff::Timestamp;
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new();
    let mut events = decoder.feed(bytes, Timestamp::UNIX_EPOCH);
    events.extend(decoder.finish(Timestamp::UNIX_EPOCH));
    events
}

fn body(line: &str) -> Body {
    let [event] = <[Event; 1]>::try_from(decode(line.as_bytes())).unwrap();
    event.body
}

fn item(item: &str) -> ItemKind {
    match body(&format!(r#"{{"type":"item.completed","item":{item}}}"#)) {
        Body::ItemCompleted(item) => item.kind,
        other => panic!("not an item: {other:?}"),
    }
}

#[test]
fn an_item_with_a_key_twice_is_read() {
    let line =
        r#"{"type":"item.started","item":{"id":"item_1","type":"web_search","id":"ws_1","query":"rust"}}"#;
    let Body::ItemStarted(item) = body(line) else { panic!("not read") };
    assert_eq!(item.id, "ws_1");
    assert_eq!(item.kind, ItemKind::WebSearch { query: "rust".to_owned() });
}

#[test]
fn unknown_events_and_items_are_kept_whole() {
    let line = r#"{"type":"turn.paused","why":{"a":[1]}}"#;
    let raw = serde_json::from_str(line).unwrap();
    assert_eq!(body(line), Body::Unknown { name: "turn.paused".to_owned(), raw });
    let kind = item(r#"{"id":"x","type":"hologram","depth":3}"#);
    assert!(matches!(kind, ItemKind::Unknown { name, raw } if name == "hologram" && raw["depth"] == 3));
}

#[test]
fn unknown_fields_and_words_do_no_harm() {
    let kind = item(
        r#"{"type":"command_execution","command":"ls","aggregated_output":7,"exit_code":null,"status":"pondering","x":{}}"#,
    );
    let expected = ItemKind::Command {
        command: "ls".to_owned(),
        output: String::new(),
        exit_code: None,
        status: ItemStatus::Other("pondering".to_owned()),
    };
    assert_eq!(kind, expected);
}

#[test]
fn an_event_without_what_makes_it_one_is_unknown() {
    for line in [
        "{}",
        r#"{"type":7}"#,
        r#"{"type":"thread.started"}"#,
        r#"{"type":"item.completed","item":"x"}"#,
        r#"{"type":"item.completed"}"#,
    ] {
        assert!(matches!(body(line), Body::Unknown { .. }), "{line}");
    }
}

#[test]
fn the_end_of_a_turn_counts_even_without_its_details() {
    assert_eq!(body(r#"{"type":"turn.completed"}"#), Body::TurnCompleted { usage: None });
    assert_eq!(body(r#"{"type":"turn.completed","usage":[]}"#), Body::TurnCompleted { usage: None });
    assert_eq!(body(r#"{"type":"turn.failed"}"#), Body::TurnFailed { message: String::new() });
    let plain = Body::TurnFailed { message: "no".to_owned() };
    assert_eq!(body(r#"{"type":"turn.failed","error":"no"}"#), plain);
    assert_eq!(body(r#"{"type":"turn.failed","error":{"message":"no"}}"#), plain);
}

#[test]
fn a_line_that_is_no_event_does_not_hide_the_next() {
    let events = decode(b"npm notice: new version\n[1,2]\n{\"type\":\"turn.started\"}\n{\"type\":\"turn.com");
    let bodies: Vec<&Body> = events.iter().map(|event| &event.body).collect();
    let unparsed = |text: &str, unfinished| Body::Unparsed { text: text.to_owned(), unfinished };
    assert_eq!(
        bodies,
        [
            &unparsed("npm notice: new version", false),
            &unparsed("[1,2]", false),
            &Body::TurnStarted,
            &unparsed("{\"type\":\"turn.com", true),
        ]
    );
}

#[test]
fn a_last_line_that_lacks_only_its_newline_is_read() {
    assert!(matches!(body(r#"{"type":"turn.completed"}"#), Body::TurnCompleted { .. }));
}

#[test]
fn invalid_utf8_is_replaced_where_it_stands() {
    let events = decode(b"{\"type\":\"error\",\"message\":\"a\xffb\"}\n");
    assert_eq!(events[0].body, Body::Error { message: "a\u{fffd}b".to_owned() });
}

#[test]
fn a_line_over_the_limit_is_reported_and_skipped() {
    let mut decoder = Decoder::new().with_line_limit(20);
    let long = format!("{{\"type\":\"error\",\"message\":\"{}\"}}\n", "x".repeat(100));
    let events = decoder.feed(format!("{long}{{\"type\":\"error\"}}\n").as_bytes(), Timestamp::UNIX_EPOCH);
    let length = long.len() as u64 - 1;
    assert!(
        matches!(&events[0].body, Body::TooLong { length: n, start } if *n == length && start.starts_with("{\"type\""))
    );
    assert!(matches!(events[1].body, Body::Error { .. }));
    assert_eq!(events[1].offset, length + 1);
}

#[test]
fn a_value_nested_too_deeply_is_kept_as_text() {
    let line = format!("{{\"type\":\"error\",\"message\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(matches!(body(&line), Body::Unparsed { .. }));
}

#[test]
fn events_carry_the_time_and_the_place_of_their_line() {
    let mut decoder = Decoder::new();
    let (one, two) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
    let first = decoder.feed(b"{\"type\":\"turn.started\"}\n{\"type\":", one);
    let second = decoder.feed(b"\"error\"}\n", two);
    assert_eq!((first[0].at, first[0].offset), (one, 0));
    assert_eq!((second[0].at, second[0].offset), (two, 24));
}

#[test]
fn a_decoder_goes_on_where_an_earlier_one_stopped() {
    let bytes = b"{\"type\":\"turn.started\"}\n{\"type\":\"turn.completed\"}\n";
    let mut first = Decoder::new();
    let mut events = first.feed(&bytes[..30], Timestamp::UNIX_EPOCH);
    let offset = usize::try_from(first.offset()).unwrap();
    events.extend(Decoder::starting_at(first.offset()).feed(&bytes[offset..], Timestamp::UNIX_EPOCH));
    assert_eq!(events, decode(bytes));
}

/// Lines that look like events, some of them damaged.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![Just("item_0"), Just("item_1"), Just("")];
    let kind = prop_oneof![
        Just("agent_message"),
        Just("command_execution"),
        Just("file_change"),
        Just("mcp_tool_call"),
        Just("todo_list"),
        Just("error"),
        Just("other"),
    ];
    let event = prop_oneof![
        Just("thread.started"),
        Just("turn.started"),
        Just("item.started"),
        Just("item.updated"),
        Just("item.completed"),
        Just("turn.completed"),
        Just("turn.failed"),
        Just("error"),
        Just("other"),
    ];
    let whole = (event, kind, id, ".{0,12}").prop_map(|(event, kind, id, text)| {
        let item = serde_json::json!({
            "id": id, "type": kind, "text": text, "command": text, "aggregated_output": text, "status": text,
            "server": text, "tool": text, "message": text, "changes": [{"path": text}], "items": [{"text": text}],
        });
        let event = serde_json::json!({
            "type": event, "thread_id": text, "item": item, "message": text, "error": {"message": text},
            "usage": {"input_tokens": text.len()},
        });
        event.to_string().into_bytes()
    });
    prop_oneof![
        4 => whole.clone(),
        1 => (whole, any::<proptest::sample::Index>()).prop_map(|(line, at)| line[..at.index(line.len())].to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn stdout() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(line(), 0..12), any::<bool>()).prop_map(|(lines, newline)| {
        let mut bytes = lines.join(&b'\n');
        bytes.extend(newline.then_some(b'\n'));
        bytes
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        Transcript::read(&bytes, Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn how_the_bytes_are_cut_makes_no_difference(
        bytes in stdout(),
        cuts in prop::collection::vec(any::<proptest::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        for cut in cuts.windows(2) {
            events.extend(decoder.feed(&bytes[cut[0]..cut[1]], Timestamp::UNIX_EPOCH));
        }
        events.extend(decoder.finish(Timestamp::UNIX_EPOCH));
        prop_assert_eq!(&events, &decode(&bytes));
        let mut transcript = Transcript::new();
        for event in &events {
            transcript.push(event);
        }
        transcript.close();
        prop_assert_eq!(transcript, Transcript::read(&bytes, Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn every_line_gives_one_event_at_its_offset(bytes in stdout()) {
        for event in decode(&bytes) {
            let offset = usize::try_from(event.offset).unwrap();
            prop_assert!(offset == 0 || bytes[offset - 1] == b'\n');
        }
    }
}
