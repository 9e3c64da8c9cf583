//! `config.yml`: the settings of one repository's loop.
//!
//! Version 1 of the format is read whole; files of release 0.1.0 (version 2) as far as their keys mean
//! the same here, and the rest is named in a [`Warning`]. What a file does not set has the format's
//! default. Each invalid setting is one line that names the dotted key and what was expected there;
//! unknown keys are warnings, since the format belongs to another tool, too.
//!
//! Keys of ours, which other tools ignore: `runner.no_progress_threshold`,
//! `runner.stop_after_failures`, `runner.iteration_timeout_seconds`, `runner.idle_timeout_seconds`.

mod keys;
mod tree;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use keys::Warning;
pub use tree::Problem;
use tree::Tree;

use crate::repo::Layout;
use crate::stop::Limits;

/// The file that `init` seeds: every key with its default, except that Codex gets a sandbox.
pub const SEED: &str = include_str!("config/seed.yml");

/// Larger files are refused: this is not a configuration.
const MAX_BYTES: u64 = 1024 * 1024;

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// The work documents.
    pub docs: Docs,
    /// How Codex is called.
    pub codex: Codex,
    /// What goes into the prompt.
    pub prompt: Prompt,
    /// When the loop pauses and ends.
    pub runner: Runner,
    /// Commits after an iteration.
    pub git: Git,
    /// The earlier tool's HTTP server.
    pub server: Server,
}

/// `docs`: paths relative to the repository root; absolute ones are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docs {
    /// `docs.todo`
    pub todo: PathBuf,
    /// `docs.progress`
    pub progress: PathBuf,
    /// `docs.opinions`
    pub opinions: PathBuf,
}

/// `codex`: how Codex is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codex {
    /// `codex.binary`, looked up in `PATH`.
    pub binary: String,
    /// `codex.args`, as written; the driver maps them to its settings.
    pub args: Vec<String>,
    /// `codex.model` (version 2); `None` leaves the choice to Codex.
    pub model: Option<String>,
    /// `codex.reasoning` (version 2): the reasoning effort.
    pub reasoning: Option<String>,
}

/// `prompt`: what goes into the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// `prompt.prev_run_max_chars`: characters kept of the previous iteration's last message; 0
    /// keeps nothing. (With the earlier tool 0 kept everything.)
    pub prev_run_max_chars: usize,
    /// `prompt.template`: used if the file exists; relative to the repository root.
    pub template: Option<PathBuf>,
}

/// `runner`: when the loop pauses and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// `runner.sleep_seconds`: the pause between iterations.
    pub sleep_seconds: u64,
    /// `runner.stop_after_runs`: iterations per invocation. (With the earlier tool a run number.)
    pub stop_after_runs: Option<u64>,
    /// `runner.max_wallclock_seconds`: time for the whole loop, looked at between iterations.
    pub max_wallclock_seconds: Option<u64>,
    /// `runner.no_progress_threshold` (ours): iterations in a row without any change; 0 is off.
    pub no_progress_threshold: u32,
    /// `runner.stop_after_failures` (ours): failed iterations in a row; at least 1.
    pub stop_after_failures: u32,
    /// `runner.iteration_timeout_seconds` (ours): time for one iteration, which is then stopped.
    pub iteration_timeout_seconds: Option<u64>,
    /// `runner.idle_timeout_seconds` (ours): silence after which an iteration is stopped.
    pub idle_timeout_seconds: Option<u64>,
}

/// `git`: commits after an iteration that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// `git.auto_commit`
    pub auto_commit: bool,
    /// `git.commit_message_template`: `{run_id}` becomes the number of the iteration.
    pub commit_message_template: String,
}

/// `server`: where the earlier tool's HTTP interface listens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `server.host`
    pub host: String,
    /// `server.port`
    pub port: u16,
    /// `server.auth_token`: a secret; neither shown nor stored with a run.
    #[serde(skip)]
    pub auth_token: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("auth_token", &self.auth_token.as_ref().map(|_| "[set]"))
            .finish()
    }
}

impl Default for Docs {
    fn default() -> Self {
        Self {
            todo: ".codex-autorunner/TODO.md".into(),
            progress: ".codex-autorunner/PROGRESS.md".into(),
            opinions: ".codex-autorunner/OPINIONS.md".into(),
        }
    }
}

impl Default for Codex {
    /// The format's default, which gives Codex the whole machine. [`SEED`] does not.
    fn default() -> Self {
        let args = ["--yolo", "exec", "--sandbox", "danger-full-access"];
        Self { binary: "codex".into(), args: args.map(str::to_owned).into(), model: None, reasoning: None }
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self { prev_run_max_chars: 6000, template: Some(".codex-autorunner/prompt.txt".into()) }
    }
}

