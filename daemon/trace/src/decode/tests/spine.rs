//! What only spines have: submissions, artifacts, boundaries, bridges, settings.

use super::*;

#[test]
fn metadata_may_be_flat_or_nested() {
    let flat = r#"{"id":"t","forked_from_id":"s","timestamp":"2026-03-02T08:00:00.010Z","cwd":"/srv/app","originator":"codex_cli_rs","cli_version":"0.93.0","source":"cli","model_provider":"openai","base_instructions":{"text":"be kind"},"git":{"commit_hash":"9f31","branch":"main","repository_url":"https://example.org/a.git"}}"#;
    let nested = r#"{"meta":{"id":"t","forked_from_id":"s","timestamp":"2026-03-02T08:00:00.010Z","cwd":"/srv/app","originator":"codex_cli_rs","cli_version":"0.93.0","source":"cli","model_provider":"openai"},"git":{"commit_hash":"9f31","branch":"main","repository_url":"https://example.org/a.git"}}"#;
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
fn sources_are_words_as_they_are_written_or_sub_agents() {
    let agent = |name: &'static str, parent: Option<&'static str>, depth| Source::SubAgent {
        name: name.into(),
        parent: parent.map(Into::into),
        depth,
    };
    for (text, expected) in [
        (r#""VSCode""#, Source::Named("VSCode".into())),
        (r#""exec""#, Source::Named("exec".into())),
        (r#""unknown""#, Source::Unknown),
        ("null", Source::Unknown),
        (r#""SubAgent""#, agent("SubAgent", None, None)),
        (r#"{"subagent":"review"}"#, agent("subagent:review", None, None)),
        (r#"{"SubAgent":"Review"}"#, agent("subagent:Review", None, None)),
        (
            r#"{"subagent":{"thread_spawn":{"parent_thread_id":"p","depth":2}}}"#,
            agent("subagent:thread_spawn", Some("p"), Some(2)),
        ),
        (
            r#"{"subagent":{"thread_spawn":{"parent_thread_id":"p","depth":99999999999}}}"#,
            agent("subagent:thread_spawn", Some("p"), None),
        ),
        (r#"{"subagent":{"other":"tester"}}"#, agent("subagent:tester", None, None)),
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
