//! Reading: the file, the variables over it, and all that is wrong in both.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{HOOK_KEYS, HOOKS, SECTIONS, Section, variable};
use super::suggest::{choice, closest};
use super::value::{Field, Node, Wrong};
use super::{Config, Hook, LogFormat, LogLevel};

/// A larger file is none of ours.
const LARGEST_FILE: u64 = 1 << 20;

/// Where a configuration is read from, at the start and at each reload.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it must be there, since somebody named it on the command line.
    pub(crate) must_exist: bool,
    /// `--log-level`, over all else.
    pub(crate) log_level: Option<LogLevel>,
    /// `--log-format`, over all else.
    pub(crate) log_format: Option<LogFormat>,
}

/// A configuration and where its values are from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file's path.
    pub(crate) path: PathBuf,
    /// Whether the file is there.
    pub(crate) exists: bool,
    /// Where a value is from, by `section.key`; none: it is the default.
    pub(super) origins: BTreeMap<String, Origin>,
}

/// Where a value is from, if it is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// This line of the file.
    File(usize),
    /// This variable.
    Variable(String),
    /// This argument.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(line) => write!(out, "file, line {line}"),
            Self::Variable(name) => out.write_str(name),
            Self::Argument(name) => out.write_str(name),
        }
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Where something is wrong.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the file, at a line and a column, both from 1, if it is not about all of it.
    File { path: PathBuf, at: Option<(usize, usize)> },
    /// In this variable.
    Variable(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, at: Some((line, column)) } => {
                write!(out, "{}:{line}:{column}: ", path.display())?;
            }
            Place::File { path, at: None } => write!(out, "{}: ", path.display())?,
            Place::Variable(name) => write!(out, "variable {name}: ")?,
        }
        out.write_str(&self.message)
    }
}

impl Source {
    /// Reads file and variables.
    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        let text = self.read_file().map_err(|message| {
            Problems(vec![Problem { place: Place::File { path: self.path.clone(), at: None }, message }])
        })?;
        self.load_from(text.as_deref(), env::vars_os())
    }

    fn read_file(&self) -> Result<Option<String>, String> {
        let unreadable = |error: io::Error| format!("cannot read the configuration: {error}");
        let size = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.must_exist => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if size > LARGEST_FILE {
            return Err(format!("the file has {size} bytes; a configuration has at most {LARGEST_FILE}"));
        }
        fs::read_to_string(&self.path).map(Some).map_err(unreadable)
    }

    /// Reads the file's text, if there is a file, and these variables.
    pub(super) fn load_from(
        &self,
        text: Option<&str>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Loaded, Problems> {
        let mut reading = Reading {
            source: self,
            config: Config::default(),
            origins: BTreeMap::new(),
            problems: Vec::new(),
        };
        if let Some(text) = text {
            reading.file(text);
        }
        reading.variables(variables);
        reading.arguments();
        let Reading { config, origins, problems, .. } = reading;
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Loaded { config, path: self.path.clone(), exists: text.is_some(), origins })
    }
}

