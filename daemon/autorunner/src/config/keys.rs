//! Which keys the format has, which of them are used here, and what to say about the others.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Something in or beside the file that has no effect or may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A key that no version of the format has.
    Unknown {
        /// The dotted key.
        key: String,
        /// A known key that looks like it.
        suggestion: Option<String>,
    },
    /// A key of a later version that has no meaning here.
    Ignored {
        /// The dotted key.
        key: String,
    },
    /// `codex.args` is not set, and the format's default gives Codex the whole machine.
    NoSandbox,
    /// A settings file of a later version that is not read.
    NotRead {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, suggestion: Some(suggestion) } => {
                write!(out, "{key}: unknown key, ignored; did you mean {suggestion}?")
            }
            Self::Unknown { key, suggestion: None } => write!(out, "{key}: unknown key, ignored"),
            Self::Ignored { key } => {
                write!(out, "{key}: a key of later codex-autorunner releases, without effect here")
            }
            Self::NoSandbox => out.write_str(
                "codex.args: not set, and the default runs Codex without a sandbox; \
                 set it to [exec, --sandbox, workspace-write]",
            ),
            Self::NotRead { path } => write!(
                out,
                "{}: settings of later codex-autorunner releases, not read here; \
                 put what you need into config.yml",
                path.display()
            ),
        }
    }
}

/// Sections and the keys in them that are read.
const READ: &[(&str, &[&str])] = &[
    ("docs", &["todo", "progress", "opinions"]),
    ("codex", &["binary", "args", "model", "reasoning"]),
    ("prompt", &["prev_run_max_chars", "template"]),
    (
        "runner",
        &[
            "sleep_seconds",
            "stop_after_runs",
            "max_wallclock_seconds",
            "no_progress_threshold",
            "stop_after_failures",
            "iteration_timeout_seconds",
            "idle_timeout_seconds",
        ],
    ),
    ("git", &["auto_commit", "commit_message_template"]),
    ("server", &["host", "port", "auth_token"]),
];

/// Dotted keys of release 0.1.0 that are known and not used.
const LATER: &[&str] = &[
    "docs.spec",
    "docs.summary",
    "docs.snapshot",
    "docs.snapshot_state",
    "codex.terminal_args",
    "codex.models",
    "server.base_path",
    "server.access_log",
    "server.auth_token_env",
    "server.allowed_hosts",
    "server.allowed_origins",
    "github",
    "notifications",
    "telegram_bot",
    "voice",
    "terminal",
    "log",
    "server_log",
    "static_assets",
    "housekeeping",
    "hub",
];

/// Files at the repository root from which release 0.1.0 takes settings, too.
const OTHER_FILES: [&str; 2] = ["codex-autorunner.yml", "codex-autorunner.override.yml"];

/// How alike two keys must be (Jaro-Winkler, 0 to 1) for one to be a typing error of the other.
const ALIKE: f64 = 0.85;

/// Judges the keys of a valid document.
pub(super) fn judge(document: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let Some(top) = document.as_object() else {
        return warnings;
    };
    for (name, value) in top {
        if matches!(name.as_str(), "version" | "mode") {
            continue;
        }
        let Some((_, known)) = READ.iter().find(|(section, _)| section == name) else {
            warnings.push(not_used(name));
            continue;
        };
        for key in value.as_object().into_iter().flat_map(|section| section.keys()) {
            if !known.contains(&key.as_str()) {
                warnings.push(not_used(&format!("{name}.{key}")));
            }
        }
    }
    if top.get("codex").is_some_and(|codex| codex.get("args").is_none()) {
        warnings.push(Warning::NoSandbox);
    }
    warnings
}

/// Settings files beside ours that have no effect.
pub(super) fn unread_files(root: &Path) -> impl Iterator<Item = Warning> {
    OTHER_FILES
        .map(|name| root.join(name))
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| Warning::NotRead { path })
}

fn not_used(key: &str) -> Warning {
    if LATER.contains(&key) {
        return Warning::Ignored { key: key.to_owned() };
    }
    Warning::Unknown { key: key.to_owned(), suggestion: suggestion(key) }
}

/// The known key that was probably meant: the same name in another section, else a similar name in
/// the same one.
fn suggestion(key: &str) -> Option<String> {
    let (section, leaf) = key.split_once('.').unwrap_or(("", key));
    let elsewhere =
        READ.iter().find(|(_, keys)| keys.contains(&leaf)).map(|(section, _)| format!("{section}.{leaf}"));
    elsewhere.or_else(|| {
        let siblings: Vec<&str> = match READ.iter().find(|(name, _)| *name == section) {
            Some((_, keys)) => keys.to_vec(),
            None => READ.iter().map(|(name, _)| *name).chain(["version"]).collect(),
        };
        siblings
            .into_iter()
            .map(|name| (strsim::jaro_winkler(name, leaf), name))
            .filter(|(likeness, _)| *likeness >= ALIKE)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") })
    })
}
