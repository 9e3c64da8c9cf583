//! What is borne, what is left out, and what is an error.

use super::*;

#[test]
fn the_envelope_gives_number_time_and_place() {
    let line = spine_line("event", r#"{"id":"1","msg":{"type":"context_compacted"}}"#);
    let record = spine(line.as_bytes(), place(9)).unwrap();
    assert_eq!((record.seq, record.place.line), (17, 9));
    assert_eq!(record.time, Some("2026-03-02T08:01:10.5Z".parse().unwrap()));
}

#[test]
fn a_missing_number_is_the_line_and_a_strange_time_is_none() {
    let record = spine(br#"{"type":"event","timestamp":"last tuesday","payload":{}}"#, place(9)).unwrap();
    assert_eq!((record.seq, record.time), (9, None));
}

#[test]
fn text_is_borrowed_unless_it_has_escapes() {
    let line = spine_line("event", r#"{"id":"1","msg":{"type":"agent_message","message":"plain"}}"#);
    let Body::Event { event: Event::AgentMessage(text), .. } = spine(line.as_bytes(), place(1)).unwrap().body
    else {
        panic!()
    };
    assert!(matches!(text, Text::Borrowed("plain")));
    assert_eq!(
        event(r#"{"type":"agent_message","message":"a\n\u00e9\ud83d\ude00\ud800\"\/\q"}"#),
        Event::AgentMessage("a\né😀\u{FFFD}\"/\\q".into())
    );
}

#[test]
fn the_beginning_of_an_output_with_escapes_is_cut_at_a_character() {
    let end = format!(r#"{{"type":"exec_command_end","formatted_output":"{}"}}"#, r"a\né".repeat(300));
    let Event::ExecEnd(end) = event(&end) else { panic!() };
    assert_eq!(end.head, "a\né".repeat(128));
}

#[test]
fn what_carries_nothing_is_not_even_looked_at() {
    for kind in [
        "exec_command_output_delta",
        "agent_message_delta",
        "reasoning_content_delta",
        "list_skills_response",
        "item_completed",
        "raw_response_item",
    ] {
        let line = spine_line("event", &format!(r#"{{"id":"1","msg":{{"type":"{kind}","chunk":"#));
        assert_eq!(spine(line.as_bytes(), place(1)).unwrap().body, Body::Nothing, "{kind}");
    }
    assert_eq!(rollout_body("world_state", r#"{"full":true}"#), Body::Nothing);
    assert_eq!(rollout_body("event_msg", r#"{"type":"thread_settings_applied"}"#), Body::Nothing);
}

#[test]
fn unknown_kinds_are_named() {
    let unknown = |kind: &'static str| Body::Unknown { kind: kind.into() };
    assert_eq!(spine_body("hologram", r#"{"a":1}"#), unknown("hologram"));
    assert_eq!(spine_body("event", r#"{"id":"1","msg":{"type":"brand_new"}}"#), unknown("event:brand_new"));
    assert_eq!(spine_body("submission", r#"{"id":"1","op":{"type":"dance"}}"#), unknown("submission:dance"));
    assert_eq!(rollout_body("event_msg", r#"{"type":"brand_new"}"#), unknown("event_msg:brand_new"));
    assert_eq!(rollout_body("response_item", r#"{"type":"song"}"#), unknown("response_item:song"));
    assert_eq!(
        rollout_body("event_msg", r#"{"type":"item_completed","item":{"type":"Dance"}}"#),
        unknown("event_msg:item_completed:Dance")
    );
}

#[test]
fn of_members_that_are_there_twice_the_last_one_counts() {
    assert_eq!(event(r#"{"type":"warning","message":"a","message":"b"}"#), Event::Warning("b".into()));
    let line = spine_line(
        "event",
        r#"{"id":"1","msg":{"type":"warning","message":"a"},"msg":{"type":"warning","message":"b"}}"#,
    );
    let Body::Event { event, .. } = spine(line.as_bytes(), place(1)).unwrap().body else { panic!() };
    assert_eq!(event, Event::Warning("b".into()));
    let line = line.replace(r#""type":"event","#, r#""type":"hologram","type":"event","seq":18,"#);
    assert_eq!(spine(line.as_bytes(), place(1)).unwrap().seq, 18);
}

#[test]
fn members_of_an_unexpected_type_are_as_good_as_absent() {
    let strange = r#"{"type":"exec_command_end","call_id":7,"command":{"a":[]},"exit_code":"1","duration":[],"formatted_output":null,"stderr":{"x":1}}"#;
    assert_eq!(event(strange), Event::ExecEnd(Box::default()));
    assert_eq!(
        event(r#"{"type":"plan_update","plan":[1,"x",{}]}"#),
        Event::Plan(vec![PlanStep { step: "".into(), status: "".into() }; 3])
    );
}

#[test]
fn an_exit_code_that_no_number_can_hold_is_still_one() {
    for (code, expected) in [("1e999", i64::MAX), ("99999999999999999999", i64::MAX), ("-1e30", i64::MIN)] {
        let message = format!(r#"{{"type":"exec_command_end","call_id":"c","exit_code":{code}}}"#);
        assert!(matches!(event(&message), Event::ExecEnd(end) if end.exit_code == Some(expected)), "{code}");
    }
}

#[test]
fn what_is_no_utf8_is_replaced() {
    let mut line =
        spine_line("event", r#"{"id":"1","msg":{"type":"warning","message":"low ?"}}"#).into_bytes();
    let at = line.iter().position(|byte| *byte == b'?').unwrap();
    line[at] = 0xFF;
    let Body::Event { event, .. } = spine(&line, place(1)).unwrap().body else { panic!() };
    assert_eq!(event, Event::Warning("low \u{FFFD}".into()));
}

#[test]
fn white_space_nul_bytes_and_a_byte_order_mark_are_tolerated() {
    let expected = event(r#"{"type":"warning","message":"low"}"#);
    let line = spine_line("event", r#"{"id":"1","msg":{"type":"warning","message":"low"}}"#);
    let spaced = line.replace("\":", "\" : ").replace(",\"", " , \"").replace('}', " }");
    for line in [format!("\0\0{line}\0"), format!("\u{FEFF}{line}\r"), format!(" \t{spaced} ")] {
        let Body::Event { event, .. } = spine(line.as_bytes(), place(1)).unwrap().body else { panic!() };
        assert_eq!(event, expected, "{line}");
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let message = format!(r#"{{"type":"warning","extra":{deep},"message":"low"}}"#);
    assert_eq!(event(&message), Event::Warning("low".into()));
}

#[test]
fn an_error_says_what_is_wrong_at_which_byte() {
    let expected = |expected| Problem::Broken { expected };
    for (line, problem, byte) in [
        ("[]", Problem::NotAnObject, 0),
        ("\0\0true", Problem::NotAnObject, 2),
        ("{}", Problem::NoType, 0),
        (r#"{"type":5}"#, Problem::NoType, 0),
        (r#"{"type":"event""#, expected("'}' or ']'"), 15),
        (r#"{"type":"event","payload":{"id":"1","msg":{"type":"wa"#, expected("'\"'"), 53),
        (r#"{"type" "event"}"#, expected("':'"), 8),
        (r#"{"type":"event"} {"#, expected("the end of the line"), 16),
        (r#"{"type":"event","payload":{"id" 1}}"#, expected("':'"), 32),
        (r#"{"type":"event",}"#, expected("a key"), 16),
        (r#"{"type":}"#, expected("a value"), 8),
    ] {
        let error = spine(line.as_bytes(), place(1)).unwrap_err();
        assert_eq!((error.problem, error.byte), (problem, byte), "{line}");
    }
}

#[test]
fn two_lines_that_ran_into_each_other_are_an_error() {
    let whole = spine_line("event", r#"{"id":"1","msg":{"type":"warning","message":"low"}}"#);
    for cut in 1..whole.len() {
        let line = whole[..cut].to_owned() + &whole;
        assert!(spine(line.as_bytes(), place(1)).is_err(), "{line}");
    }
}