/// A configuration as far as it has been read.
struct Reading<'s> {
    source: &'s Source,
    config: Config,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn wrong_in_file(&mut self, text: &str, wrong: Wrong) {
        let at = Some(line_and_column(text, wrong.span.start));
        let place = Place::File { path: self.source.path.clone(), at };
        self.problems.push(Problem { place, message: wrong.message });
    }

    fn file(&mut self, text: &str) {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What is left of a broken document would only lead to further, misleading errors.
            for error in errors {
                self.wrong_in_file(text, Wrong::new(error.span().unwrap_or(0..0), error.message()));
            }
            return;
        }
        for (name, node) in document.get_ref() {
            if name.get_ref() == HOOKS {
                match hooks(node) {
                    Ok(hooks) => {
                        self.config.hooks = hooks;
                        let (line, _) = line_and_column(text, name.span().start);
                        self.origins.insert(HOOKS.to_owned(), Origin::File(line));
                    }
                    Err(wrongs) => wrongs.into_iter().for_each(|wrong| self.wrong_in_file(text, wrong)),
                }
            } else if let Some(section) = SECTIONS.iter().find(|section| section.name == name.get_ref()) {
                self.section(section, node, text);
            } else {
                self.wrong_in_file(text, unknown_section(name));
            }
        }
    }

    fn section(&mut self, section: &Section, node: &Node<'_>, text: &str) {
        let DeValue::Table(table) = node.get_ref() else {
            let message = format!("{0}: expected a section; write [{0}] on a line of its own", section.name);
            return self.wrong_in_file(text, Wrong::new(node.span(), message));
        };
        for (name, value) in table {
            let Some(key) = section.keys.iter().find(|key| key.name == name.get_ref()) else {
                self.wrong_in_file(text, unknown_key(section, name));
                continue;
            };
            let path = section.path(key);
            match (key.field)(&mut self.config).set(value) {
                Ok(()) => {
                    let (line, _) = line_and_column(text, name.span().start);
                    self.origins.insert(path, Origin::File(line));
                }
                Err(wrong) => self.wrong_in_file(text, prefixed(&path, wrong)),
            }
        }
    }

    fn variables(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let all = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        // An empty variable counts as unset.
        let mut ours: BTreeMap<String, OsString> =
            all.filter(|(name, value)| name.starts_with("SPINDLE_") && !value.is_empty()).collect();
        for section in SECTIONS {
            for key in section.keys {
                // The special name comes second, so that it wins.
                for name in [Some(variable(section.name, key.name)), key.variable.map(str::to_owned)] {
                    if let Some((name, value)) = name.and_then(|name| ours.remove_entry(&name)) {
                        let field = (key.field)(&mut self.config);
                        let result = as_text(&value).and_then(|text| set_from_text(field, text));
                        self.note(section.path(key), name, result);
                    }
                }
            }
        }
        if let Some((name, value)) = ours.remove_entry(HOOKS_VARIABLE) {
            let result = as_text(&value).and_then(hooks_from_text).map(|hooks| self.config.hooks = hooks);
            self.note(HOOKS.to_owned(), name, result);
        }
        for name in ours.keys() {
            self.unknown_variable(name);
        }
    }

    fn note(&mut self, path: String, variable: String, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.origins.insert(path, Origin::Variable(variable));
            }
            Err(message) => self.problems.push(Problem { place: Place::Variable(variable), message }),
        }
    }

    /// A variable that nothing reads is an error when its name begins with a section's: then it was meant
    /// for the configuration.
    fn unknown_variable(&mut self, name: &str) {
        let Some(section) = SECTIONS.iter().find(|section| name.starts_with(&variable(section.name, "")))
        else {
            return;
        };
        let known: Vec<String> = section.keys.iter().map(|key| variable(section.name, key.name)).collect();
        let known = || known.iter().map(String::as_str);
        let message = match closest(name, known()) {
            Some(closest) => format!("no key has this name; did you mean {closest}?"),
            None => format!("no key has this name; for [{}] there is {}", section.name, choice(known())),
        };
        self.problems.push(Problem { place: Place::Variable(name.to_owned()), message });
    }

    fn arguments(&mut self) {
        if let Some(level) = &self.source.log_level {
            self.config.daemon.log_level = level.clone();
            self.origins.insert("daemon.log_level".to_owned(), Origin::Argument("--log-level"));
        }
        if let Some(format) = self.source.log_format {
            self.config.daemon.log_format = format;
            self.origins.insert("daemon.log_format".to_owned(), Origin::Argument("--log-format"));
        }
    }
}

/// The variable that holds all hooks.
const HOOKS_VARIABLE: &str = "SPINDLE_HOOKS";

fn as_text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "the value is not UTF-8".to_owned())
}

fn parse(text: &str) -> Result<Node<'_>, String> {
    DeValue::parse(text).map_err(|error| format!("{text:?} is no TOML value: {}", error.message()))
}

/// Reads a value that stands alone: text without quotes, anything else as in TOML.
fn set_from_text(field: &mut dyn Field, text: &str) -> Result<(), String> {
    let plain = || Spanned::new(0..text.len(), DeValue::String(text.into()));
    // What is no value at all is taken for text, so that the error says what is expected.
    let node = if field.is_quoted() { plain() } else { parse(text).unwrap_or_else(|_| plain()) };
    field.set(&node).map_err(|wrong| wrong.message)
}

