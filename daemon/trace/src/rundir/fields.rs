//! Reading other tools' JSON without trusting it.

use jiff::Timestamp;
use serde_json::Value;

/// How much of a text is kept, in bytes.
const TEXT_LIMIT: usize = 200;

/// How much of a heartbeat or a lock is read, in bytes.
pub(super) const SECOND_LIMIT: u64 = 4096;

/// An object, or whatever stands in its place.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) Option<&'a Value>);

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(Some(value))
    }

    pub(super) fn get(self, name: &str) -> Self {
        Self(self.0.and_then(|value| value.get(name)))
    }

    /// The last element of an array.
    pub(super) fn last(self) -> Self {
        Self(self.0.and_then(|value| value.as_array()?.last()))
    }

    pub(super) fn is_array(self) -> bool {
        self.0.is_some_and(Value::is_array)
    }

    pub(super) fn is_object(self) -> bool {
        self.0.is_some_and(Value::is_object)
    }

    /// A text as it stands, to compare it with known ones.
    pub(super) fn word(self, name: &str) -> Option<&'a str> {
        self.get(name).0?.as_str()
    }

    /// A text to show: its first line that is not empty, cut.
    pub(super) fn text(self, name: &str) -> Option<String> {
        shown(self.word(name)?)
    }

    pub(super) fn number(self, name: &str) -> Option<i64> {
        self.get(name).0?.as_i64()
    }

    pub(super) fn time(self, name: &str) -> Option<Timestamp> {
        time(self.word(name)?)
    }
}

/// A time as tools write it.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.get(..text.len().min(64))?.trim().parse().ok()
}

/// The first line of a text that is not empty, without control characters, cut.
pub(super) fn shown(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let mut shown = String::new();
    for letter in line.chars().filter(|letter| !letter.is_control()) {
        if shown.len() + letter.len_utf8() > TEXT_LIMIT {
            break;
        }
        shown.push(letter);
    }
    Some(shown).filter(|shown| !shown.is_empty())
}
