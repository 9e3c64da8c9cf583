//! What Codex told.

use super::*;

#[test]
fn events_may_be_flat_or_nested_with_members_outside() {
    let expected = Event::ExecEnd(Box::new(ExecEnd {
        exec: Exec { call: "c".into(), ..Exec::default() },
        exit_code: Some(1),
        duration_ms: Some(2500),
        head: "no such file".into(),
        status: None,
    }));
    let members = r#""exit_code":1,"stderr":"no such file","duration":{"secs":2,"nanos":500000000}"#;
    assert_eq!(event(&format!(r#"{{"type":"exec_command_end","call_id":"c",{members}}}"#)), expected);
    assert_eq!(
        event(&format!(r#"{{"type":"exec_command_end","payload":{{"call_id":"c",{members}}}}}"#)),
        expected
    );
    assert_eq!(
        event(&format!(r#"{{"type":"exec_command_end","call_id":"c","payload":{{{members}}}}}"#)),
        expected
    );
    assert_eq!(event(r#"{"type":"warning","payload":{"message":"low"}}"#), Event::Warning("low".into()));
    assert_eq!(event(r#"{"type":"agent_message","text":"hello"}"#), Event::AgentMessage("hello".into()));
}

#[test]
fn a_command_is_told_from_begin_to_end() {
    let exec = Exec {
        call: "call_7".into(),
        turn: Some("1".into()),
        command: vec!["bash".into(), "-lc".into(), "make".into()],
        cwd: Some("/srv/app".into()),
        source: Some("agent".into()),
    };
    let members = r#""call_id":"call_7","turn_id":"1","command":["bash","-lc","make"],"cwd":"/srv/app","parsed_cmd":[{"type":"unknown","cmd":"}"}],"source":"agent""#;
    assert_eq!(
        event(&format!(r#"{{"type":"exec_command_begin",{members}}}"#)),
        Event::ExecBegin(Box::new(exec.clone()))
    );
    let end = format!(
        r#"{{"type":"exec_command_end",{members},"stdout":"out","stderr":"err","aggregated_output":"all","exit_code":-1,"duration":{{"secs":0,"nanos":0}},"formatted_output":"{}"}}"#,
        "é".repeat(400)
    );
    let Event::ExecEnd(end) = event(&end) else { panic!() };
    assert_eq!((end.exec, end.exit_code, end.duration_ms), (exec, Some(-1), Some(0)));
    assert_eq!(end.head, "é".repeat(256));
}

#[test]
fn requests_for_approval_name_call_command_and_reason() {
    let request = r#"{"type":"exec_approval_request","call_id":"c","turn_id":"1","command":["rm","-r"],"cwd":"/","reason":"retry without sandbox?","parsed_cmd":[]}"#;
    assert_eq!(
        event(request),
        Event::ApprovalRequest {
            kind: ApprovalKind::Exec,
            call: "c".into(),
            turn: Some("1".into()),
            command: vec!["rm".into(), "-r".into()],
            reason: Some("retry without sandbox?".into()),
        }
    );
    assert!(matches!(
        event(r#"{"type":"apply_patch_approval_request","call_id":"c","changes":{}}"#),
        Event::ApprovalRequest { kind: ApprovalKind::Patch, .. }
    ));
}

#[test]
fn a_patch_lists_its_files() {
    let changes = r#"{"/a":{"type":"add","content":"x"},"/b":{"type":"delete","content":"y"},"/c":{"type":"update","unified_diff":"@@","move_path":null}}"#;
    let expected = vec![
        Change { path: "/a".into(), kind: ChangeKind::Add },
        Change { path: "/b".into(), kind: ChangeKind::Delete },
        Change { path: "/c".into(), kind: ChangeKind::Update },
    ];
    let Event::PatchBegin(patch) =
        event(&format!(r#"{{"type":"patch_apply_begin","call_id":"c","changes":{changes}}}"#))
    else {
        panic!()
    };
    assert_eq!(patch.changes, expected);
    let Event::PatchEnd(end) = event(&format!(
        r#"{{"type":"patch_apply_end","call_id":"c","stderr":"patch rejected by user","success":false,"changes":{changes}}}"#
    )) else {
        panic!()
    };
    assert_eq!((end.success, &*end.head, end.patch.changes), (false, "patch rejected by user", expected));
    let Event::PatchEnd(end) = event(r#"{"type":"patch_apply_end","call_id":"c"}"#) else { panic!() };
    assert!(end.success);
}

#[test]
fn other_tools_have_a_name_of_their_own() {
    let begin = event(
        r#"{"type":"mcp_tool_call_begin","call_id":"c","invocation":{"server":"s","tool":"t","arguments":{"a":1}}}"#,
    );
    let tool = Tool { call: "c".into(), name: "mcp:s.t".into(), arguments: Some(r#"{"a":1}"#.into()) };
    assert_eq!(begin, Event::ToolBegin(Box::new(tool.clone())));
    for (result, failed, message) in [
        (r#"{"Ok":{"content":[],"is_error":false}}"#, false, None),
        (r#"{"Ok":{"content":[{"type":"text","text":"no"}],"is_error":true}}"#, true, Some("no")),
        (r#"{"Err":"server gone"}"#, true, Some("server gone")),
    ] {
        let end = event(&format!(
            r#"{{"type":"mcp_tool_call_end","call_id":"c","invocation":{{"server":"s","tool":"t","arguments":{{"a":1}}}},"duration":{{"secs":0,"nanos":7000000}},"result":{result}}}"#
        ));
        let message = message.map(Text::from);
        assert_eq!(
            end,
            Event::ToolEnd { tool: Box::new(tool.clone()), failed, duration_ms: Some(7), message }
        );
    }
    let Event::ToolEnd { tool, .. } = event(r#"{"type":"web_search_end","call_id":"c","query":"rust"}"#)
    else {
        panic!()
    };
    assert_eq!((&*tool.name, tool.arguments.as_deref()), ("web_search", Some("rust")));
}

#[test]
fn ends_errors_and_numbers_of_turns() {
    for (text, expected) in [
        (r#"{"type":"turn_started"}"#, Event::TurnStarted),
        (r#"{"type":"task_started","model_context_window":1}"#, Event::TurnStarted),
        (
            r#"{"type":"turn_complete","last_agent_message":"done"}"#,
            Event::TurnComplete { last_message: Some("done".into()), error: None },
        ),
        (
            r#"{"type":"task_complete","last_agent_message":null}"#,
            Event::TurnComplete { last_message: None, error: None },
        ),
        (r#"{"type":"turn_aborted","reason":"replaced"}"#, Event::TurnAborted { reason: "replaced".into() }),
        (r#"{"type":"thread_rolled_back","num_turns":2}"#, Event::RolledBack { turns: 2 }),
        (r#"{"type":"undo_completed","success":false}"#, Event::UndoCompleted { success: false }),
        (r#"{"type":"context_compacted"}"#, Event::ContextCompacted),
        (r#"{"type":"turn_diff","unified_diff":"@@"}"#, Event::TurnDiff("@@".into())),
        (
            r#"{"type":"plan_update","plan":[{"step":"s","status":"pending"}]}"#,
            Event::Plan(vec![PlanStep { step: "s".into(), status: "pending".into() }]),
        ),
        (
            r#"{"type":"request_user_input","call_id":"c","questions":[]}"#,
            Event::Question { call: "c".into() },
        ),
        (
            r#"{"type":"collab_agent_spawn_end","call_id":"c","new_thread_id":"n"}"#,
            Event::Collaboration { call: "c".into(), thread: Some("n".into()) },
        ),
        (
            r#"{"type":"collab_waiting_begin","call_id":"c","receiver_thread_ids":["r"]}"#,
            Event::Collaboration { call: "c".into(), thread: Some("r".into()) },
        ),
        (r#"{"type":"shutdown_complete"}"#, Event::Shutdown),
        (r#"{"type":"undo_started"}"#, Event::Other { kind: "undo_started".into() }),
        (
            r#"{"type":"error","message":"m","codex_error_info":{"http_connection_failed":{"http_status_code":502}}}"#,
            Event::Error(Failure { message: "m".into(), info: Some("http_connection_failed".into()) }),
        ),
        (
            r#"{"type":"stream_error","message":"m","codex_error_info":"other"}"#,
            Event::StreamError(Failure { message: "m".into(), info: Some("other".into()) }),
        ),
    ] {
        assert_eq!(event(text), expected, "{text}");
    }
}

#[test]
fn tokens_are_counted_for_the_request_and_the_thread() {
    let text = r#"{"type":"token_count","info":{"total_token_usage":{"input_tokens":10,"cached_input_tokens":4,"output_tokens":3,"reasoning_output_tokens":1},"last_token_usage":{"input_tokens":2.0,"output_tokens":1e3,"cached_input_tokens":-1,"reasoning_output_tokens":99999999999999999999999}}}"#;
    let total = TokenCounts { input: 10, cached_input: 4, output: 3, reasoning: 1 };
    let last = TokenCounts { input: 2, cached_input: 0, output: 1000, reasoning: 0 };
    assert_eq!(event(text), Event::Tokens { last: Some(last), total: Some(total) });
    assert_eq!(event(r#"{"type":"token_count","info":null}"#), Event::Tokens { last: None, total: None });
}

#[test]
fn a_new_epoch_tells_its_settings() {
    let text = r#"{"type":"session_configured","session_id":"t","model":"m","approval_policy":"never","sandbox_policy":{"type":"danger-full-access"},"cwd":"/srv","reasoning_effort":"low"}"#;
    let body = spine_body("event", &format!(r#"{{"id":"","msg":{text}}}"#));
    let Body::Event { turn, event: Event::Configured { model, context } } = body else { panic!() };
    assert_eq!((&*turn, model.as_deref(), context.effort.as_deref()), ("", Some("m"), Some("low")));
    assert_eq!(context.sandbox_policy.as_deref(), Some("danger-full-access"));
}