fn hooks_from_text(text: &str) -> Result<Vec<Hook>, String> {
    hooks(&parse(text)?).map_err(|wrongs| {
        let messages: Vec<String> = wrongs.into_iter().map(|wrong| wrong.message).collect();
        messages.join("; ")
    })
}

/// Reads the list of hooks.
fn hooks(node: &Node<'_>) -> Result<Vec<Hook>, Vec<Wrong>> {
    let expected =
        |span| vec![Wrong::new(span, "hooks: expected a list of tables; write [[hooks]] above each")];
    let DeValue::Array(entries) = node.get_ref() else { return Err(expected(node.span())) };
    let (mut hooks, mut wrongs) = (Vec::new(), Vec::new());
    for entry in entries {
        let read = match entry.get_ref() {
            DeValue::Table(table) => hook(table, &entry.span()),
            _ => Err(expected(entry.span())),
        };
        match read {
            Ok(hook) => hooks.push(hook),
            Err(more) => wrongs.extend(more),
        }
    }
    if wrongs.is_empty() { Ok(hooks) } else { Err(wrongs) }
}

/// Reads one hook, whose table is at `span`.
fn hook(table: &DeTable<'_>, span: &Range<usize>) -> Result<Hook, Vec<Wrong>> {
    let (mut hook, mut wrongs) = (Hook::default(), Vec::new());
    for (name, value) in table {
        match HOOK_KEYS.iter().find(|key| key.name == name.get_ref()) {
            Some(key) => {
                let set = (key.field)(&mut hook).set(value);
                wrongs.extend(set.err().map(|wrong| prefixed(&format!("{HOOKS}.{}", key.name), wrong)));
            }
            None => wrongs.push(unknown(HOOK_KEYS.iter().map(|key| key.name), "a hook has no key", name)),
        }
    }
    if wrongs.is_empty() {
        for (name, is_empty) in [("on", hook.on.is_empty()), ("command", hook.command.is_empty())] {
            if is_empty {
                let message = format!("{HOOKS}.{name}: must be given, and must not be empty");
                wrongs.push(Wrong::new(span.clone(), message));
            }
        }
    }
    if wrongs.is_empty() { Ok(hook) } else { Err(wrongs) }
}

fn prefixed(path: &str, wrong: Wrong) -> Wrong {
    Wrong { message: format!("{path}: {}", wrong.message), ..wrong }
}

fn unknown_section(name: &Spanned<DeString<'_>>) -> Wrong {
    if let Some(home) = home_of(name.get_ref()) {
        return Wrong::new(name.span(), format!("the key {:?} belongs below [{home}]", name.get_ref()));
    }
    let known = SECTIONS.iter().map(|section| section.name).chain([HOOKS]);
    unknown(known, "there is no section", name)
}

fn unknown_key(section: &Section, name: &Spanned<DeString<'_>>) -> Wrong {
    if let Some(home) = home_of(name.get_ref()) {
        let message = format!("the key {:?} belongs below [{home}], not [{}]", name.get_ref(), section.name);
        return Wrong::new(name.span(), message);
    }
    let known = section.keys.iter().map(|key| key.name);
    unknown(known, &format!("[{}] has no key", section.name), name)
}

/// The section that has this key.
fn home_of(name: &str) -> Option<&'static str> {
    let home = SECTIONS.iter().find(|section| section.keys.iter().any(|key| key.name == name));
    home.map(|section| section.name)
}

fn unknown<'c>(
    known: impl Iterator<Item = &'c str> + Clone,
    there_is_none: &str,
    name: &Spanned<DeString<'_>>,
) -> Wrong {
    let word = name.get_ref().as_ref();
    let message = match closest(word, known.clone()) {
        Some(closest) => format!("{there_is_none} {word:?}; did you mean {closest:?}?"),
        None => format!("{there_is_none} {word:?}; there is {}", choice(known)),
    };
    Wrong::new(name.span(), message)
}

/// Line and column of a byte, both from 1; columns are counted in characters.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
