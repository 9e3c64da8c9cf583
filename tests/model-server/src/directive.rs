//! `mock:NAME key=value …`: how a prompt tells the model what to do.

use std::collections::BTreeMap;
use std::time::Duration;

/// A scenario by name, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) parameters: Parameters,
}

/// The `key=value` words of a directive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(BTreeMap<String, String>);

/// A directive that cannot be obeyed. The client gets it as a refused request, so that a mistake in
/// a test's prompt fails that test with its reason.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BadDirective {
    #[error("the directive {0:?} has an unbalanced quote")]
    Quotes(String),
    #[error("the word {word:?} in the directive {directive:?} is not of the form key=value")]
    Word { directive: String, word: String },
    #[error("the parameter {key}={value} is not {wanted}")]
    Value { key: String, value: String, wanted: &'static str },
    #[error("there is no scenario {0:?}; `model-server --help` lists them")]
    UnknownScenario(String),
}

impl Directive {
    /// Finds the first directive in a text; it reaches to the end of its line.
    pub(crate) fn find(text: &str) -> Result<Option<Self>, BadDirective> {
        const MARK: &str = "mock:";
        for (at, _) in text.match_indices(MARK) {
            let starts_a_word = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let rest = &text[at + MARK.len()..];
            if starts_a_word && rest.starts_with(|c: char| c.is_ascii_lowercase()) {
                return Self::parse(rest.lines().next().unwrap_or_default()).map(Some);
            }
        }
        Ok(None)
    }

    /// Reads `NAME key=value …`, quoted as in a shell.
    pub(crate) fn parse(line: &str) -> Result<Self, BadDirective> {
        let words = shlex::split(line).ok_or_else(|| BadDirective::Quotes(line.to_owned()))?;
        let mut words = words.into_iter();
        let name = words.next().unwrap_or_default();
        let mut parameters = BTreeMap::new();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return Err(BadDirective::Word { directive: line.to_owned(), word });
            };
            parameters.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self { name, parameters: Parameters(parameters) })
    }
}

impl Parameters {
    /// The text of a parameter, or a default.
    pub(crate) fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.get(key).unwrap_or(default)
    }

    /// The text of a parameter that may be absent.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A whole number, or a default.
    pub(crate) fn number(&self, key: &str, default: u32) -> Result<u32, BadDirective> {
        Ok(self.optional_number(key)?.unwrap_or(default))
    }

    /// A whole number that may be absent.
    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<u32>, BadDirective> {
        self.parsed(key, "a whole number", |value| value.parse().ok())
    }

    /// A number of seconds, fractions allowed, or a default.
    pub(crate) fn seconds(&self, key: &str, default: u64) -> Result<Duration, BadDirective> {
        let seconds = |value: &str| Duration::try_from_secs_f64(value.parse().ok()?).ok();
        Ok(self.parsed(key, "a number of seconds", seconds)?.unwrap_or(Duration::from_secs(default)))
    }

    fn parsed<T>(
        &self,
        key: &str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, BadDirective> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let bad = || BadDirective::Value { key: key.to_owned(), value: value.to_owned(), wanted };
        parse(value).map(Some).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_directive_is_found_anywhere_and_ends_with_its_line() {
        let found = Directive::find("please\nmock:shell cmd='echo a b' n=2\nmore=words").unwrap().unwrap();
        assert_eq!(found.name, "shell");
        assert_eq!(found.parameters.text("cmd", ""), "echo a b");
        assert_eq!(found.parameters.number("n", 1), Ok(2));
        assert_eq!(found.parameters.get("more"), None);
    }

    #[test]
    fn a_prompt_without_a_directive_is_no_mistake() {
        for text in ["do it", "hammock:shell", "mock: not one", "mock:"] {
            assert_eq!(Directive::find(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(Directive::find("mock:shell cmd='x"), Err(BadDirective::Quotes(_))));
        assert!(matches!(Directive::find("mock:shell ls"), Err(BadDirective::Word { .. })));
        let bad = Directive::parse("sleep secs=soon").unwrap().parameters.seconds("secs", 1);
        assert_eq!(bad.unwrap_err().to_string(), "the parameter secs=soon is not a number of seconds");
    }
}
