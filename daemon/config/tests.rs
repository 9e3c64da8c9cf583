//! What a configuration may say, and what is answered to one that says something else.

use std::ffi::OsString;
use std::path::PathBuf;

use super::load::Loaded;
use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let source = Source {
        path: PathBuf::from("/c/config.toml"),
        must_exist: false,
        log_level: None,
        log_format: None,
    };
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    source.load_from(Some(text), variables)
}

fn config(text: &str) -> Config {
    load(text, &[]).unwrap().config
}

/// All that is wrong with the text, a line each.
fn wrong(text: &str) -> Vec<String> {
    load(text, &[]).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn wrong_variable(name: &str, value: &str) -> String {
    let problems = load("", &[(name, value)]).unwrap_err();
    assert_eq!(problems.0.len(), 1, "{problems}");
    problems.to_string()
}

#[test]
fn without_a_file_the_defaults_apply() {
    let source = Source {
        path: PathBuf::from("/no/such/config.toml"),
        must_exist: false,
        log_level: None,
        log_format: None,
    };
    let loaded = source.load_from(None, []).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(!loaded.exists);

    let problems = Source { must_exist: true, ..source }.load().unwrap_err().to_string();
    assert!(problems.starts_with("/no/such/config.toml: cannot read the configuration"), "{problems}");
}

#[test]
fn every_key_reaches_its_place() {
    let config = config(
        r#"
        hooks = []
        [daemon]
        log_level = "info,engine=debug"
        log_format = "json"
        [runs]
        slots = 3
        slots_by_kind = { exec = 2, autorun = 1 }
        max_interruptions = 0
        keep = 7
        keep_for = "1h30m"
        keep_events = 0x10
        [store]
        free_space_floor = "1GiB"
        cache = "500 kB"
        [codex]
        binary = "npx --yes '@openai/codex'"
        [power]
        inhibit_sleep = true
        "#,
    );
    let engine = config.engine_settings();
    assert_eq!(engine.slots, 3);
    assert_eq!(engine.slots_by_kind, BTreeMap::from([("exec".to_owned(), 2), ("autorun".to_owned(), 1)]));
    assert_eq!((engine.max_interruptions, engine.keep_runs, engine.keep_events), (0, 7, 16));
    assert_eq!(engine.keep_runs_for, Duration::from_mins(90));
    let store = config.store_options();
    assert_eq!((store.free_space_floor, store.cache_bytes), (1 << 30, 500_000));
    assert_eq!(config.codex_binary().as_deref(), Some("npx --yes @openai/codex"));
    assert_eq!(config.daemon.log_format, LogFormat::Json);
    assert!(config.power.inhibit_sleep);
}

#[test]
fn an_unknown_name_is_an_error_with_its_place_and_a_suggestion() {
    assert_eq!(
        wrong("[runs]\nkeep = 1\nslotz = 2\n"),
        ["/c/config.toml:3:1: [runs] has no key \"slotz\"; did you mean \"slots\"?"]
    );
    assert_eq!(wrong("[run]\n"), ["/c/config.toml:1:2: there is no section \"run\"; did you mean \"runs\"?"]);
    assert_eq!(
        wrong("[power]\nzzz = 1\n"),
        ["/c/config.toml:2:1: [power] has no key \"zzz\"; there is \"inhibit_sleep\""]
    );
    assert_eq!(
        wrong("[[hooks]]\non = [\"failed\"]\ncommand = [\"x\"]\nenv = {}\nlabel = {}\n")[1],
        "/c/config.toml:5:1: a hook has no key \"label\"; did you mean \"labels\"?"
    );
}

#[test]
fn a_key_in_the_wrong_place_is_sent_home() {
    assert_eq!(wrong("slots = 2\n"), ["/c/config.toml:1:1: the key \"slots\" belongs below [runs]"]);
    assert_eq!(
        wrong("[daemon]\nslots = 2\n"),
        ["/c/config.toml:2:1: the key \"slots\" belongs below [runs], not [daemon]"]
    );
}

#[test]
fn each_wrong_value_is_told_what_is_allowed() {
    let cases = [
        ("[runs]\nslots = 0", "runs.slots: expected a whole number from 1, found 0"),
        ("[runs]\nslots = \"many\"", "runs.slots: expected a whole number from 1, found \"many\""),
        ("[runs]\nkeep = -1", "runs.keep: expected a whole number from 0, found -1"),
        ("[runs]\nkeep = 1.5", "runs.keep: expected a whole number from 0, found 1.5"),
        ("[runs]\nmax_interruptions = 4294967296", "expected a whole number from 0, found 4294967296"),
        ("[runs]\nkeep_for = 30", "runs.keep_for: expected a length of time such as \"10s\""),
        ("[runs]\nkeep_for = \"30\"", "(units: ms, s, m, h, d, w), found \"30\""),
        ("[runs]\nkeep_for = \"99999999999w\"", "found \"99999999999w\""),
        (
            "[runs]\nslots_by_kind = { exce = 1 }",
            "expected \"exec\" or \"autorun\", found \"exce\"; did you mean \"exec\"?",
        ),
        (
            "[runs]\nslots_by_kind = { exec = 0 }",
            "runs.slots_by_kind: expected a whole number from 1, found 0",
        ),
        ("[store]\ncache = \"64mb\"", "store.cache: expected a size such as \"64MiB\""),
        ("[daemon]\nlog_level = \"inof\"", "found \"inof\"; did you mean \"info\"?"),
        ("[daemon]\nlog_level = \"info,engine=loud\"", "found \"loud\""),
        ("[daemon]\nlog_level = true", "found a value of type boolean"),
        (
            "[daemon]\nlog_format = \"xml\"",
            "daemon.log_format: expected \"human\" or \"json\", found \"xml\"",
        ),
        ("[codex]\nbinary = \"\"", "codex.binary: expected a program on PATH or an absolute path"),
        ("[codex]\nbinary = \"./codex\"", "found \"./codex\""),
        ("[codex]\nbinary = \"'open\"", "found \"'open\""),
        ("[power]\ninhibit_sleep = \"yes\"", "power.inhibit_sleep: expected true or false, found \"yes\""),
        ("runs = 3", "runs: expected a section; write [runs] on a line of its own"),
        ("[hooks]\non = []", "hooks: expected a list of tables; write [[hooks]] above each"),
        ("[[hooks]]\ncommand = [\"x\"]", "hooks.on: must be given, and must not be empty"),
        ("[[hooks]]\non = [\"failed\"]\ncommand = []", "hooks.command: must be given, and must not be empty"),
        ("[[hooks]]\non = [\"fail\"]\ncommand = [\"x\"]", "found \"fail\"; did you mean \"failed\"?"),
        (
            "[[hooks]]\non = [\"running\"]\ncommand = [\"x\"]",
            "\"canceled\" or \"interrupted\", found \"running\"",
        ),
        (
            "[[hooks]]\non = [\"failed\"]\ncommand = \"x y\"",
            "hooks.command: expected a list, each entry text",
        ),
        (
            "[[hooks]]\non = [\"failed\"]\ncommand = [\"x\"]\ncwd = \"here\"",
            "hooks.cwd: expected an absolute path",
        ),
    ];
    for (text, message) in cases {
        let problems = wrong(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(message), "{text:?}: {problems:?} does not say {message:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_listed_at_once() {
    let text = "[runs]\nslots = 0\nkeepp = 1\n[cdx]\n";
    let source = Source {
        path: PathBuf::from("/c/config.toml"),
        must_exist: false,
        log_level: None,
        log_format: None,
    };
    let problems = source.load_from(Some(text), [("SPINDLE_STORE_CACHE".into(), "lots".into())]).unwrap_err();
    let places: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(places.len(), 4, "{places:?}");
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    let problems = wrong("[runs]\nslots = \n");
    assert!(problems[0].starts_with("/c/config.toml:2:"), "{problems:?}");
}

#[test]
fn a_column_counts_characters() {
    let problems = wrong("[codex]\nbinary = [\"ä\", 5]\n");
    assert!(problems[0].starts_with("/c/config.toml:2:16: "), "{problems:?}");
}

#[test]
fn a_variable_wins_over_the_file_and_an_empty_one_does_not() {
    let text = "[runs]\nslots = 3\nkeep = 4\n[power]\ninhibit_sleep = true\n";
    let variables = [
        ("SPINDLE_RUNS_SLOTS", "9"),
        ("SPINDLE_RUNS_KEEP", ""),
        ("SPINDLE_RUNS_KEEP_FOR", "2w"),
        ("SPINDLE_RUNS_SLOTS_BY_KIND", "{ exec = 1 }"),
        ("SPINDLE_POWER_INHIBIT_SLEEP", "false"),
        ("SPINDLE_HOOKS", r#"[{ on = ["failed"], command = ["notify-send", "failed"] }]"#),
        // Others of our variables, which are no settings.
        ("SPINDLE_RUN_ID", "0192"),
        ("SPINDLE_STATE_DIR", "/s"),
    ];
    let loaded = load(text, &variables).unwrap();
    let engine = loaded.config.engine_settings();
    assert_eq!((engine.slots, engine.keep_runs), (9, 4));
    assert_eq!(engine.keep_runs_for, Duration::from_hours(336));
    assert_eq!(engine.slots_by_kind, BTreeMap::from([("exec".to_owned(), 1)]));
    assert!(!loaded.config.power.inhibit_sleep);
    assert_eq!(loaded.config.hooks[0].command, ["notify-send", "failed"]);
}

#[test]
fn the_variable_for_codex_that_scripts_know_wins() {
    let variables = [("SPINDLE_CODEX_BIN", "node /opt/codex.js"), ("SPINDLE_CODEX_BINARY", "other")];
    let config = load("[codex]\nbinary = \"third\"\n", &variables).unwrap().config;
    assert_eq!(config.codex_binary().as_deref(), Some("node /opt/codex.js"));
}

#[test]
fn a_wrong_variable_is_named() {
    assert_eq!(
        wrong_variable("SPINDLE_RUNS_SLOTS", "few"),
        "variable SPINDLE_RUNS_SLOTS: expected a whole number from 1, found \"few\""
    );
    assert_eq!(
        wrong_variable("SPINDLE_RUNS_SLOT", "1"),
        "variable SPINDLE_RUNS_SLOT: no key has this name; did you mean SPINDLE_RUNS_SLOTS?"
    );
    let message = wrong_variable("SPINDLE_HOOKS", "[{ on = [] }]");
    assert!(message.starts_with("variable SPINDLE_HOOKS: hooks.on: must be given"), "{message}");
}

#[test]
fn what_is_shown_is_a_configuration_and_says_where_each_value_is_from() {
    let text = "\n[runs]\nslots = 3\n[[hooks]]\non = [\"succeeded\"]\ncommand = [\"x\"]\ncwd = \"/\"\n";
    let loaded = load(text, &[("SPINDLE_RUNS_KEEP", "4")]).unwrap();
    let shown = loaded.show();
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("slots =").ends_with("# file, line 3"), "{shown}");
    assert!(line("keep =").ends_with("# SPINDLE_RUNS_KEEP"), "{shown}");
    assert!(line("cache =").ends_with("# default"), "{shown}");
    assert_eq!(config(&shown), loaded.config);

    let json = loaded.to_json();
    let slots = json["values"].as_array().unwrap().iter().find(|value| value["key"] == "runs.slots").unwrap();
    assert_eq!((&slots["value"], &slots["from"]), (&3.into(), &"file, line 3".into()));
    assert_eq!(json["hooks"][0]["on"][0], "succeeded");
}

#[test]
fn the_default_file_changes_nothing_and_does_so_still_with_every_key_in_force() {
    let text = default_file();
    assert_eq!(config(&text), Config::default());
    let (settings, _) = text.split_once("#[[hooks]]").unwrap();
    let key = |line: &str| line.starts_with('#') && line.contains(" = ") && !line.starts_with("# ");
    let in_force: String = settings
        .lines()
        .map(|line| if key(line) { &line[1..] } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(in_force.contains("\nslots = "), "{in_force}");
    assert_eq!(config(&in_force), Config::default());
}

#[test]
fn a_reload_names_what_waits_for_the_next_start() {
    let old = config("[runs]\nslots = 1\n[store]\ncache = \"8MiB\"\n");
    let new = config(
        "[runs]\nslots = 2\n[store]\ncache = \"9MiB\"\n[[hooks]]\non = [\"failed\"]\ncommand = [\"x\"]\n",
    );
    assert_eq!(old.needs_restart(&new), ["store.cache", "hooks"]);
    assert!(old.needs_restart(&old).is_empty());
}

#[test]
fn the_kinds_are_those_of_the_workflows() {
    use engine::Workflow as _;
    assert!(value::KINDS.contains(&exec::Exec::KIND));
}
