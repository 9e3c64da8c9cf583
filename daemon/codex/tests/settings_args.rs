//! Argument lists of earlier tools.

#![allow(clippy::unwrap_used)]

use codex::{ConfigOverride, NetworkRetries, Reason, Sandbox, Settings, Switch, Unmapped};
use proptest::prelude::*;

fn faults(args: &[&str]) -> Vec<String> {
    Settings::parse_args(args).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_list_every_seeded_repository_has_bypasses_the_sandbox() {
    let settings = Settings::parse_args(&["--yolo", "exec", "--sandbox", "danger-full-access"]).unwrap();
    assert_eq!(settings, Settings { sandbox: Sandbox::Bypass, ..Settings::default() });
}

#[test]
fn full_auto_becomes_workspace_write() {
    let settings = Settings::parse_args(&["exec", "--full-auto"]).unwrap();
    assert_eq!(settings.sandbox, Sandbox::WorkspaceWrite);
}

#[test]
fn values_may_be_separate_or_attached() {
    let expected =
        Settings { sandbox: Sandbox::WorkspaceWrite, model: Some("gpt-5".to_owned()), ..Settings::default() };
    for model in
        [&["-m", "gpt-5"][..], &["-mgpt-5"], &["-m=gpt-5"], &["--model", "gpt-5"], &["--model=gpt-5"]]
    {
        let args = [model, &["-s", "workspace-write"]].concat();
        assert_eq!(Settings::parse_args(&args).unwrap(), expected, "{args:?}");
    }
}

#[test]
fn everything_with_a_place_finds_it() {
    let settings = Settings::parse_args(&[
        "-a",
        "never",
        "--search",
        "-c",
        "model_reasoning_effort=\"high\"",
        "e",
        "--json",
        "--color=never",
        "-p",
        "night",
        "-c",
        "sandbox_mode='read-only'",
        "-c",
        "a.b=[1, 2]",
        "--disable",
        "apps",
        "--add-dir",
        "/data",
        "-i",
        "a.png,b.png",
        "--output-schema",
        "schema.json",
        "--skip-git-repo-check",
        "--oss",
        "--local-provider",
        "ollama",
        "--ephemeral",
        "-",
    ])
    .unwrap();
    let expected = Settings {
        sandbox: Sandbox::ReadOnly,
        model: None,
        reasoning_effort: Some("high".to_owned()),
        profile: Some("night".to_owned()),
        config: vec![ConfigOverride::new("a.b", "[1, 2]"), ConfigOverride::new("features.apps", "false")],
        add_dirs: vec!["/data".into()],
        images: vec!["a.png".into(), "b.png".into()],
        output_schema: Some("schema.json".into()),
        skip_git_repo_check: true,
        web_search: true,
        oss: true,
        local_provider: Some("ollama".to_owned()),
        switches: vec![Switch::Ephemeral],
        network_retries: NetworkRetries::Bounded,
    };
    assert_eq!(settings, expected);
}

#[test]
fn a_choice_about_network_retries_is_left_to_the_user() {
    for choice in [
        &["--enable", "unbounded_connection_retries"][..],
        &["-c", "features.unbounded_connection_retries=true"],
    ] {
        let settings = Settings::parse_args(&[choice, &["-s", "read-only"]].concat()).unwrap();
        assert_eq!(settings.network_retries, NetworkRetries::AsConfigured);
        assert_eq!(settings.config, [ConfigOverride::new("features.unbounded_connection_retries", "true")]);
    }
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    assert_eq!(faults(&["--yolo", "exec", "-s", "read-only"]), ["-s read-only: contradicts --yolo"]);
    assert_eq!(faults(&["-s", "read-only", "-m", "a", "-m", "b"]), ["-m: contradicts -m a"]);
    assert_eq!(
        faults(&["--full-auto", "-c", "sandbox_mode=danger-full-access"]),
        ["-c sandbox_mode danger-full-access: contradicts --full-auto"]
    );
}

#[test]
fn all_faults_are_reported_with_their_reasons() {
    assert_eq!(
        faults(&[
            "exec",
            "--frobnicate",
            "-a",
            "on-request",
            "-C",
            "/elsewhere",
            "do it",
            "resume",
            "--json=1",
            "-c",
            "novalue",
            "--sandbox",
            "none",
            "-m",
        ]),
        [
            "--frobnicate: not a known flag of `codex exec`",
            "-a: `codex exec` never asks; leave it out, or say `never`",
            "-C: the run's own directory is the working directory",
            "do it: a word, not a flag; the prompt is given on standard input",
            "resume: which thread is resumed is decided for each run",
            "--json: cannot take the value \"1\"",
            "-c: cannot take the value \"novalue\"",
            "--sandbox: cannot take the value \"none\"",
            "-m: its value is missing",
            "no sandbox is given: add `--sandbox workspace-write` (or read-only, or danger-full-access)",
        ]
    );
}

#[test]
fn a_list_without_a_sandbox_is_refused() {
    let unmapped = Settings::parse_args(&["exec"]).unwrap_err();
    assert_eq!(unmapped, [Unmapped { flag: String::new(), reason: Reason::NoSandbox }]);
}

#[test]
fn flags_of_many_bytes_are_no_trouble() {
    assert_eq!(faults(&["-äö", "-s", "read-only"]), ["-ä: not a known flag of `codex exec`"]);
}

proptest! {
    #[test]
    fn no_arguments_make_the_parser_panic(args in prop::collection::vec("(-{0,2}[a-z=äs]{0,6}|.{0,6})", 0..8)) {
        let _ = Settings::parse_args(&args);
    }
}
