//! Reads the argument list that earlier tools kept for Codex (`codex.args`) into [`Settings`].
//!
//! Those lists were put on the command line as they stood, with the prompt after them. Here each
//! flag is understood or refused: a flag that is silently dropped would change what a loop does
//! overnight.

use std::fmt;
use std::path::PathBuf;

use crate::settings::{ConfigOverride, NetworkRetries, Sandbox, Settings, Switch};

/// The feature behind [`NetworkRetries`].
pub(crate) const UNBOUNDED_RETRIES: &str = "unbounded_connection_retries";

/// An argument that has no place in [`Settings`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// The argument, without its value. Empty when the fault is that something is missing.
    pub flag: String,
    /// Why it has no place.
    pub reason: Reason,
}

/// Why an argument could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Neither tested release has such a flag for `exec`.
    Unknown,
    /// The flag needs a value and has none.
    MissingValue,
    /// The flag takes no value, or not this one.
    BadValue(String),
    /// It says something else than another argument, which is named.
    Contradicts(String),
    /// The supervisor decides this itself; the text says how.
    Supervised(&'static str),
    /// The flag exists, but makes no sense for an unattended run or is not supported; the text says
    /// more.
    Unsupported(&'static str),
    /// A word that Codex would take for the prompt or for a subcommand.
    Word,
    /// Nothing says what the sandbox is. Codex would use its configuration, or read-only; a
    /// supervisor passes the sandbox every time and will not guess.
    NoSandbox,
}

impl fmt::Display for Unmapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = &self.flag;
        match &self.reason {
            Reason::Unknown => write!(f, "{flag}: not a known flag of `codex exec`"),
            Reason::MissingValue => write!(f, "{flag}: its value is missing"),
            Reason::BadValue(value) => write!(f, "{flag}: cannot take the value {value:?}"),
            Reason::Contradicts(other) => write!(f, "{flag}: contradicts {other}"),
            Reason::Supervised(how) | Reason::Unsupported(how) => write!(f, "{flag}: {how}"),
            Reason::Word => write!(f, "{flag}: a word, not a flag; the prompt is given on standard input"),
            Reason::NoSandbox => write!(
                f,
                "no sandbox is given: add `--sandbox workspace-write` (or read-only, or danger-full-access)"
            ),
        }
    }
}

impl Settings {
    /// Understands a list of arguments, in any order Codex would take them: flags may stand before
    /// or after `exec`, as two words, as `--flag=value`, as `-fvalue` or `-f=value`.
    ///
    /// `exec`, `--json`, `--color`, `-a never` and a last `-` are accepted and not kept: they say what
    /// happens anyway. `--full-auto`, which newer releases no longer have, becomes workspace-write.
    ///
    /// All faults are reported, not just the first.
    pub fn parse_args<S: AsRef<str>>(args: &[S]) -> Result<Self, Vec<Unmapped>> {
        let mut parser = Parser::default();
        let mut rest = args.iter().map(AsRef::as_ref);
        while let Some(arg) = rest.next() {
            parser.argument(arg, &mut rest);
        }
        parser.finish()
    }
}

#[derive(Default)]
struct Parser {
    settings: Settings,
    unmapped: Vec<Unmapped>,
    /// Every argument that speaks of the sandbox.
    sandboxes: Vec<(String, Sandbox)>,
    exec_seen: bool,
}

/// What is to be done with a flag.
enum Meaning {
    /// It stands alone.
    Alone(fn(&mut Settings)),
    /// It stands alone and says what the sandbox is.
    Sandbox(Sandbox),
    /// It has a value.
    Value(fn(&mut Parser, &str, &str)),
    /// It is known and refused; whether it has a value of its own.
    Refused { takes_value: bool, reason: Reason },
}

