//! Redaction: secrets and home directories are replaced in everything that leaves.
//!
//! A secret becomes `[secret:N]`; the same value has the same number wherever it stands within one output, so
//! that what belongs together can still be seen. A home directory becomes `~`. The report says how many of
//! which kind were replaced where, never what they were.
//!
//! A value that its context has told (`PASSWORD=…`) is known again where it stands without one, in the same text and in
//! those that come after it; in those before it as well, if they were shown beforehand ([`Redactor::foresee`]).
//!
//! This finds what looks like a secret. It is a net, not a proof: a password that stands in sentences only goes through.

mod json;
mod known;
mod patterns;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::known::Known;

/// What was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A token that is known by its form: `sk-…`, `ghp_…`, `AKIA…`, `xoxb-…`.
    Token,
    /// A JSON Web Token.
    Jwt,
    /// A private key in PEM.
    PrivateKey,
    /// The value of an `Authorization` header or the like.
    Header,
    /// The value of something called password, token, secret, …
    Assignment,
    /// User and password of a URL.
    Url,
    /// A value without a pattern, of an environment variable.
    Env,
    /// A home directory.
    Home,
}

/// How many of a kind were replaced in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// What it was.
    pub kind: Kind,
    /// The file of the output.
    pub file: String,
    /// How often.
    pub count: u64,
}

/// What was replaced in an output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By kind and file, in this order.
    pub replaced: Vec<Replaced>,
    /// How many different secrets there were.
    pub secrets: u32,
}

impl Report {
    /// How often something was replaced.
    pub fn total(&self) -> u64 {
        self.replaced.iter().map(|replaced| replaced.count).sum()
    }
}

/// Replaces secrets and home directories in the texts of one output.
#[derive(Debug)]
pub struct Redactor {
    active: bool,
    numbers: HashMap<String, u32>,
    counts: BTreeMap<(Kind, String), u64>,
    file: String,
    known: Known,
    /// Whether this is only to learn.
    foresees: bool,
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    /// One that replaces.
    pub fn new() -> Self {
        Self {
            active: true,
            numbers: HashMap::new(),
            counts: BTreeMap::new(),
            file: String::new(),
            known: Known::default(),
            foresees: false,
        }
    }

    /// One that leaves everything as it is, for somebody who has asked for that.
    pub fn inactive() -> Self {
        Self { active: false, ..Self::new() }
    }

    /// Whether it replaces anything.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Names the file that the next texts go to, for the report.
    pub fn enter(&mut self, file: &str) {
        file.clone_into(&mut self.file);
    }

    /// Takes note of the secrets of a text that is to be replaced later. Nothing of it is counted.
    pub fn foresee(&mut self, text: &str) {
        self.look_ahead(|scout| drop(scout.text(text)));
    }

    /// The same for a JSON document as text.
    pub fn foresee_json(&mut self, text: &[u8]) {
        self.look_ahead(|scout| drop(scout.json(text)));
    }

    fn look_ahead(&mut self, look: impl FnOnce(&mut Self)) {
        if self.active {
            let known = std::mem::take(&mut self.known);
            let mut scout = Self { known, foresees: true, ..Self::new() };
            look(&mut scout);
            self.known = scout.known;
        }
    }

    /// A text, which may be a patch: the number of its lines and what they begin with stay the same.
    pub fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if !self.active {
            return Cow::Borrowed(text);
        }
        let mut hits = if patterns::may_match(text.as_bytes()) { patterns::find(text) } else { Vec::new() };
        for hit in &hits {
            if let Some(value) = &hit.value {
                self.known.learn(hit.kind, &text[value.clone()]);
            }
        }
        if !self.foresees {
            hits = known::together(hits, self.known.find(text.as_bytes()));
        }
        if hits.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for hit in hits {
            let found = &text[hit.range.clone()];
            out.push_str(&text[copied..hit.range.start]);
            match hit.kind {
                Kind::Home => {
                    self.count(Kind::Home);
                    out.push('~');
                }
                kind => out.push_str(&self.placeholder(kind, found)),
            }
            copied = hit.range.end;
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }

    /// A JSON document as text, such as one line of a spine: only strings change.
    pub fn json<'a>(&mut self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.active { json::redact(self, text) } else { Cow::Borrowed(text) }
    }

    /// A JSON value, in place: strings and keys.
    pub fn value(&mut self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                if let Cow::Owned(new) = self.text(text) {
                    *text = new;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => {
                for (key, mut item) in std::mem::take(fields) {
                    match &mut item {
                        Value::String(text) if self.active && patterns::names_a_secret(&key, text) => {
                            *text = self.named(text);
                        }
                        item => self.value(item),
                    }
                    fields.insert(self.text(&key).into_owned(), item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What was replaced so far.
    pub fn report(&self) -> Report {
        let replaced = self
            .counts
            .iter()
            .map(|((kind, file), count)| Replaced { kind: *kind, file: file.clone(), count: *count })
            .collect();
        Report { replaced, secrets: u32::try_from(self.numbers.len()).unwrap_or(u32::MAX) }
    }

    /// Whether a secret that is known by now stands in a text.
    fn knows_some_of(&mut self, text: &[u8]) -> bool {
        !self.foresees && self.known.is_in(text)
    }

    /// What stands in the place of a value whose key says that it is secret.
    fn named(&mut self, value: &str) -> String {
        self.known.learn(Kind::Assignment, value);
        self.placeholder(Kind::Assignment, value)
    }

    /// What stands in the place of a secret.
    fn placeholder(&mut self, kind: Kind, secret: &str) -> String {
        self.count(kind);
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        // A key that spans the lines of a patch is the same key elsewhere without their first characters.
        let same: String = secret.lines().map(|line| line.trim_start_matches(['+', '-', ' '])).collect();
        let number = *self.numbers.entry(same).or_insert(next);
        let mut out = format!("[secret:{number}]");
        for line in secret.split('\n').skip(1) {
            let _ = write!(
                out,
                "\n{}[secret:{number}]",
                line.get(..1).filter(|c| "+- ".contains(c)).unwrap_or("")
            );
        }
        out
    }

    fn count(&mut self, kind: Kind) {
        *self.counts.entry((kind, self.file.clone())).or_default() += 1;
    }
}