impl Default for Runner {
    fn default() -> Self {
        Self {
            sleep_seconds: 5,
            stop_after_runs: None,
            max_wallclock_seconds: None,
            no_progress_threshold: 3,
            stop_after_failures: 1,
            iteration_timeout_seconds: None,
            idle_timeout_seconds: None,
        }
    }
}

impl Default for Git {
    fn default() -> Self {
        Self { auto_commit: false, commit_message_template: "[codex] run #{run_id}".into() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self { host: "127.0.0.1".into(), port: 4173, auth_token: None }
    }
}

impl Docs {
    /// The three paths, absolute: TODO, PROGRESS, OPINIONS.
    pub fn resolve(&self, root: &Path) -> [PathBuf; 3] {
        [&self.todo, &self.progress, &self.opinions].map(|path| root.join(path))
    }
}

impl Runner {
    /// The limits of one invocation; `once` is the command of that name.
    pub fn limits(&self, once: bool) -> Limits {
        Limits {
            stop_after_runs: if once { Some(1) } else { self.stop_after_runs },
            max_wallclock: self.max_wallclock_seconds.map(Duration::from_secs),
            no_progress_threshold: self.no_progress_threshold,
            stop_after_failures: self.stop_after_failures,
        }
    }
}

impl Git {
    /// The message for one iteration.
    pub fn commit_message(&self, run_id: u64) -> String {
        self.commit_message_template.replace("{run_id}", &run_id.to_string())
    }
}

/// A configuration and what was odd about its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What was found but not used, and what may surprise.
    pub warnings: Vec<Warning>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The repository was never initialised.
    #[error("{path} does not exist; `spindle auto init` makes one")]
    Missing {
        /// The configuration file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no YAML.
    #[error("{path} is not valid YAML: {message}")]
    Syntax {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// Some settings are invalid.
    #[error("{path} is not valid:\n{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The configuration file.
        path: PathBuf,
        /// One per setting.
        problems: Vec<Problem>,
    },
}

/// Reads the configuration of a repository.
pub fn load(layout: &Layout) -> Result<Loaded, ConfigError> {
    let path = layout.config();
    let failed = |source| ConfigError::Read { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing { path });
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(io::Error::other(format!("larger than {MAX_BYTES} bytes"))));
    }
    let mut loaded = parse(&path, &text)?;
    loaded.warnings.extend(keys::unread_files(layout.root()));
    Ok(loaded)
}

/// Reads the text of a configuration; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Loaded, ConfigError> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_path_buf(),
        message: error.without_snippet().to_string(),
    })?;
    read(&document).map_err(|problems| ConfigError::Invalid { path: path.to_path_buf(), problems })
}

fn read(document: &Value) -> Result<Loaded, Vec<Problem>> {
    let tree = Tree::new(document);
    tree.check_version();
    let default = Config::default();

    let section = tree.section("docs");
    let docs = Docs {
        todo: section.text("todo", default.docs.todo),
        progress: section.text("progress", default.docs.progress),
        opinions: section.text("opinions", default.docs.opinions),
    };
    let section = tree.section("codex");
    let codex = Codex {
        binary: section.text("binary", default.codex.binary),
        args: section.texts("args", default.codex.args),
        model: section.optional_text("model", None),
        reasoning: section.optional_text("reasoning", None),
    };
    let section = tree.section("prompt");
    let prompt = Prompt {
        prev_run_max_chars: section.count("prev_run_max_chars", default.prompt.prev_run_max_chars),
        template: section.optional_text("template", default.prompt.template),
    };
    let section = tree.section("runner");
    let runner = Runner {
        sleep_seconds: section.count("sleep_seconds", default.runner.sleep_seconds),
        stop_after_runs: section.optional_count("stop_after_runs"),
        max_wallclock_seconds: section.optional_count("max_wallclock_seconds"),
        no_progress_threshold: section.count("no_progress_threshold", default.runner.no_progress_threshold),
        stop_after_failures: section.positive("stop_after_failures", default.runner.stop_after_failures),
        iteration_timeout_seconds: section.optional_count("iteration_timeout_seconds"),
        idle_timeout_seconds: section.optional_count("idle_timeout_seconds"),
    };
    let section = tree.section("git");
    let git = Git {
        auto_commit: section.flag("auto_commit", default.git.auto_commit),
        commit_message_template: section.text("commit_message_template", default.git.commit_message_template),
    };
    let section = tree.section("server");
    let server = Server {
        host: section.text("host", default.server.host),
        port: section.count("port", default.server.port),
        auth_token: section.optional_text("auth_token", None),
    };

    let problems = tree.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Loaded {
        config: Config { docs, codex, prompt, runner, git, server },
        warnings: keys::judge(document),
    })
}

#[cfg(test)]
mod tests;
