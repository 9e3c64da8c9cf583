//! What is kept back when something leaves.

use std::borrow::Cow;

use serde_json::Value;

/// Replaces what is to stay here. It is asked for every text that somebody has said, run or seen, and for
/// paths; ids, hashes and what Codex calls things are as they are.
pub trait Redact {
    /// The text as it may leave.
    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str>;

    /// The same for every text in a JSON value.
    fn value(&mut self, value: &mut Value);

    /// Whether anything is replaced at all.
    fn is_active(&self) -> bool;
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
