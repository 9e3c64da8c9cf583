//! Events and other payloads of a spine, as JSON text with members in the order in which Codex writes them.

use serde::Serialize;
use serde_json::value::RawValue;

/// A JSON object that is put together member by member.
#[derive(Debug)]
pub(super) struct Object(String);

impl Object {
    /// An empty object.
    pub(super) fn new() -> Self {
        Self("{".into())
    }

    /// The message of an event, by its type.
    pub(super) fn message(kind: &str) -> Self {
        Self::message_by("type", kind)
    }

    /// An object that another member tells from others of its sort.
    pub(super) fn message_by(tag: &str, kind: &str) -> Self {
        Self::new().with(tag, kind)
    }

    /// The same with another member.
    pub(super) fn with(self, name: &str, value: impl Serialize) -> Self {
        // Strings, numbers and lists of them can always be written.
        let value = serde_json::to_string(&value).unwrap_or_else(|_| "null".into());
        self.with_json(name, &value)
    }

    /// The same with another member, if there is a value for it.
    pub(super) fn with_some(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same with another member, whose value is JSON already.
    pub(super) fn with_json(mut self, name: &str, json: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&serde_json::Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// The same with another member, which is JSON as it was found.
    pub(super) fn with_raw(self, name: &str, raw: Option<&RawValue>) -> Self {
        match raw {
            Some(raw) => self.with_json(name, raw.get()),
            None => self,
        }
    }

    /// The object's text.
    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The payload of an event.
pub(super) fn event(turn: &str, message: &str) -> String {
    Object::new().with("id", turn).with_json("msg", message).finish()
}

/// A duration as the protocol has it.
pub(super) fn duration(milliseconds: u64) -> String {
    let nanos = (milliseconds % 1000) * 1_000_000;
    Object::new().with("secs", milliseconds / 1000).with("nanos", nanos).finish()
}
