//! The command line of a turn.

#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::Path;

use codex::{
    Binary, ConfigOverride, Invocation, InvocationError, NetworkRetries, Sandbox, Settings, Switch, Turn,
    Version,
};

fn turn(prompt: &str) -> Turn {
    Turn { prompt: prompt.into(), resume: None, cwd: "/repo".into(), last_message_file: None }
}

fn shell() -> Binary {
    Binary::locate("/bin/sh", None, Path::new("/")).unwrap()
}

fn args(version: Option<Version>, settings: &Settings, turn: Turn) -> Vec<String> {
    let invocation = Invocation::new(&shell(), version, settings, turn).unwrap();
    invocation.args.into_iter().map(|arg: OsString| arg.into_string().unwrap()).collect()
}

#[test]
fn every_flag_stands_before_resume_where_all_releases_take_it() {
    let settings =
        Settings { sandbox: Sandbox::WorkspaceWrite, skip_git_repo_check: true, ..Settings::default() };
    let resumed = Turn {
        resume: Some("01a1fafb-4c87-7a22-8307-df19e86425a2".parse().unwrap()),
        last_message_file: Some("/run/last.txt".into()),
        ..turn("go on")
    };
    let old = args(Some(Version::OLDEST_KNOWN), &settings, resumed.clone());
    let expected = [
        "exec",
        "--json",
        "-s",
        "workspace-write",
        "--skip-git-repo-check",
        "-o",
        "/run/last.txt",
        "resume",
        "01a1fafb-4c87-7a22-8307-df19e86425a2",
        "-",
    ];
    assert_eq!(old, expected);
    let new = args(Some(Version::NEWEST_KNOWN), &settings, resumed.clone());
    let (resume, last) = (new.iter().position(|arg| arg == "resume").unwrap(), new.len() - 1);
    assert_eq!(last - resume, 2);
    assert_eq!(args(None, &settings, resumed), new);
}

#[test]
fn the_sandbox_is_named_every_time() {
    for (sandbox, expected) in [
        (Sandbox::ReadOnly, &["-s", "read-only"][..]),
        (Sandbox::WorkspaceWrite, &["-s", "workspace-write"]),
        (Sandbox::DangerFullAccess, &["-s", "danger-full-access"]),
        (Sandbox::Bypass, &["--dangerously-bypass-approvals-and-sandbox"]),
    ] {
        let settings = Settings { sandbox, ..Settings::default() };
        let args = args(Some(Version::OLDEST_KNOWN), &settings, turn("x"));
        assert_eq!(args[2..args.len() - 1], *expected);
    }
}

#[test]
fn network_retries_are_bounded_where_they_would_not_be() {
    let bound = ["-c", "features.unbounded_connection_retries=false"];
    let has_bound = |version, settings: &Settings| {
        args(version, settings, turn("x")).windows(2).any(|pair| pair == bound)
    };
    let settings = Settings::default();
    assert!(has_bound(Some(Version::NEWEST_KNOWN), &settings));
    assert!(has_bound(None, &settings));
    assert!(!has_bound(Some(Version::OLDEST_KNOWN), &settings));
    let settings = Settings { network_retries: NetworkRetries::AsConfigured, ..settings };
    assert!(!has_bound(Some(Version::NEWEST_KNOWN), &settings));
}

#[test]
fn the_users_own_overrides_come_last_so_that_they_count() {
    let settings = Settings {
        reasoning_effort: Some("high".to_owned()),
        config: vec![
            ConfigOverride::new("model_reasoning_effort", "\"low\""),
            ConfigOverride::string("a", "x\"y"),
        ],
        web_search: true,
        ..Settings::default()
    };
    let args = args(Some(Version::NEWEST_KNOWN), &settings, turn("x"));
    let overrides: Vec<&str> =
        args.windows(2).filter(|pair| pair[0] == "-c").map(|pair| pair[1].as_str()).collect();
    let expected = [
        "features.unbounded_connection_retries=false",
        "web_search=\"live\"",
        "model_reasoning_effort=\"high\"",
        "model_reasoning_effort=\"low\"",
        r#"a="x\"y""#,
    ];
    assert_eq!(overrides, expected);
}

#[test]
fn every_other_setting_becomes_its_flag() {
    let settings = Settings {
        model: Some("m".to_owned()),
        profile: Some("p".to_owned()),
        add_dirs: vec!["/a".into(), "/b".into()],
        images: vec!["-i.png".into()],
        output_schema: Some("/s.json".into()),
        web_search: true,
        oss: true,
        local_provider: Some("ollama".to_owned()),
        switches: vec![Switch::Ephemeral],
        ..Settings::default()
    };
    let expected = [
        "exec",
        "--json",
        "-s",
        "read-only",
        "--ephemeral",
        "--oss",
        "--local-provider",
        "ollama",
        "-m",
        "m",
        "-p",
        "p",
        "-c",
        "features.web_search_request=true",
        "--add-dir",
        "/a",
        "--add-dir",
        "/b",
        "--image=-i.png",
        "--output-schema",
        "/s.json",
        "-",
    ];
    assert_eq!(args(Some(Version::OLDEST_KNOWN), &settings, turn("x")), expected);
}

#[test]
fn the_prompt_goes_to_standard_input_whatever_it_looks_like() {
    for prompt in ["resume", "--help", "-", &"x".repeat(300_000)] {
        let invocation = Invocation::new(&shell(), None, &Settings::default(), turn(prompt)).unwrap();
        assert_eq!(invocation.stdin, prompt.as_bytes());
        assert_eq!(invocation.args.last().unwrap(), "-");
        assert_eq!(invocation.cwd, Path::new("/repo"));
    }
}

#[test]
fn a_prompt_that_codex_would_refuse_is_refused_at_once() {
    let refused = |prompt: &[u8]| {
        let turn = Turn { prompt: prompt.to_vec(), ..turn("") };
        Invocation::new(&shell(), None, &Settings::default(), turn).unwrap_err()
    };
    assert_eq!(refused(b""), InvocationError::EmptyPrompt);
    assert_eq!(refused(b" \n"), InvocationError::EmptyPrompt);
    assert_eq!(refused(b"ok \xff"), InvocationError::PromptNotUtf8 { offset: 3 });
}

#[test]
fn the_words_of_a_wrapper_come_first() {
    let wrapper = Binary::locate("/bin/sh -c 'exec \"$0\" \"$@\"' codex", None, Path::new("/")).unwrap();
    let invocation = Invocation::new(&wrapper, None, &Settings::default(), turn("x")).unwrap();
    assert_eq!(invocation.program, Path::new("/bin/sh"));
    assert_eq!(invocation.args[..4], ["-c", "exec \"$0\" \"$@\"", "codex", "exec"].map(OsString::from));
}

#[test]
fn settings_that_are_stored_come_back_the_same() {
    let settings = Settings::parse_args(&["--yolo", "-m", "gpt-5", "--ephemeral", "-c", "a=1"]).unwrap();
    let stored = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&stored).unwrap(), settings);
    assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
}
