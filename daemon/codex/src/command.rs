//! The command line of one turn.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::settings_args::UNBOUNDED_RETRIES;
use crate::{Binary, ConfigOverride, NetworkRetries, Sandbox, Settings, ThreadId, Version};

/// One turn: what is said to Codex, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The prompt, UTF-8.
    pub prompt: Vec<u8>,
    /// The thread to go on with; a new one if there is none.
    pub resume: Option<ThreadId>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Where Codex writes its last message, without a newline at the end. After a failed turn the
    /// file is empty, so an empty file is not an empty answer; the events tell more.
    pub last_message_file: Option<PathBuf>,
}

/// A command line that is ready to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What must be set in its environment, beside the run's own.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory. Codex inherits it; `-C` is not used, because a wrapper such as
    /// `docker run -w` may see other paths.
    pub cwd: PathBuf,
    /// What stands on standard input, with the end of file behind it.
    pub stdin: Vec<u8>,
}

/// Why there is no command line for a turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// Codex refuses a blank prompt.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// Codex refuses a prompt that is not UTF-8.
    #[error("the prompt is not UTF-8: byte {offset} is invalid")]
    PromptNotUtf8 {
        /// The offset of the first invalid byte.
        offset: usize,
    },
}

impl Invocation {
    /// Makes the command line of a turn.
    ///
    /// All flags stand before `resume`: the only place where every release takes all of them. The
    /// prompt goes over standard input, where it has no size limit and is never taken for a flag or
    /// a subcommand. The sandbox is named every time, because Codex does not remember it.
    ///
    /// `version` is what [`Binary::version`] found; with `None` the order and the flags that both
    /// tested releases take are used. Codex's own analytics are left as the user set them: they can
    /// keep the process for five seconds after `turn.completed`, which costs a supervisor nothing.
    pub fn new(
        binary: &Binary,
        version: Option<Version>,
        settings: &Settings,
        turn: Turn,
    ) -> Result<Self, InvocationError> {
        check_prompt(&turn.prompt)?;
        let mut args = Arguments::default();
        args.extend(binary.leading_words());
        args.extend(["exec", "--json"]);
        args.settings(settings, version);
        if let Some(file) = &turn.last_message_file {
            args.pair("-o", file);
        }
        if let Some(thread) = &turn.resume {
            args.pair("resume", thread.to_string());
        }
        args.extend(["-"]);
        Ok(Self {
            program: binary.program().to_owned(),
            args: args.0,
            env: binary.environment().map(|(name, value)| (name.into(), value.to_owned())).collect(),
            cwd: turn.cwd,
            stdin: turn.prompt,
        })
    }
}

fn check_prompt(prompt: &[u8]) -> Result<(), InvocationError> {
    let text = std::str::from_utf8(prompt)
        .map_err(|error| InvocationError::PromptNotUtf8 { offset: error.valid_up_to() })?;
    if text.trim().is_empty() { Err(InvocationError::EmptyPrompt) } else { Ok(()) }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn extend<S: Into<OsString>>(&mut self, words: impl IntoIterator<Item = S>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }

    fn config(&mut self, entry: &ConfigOverride) {
        self.pair("-c", entry.argument());
    }

    fn settings(&mut self, settings: &Settings, version: Option<Version>) {
        self.sandbox(settings.sandbox);
        if settings.skip_git_repo_check {
            self.extend(["--skip-git-repo-check"]);
        }
        self.extend(settings.switches.iter().map(|switch| switch.flag()));
        if settings.oss {
            self.extend(["--oss"]);
        }
        let named = [
            ("--local-provider", &settings.local_provider),
            ("-m", &settings.model),
            ("-p", &settings.profile),
        ];
        for (flag, value) in named {
            if let Some(value) = value {
                self.pair(flag, value);
            }
        }
        self.overrides(settings, version);
        for dir in &settings.add_dirs {
            self.pair("--add-dir", dir);
        }
        for image in &settings.images {
            // One word: `-i a.png` would take the words that follow for images, too.
            let mut word = OsString::from("--image=");
            word.push(image);
            self.extend([word]);
        }
        if let Some(schema) = &settings.output_schema {
            self.pair("--output-schema", schema);
        }
    }

    fn sandbox(&mut self, sandbox: Sandbox) {
        match sandbox.mode() {
            Some(mode) => self.pair("-s", mode),
            None => self.extend(["--dangerously-bypass-approvals-and-sandbox"]),
        }
    }

    fn overrides(&mut self, settings: &Settings, version: Option<Version>) {
        // A release that does not know the key ignores it, but some say so in a warning; those known
        // to be too old are spared it.
        let too_old = version.is_some_and(|version| version <= Version::OLDEST_KNOWN);
        if settings.network_retries == NetworkRetries::Bounded && !too_old {
            self.config(&ConfigOverride::new(format!("features.{UNBOUNDED_RETRIES}"), "false"));
        }
        if settings.web_search {
            // What the interactive `--search` stands for; `exec` has no such flag.
            self.config(&if too_old {
                ConfigOverride::new("features.web_search_request", "true")
            } else {
                ConfigOverride::string("web_search", "live")
            });
        }
        if let Some(effort) = &settings.reasoning_effort {
            self.config(&ConfigOverride::string("model_reasoning_effort", effort));
        }
        // Last, so that the user's own word counts.
        for entry in &settings.config {
            self.config(entry);
        }
    }
}
