//! What holds for any line.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z\\\\\"\n\u{e9}]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..6).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_give_a_record_or_an_error(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = spine(&line, place(1));
        let _ = rollout(&line, place(1));
    }

    #[test]
    fn a_damaged_line_gives_a_record_or_an_error(
        at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400,
    ) {
        let mut line = spine_line("event", r#"{"id":"1","msg":{"type":"exec_command_end","call_id":"c","command":["a","\u00e9"],"exit_code":1,"duration":{"secs":1,"nanos":2},"formatted_output":"x\ny"}}"#).into_bytes();
        let at = at % line.len();
        line[at] = byte;
        line.truncate(cut.max(1));
        let _ = spine(&line, place(1));
        let _ = Envelope::read(&line);
    }

    #[test]
    fn strings_numbers_and_members_are_what_a_full_parser_makes_of_them(value in any_json(), other in any_json()) {
        let text = json!({"before": other, "value": value, "z": 1}).to_string();
        let raw = json::Raw::first(text.as_bytes()).unwrap();
        let [found] = raw.pick(["value"]).unwrap();
        let found = found.unwrap();
        prop_assert_eq!(found.text().map(Text::into_owned), value.as_str().map(str::to_owned));
        prop_assert_eq!(found.flag(), value.as_bool());
        if value.is_i64() {
            prop_assert_eq!(found.int(), value.as_i64());
        }
        prop_assert_eq!(found.number(), value.as_f64().filter(|number| number.is_finite()));
        prop_assert_eq!(found.elements().count(), value.as_array().map_or(0, Vec::len));
        let names: Vec<String> = found.members().iter().map(|(name, _)| name.to_string()).collect();
        let expected: Vec<String> = value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
        prop_assert_eq!(names, expected);
    }

    #[test]
    fn the_head_of_a_text_is_its_beginning(text in "[a\\\\\"\n\u{e9}\u{1F600}]{0,40}", limit in 0_usize..60) {
        let json = Value::from(text.clone()).to_string();
        let head = json::Raw::first(json.as_bytes()).unwrap().head(limit).unwrap().into_owned();
        prop_assert!(text.starts_with(&head), "{head:?} of {text:?}");
        prop_assert!(head.len() <= limit);
        prop_assert!(head.len() == text.len() || head.len() + 4 > limit);
    }

    #[test]
    fn the_usual_way_and_the_general_way_agree(mut members in prop::collection::btree_map("[a-z_]{1,8}", any_json(), 0..5), kind in prop::sample::select(vec![
        "exec_command_end", "exec_command_begin", "token_count", "agent_message", "task_complete", "patch_apply_end",
        "plan_update", "mcp_tool_call_end", "error", "session_configured", "turn_diff", "exec_approval_request",
    ]), payload in any_json(), command in any_json(), result in any_json()) {
        for (name, value) in [("payload", payload), ("command", command), ("result", result)] {
            members.insert(name.to_owned(), value);
        }
        members.remove("type");
        let rest = Value::from_iter(members).to_string();
        let rest = rest.trim_start_matches('{');
        let message = format!(r#"{{"type":"{kind}",{rest}"#);
        // This holds the assertion.
        let _ = event(&message);
    }

    #[test]
    fn operations_are_the_same_in_any_order_of_members(
        mut members in prop::collection::btree_map("[a-z_]{1,8}", any_json(), 0..5),
        kind in prop::sample::select(vec!["user_turn", "exec_approval", "thread_rollback", "interrupt", "list_skills"]),
        items in any_json(), policy in any_json(), decision in any_json(),
    ) {
        for (name, value) in [("items", items), ("sandbox_policy", policy), ("decision", decision)] {
            members.insert(name.to_owned(), value);
        }
        members.remove("type");
        let rest = Value::from_iter(members).to_string();
        let rest = rest.trim_start_matches('{');
        let usual = spine_body("submission", &format!(r#"{{"id":"3","op":{{"type":"{kind}",{rest}}}"#));
        let turned = format!(r#"{{"payload":{{"op":{{"type":"{kind}",{rest},"id":"3"}},"type":"submission"}}"#);
        prop_assert_eq!(spine(leak(turned), place(9)).unwrap().body, usual);
    }

    #[test]
    fn settings_in_a_context_are_those_beside_it(members in prop::collection::btree_map(
        prop::sample::select(vec!["cwd", "model", "effort", "approval_policy", "sandbox_policy", "other"]), any_json(), 0..6,
    )) {
        let members = json!(members).to_string();
        let nested = spine_body("turn_context", &format!(r#"{{"context":{members},"model":"outer"}}"#));
        let flat = spine_body("turn_context", &members);
        prop_assert_eq!(nested, flat);
    }

    #[test]
    fn what_was_decoded_before_makes_no_difference(lines in prop::collection::vec((
        prop::sample::select(vec![
            r#"{"schema_version":"v1","thread_id":"t","seq":"#,
            r#"{"schema_version":"v1","thread_id":"tt","seq":"#,
            r#"{"schema_version": "v1", "thread_id": "t", "seq": "#,
            r#"{"thread_id":"t","seq":"#,
        ]),
        prop::sample::select(vec!["1", "12", "1e3", "-1"]),
        prop::sample::select(vec![
            "2026-03-02T08:01:10.500Z", "2026-03-02T08:01:59.999Z", "2026-03-02T08:01:60.000Z", "2026-03-02T08:02:00Z",
            "2026-03-02T08:02:00.001Z", "2026-03-02T08:02:0x.001Z", "2026-03-02T08:02:00.00\\u0031Z", "",
        ]),
        prop::sample::select(vec![
            r#"{"turn_id":"1","context":{"cwd":"/a","model":"m"}}"#,
            r#"{"turn_id":"2","context":{"cwd":"/a","model":"m"}}"#,
            r#"{"context":{"cwd":"/a","model":"m","effort":"low"}}"#,
            r#"{"context": {"cwd":"/a","model":"m"} , "turn_id":"2"}"#,
            r#"{"context":{"cwd":"/a","model":"m"}"model":"outer"}"#,
            r#"{"context":{"cwd":"/a","model":"m""#,
            r#"{"context":[],"model":"flat"}"#,
            r#"{"id":"1","msg":{"type":"agent_message_delta","delta":"x"}}"#,
        ]),
        prop::sample::select(vec!["turn_context", "event"]),
    ), 0..12)) {
        let mut decoders = [Format::Spine, Format::Rollout].map(Decoder::new);
        for (begins, seq, time, payload, kind) in lines {
            for line in [
                format!(r#"{begins}{seq},"timestamp":"{time}","type":"{kind}","payload":{payload}}}"#),
                format!(r#"{{"timestamp":"{time}","type":"{kind}","payload":{payload}}}"#),
            ] {
                for decoder in &mut decoders {
                    let mut fresh = Decoder::new(decoder.format());
                    let line = line.as_bytes();
                    prop_assert_eq!(decoder.decode(line, place(1)), fresh.decode(line, place(1)));
                }
            }
        }
    }
}