fn meaning(flag: &str) -> Option<Meaning> {
    use Meaning::{Alone, Refused, Value};
    let supervised = |takes_value, how| Refused { takes_value, reason: Reason::Supervised(how) };
    let unsupported = |takes_value, how| Refused { takes_value, reason: Reason::Unsupported(how) };
    if let Some(switch) = Switch::ALL.into_iter().find(|switch| switch.flag() == flag) {
        return Some(Alone(match switch {
            Switch::Ephemeral => |settings| settings.switches.push(Switch::Ephemeral),
            Switch::IgnoreUserConfig => |settings| settings.switches.push(Switch::IgnoreUserConfig),
            Switch::IgnoreRules => |settings| settings.switches.push(Switch::IgnoreRules),
            Switch::StrictConfig => |settings| settings.switches.push(Switch::StrictConfig),
        }));
    }
    Some(match flag {
        "--json" | "--experimental-json" => Alone(|_| ()),
        "--skip-git-repo-check" => Alone(|settings| settings.skip_git_repo_check = true),
        "--search" => Alone(|settings| settings.web_search = true),
        "--oss" => Alone(|settings| settings.oss = true),
        "--full-auto" => Meaning::Sandbox(Sandbox::WorkspaceWrite),
        "--yolo" | "--dangerously-bypass-approvals-and-sandbox" => Meaning::Sandbox(Sandbox::Bypass),
        "-s" | "--sandbox" => Value(Parser::sandbox),
        "-m" | "--model" => Value(Parser::model),
        "-p" | "--profile" => Value(Parser::profile),
        "--local-provider" => Value(Parser::local_provider),
        "-c" | "--config" => Value(Parser::config),
        "--enable" => Value(|parser, _, feature| parser.feature(feature, true)),
        "--disable" => Value(|parser, _, feature| parser.feature(feature, false)),
        "--add-dir" => Value(|parser, _, dir| parser.settings.add_dirs.push(PathBuf::from(dir))),
        // Codex splits at commas, too.
        "-i" | "--image" => Value(|parser, _, list| {
            parser.settings.images.extend(list.split(',').map(PathBuf::from));
        }),
        "--output-schema" => Value(Parser::output_schema),
        "--color" => Value(Parser::color),
        "-a" | "--ask-for-approval" => Value(Parser::approval),
        "-C" | "--cd" => supervised(true, "the run's own directory is the working directory"),
        "-o" | "--output-last-message" => supervised(true, "the last message is taken from the events"),
        "--last" | "--all" => supervised(false, "which thread is resumed is decided for each run"),
        "--approve-for-me" | "--trust" | "--worktree" | "--dangerously-bypass-hook-trust" => {
            unsupported(false, "not supported")
        }
        "--thread-source" | "--cyber-access-program" | "--remote" | "--remote-auth-token-env" => {
            unsupported(true, "not supported")
        }
        "-h" | "--help" | "-V" | "--version" => unsupported(false, "prints a text instead of running"),
        _ => return None,
    })
}

