//! `docs/configuration.md`, made from the table of keys, and the test that the two agree.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::keys::{HOOK_KEYS, HOOKS, HOOKS_ABOUT, Key, SECTIONS, TakesEffect, variable};
use super::{Config, Hook};

const HEAD: &str = "\
# Configuration

The daemon reads one TOML file: `SPINDLE_CONFIG`, else `$XDG_CONFIG_HOME/spindle/config.toml`, else
`~/.config/spindle/config.toml`. It need not exist; every key has a default. A variable
`SPINDLE_<SECTION>_<KEY>` in the daemon's environment wins over the file: text without quotes, anything
else as in TOML. An empty variable counts as unset. A key, section or variable that is not known is an
error.

- `spindle config check` lists all that is wrong, with line and column.
- `spindle config show` prints the values in effect and where each is from;
  `spindle config show --default` prints a file with all keys in comments, to begin with.
- `SIGHUP` (`systemctl --user reload spindled`) makes a running daemon read the file again. A bad file is
  refused as a whole. Keys that take effect at the next start are named in the log when they differ.

This page is made from the table of keys in `daemon/config/keys.rs`.
";

fn reference() -> String {
    let mut out = String::from(HEAD);
    let mut config = Config::default();
    for section in SECTIONS {
        let _ = writeln!(out, "\n## `[{}]`\n\n{}", section.name, section.about);
        for key in section.keys {
            describe(&mut out, key, &mut config);
            let mut variables = format!("`{}`", variable(section.name, key.name));
            if let Some(name) = key.variable {
                let _ = write!(variables, ", or `{name}`, which wins");
            }
            let takes_effect = match key.takes_effect {
                TakesEffect::OnReload => "on reload",
                TakesEffect::OnStart => "at the next start",
            };
            let _ = writeln!(out, "- Variable: {variables}\n- Takes effect: {takes_effect}");
        }
    }
    let _ = writeln!(out, "\n## `[[{HOOKS}]]`\n\n{HOOKS_ABOUT}");
    let _ = writeln!(
        out,
        "\nThe variable `SPINDLE_HOOKS` holds the whole list, as a TOML array of inline tables."
    );
    let mut hook = Hook::default();
    for key in HOOK_KEYS {
        describe(&mut out, key, &mut hook);
    }
    out
}

fn describe<C>(out: &mut String, key: &Key<C>, owner: &mut C) {
    let field = (key.field)(owner);
    let default = match (key.default, field.show()) {
        (Some(words), _) => words.to_owned(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) => "none".to_owned(),
    };
    let _ = writeln!(out, "\n### `{}`\n\n{}\n", key.name, key.about);
    let _ = writeln!(out, "- Value: {}\n- Default: {default}", field.form());
}

#[test]
fn the_reference_in_the_docs_is_that_of_the_table_of_keys() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, reference()).unwrap();
    }
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(written == reference(), "docs/configuration.md is out of date: run this test with UPDATE_DOCS=1");
}
