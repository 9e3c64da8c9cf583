//! Secrets that are known again: a value that its context has told, where it stands without one.
//!
//! A value that is taken for a secret by mistake does little harm where it stands, and much if it is replaced
//! everywhere. So only what looks like a password or key itself is known again: not words, numbers, hashes and ids,
//! paths, names of hosts, versions.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::Kind;
use super::patterns::{Hit, is_random};

/// How many values are known again. What has more of them is a list of something else.
const LIMIT: usize = 500;

/// How long such a value is, in bytes. A shorter one may be anything, a longer one stands only once.
const LENGTH: Range<usize> = 8..257;

/// Words that passwords in examples are made of.
const WORDS: &[&str] = &[
    "test",
    "testing",
    "user",
    "username",
    "admin",
    "root",
    "guest",
    "login",
    "example",
    "sample",
    "dummy",
    "demo",
    "default",
    "changeme",
    "localhost",
    "undefined",
    "postgres",
    "mysql",
    "redis",
    "foobar",
];

/// What names of variables are made of that hold secrets: `next_token2` is code.
const NAMES: &[&str] = &["passw", "secret", "token", "key", "credential", "auth"];

/// The values that are known again.
#[derive(Debug, Default)]
pub(super) struct Known {
    values: HashMap<String, Kind>,
    /// None where values came since it was built.
    search: Option<(AhoCorasick, Vec<Kind>)>,
}

impl Known {
    /// Takes note of a value, if it can be known again.
    pub(super) fn learn(&mut self, kind: Kind, value: &str) {
        // What ends the sentence or the command may have been taken for a part of it.
        let value = value.trim_end_matches([';', ',', '.']);
        if self.values.len() < LIMIT && !self.values.contains_key(value) && is_telling(value) {
            self.values.insert(value.to_owned(), kind);
            self.search = None;
        }
    }

    /// Where known values stand in a text, in order and without overlap.
    pub(super) fn find(&mut self, text: &[u8]) -> Vec<Hit> {
        let Some((search, kinds)) = self.search() else { return Vec::new() };
        let hit = |found: aho_corasick::Match| Hit::of(found.range(), kinds[found.pattern().as_usize()]);
        search.find_iter(text).map(hit).collect()
    }

    /// Whether a known value stands in a text.
    pub(super) fn is_in(&mut self, text: &[u8]) -> bool {
        self.search().is_some_and(|(search, _)| search.is_match(text))
    }

    fn search(&mut self) -> Option<&(AhoCorasick, Vec<Kind>)> {
        if self.search.is_none() && !self.values.is_empty() {
            let (values, kinds): (Vec<_>, Vec<_>) =
                self.values.iter().map(|(value, kind)| (value, *kind)).unzip();
            // Fails only for more bytes than these may have.
            let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(values).ok()?;
            self.search = Some((search, kinds));
        }
        self.search.as_ref()
    }
}

/// Whether a value says by itself that it is no word, number, id, path or name.
fn is_telling(value: &str) -> bool {
    // What stands in JSON as it is, however deep.
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\'`(){}[]<>".contains(&byte));
    if !plain || !LENGTH.contains(&value.len()) {
        return false;
    }
    // Paths, hosts and ports, addresses, members, versions: unless it is random nobody knows.
    if value.contains(['/', '.', ':']) {
        return !value.contains("://") && is_random(value);
    }
    let count = |is: fn(&u8) -> bool| value.bytes().filter(is).count();
    let letters = count(u8::is_ascii_alphabetic);
    let others = value.len() - letters - count(|byte| matches!(byte, b'-' | b'_'));
    // Hashes, ids of threads and turns.
    let id = value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let mut different = value.as_bytes().to_vec();
    different.sort_unstable();
    different.dedup();
    let lower = value.to_ascii_lowercase();
    let name = NAMES.iter().any(|name| lower.contains(name)) && !is_random(value);
    let word = lower.trim_end_matches(|char: char| !char.is_ascii_alphabetic());
    letters >= 3 && others >= 1 && !id && different.len() >= 6 && !name && !WORDS.contains(&word)
}

/// What patterns and memory have found together, in order and without overlap.
pub(super) fn together(mut hits: Vec<Hit>, known: Vec<Hit>) -> Vec<Hit> {
    if known.is_empty() {
        return hits;
    }
    hits.extend(known);
    // Of two that begin together the longer one comes first; the sort is stable, so else that of the pattern.
    hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
    let mut merged: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match merged.last_mut() {
            Some(last) if hit.range.start < last.range.end => {
                if hit.range.end > last.range.end {
                    last.range.end = hit.range.end;
                    last.kind = if last.kind == Kind::Home { hit.kind } else { last.kind };
                }
            }
            _ => merged.push(hit),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_password_or_key_is_known_again() {
        for telling in [
            "hunter2xyz",
            "Tr0ub4dor&3",
            "wJalrXUtnFEMI/K7MDENG",
            "my_db_pass_99",
            "correct-horse-7-battery",
            "dXNlcjpwYXNz1",
            "aB3dE5gH7jK9mN1pQ3sT5vW7",
        ] {
            assert!(is_telling(telling), "{telling}");
        }
        for dull in [
            "hunter2",
            "password",
            "localhost",
            "undefined",
            "password123",
            "Changeme1!",
            "test1234",
            "12345678",
            "2026-11-21",
            "9f31c0de9f31c0de",
            "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11",
            "/srv/app1/key",
            "src/key1.rs",
            "config2.secret",
            "localhost:8080",
            "db1.example.org",
            "https://x1.example.org/token",
            "python3.11",
            "2026-11-21T10:00:00Z",
            "default_password",
            "a1a1a1a1a1",
            "SECRET_KEY_V2",
            "next_token2",
            "get_token2()",
            "pass word1",
        ] {
            assert!(!is_telling(dull), "{dull}");
        }
    }
}
