//! What records become, dialect by dialect.

#![allow(clippy::unwrap_used, clippy::expect_used)]

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
    match spine_body("submission", &format!(r#"{{"id":"3","op":{op}}}"#)) {
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
fn metadata_may_be_flat_or_nested() {
    let flat = r#"{"id":"t","forked_from_id":"s","timestamp":"2026-03-02T08:00:00.010Z","cwd":"/srv/app","originator":"codex_cli_rs","cli_version":"0.93.0","source":"cli","model_provider":"openai","base_instructions":{"text":"be kind"},"git":{"commit_hash":"9f31","branch":"main","repository_url":"https://example.org/a.git"}}"#;
    let nested = r#"{"meta":{"id":"t","forked_from_id":"s","timestamp":"2026-03-02T08:00:00.010Z","cwd":"/srv/app","originator":"codex_cli_rs","cli_version":"0.93.0","source":"CLI","model_provider":"openai"},"git":{"commit_hash":"9f31","branch":"main","repository_url":"https://example.org/a.git"}}"#;
    let expected = Meta {
        id: Some("t".into()),
        forked_from: Some("s".into()),
        time: Some("2026-03-02T08:00:00.010Z".parse().unwrap()),
        cwd: Some("/srv/app".into()),
        originator: Some("codex_cli_rs".into()),
        cli_version: Some("0.93.0".into()),
        source: Source::Named("cli".into()),
        model_provider: Some("openai".into()),
        git: Git {
            commit: Some("9f31".into()),
            branch: Some("main".into()),
            url: Some("https://example.org/a.git".into()),
        },
    };
    assert_eq!(spine_body("session_meta", flat), Body::Meta(Box::new(expected.clone())));
    assert_eq!(spine_body("session_meta", nested), Body::Meta(Box::new(expected.clone())));
    assert_eq!(rollout_body("session_meta", flat), Body::Meta(Box::new(expected)));
}

#[test]
fn sources_are_words_in_any_case_or_sub_agents() {
    let agent = |kind: &'static str, parent: Option<&'static str>, depth| Source::SubAgent {
        kind: kind.into(),
        parent: parent.map(Into::into),
        depth,
    };
    for (text, expected) in [
        (r#""VSCode""#, Source::Named("vscode".into())),
        (r#""exec""#, Source::Named("exec".into())),
        (r#""unknown""#, Source::Unknown),
        ("null", Source::Unknown),
        (r#""SubAgent""#, agent("other", None, None)),
        (r#"{"subagent":"review"}"#, agent("review", None, None)),
        (r#"{"SubAgent":"Review"}"#, agent("review", None, None)),
        (
            r#"{"subagent":{"thread_spawn":{"parent_thread_id":"p","depth":2}}}"#,
            agent("thread_spawn", Some("p"), Some(2)),
        ),
        (
            r#"{"subagent":{"thread_spawn":{"parent_thread_id":"p","depth":99999999999}}}"#,
            agent("thread_spawn", Some("p"), None),
        ),
        (r#"{"subagent":{"other":"tester"}}"#, agent("tester", None, None)),
        (r#"{"custom":{}}"#, Source::Named("custom".into())),
        ("[1]", Source::Unknown),
    ] {
        let Body::Meta(meta) = spine_body("session_meta", &format!(r#"{{"source":{text}}}"#)) else {
            panic!()
        };
        assert_eq!(meta.source, expected, "{text}");
    }
}

#[test]
fn settings_may_be_in_a_context_or_beside_it() {
    let expected = Context {
        turn: Some("1".into()),
        cwd: Some("/srv/app".into()),
        approval_policy: Some("on-request".into()),
        sandbox_policy: Some("workspace-write".into()),
        model: Some("m".into()),
        effort: Some("high".into()),
    };
    let settings = r#""cwd":"/srv/app","approval_policy":"on-request","sandbox_policy":{"type":"workspace-write","writable_roots":[]},"model":"m","effort":"high","summary":"auto""#;
    let body = Body::Context(Box::new(expected));
    assert_eq!(spine_body("turn_context", &format!(r#"{{"turn_id":"1","context":{{{settings}}}}}"#)), body);
    assert_eq!(spine_body("turn_context", &format!(r#"{{"turn_id":"1",{settings}}}"#)), body);
    assert_eq!(rollout_body("turn_context", &format!(r#"{{"turn_id":"1",{settings}}}"#)), body);
    let Body::Context(bare) =
        spine_body("turn_context", r#"{"sandbox_policy":"read-only","approval_policy":"suggest"}"#)
    else {
        panic!()
    };
    assert_eq!(
        (bare.turn, bare.sandbox_policy, bare.approval_policy),
        (None, Some("read-only".into()), Some("suggest".into()))
    );
}

#[test]
fn decisions_are_words_or_objects() {
    for (text, expected, approved) in [
        (r#""approved""#, Decision::Approved, Some(true)),
        (r#""approved_for_session""#, Decision::ApprovedForSession, Some(true)),
        (
            r#"{"approved_execpolicy_amendment":{"proposed_execpolicy_amendment":["ls"]}}"#,
            Decision::ApprovedWithAmendment,
            Some(true),
        ),
        (r#""denied""#, Decision::Denied, Some(false)),
        (r#""abort""#, Decision::Abort, Some(false)),
        (r#"{"type":"approved"}"#, Decision::Approved, Some(true)),
        (r#"{"type":"denied"}"#, Decision::Denied, Some(false)),
        (r#""perhaps""#, Decision::Other("perhaps".into()), None),
        ("7", Decision::Other("".into()), None),
    ] {
        let Op::Approval { kind, about, call, decision } =
            op(&format!(r#"{{"type":"exec_approval","id":"1","decision":{text}}}"#))
        else {
            panic!()
        };
        assert_eq!((kind, &*about, call), (ApprovalKind::Exec, "1", None));
        assert_eq!((decision.approved(), decision), (approved, expected), "{text}");
    }
}

#[test]
fn an_approval_may_name_its_call() {
    let decision = Decision::Denied;
    assert_eq!(
        op(r#"{"type":"patch_approval","call_id":"c","decision":{"type":"denied"}}"#),
        Op::Approval { kind: ApprovalKind::Patch, about: "".into(), call: Some("c".into()), decision }
    );
}

#[test]
fn the_user_speaks_in_parts() {
    let items = r#"[{"type":"text","text":"do it","text_elements":[]},{"type":"image","image_url":"data:x"},{"type":"local_image","path":"/a.png"},{"type":"skill","name":"s","path":"/s"},{"type":"mention","name":"m","path":"/m"},{"type":"smell"}]"#;
    let Op::UserTurn { items, context } = op(&format!(
        r#"{{"type":"user_turn","items":{items},"cwd":"/srv","model":"m","approval_policy":"never","sandbox_policy":{{"type":"read-only"}}}}"#
    )) else {
        panic!()
    };
    assert_eq!(
        items,
        [
            UserItem::Text("do it".into()),
            UserItem::Image("data:x".into()),
            UserItem::Image("/a.png".into()),
            UserItem::Skill { name: "s".into(), path: "/s".into() },
            UserItem::Mention { name: "m".into(), path: "/m".into() },
            UserItem::Other,
        ]
    );
    assert_eq!((context.model, context.sandbox_policy), (Some("m".into()), Some("read-only".into())));
    assert!(matches!(op(r#"{"type":"user_input","items":[]}"#), Op::UserTurn { .. }));
}

#[test]
fn every_op_has_its_meaning() {
    for (text, expected) in [
        (r#"{"type":"interrupt"}"#, Op::Interrupt),
        (r#"{"type":"undo"}"#, Op::Undo),
        (r#"{"type":"compact"}"#, Op::Compact),
        (r#"{"type":"shutdown"}"#, Op::Shutdown),
        (r#"{"type":"thread_rollback","num_turns":3}"#, Op::Rollback { turns: 3 }),
        (r#"{"type":"user_input_answer","id":"1","response":{}}"#, Op::Answer),
        (r#"{"type":"request_user_input_response","id":"1"}"#, Op::Answer),
        (r#"{"type":"review","review_request":{}}"#, Op::Other { kind: "review".into() }),
    ] {
        assert_eq!(op(text), expected, "{text}");
    }
    for kind in [
        "add_to_history",
        "list_models",
        "list_mcp_tools",
        "refresh_mcp_servers",
        "get_history_entry_request",
    ] {
        assert_eq!(
            spine_body("submission", &format!(r#"{{"id":"1","op":{{"type":"{kind}"}}}}"#)),
            Body::Nothing
        );
    }
}

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
fn the_beginning_of_an_output_with_escapes_is_cut_at_a_character() {
    let end = format!(r#"{{"type":"exec_command_end","formatted_output":"{}"}}"#, r"a\né".repeat(300));
    let Event::ExecEnd(end) = event(&end) else { panic!() };
    assert_eq!(end.head, "a\né".repeat(128));
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

#[test]
fn artifacts_boundaries_and_bridges() {
    assert_eq!(
        spine_body(
            "artifact_ref",
            r#"{"kind":"git_info","repo_root":"/srv/app","git":{"commit_hash":"9f","repository_url":"u"}}"#
        ),
        Body::Artifact(Box::new(Artifact::Git {
            root: Some("/srv/app".into()),
            git: Git { commit: Some("9f".into()), branch: None, url: Some("u".into()) },
        }))
    );
    assert_eq!(
        spine_body(
            "artifact_ref",
            r#"{"kind":"git_diff","base_sha":"ab","artifact_path":"artifacts/git_diff.patch","sha256":"00"}"#
        ),
        Body::Artifact(Box::new(Artifact::Diff {
            base: Some("ab".into()),
            path: "artifacts/git_diff.patch".into(),
            sha256: "00".into()
        }))
    );
    assert_eq!(
        spine_body(
            "compaction_boundary",
            r#"{"turn_id":"auto-compact-0","kind":"local","summary_message":"recap","pre_compaction_history":[{"type":"message"}],"post_compaction_history":[]}"#
        ),
        Body::Compaction(Box::new(Compaction {
            turn: Some("auto-compact-0".into()),
            kind: Some("local".into()),
            summary: Some("recap".into()),
            has_histories: true
        }))
    );
    assert_eq!(
        spine_body("compaction_boundary", r#"{"pre_summary":"a","post_summary":"b"}"#),
        Body::Compaction(Box::new(Compaction { summary: Some("b".into()), ..Compaction::default() }))
    );
    assert_eq!(
        spine_body(
            "bridge",
            r#"{"bridge_kind":"exec_approval","parent_thread_id":"p","parent_turn_id":"1","sub_agent_thread_id":"s","sub_agent_turn_id":"0","sub_agent_call_id":"c","decision":"denied"}"#
        ),
        Body::Bridge(Box::new(Bridge {
            kind: "exec_approval".into(),
            parent_turn: Some("1".into()),
            thread: Some("s".into()),
            turn: Some("0".into()),
            call: Some("c".into()),
            decision: Some(Decision::Denied)
        }))
    );
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

mod properties {
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
    }
}