impl Parser {
    fn argument<'a>(&mut self, arg: &'a str, rest: &mut impl Iterator<Item = &'a str>) {
        let (flag, attached) = split_flag(arg);
        match meaning(flag) {
            _ if arg == "-" || arg == "--" => (),
            None if !arg.starts_with('-') => self.word(arg),
            None => self.refuse(flag, Reason::Unknown),
            Some(Meaning::Alone(_) | Meaning::Sandbox(_)) if attached.is_some() => {
                self.refuse(flag, Reason::BadValue(attached.unwrap_or_default().to_owned()));
            }
            Some(Meaning::Alone(apply)) => apply(&mut self.settings),
            Some(Meaning::Sandbox(sandbox)) => self.sandboxes.push((flag.to_owned(), sandbox)),
            Some(Meaning::Value(apply)) => match attached.or_else(|| rest.next()) {
                Some(value) => apply(self, flag, value),
                None => self.refuse(flag, Reason::MissingValue),
            },
            Some(Meaning::Refused { takes_value, reason }) => {
                if takes_value && attached.is_none() {
                    let _ = rest.next();
                }
                self.refuse(flag, reason);
            }
        }
    }

    fn finish(mut self) -> Result<Settings, Vec<Unmapped>> {
        self.settle_sandbox();
        if self.unmapped.is_empty() { Ok(self.settings) } else { Err(self.unmapped) }
    }

    /// One argument may allow what another leaves open (`--yolo exec --sandbox danger-full-access`,
    /// a list that many existing repositories have), but no two may differ in what commands can do.
    fn settle_sandbox(&mut self) {
        let sandboxes = std::mem::take(&mut self.sandboxes);
        let Some((first_flag, first)) = sandboxes.first() else {
            self.refuse("", Reason::NoSandbox);
            return;
        };
        self.settings.sandbox = *first;
        for (flag, sandbox) in &sandboxes[1..] {
            if sandbox == first || (sandbox.is_unlimited() && first.is_unlimited()) {
                if *sandbox == Sandbox::Bypass {
                    self.settings.sandbox = Sandbox::Bypass;
                }
            } else {
                self.refuse(flag, Reason::Contradicts(first_flag.clone()));
            }
        }
    }

    fn refuse(&mut self, flag: &str, reason: Reason) {
        self.unmapped.push(Unmapped { flag: flag.to_owned(), reason });
    }

    fn word(&mut self, word: &str) {
        if !self.exec_seen && matches!(word, "exec" | "e") {
            self.exec_seen = true;
        } else if matches!(word, "resume" | "fork" | "review") {
            self.refuse(word, Reason::Supervised("which thread is resumed is decided for each run"));
        } else {
            self.refuse(word, Reason::Word);
        }
    }

    fn sandbox(&mut self, flag: &str, mode: &str) {
        match Sandbox::from_mode(mode) {
            Some(sandbox) => self.sandboxes.push((format!("{flag} {mode}"), sandbox)),
            None => self.refuse(flag, Reason::BadValue(mode.to_owned())),
        }
    }

    /// Keeps the one value of a flag that may stand only once.
    fn once(&mut self, flag: &str, value: &str, place: fn(&mut Settings) -> &mut Option<String>) {
        let slot = place(&mut self.settings);
        match slot {
            Some(other) if other != value => {
                let other = format!("{flag} {other}");
                self.refuse(flag, Reason::Contradicts(other));
            }
            _ => *slot = Some(value.to_owned()),
        }
    }

    fn model(&mut self, flag: &str, value: &str) {
        self.once(flag, value, |settings| &mut settings.model);
    }

    fn profile(&mut self, flag: &str, value: &str) {
        self.once(flag, value, |settings| &mut settings.profile);
    }

    fn local_provider(&mut self, flag: &str, value: &str) {
        self.once(flag, value, |settings| &mut settings.local_provider);
    }

    fn output_schema(&mut self, flag: &str, value: &str) {
        let path = PathBuf::from(value);
        match &self.settings.output_schema {
            Some(other) if *other != path => {
                let other = format!("{flag} {}", other.display());
                self.refuse(flag, Reason::Contradicts(other));
            }
            _ => self.settings.output_schema = Some(path),
        }
    }

    fn color(&mut self, flag: &str, value: &str) {
        // The events have no colour.
        if !matches!(value, "always" | "never" | "auto") {
            self.refuse(flag, Reason::BadValue(value.to_owned()));
        }
    }

    fn approval(&mut self, flag: &str, policy: &str) {
        if policy != "never" {
            self.refuse(flag, Reason::Unsupported("`codex exec` never asks; leave it out, or say `never`"));
        }
    }

    fn feature(&mut self, feature: &str, on: bool) {
        self.keep(ConfigOverride::new(format!("features.{feature}"), on.to_string()));
    }

    fn config(&mut self, flag: &str, assignment: &str) {
        let Some((key, value)) = assignment.split_once('=') else {
            return self.refuse(flag, Reason::BadValue(assignment.to_owned()));
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "" => self.refuse(flag, Reason::BadValue(assignment.to_owned())),
            // These have a place of their own and would be overruled by it.
            "sandbox_mode" => self.sandbox(&format!("{flag} sandbox_mode"), unquoted(value)),
            "model_reasoning_effort" => {
                self.settings.reasoning_effort = Some(unquoted(value).to_owned());
            }
            _ => self.keep(ConfigOverride::new(key, value)),
        }
    }

    fn keep(&mut self, entry: ConfigOverride) {
        if entry.key.strip_prefix("features.") == Some(UNBOUNDED_RETRIES) {
            self.settings.network_retries = NetworkRetries::AsConfigured;
        }
        self.settings.config.push(entry);
    }
}

/// Splits `--flag=value`, `-fvalue` and `-f=value`.
fn split_flag(arg: &str) -> (&str, Option<&str>) {
    if arg.starts_with("--") {
        return match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg, None),
        };
    }
    match arg.char_indices().nth(2) {
        Some((at, _)) if arg.starts_with('-') => {
            let value = &arg[at..];
            (&arg[..at], Some(value.strip_prefix('=').unwrap_or(value)))
        }
        _ => (arg, None),
    }
}

/// A TOML string without its quotes; Codex takes an unquoted word as a string, too.
fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}
