//! What a user chooses about a Codex run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the commands of the model may do. Codex forgets it between the turns of a thread, so it is
/// passed every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Nothing may be written.
    #[default]
    ReadOnly,
    /// The working directory, the temporary directory and the added directories may be written;
    /// no network. From some release after 0.75.0 on, `.git` is excepted: the agent cannot commit.
    WorkspaceWrite,
    /// No limits, but Codex's own approval rules are kept (`exec` never asks).
    DangerFullAccess,
    /// `--dangerously-bypass-approvals-and-sandbox`, also called `--yolo`.
    Bypass,
}

impl Sandbox {
    /// The word for `-s`; [`Sandbox::Bypass`] has a flag of its own.
    pub fn mode(self) -> Option<&'static str> {
        match self {
            Self::ReadOnly => Some("read-only"),
            Self::WorkspaceWrite => Some("workspace-write"),
            Self::DangerFullAccess => Some("danger-full-access"),
            Self::Bypass => None,
        }
    }

    /// The sandbox of that name in Codex's own words (`-s`, `sandbox_mode`).
    pub fn from_mode(mode: &str) -> Option<Self> {
        [Self::ReadOnly, Self::WorkspaceWrite, Self::DangerFullAccess]
            .into_iter()
            .find(|sandbox| sandbox.mode() == Some(mode))
    }

    /// Whether commands of the model run without any limit.
    pub fn is_unlimited(self) -> bool {
        matches!(self, Self::DangerFullAccess | Self::Bypass)
    }
}

/// How long Codex tries to reach the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkRetries {
    /// A bounded number of tries, then the turn fails and the supervisor decides. Newer releases
    /// would otherwise wait for the network without limit and without a closing event.
    #[default]
    Bounded,
    /// As Codex's own configuration says.
    AsConfigured,
}

/// A `-c key=value` of the user. The value is TOML; Codex takes what is not TOML as a string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfigOverride {
    /// A dotted key.
    pub key: String,
    /// The value, as it was written.
    pub value: String,
}

impl ConfigOverride {
    /// An override whose value is written as it stands.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// An override whose value is a TOML string.
    ///
    /// JSON's escapes are also TOML's, so the one serves for the other.
    pub fn string(key: impl Into<String>, value: &str) -> Self {
        Self::new(key, serde_json::Value::from(value).to_string())
    }

    /// The argument of `-c`.
    pub(crate) fn argument(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

/// A flag without a value that is passed on as it is. Releases as old as 0.75.0 know none of them
/// and refuse to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// No session file is kept; the thread cannot be resumed.
    Ephemeral,
    /// `config.toml` is not read.
    IgnoreUserConfig,
    /// The `.rules` files are not read.
    IgnoreRules,
    /// Unknown configuration keys are errors.
    StrictConfig,
}

impl Switch {
    /// Every switch there is.
    pub const ALL: [Self; 4] =
        [Self::Ephemeral, Self::IgnoreUserConfig, Self::IgnoreRules, Self::StrictConfig];

    /// The flag of the command line.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Ephemeral => "--ephemeral",
            Self::IgnoreUserConfig => "--ignore-user-config",
            Self::IgnoreRules => "--ignore-rules",
            Self::StrictConfig => "--strict-config",
        }
    }
}

/// The choices of a user for a Codex run. The default is what `codex exec` does when nothing is
/// said, except that network retries are bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What commands may do.
    pub sandbox: Sandbox,
    /// The model (`-m`).
    pub model: Option<String>,
    /// How hard the model thinks (`model_reasoning_effort`).
    pub reasoning_effort: Option<String>,
    /// A profile of the configuration (`-p`).
    pub profile: Option<String>,
    /// `-c key=value`, in order; of two for one key the later counts.
    pub config: Vec<ConfigOverride>,
    /// More directories that may be written (`--add-dir`).
    pub add_dirs: Vec<PathBuf>,
    /// Images that go with the prompt (`-i`).
    pub images: Vec<PathBuf>,
    /// A JSON Schema for the answer (`--output-schema`). Codex only passes it to the model: an
    /// answer that does not fit still counts as a success.
    pub output_schema: Option<PathBuf>,
    /// Run outside of a git work tree too (`--skip-git-repo-check`).
    pub skip_git_repo_check: bool,
    /// Let the model search the web (`--search`, which `exec` itself does not have).
    pub web_search: bool,
    /// Use a local model (`--oss`), and which provider (`--local-provider`).
    pub oss: bool,
    /// `lmstudio` or `ollama`.
    pub local_provider: Option<String>,
    /// Flags that are passed on as they are.
    pub switches: Vec<Switch>,
    /// How long Codex tries to reach the model.
    pub network_retries: NetworkRetries,
}
