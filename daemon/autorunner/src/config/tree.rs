//! Reading typed settings out of a YAML document, collecting every failure instead of the first.

use std::cell::RefCell;
use std::fmt;

use serde_json::{Map, Value};

/// One invalid setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its dotted key.
    pub key: String,
    /// What should stand there.
    pub expected: String,
    /// What stands there; never the value of a secret.
    pub found: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: expected {}; found {}", self.key, self.expected, self.found)
    }
}

/// A document being read.
pub(super) struct Tree<'a> {
    top: Option<&'a Map<String, Value>>,
    problems: RefCell<Vec<Problem>>,
}

/// One mapping of the document.
pub(super) struct Section<'a> {
    tree: &'a Tree<'a>,
    name: &'static str,
    /// `None` if the file does not have it: then everything has its default.
    map: Option<&'a Map<String, Value>>,
}

const TEXT: &str = "a text that is not empty";

impl<'a> Tree<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        let tree = Self { top: document.as_object(), problems: RefCell::default() };
        // An empty file sets nothing.
        if tree.top.is_none() && !document.is_null() {
            tree.problem("config.yml", "a mapping", describe(document));
        }
        tree
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub(super) fn check_version(&self) {
        if let Some(version) = self.get("version")
            && !matches!(version.as_u64(), Some(1 | 2))
        {
            self.problem("version", "1 (or 2, of release 0.1.0)", describe(version));
        }
        if let Some(mode) = self.get("mode")
            && mode != "repo"
        {
            self.problem("mode", "repo", describe(mode));
        }
    }

    pub(super) fn section(&'a self, name: &'static str) -> Section<'a> {
        let found = self.get(name);
        let map = found.and_then(Value::as_object);
        if let (Some(value), None) = (found, map) {
            self.problem(name, "a mapping", describe(value));
        }
        Section { tree: self, name, map }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.top.and_then(|top| top.get(key))
    }

    fn problem(&self, key: impl Into<String>, expected: impl Into<String>, found: String) {
        let problem = Problem { key: key.into(), expected: expected.into(), found };
        self.problems.borrow_mut().push(problem);
    }
}

impl Section<'_> {
    pub(super) fn text<T: From<String>>(&self, key: &str, default: T) -> T {
        self.read(key, default, TEXT, |value| text(value).map(T::from))
    }

    pub(super) fn optional_text<T: From<String>>(&self, key: &str, default: Option<T>) -> Option<T> {
        self.read(key, default, &format!("{TEXT}, or null"), |value| match value {
            Value::Null => Some(None),
            value => text(value).map(|text| Some(T::from(text))),
        })
    }

    pub(super) fn count<T: TryFrom<u64> + Bounded>(&self, key: &str, default: T) -> T {
        self.read(key, default, T::EXPECTED, |value| T::try_from(value.as_u64()?).ok())
    }

    pub(super) fn positive(&self, key: &str, default: u32) -> u32 {
        self.read(key, default, "a whole number, 1 or more", |value| {
            u32::try_from(value.as_u64()?).ok().filter(|count| *count > 0)
        })
    }

    pub(super) fn optional_count(&self, key: &str) -> Option<u64> {
        self.read(key, None, "a whole number, 0 or more, or null", |value| match value {
            Value::Null => Some(None),
            value => value.as_u64().map(Some),
        })
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        self.read(key, default, "true or false", Value::as_bool)
    }

    pub(super) fn texts(&self, key: &str, default: Vec<String>) -> Vec<String> {
        let items = self.read(key, None, "a list of texts", |value| Some(Some(value.as_array()?)));
        let Some(items) = items else { return default };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Some(text) = item.as_str() {
                texts.push(text.to_owned());
            } else {
                let key = format!("{}.{key}[{index}]", self.name);
                self.tree.problem(key, "a text", describe(item));
            }
        }
        texts
    }

    /// The setting, or its default if it is not there or not valid (which is noted).
    fn read<'s, T>(
        &'s self,
        key: &str,
        default: T,
        expected: &str,
        convert: impl FnOnce(&'s Value) -> Option<T>,
    ) -> T {
        let Some(value) = self.map.and_then(|map| map.get(key)) else {
            return default;
        };
        convert(value).unwrap_or_else(|| {
            let found = if key.contains("token") { kind(value).to_owned() } else { describe(value) };
            self.tree.problem(format!("{}.{key}", self.name), expected, found);
            default
        })
    }
}

/// How the range of a whole number is told to people.
pub(super) trait Bounded {
    const EXPECTED: &'static str;
}

impl Bounded for u16 {
    const EXPECTED: &'static str = "a whole number from 0 to 65535";
}

impl Bounded for u32 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

impl Bounded for u64 {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

impl Bounded for usize {
    const EXPECTED: &'static str = "a whole number, 0 or more";
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

fn describe(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // A quoted number looks like one; say that it is a text.
        Value::String(text) if text.parse::<f64>().is_ok() => format!("the text '{text}'"),
        Value::String(text) if !text.trim().is_empty() => text.clone(),
        other => kind(other).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(text) if text.trim().is_empty() => "an empty text",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
