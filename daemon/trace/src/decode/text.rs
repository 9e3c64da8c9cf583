//! The text of what stands between two quotes.

use std::borrow::Cow;

use memchr::memchr;

use super::word::{first_marked, marks};
use crate::record::Text;

/// Bytes as text; what is no UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: &[u8]) -> Text<'_> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// The text of what stands between two quotes.
pub(super) fn read_text(inside: &[u8]) -> Text<'_> {
    if memchr(b'\\', inside).is_none() { lossy(inside) } else { Cow::Owned(unescape(inside, usize::MAX)) }
}

/// The beginning of the text of what stands between two quotes: at most `limit` bytes.
pub(super) fn read_head(inside: &[u8], limit: usize) -> Text<'_> {
    let window = inside.get(..limit).unwrap_or(inside);
    if memchr(b'\\', window).is_some() {
        return Cow::Owned(unescape(inside, limit));
    }
    if window.len() == inside.len() { lossy(window) } else { lossy(whole_characters(window)) }
}

/// Leaves out a character at the end of which only the first bytes are there.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let tail = bytes.len().saturating_sub(3);
    let leads = |at: &usize| bytes.get(*at).is_some_and(|byte| *byte >= 0xC0);
    match (tail..bytes.len()).rev().find(leads) {
        Some(lead) if std::str::from_utf8(bytes.get(lead..).unwrap_or_default()).is_err() => {
            bytes.get(..lead).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// Resolves escapes until the text has `limit` bytes. An escape that means nothing is kept as it stands; half
/// of a surrogate pair becomes U+FFFD.
fn unescape(inside: &[u8], limit: usize) -> String {
    // Most escapes are two bytes for one. Where they are longer, the text is cut earlier.
    let window = inside.get(..limit.saturating_mul(2)).map_or(inside, whole_characters);
    let valid = lossy(window);
    let mut rest = valid.as_bytes();
    let mut text = Vec::with_capacity(rest.len().min(limit) + size_of::<u64>());
    while text.len() < limit {
        rest = take_plain(rest, &mut text);
        let Some((_, escape)) = rest.split_first() else { break };
        let (character, used) = escaped(escape);
        match character {
            Some(character) if character.is_ascii() => text.push(character as u8),
            Some(character) => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => text.push(b'\\'),
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    // Whole characters and what escapes stand for, one behind the other.
    let mut text = String::from_utf8(text).unwrap_or_default();
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
    text
}

/// Takes what stands before the next backslash, and gives the rest.
fn take_plain<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    while let Some((window, behind)) = rest.split_first_chunk::<8>() {
        let backslash = first_marked(marks(*window, b'\\'));
        text.extend_from_slice(window);
        if let Some(at) = backslash {
            text.truncate(text.len() - window.len() + at);
            return rest.get(at..).unwrap_or_default();
        }
        rest = behind;
    }
    let plain = rest.iter().take_while(|byte| **byte != b'\\').count();
    let (plain, rest) = rest.split_at(plain);
    text.extend_from_slice(plain);
    rest
}

/// The character of an escape, and how many bytes of it stand behind the backslash.
fn escaped(escape: &[u8]) -> (Option<char>, usize) {
    let simple = match escape.first() {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'u') => return unicode(escape),
        _ => return (None, 0),
    };
    (Some(simple), 1)
}

fn unicode(escape: &[u8]) -> (Option<char>, usize) {
    let unit = |from: usize| {
        let digits = escape.get(from..from + 4)?;
        let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let Some(high) = unit(1) else { return (None, 0) };
    if let Some(character) = char::from_u32(high) {
        return (Some(character), 5);
    }
    let low = (escape.get(5..7) == Some(b"\\u")).then(|| unit(7)).flatten();
    match low {
        Some(low @ 0xDC00..=0xDFFF) if high < 0xDC00 => {
            (char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 11)
        }
        _ => (Some(char::REPLACEMENT_CHARACTER), 5),
    }
}
