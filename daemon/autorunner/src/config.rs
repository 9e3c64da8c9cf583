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
        Self {
            binary: "codex".into(),
            args: args.map(str::to_owned).into(),
            model: None,
            reasoning: None,
        }
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self {
            prev_run_max_chars: 6000,
            template: Some(".codex-autorunner/prompt.txt".into()),
        }
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
        Self {
            auto_commit: false,
            commit_message_template: "[codex] run #{run_id}".into(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 4173,
            auth_token: None,
        }
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
        self.commit_message_template
            .replace("{run_id}", &run_id.to_string())
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
    let failed = |source| ConfigError::Read {
        path: path.clone(),
        source,
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing { path });
        }
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(io::Error::other(format!(
            "larger than {MAX_BYTES} bytes"
        ))));
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
    read(&document).map_err(|problems| ConfigError::Invalid {
        path: path.to_path_buf(),
        problems,
    })
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
        no_progress_threshold: section.count(
            "no_progress_threshold",
            default.runner.no_progress_threshold,
        ),
        stop_after_failures: section
            .positive("stop_after_failures", default.runner.stop_after_failures),
        iteration_timeout_seconds: section.optional_count("iteration_timeout_seconds"),
        idle_timeout_seconds: section.optional_count("idle_timeout_seconds"),
    };
    let section = tree.section("git");
    let git = Git {
        auto_commit: section.flag("auto_commit", default.git.auto_commit),
        commit_message_template: section.text(
            "commit_message_template",
            default.git.commit_message_template,
        ),
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
        config: Config {
            docs,
            codex,
            prompt,
            runner,
            git,
            server,
        },
        warnings: keys::judge(document),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Loaded {
        parse(Path::new("config.yml"), text).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        match parse(Path::new("config.yml"), text) {
            Err(ConfigError::Invalid { problems, .. }) => {
                problems.iter().map(ToString::to_string).collect()
            }
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
        assert_eq!(
            config.docs.progress,
            Path::new(".codex-autorunner/PROGRESS.md")
        );
        assert_eq!(
            (
                config.runner.sleep_seconds,
                config.runner.no_progress_threshold
            ),
            (0, 3)
        );
    }

    #[test]
    fn the_seeded_file_is_the_default_tree_with_a_sandbox() {
        let seeded = parsed(SEED);
        assert_eq!(seeded.warnings, []);
        assert_eq!(
            seeded.config.codex.args,
            ["exec", "--sandbox", "workspace-write"]
        );
        let default = Config::default();
        let codex = Codex {
            args: default.codex.args.clone(),
            ..seeded.config.codex.clone()
        };
        assert_eq!(
            Config {
                codex,
                ..seeded.config
            },
            default
        );
        assert!(
            SEED.contains("danger-full-access"),
            "the comment on the dangerous sandbox"
        );
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
        assert_eq!(
            loaded,
            Loaded {
                config: Config::default(),
                warnings: vec![]
            }
        );
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
        for key in [
            "docs.spec",
            "codex.terminal_args",
            "notifications",
            "server.auth_token_env",
            "log",
        ] {
            assert!(
                ignored
                    .iter()
                    .any(|line| line.starts_with(&format!("{key}: "))),
                "{key}"
            );
        }
        assert_eq!(ignored.len(), 5, "{ignored:?}");
    }

    #[test]
    fn each_failure_is_one_line_with_the_dotted_key_and_the_type() {
        for (text, line) in [
            ("- a", "config.yml: expected a mapping; found a list"),
            (
                "version: 3",
                "version: expected 1 (or 2, of release 0.1.0); found 3",
            ),
            (
                "version: true",
                "version: expected 1 (or 2, of release 0.1.0); found true",
            ),
            ("mode: hub", "mode: expected repo; found hub"),
            ("docs: x", "docs: expected a mapping; found x"),
            ("docs:\n", "docs: expected a mapping; found nothing"),
            (
                "docs: {todo: ''}",
                "docs.todo: expected a text that is not empty; found an empty text",
            ),
            (
                "docs: {todo: 5}",
                "docs.todo: expected a text that is not empty; found 5",
            ),
            (
                "codex: {binary: null}",
                "codex.binary: expected a text that is not empty; found nothing",
            ),
            (
                "codex: {args: exec}",
                "codex.args: expected a list of texts; found exec",
            ),
            (
                "codex: {args: [exec, 5]}",
                "codex.args[1]: expected a text; found 5",
            ),
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
            (
                "git: {auto_commit: 1}",
                "git.auto_commit: expected true or false; found 1",
            ),
            (
                "server: {port: 70000}",
                "server.port: expected a whole number from 0 to 65535; found 70000",
            ),
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
        assert_eq!(
            problems("docs: {todo: ''}\ngit: {auto_commit: 'x'}\nrunner: []\n").len(),
            3
        );
    }

    #[test]
    fn unknown_keys_are_warnings_with_a_suggestion() {
        let lines = |text| -> Vec<String> {
            parsed(text)
                .warnings
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(
            lines("runner: {sleep_secnds: 1}"),
            ["runner.sleep_secnds: unknown key, ignored; did you mean runner.sleep_seconds?"]
        );
        assert_eq!(
            lines("auto_commit: true"),
            ["auto_commit: unknown key, ignored; did you mean git.auto_commit?"]
        );
        assert_eq!(
            lines("runnr: {}"),
            ["runnr: unknown key, ignored; did you mean runner?"]
        );
        assert_eq!(
            lines("wholly_else: 1"),
            ["wholly_else: unknown key, ignored"]
        );
    }

    #[test]
    fn a_section_for_codex_without_arguments_is_warned_about() {
        let warnings = parsed("codex: {binary: codex}").warnings;
        assert_eq!(warnings, [Warning::NoSandbox]);
        assert_eq!(parsed("codex: {args: [exec]}").warnings, []);
    }

    #[test]
    fn broken_yaml_and_missing_files_say_what_to_do() {
        let error = parse(Path::new("config.yml"), "a: [1\nb: 2")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("config.yml is not valid YAML: ") && error.contains("line"),
            "{error}"
        );
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
}
