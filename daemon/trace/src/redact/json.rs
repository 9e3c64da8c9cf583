//! Redaction of JSON text in place: only the strings that change are written anew.
//!
//! Whatever else the text has stays as it is, byte for byte: the order of keys, keys that come twice, numbers
//! of any size. So a line that was valid stays valid.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Redactor, patterns};

/// A string of a JSON text: where it stands, with its quotes.
struct Token {
    start: usize,
    end: usize,
}

/// Replaces secrets in the strings of one JSON document.
pub(super) fn redact<'a>(redactor: &mut Redactor, text: &'a [u8]) -> Cow<'a, [u8]> {
    // An escape may hide a trigger, and base64 hides everything.
    let hidden = |needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    let may_match = patterns::may_match(text) || redactor.knows_some_of(text);
    if !may_match && !hidden(b"\\u00") && !hidden(br#""chunk""#) {
        return Cow::Borrowed(text);
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
        // Torn, or no JSON at all: what stands in it is text like any other.
        return match String::from_utf8_lossy(text) {
            Cow::Borrowed(plain) => match redactor.text(plain) {
                Cow::Borrowed(_) => Cow::Borrowed(text),
                Cow::Owned(new) => Cow::Owned(new.into_bytes()),
            },
            Cow::Owned(plain) => Cow::Owned(redactor.text(&plain).into_owned().into_bytes()),
        };
    }
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    // The key that the next value belongs to, while only a colon and blanks lie between them.
    let mut key: Option<String> = None;
    while let Some(token) = next_string(text, at) {
        at = token.end;
        let is_key = text[token.end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        let after_key = key.take().filter(|_| follows_a_colon(text, token.start));
        let Ok(plain) = serde_json::from_slice::<String>(&text[token.start..token.end]) else { continue };
        let replaced = if is_key {
            key = Some(plain.clone());
            changed(redactor, &plain)
        } else {
            value(redactor, after_key.as_deref(), &plain)
        };
        if let Some(new) = replaced
            && let Ok(quoted) = serde_json::to_vec(&new)
        {
            out.extend_from_slice(&text[copied..token.start]);
            out.extend_from_slice(&quoted);
            copied = token.end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// A value that changes, given the key that it belongs to.
fn value(redactor: &mut Redactor, key: Option<&str>, plain: &str) -> Option<String> {
    match key {
        // The output of a command as it came, in base64. A secret cut in two by the end of a chunk is not seen.
        Some("chunk") => {
            let bytes = STANDARD.decode(plain).ok()?;
            // Where a chunk ends is chance: it may cut a character in two.
            let text = String::from_utf8_lossy(&bytes);
            changed(redactor, &text).map(|new| STANDARD.encode(new))
        }
        Some(key) if patterns::names_a_secret(key, plain) => Some(redactor.named(plain)),
        _ => changed(redactor, plain),
    }
}

fn changed(redactor: &mut Redactor, plain: &str) -> Option<String> {
    match redactor.text(plain) {
        Cow::Owned(new) => Some(new),
        Cow::Borrowed(_) => None,
    }
}

/// The next string at or after an offset; none when there is no further one, or its end is missing.
fn next_string(text: &[u8], from: usize) -> Option<Token> {
    let start = from + text.get(from..)?.iter().position(|byte| *byte == b'"')?;
    let mut at = start + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(Token { start, end: at + 1 }),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn follows_a_colon(text: &[u8], start: usize) -> bool {
    text[..start].iter().rev().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}
