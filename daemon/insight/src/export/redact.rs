//! What is kept back when something leaves.

use std::borrow::Cow;

use serde_json::Value;
use trace::redact::Redactor;

/// Replaces what is to stay here. It is asked for every text that somebody has said, run or seen, and for
/// paths; in a database ids, hashes and what Codex calls things are as they are.
pub trait Redact {
    /// The text as it may leave.
    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str>;

    /// The same for every text in a JSON value.
    fn value(&mut self, value: &mut Value);

    /// Whether anything is replaced at all.
    fn is_active(&self) -> bool;
}

impl Redact for Redactor {
    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        Redactor::text(self, text)
    }

    fn value(&mut self, value: &mut Value) {
        Redactor::value(self, value);
    }

    fn is_active(&self) -> bool {
        Redactor::is_active(self)
    }
}

/// Keeps nothing back, for somebody who has asked for that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Redact for Raw {
    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }

    fn value(&mut self, _: &mut Value) {}

    fn is_active(&self) -> bool {
        false
    }
}
