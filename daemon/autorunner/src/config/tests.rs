#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use proptest::prelude::*;

fn parsed(text: &str) -> Loaded {
    parse(Path::new("config.yml"), text).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match parse(Path::new("config.yml"), text) {
        Err(ConfigError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn what_a_file_does_not_set_has_the_default_of_the_format() {
    for text in ["", "{}", "version: 1\n", "git:\n  auto_commit: false\n"] {
        assert_eq!(parsed(text).config, Config::default(), "{text:?}");
    }
    let config = parsed("docs:\n  todo: PLAN.md\nrunner: {sleep_seconds: 0}\n").config;
    assert_eq!(config.docs.todo, Path::new("PLAN.md"));
    assert_eq!(config.docs.progress, Path::new(".codex-autorunner/PROGRESS.md"));
    assert_eq!((config.runner.sleep_seconds, config.runner.no_progress_threshold), (0, 3));
}

#[test]
fn the_seeded_file_is_the_default_tree_with_a_sandbox() {
    let seeded = parsed(SEED);
    assert_eq!(seeded.warnings, []);
    assert_eq!(seeded.config.codex.args, ["exec", "--sandbox", "workspace-write"]);
    let default = Config::default();
    let codex = Codex { args: default.codex.args.clone(), ..seeded.config.codex.clone() };
    assert_eq!(Config { codex, ..seeded.config }, default);
    assert!(SEED.contains("danger-full-access"), "the comment on the dangerous sandbox");
}

#[test]
fn the_seeded_file_has_the_keys_of_the_format_in_its_order() {
    let keys: Vec<&str> = SEED
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', '-']))
        .filter_map(|line| line.split_once(':').map(|(key, _)| key.trim()))
        .collect();
    assert_eq!(
        keys.join(" "),
        "version docs todo progress opinions codex binary args prompt prev_run_max_chars \
         template runner sleep_seconds stop_after_runs max_wallclock_seconds \
         no_progress_threshold stop_after_failures iteration_timeout_seconds \
         idle_timeout_seconds git auto_commit commit_message_template server host port auth_token"
    );
}

#[test]
fn a_file_written_by_the_earlier_tool_is_accepted() {
    let loaded = parsed(
        "version: 1\ndocs:\n  todo: .codex-autorunner/TODO.md\n  progress: .codex-autorunner/PROGRESS.md\n  \
         opinions: .codex-autorunner/OPINIONS.md\ncodex:\n  binary: codex\n  args:\n  - --yolo\n  - exec\n  \
         - --sandbox\n  - danger-full-access\nprompt:\n  prev_run_max_chars: 6000\n  template: \
         .codex-autorunner/prompt.txt\nrunner:\n  sleep_seconds: 5\n  stop_after_runs: null\n  \
         max_wallclock_seconds: null\ngit:\n  auto_commit: false\n  commit_message_template: '[codex] run \
         #{run_id}'\nserver:\n  host: 127.0.0.1\n  port: 4173\n  auth_token: null\n",
    );
    assert_eq!(loaded, Loaded { config: Config::default(), warnings: vec![] });
}

#[test]
fn version_2_is_read_as_far_as_its_keys_mean_the_same() {
    let loaded = parsed(
        "version: 2\nmode: repo\ndocs: {spec: SPEC.md}\ncodex:\n  args: [exec]\n  model: gpt-5.1\n  \
         reasoning: high\n  terminal_args: [--yolo]\nnotifications: {enabled: auto}\n\
         server: {auth_token_env: TOKEN}\nlog: {max_bytes: 1}\n",
    );
    assert_eq!(loaded.config.codex.model.as_deref(), Some("gpt-5.1"));
    assert_eq!(loaded.config.codex.reasoning.as_deref(), Some("high"));
    let ignored: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    for key in ["docs.spec", "codex.terminal_args", "notifications", "server.auth_token_env", "log"] {
        assert!(ignored.iter().any(|line| line.starts_with(&format!("{key}: "))), "{key}");
    }
    assert_eq!(ignored.len(), 5, "{ignored:?}");
}

#[test]
fn each_failure_is_one_line_with_the_dotted_key_and_the_type() {
    for (text, line) in [
        ("- a", "config.yml: expected a mapping; found a list"),
        ("version: 3", "version: expected 1 (or 2, of release 0.1.0); found 3"),
        ("version: true", "version: expected 1 (or 2, of release 0.1.0); found true"),
        ("mode: hub", "mode: expected repo; found hub"),
        ("docs: x", "docs: expected a mapping; found x"),
        ("docs:\n", "docs: expected a mapping; found nothing"),
        ("docs: {todo: ''}", "docs.todo: expected a text that is not empty; found an empty text"),
        ("docs: {todo: 5}", "docs.todo: expected a text that is not empty; found 5"),
        ("codex: {binary: null}", "codex.binary: expected a text that is not empty; found nothing"),
        ("codex: {args: exec}", "codex.args: expected a list of texts; found exec"),
        ("codex: {args: [exec, 5]}", "codex.args[1]: expected a text; found 5"),
        (
            "prompt: {prev_run_max_chars: -1}",
            "prompt.prev_run_max_chars: expected a whole number, 0 or more; found -1",
        ),
        (
            "prompt: {template: [a]}",
            "prompt.template: expected a text that is not empty, or null; found a list",
        ),
        (
            "runner: {sleep_seconds: yes}",
            "runner.sleep_seconds: expected a whole number, 0 or more; found true",
        ),
        (
            "runner: {sleep_seconds: 1.5}",
            "runner.sleep_seconds: expected a whole number, 0 or more; found 1.5",
        ),
        (
            "runner: {sleep_seconds: '5'}",
            "runner.sleep_seconds: expected a whole number, 0 or more; found the text '5'",
        ),
        (
            "runner: {stop_after_runs: true}",
            "runner.stop_after_runs: expected a whole number, 0 or more, or null; found true",
        ),
        (
            "runner: {stop_after_failures: 0}",
            "runner.stop_after_failures: expected a whole number, 1 or more; found 0",
        ),
        ("git: {auto_commit: 1}", "git.auto_commit: expected true or false; found 1"),
        ("server: {port: 70000}", "server.port: expected a whole number from 0 to 65535; found 70000"),
    ] {
        assert_eq!(problems(text), [line], "{text}");
    }
}

#[test]
fn a_wrong_secret_is_not_shown() {
    assert_eq!(
        problems("server: {auth_token: [s3cret]}"),
        ["server.auth_token: expected a text that is not empty, or null; found a list"]
    );
    assert_eq!(
        problems("server: {auth_token: 12345}"),
        ["server.auth_token: expected a text that is not empty, or null; found a number"]
    );
    let config = parsed("server: {auth_token: s3cret}").config;
    assert_eq!(config.server.auth_token.as_deref(), Some("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
    assert!(!serde_json::to_string(&config).unwrap().contains("s3cret"));
}

#[test]
fn all_failures_are_told_at_once() {
    assert_eq!(problems("docs: {todo: ''}\ngit: {auto_commit: 'x'}\nrunner: []\n").len(), 3);
}

#[test]
fn unknown_keys_are_warnings_with_a_suggestion() {
    let lines = |text| -> Vec<String> { parsed(text).warnings.iter().map(ToString::to_string).collect() };
    assert_eq!(
        lines("runner: {sleep_secnds: 1}"),
        ["runner.sleep_secnds: unknown key, ignored; did you mean runner.sleep_seconds?"]
    );
    assert_eq!(
        lines("auto_commit: true"),
        ["auto_commit: unknown key, ignored; did you mean git.auto_commit?"]
    );
    assert_eq!(lines("runnr: {}"), ["runnr: unknown key, ignored; did you mean runner?"]);
    assert_eq!(lines("wholly_else: 1"), ["wholly_else: unknown key, ignored"]);
}

#[test]
fn a_section_for_codex_without_arguments_is_warned_about() {
    let warnings = parsed("codex: {binary: codex}").warnings;
    assert_eq!(warnings, [Warning::NoSandbox]);
    assert_eq!(parsed("codex: {args: [exec]}").warnings, []);
}

#[test]
fn broken_yaml_and_missing_files_say_what_to_do() {
    let error = parse(Path::new("config.yml"), "a: [1\nb: 2").unwrap_err().to_string();
    assert!(error.starts_with("config.yml is not valid YAML: ") && error.contains("line"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let error = load(&Layout::of_root(dir.path())).unwrap_err();
    assert!(error.to_string().contains("spindle auto init"));
}

#[test]
fn settings_above_the_repository_that_are_not_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::of_root(dir.path());
    std::fs::create_dir(layout.dir()).unwrap();
    std::fs::write(layout.config(), SEED).unwrap();
    std::fs::write(dir.path().join("codex-autorunner.yml"), "").unwrap();
    let warnings = load(&layout).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().contains("codex-autorunner.yml"));
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in "[a-z:\\-\\[\\]{}'\" \\n0-9#&*!]{0,60}") {
        let _ = parse(Path::new("config.yml"), &text);
    }

    #[test]
    fn counts_read_back(sleep in any::<u32>(), runs in proptest::option::of(any::<u32>())) {
        let runs_text = runs.map_or("null".to_owned(), |runs| runs.to_string());
        let text = format!("runner:\n  sleep_seconds: {sleep}\n  stop_after_runs: {runs_text}\n");
        let runner = parsed(&text).config.runner;
        prop_assert_eq!(runner.sleep_seconds, u64::from(sleep));
        prop_assert_eq!(runner.stop_after_runs, runs.map(u64::from));
    }
}
