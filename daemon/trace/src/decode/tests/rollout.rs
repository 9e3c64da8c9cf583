//! What only rollouts have: items, and their own way to count tokens.

use super::*;

#[test]
fn items_that_are_completed_are_events() {
    let completed = |item: &str| {
        rollout_event(&format!(
            r#"{{"type":"item_completed","thread_id":"t","turn_id":"u","item":{item},"completed_at_ms":1}}"#
        ))
    };
    let (turn, event) = completed(
        r#"{"type":"CommandExecution","id":"c","process_id":"1","command":["/bin/bash","-lc","ls"],"cwd":"file:///srv/my%20app","source":"unified_exec_startup","status":"failed","aggregated_output":"boo","exit_code":2,"duration":{"secs":1,"nanos":180257731}}"#,
    );
    let Event::ExecEnd(end) = event else { panic!() };
    assert_eq!((&*turn, &*end.exec.call, end.exec.cwd.as_deref()), ("u", "c", Some("/srv/my app")));
    assert_eq!(
        (end.exit_code, end.duration_ms, &*end.head, end.status.as_deref()),
        (Some(2), Some(1180), "boo", Some("failed"))
    );

    for changes in
        [r#"{"/a":{"type":"add","content":""}}"#, r#"[{"path":"/a","kind":{"type":"add"},"diff":"x"}]"#]
    {
        let (_, event) = completed(&format!(
            r#"{{"type":"FileChange","id":"c","changes":{changes},"status":"declined"}}"#
        ));
        let Event::PatchEnd(end) = event else { panic!() };
        assert_eq!((end.success, end.status.as_deref()), (false, Some("declined")));
        assert_eq!(end.patch.changes, [Change { path: "/a".into(), kind: ChangeKind::Add }]);
    }
    assert_eq!(
        completed(r#"{"type":"UserMessage","id":"1","content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]}"#).1,
        Event::UserMessage("a\nb".into())
    );
    assert_eq!(
        completed(r#"{"type":"AgentMessage","id":"1","content":[{"type":"Text","text":"a"}]}"#).1,
        Event::AgentMessage("a".into())
    );
    assert_eq!(
        completed(r#"{"type":"Reasoning","id":"1","summary_text":["a","b"],"raw_content":[]}"#).1,
        Event::Reasoning
    );
    let (_, event) = completed(
        r#"{"type":"McpToolCall","id":"c","server":"s","tool":"t","arguments":{},"status":"failed","error":{"message":"gone"}}"#,
    );
    let Event::ToolEnd { tool, failed, message, .. } = event else { panic!() };
    assert_eq!((&*tool.name, failed, message.as_deref()), ("mcp:s.t", true, Some("gone")));
    let started = r#"{"type":"item_started","turn_id":"u","item":{"type":"CommandExecution","id":"c","command":["ls"]}}"#;
    assert!(matches!(rollout_event(started).1, Event::ExecBegin(_)));
}

#[test]
fn a_turn_of_a_rollout_may_end_with_an_error() {
    let (turn, event) = rollout_event(
        r#"{"type":"task_complete","root_turn_id":"r","turn_id":"u","last_agent_message":null,"error":{"message":"over","codex_error_info":"usage_limit_exceeded"},"duration_ms":92}"#,
    );
    let error = Failure { message: "over".into(), info: Some("usage_limit_exceeded".into()) };
    assert_eq!((&*turn, event), ("u", Event::TurnComplete { last_message: None, error: Some(error) }));
    assert_eq!(rollout_event(r#"{"type":"context_compacted","turn_id":"u"}"#).0, "u");
}

#[test]
fn messages_and_calls_of_the_model() {
    let message = r#"{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"x"},{"type":"input_text","text":"b"}],"internal_chat_message_metadata_passthrough":{"turn_id":"u"}}"#;
    let Body::Item { turn, item: said } = rollout_body("response_item", message) else { panic!() };
    assert_eq!((&*turn, said), ("u", Item::Message { role: "user".into() }));
    assert_eq!(
        item(r#"{"type":"function_call","name":"shell","arguments":"{\"command\":[\"ls\"]}","call_id":"c"}"#),
        Item::Call { call: "c".into(), name: "shell".into(), arguments: r#"{"command":["ls"]}"#.into() }
    );
    assert_eq!(
        item(r#"{"type":"custom_tool_call","name":"apply_patch","input":"*** Begin","call_id":"c"}"#),
        Item::Call { call: "c".into(), name: "apply_patch".into(), arguments: "*** Begin".into() }
    );
    assert_eq!(
        item(
            r#"{"type":"local_shell_call","call_id":"c","status":"completed","action":{"type":"exec","command":["ls"]}}"#
        ),
        Item::Call {
            call: "c".into(),
            name: "local_shell".into(),
            arguments: r#"{"type":"exec","command":["ls"]}"#.into()
        }
    );
    assert_eq!(
        item(r#"{"type":"ghost_snapshot","ghost_commit":{}}"#),
        Item::Other { kind: "ghost_snapshot".into() }
    );
}

#[test]
fn outputs_of_tools_tell_exit_code_and_duration() {
    let output = |output: &str| match item(&format!(
        r#"{{"type":"function_call_output","call_id":"c","output":{output}}}"#
    )) {
        Item::Output { call, exit_code, duration_ms, head } => {
            assert_eq!(call, "c");
            (exit_code, duration_ms, head.into_owned())
        }
        other => panic!("{other:?}"),
    };
    for (text, exit_code, duration_ms, head) in [
        (
            r#""{\"output\":\"step\\n\",\"metadata\":{\"exit_code\":3,\"duration_seconds\":0.25}}""#,
            Some(3),
            Some(250),
            "step\n",
        ),
        (r#"{"output":"step","metadata":{"exit_code":0}}"#, Some(0), None, "step"),
        (
            r#""Chunk ID: 4\nWall time: 1.5000 seconds\nProcess exited with code 127\nOriginal token count: 2\nOutput:\nsh: no\n""#,
            Some(127),
            Some(1500),
            "sh: no\n",
        ),
        (
            r#""Exit code: 1\nWall time: 2 seconds\nOutput:\nProcess exited with code 7\n""#,
            Some(1),
            Some(2000),
            "Process exited with code 7\n",
        ),
        (r#""Wall time: 1.3 seconds\naborted by user""#, None, Some(1300), "aborted by user"),
        (r#""exec command rejected by user""#, None, None, "exec command rejected by user"),
        (r#""Output:\nExit code: 1""#, None, None, "Output:\nExit code: 1"),
        (r#""{ not json""#, None, None, "{ not json"),
        (r#""{\"a\":1}""#, None, None, r#"{"a":1}"#),
        (r#"[{"type":"input_text","text":"seen"}]"#, None, None, "seen"),
        ("null", None, None, ""),
    ] {
        assert_eq!(output(text), (exit_code, duration_ms, head.to_owned()), "{text}");
    }
    let long = "x".repeat(2000);
    assert_eq!(
        output(&format!(r#""{{\"output\":\"{long}\",\"metadata\":{{\"exit_code\":0}}}}""#)),
        (Some(0), None, long[..512].to_owned())
    );
    assert_eq!(
        output(&format!(r#""Exit code: 0\nOutput:\n{long}""#)),
        (Some(0), None, long[..512].to_owned())
    );
}

#[test]
fn requests_of_a_rollout_tell_their_tokens() {
    let counts = |input| TokenCounts { input, output: 20, ..TokenCounts::default() };
    let text = r#"{"turn_id":"u","usage":{"input_tokens":100,"output_tokens":20},"thread_token_usage":{"input_tokens":300,"output_tokens":20}}"#;
    let expected = Body::Tokens { turn: "u".into(), last: counts(100), total: Some(counts(300)) };
    assert_eq!(rollout_body("token_usage_record", text), expected);
    assert_eq!(
        rollout_body("compacted", r#"{"message":"recap"}"#),
        Body::Compaction(Box::new(Compaction { summary: Some("recap".into()), ..Compaction::default() }))
    );
}

#[test]
fn an_item_may_say_last_what_it_is() {
    let members = r#""id":"call","command":["ls"],"status":"completed","exit_code":0"#;
    let first = format!(
        r#"{{"type":"item_completed","turn_id":"1","item":{{"type":"CommandExecution",{members}}}}}"#
    );
    let last = format!(
        r#"{{"type":"item_completed","item":{{{members},"type":"CommandExecution"}},"turn_id":"1"}}"#
    );
    assert_eq!(rollout_event(&first), rollout_event(&last));
    assert!(matches!(rollout_event(&first).1, Event::ExecEnd(end) if end.exit_code == Some(0)));
}
