//! Writing: the values in effect, the commented default file, and the reference for people.

use std::fmt::Write as _;

use serde_json::json;

use super::keys::{HOOK_KEYS, HOOKS, HOOKS_ABOUT, Key, SECTIONS};
use super::load::{Loaded, Origin};
use super::{Config, Hook};

impl Loaded {
    fn origin(&self, path: &str) -> String {
        self.origins.get(path).map_or_else(|| "default".to_owned(), Origin::to_string)
    }

    /// The values in effect as TOML, with where each is from.
    pub(crate) fn show(&self) -> String {
        let state = if self.exists { "" } else { " (not there: defaults apply)" };
        let mut out = format!("# {}{state}\n", self.path.display());
        let mut config = self.config.clone();
        for section in SECTIONS {
            let _ = writeln!(out, "\n[{}]", section.name);
            for key in section.keys {
                if let Some(value) = (key.field)(&mut config).show() {
                    let line = format!("{} = {value}", key.name);
                    let _ = writeln!(out, "{line:<32} # {}", self.origin(&section.path(key)));
                }
            }
        }
        for hook in &mut config.hooks {
            let _ = writeln!(out, "\n[[{HOOKS}]] # {}", self.origin(HOOKS));
            for key in HOOK_KEYS {
                if let Some(value) = (key.field)(hook).show() {
                    let _ = writeln!(out, "{} = {value}", key.name);
                }
            }
        }
        out
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut config = self.config.clone();
        let mut values = Vec::new();
        for section in SECTIONS {
            for key in section.keys {
                let value = (key.field)(&mut config).show();
                let path = section.path(key);
                values.push(json!({ "key": path, "value": value, "from": self.origin(&path) }));
            }
        }
        let hook = |hook: &mut Hook| {
            let fields = HOOK_KEYS.iter().map(|key| (key.name.to_owned(), json!((key.field)(hook).show())));
            serde_json::Value::Object(fields.collect())
        };
        let hooks: Vec<_> = config.hooks.iter_mut().map(hook).collect();
        json!({ "path": self.path, "exists": self.exists, "values": values, "hooks": hooks })
    }
}

/// A file that changes nothing: every key in a comment, with its meaning and its default.
pub(crate) fn default_file() -> String {
    let mut out = String::from(
        "# The configuration of Spindle's daemon. A key behind a # has no effect: what it shows is the\n\
         # default. `spindle config check` says what is wrong with this file, and SIGHUP makes a running\n\
         # daemon read it again. A variable SPINDLE_<SECTION>_<KEY> wins over the file.\n",
    );
    let mut config = Config::default();
    for section in SECTIONS {
        let _ = writeln!(out, "\n# {}\n[{}]", section.about, section.name);
        for key in section.keys {
            commented(&mut out, key, &mut config);
        }
    }
    out.push('\n');
    for line in HOOKS_ABOUT.lines() {
        let _ = writeln!(out, "# {line}");
    }
    let _ = writeln!(out, "#[[{HOOKS}]]");
    let mut hook = Hook::default();
    for key in HOOK_KEYS {
        commented(&mut out, key, &mut hook);
    }
    out
}

fn commented<C>(out: &mut String, key: &Key<C>, owner: &mut C) {
    out.push('\n');
    for line in key.about.lines() {
        let _ = writeln!(out, "# {line}");
    }
    if let Some(default) = key.default {
        let _ = writeln!(out, "# Default: {default}.");
    }
    let value = (key.field)(owner).show();
    let value = value.map_or_else(|| "\"…\"".to_owned(), |value| value.to_string());
    let _ = writeln!(out, "#{} = {value}", key.name);
}
