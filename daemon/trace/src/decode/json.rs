//! JSON, only as far as it is looked at.
//!
//! A trace is mostly text that nobody asks for: outputs, diffs, instructions. So an object is walked once,
//! the members that are asked for are kept as ranges of the line, and all others are stepped over by looking
//! for quotes and brackets alone. The members that are kept are read later, one by one; a member of an
//! unexpected type is as good as absent, of a member that is there twice the last one counts, and depth costs
//! no stack. Checking grammar to the last letter is left to [`crate::verify`].

use std::borrow::Cow;

use memchr::memchr;

use crate::record::Text;

/// No list that is read grows longer than this; what follows is left out.
pub(super) const LIST_LIMIT: usize = 4096;

/// The line is no JSON from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// The offset in the line.
    pub at: usize,
    /// What should have been there.
    pub expected: &'static str,
}

/// A value that has not been read yet: a range of its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    line: &'a [u8],
    start: usize,
    end: usize,
    /// Whether there are escapes in it, for a string.
    escaped: bool,
}

/// Members of an object, in the order in which they were asked for.
pub(super) type Picked<'a, const N: usize> = [Option<Raw<'a>>; N];

impl<'a> Raw<'a> {
    /// The first value of a text, with nothing but white space before it.
    pub(super) fn first(line: &'a [u8]) -> Result<Self, Broken> {
        let start = skip_space(line, 0);
        value_at(line, start)
    }

    /// What is taken for an object at this place; whether it ends there shows when its members are picked.
    pub(super) fn object(line: &'a [u8], start: usize, end: usize) -> Self {
        Self { line, start, end, escaped: false }
    }

    /// An object without members.
    pub(super) fn nothing() -> Self {
        Self::object(b"{}", 0, 2)
    }

    /// Where it begins in its line.
    pub(super) fn start(self) -> usize {
        self.start
    }

    /// The offset behind it.
    pub(super) fn end(self) -> usize {
        self.end
    }

    /// Its bytes as they stand.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.line.get(self.start..self.end).unwrap_or_default()
    }

    /// The line that it is a part of.
    pub(super) fn line(self) -> &'a [u8] {
        self.line
    }

    pub(super) fn is_object(self) -> bool {
        self.bytes().first() == Some(&b'{')
    }

    pub(super) fn is_array(self) -> bool {
        self.bytes().first() == Some(&b'[')
    }

    /// Members of the object; none of anything else.
    pub(super) fn pick<const N: usize>(self, names: [&str; N]) -> Result<Picked<'a, N>, Broken> {
        let mut found = [None; N];
        if self.is_object() {
            walk(self.line, self.start + 1, First::Member, |key, value| {
                if let Some(slot) =
                    names.iter().position(|name| key.is(name)).and_then(|at| found.get_mut(at))
                {
                    *slot = Some(value);
                }
            })?;
        }
        Ok(found)
    }

    /// The text of a string.
    pub(super) fn text(self) -> Option<Text<'a>> {
        let inside = self.inside()?;
        Some(if self.escaped { Cow::Owned(unescape(inside, usize::MAX)) } else { lossy(inside) })
    }

    /// The bytes of a string as they stand, escapes included.
    pub(super) fn inside(self) -> Option<&'a [u8]> {
        self.bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The beginning of a string's text: at most so many bytes.
    pub(super) fn head(self, limit: usize) -> Option<Text<'a>> {
        self.inside().map(|inside| read_head(inside, limit))
    }

    /// The value as JSON text.
    pub(super) fn json(self) -> Text<'a> {
        lossy(self.bytes())
    }

    /// A whole number. What is too large for it, or no whole number, is none.
    pub(super) fn int(self) -> Option<i64> {
        let bytes = self.bytes();
        let (digits, sign) = bytes.strip_prefix(b"-").map_or((bytes, 1), |digits| (digits, -1));
        let small = decimal(digits).and_then(|number| i64::try_from(number).ok()).map(|number| sign * number);
        #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small enough")]
        small.or_else(|| self.whole().filter(|number| number.abs() < 9e18).map(|number| number as i64))
    }

    /// A whole number from 0.
    pub(super) fn count(self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is whole and in range"
        )]
        decimal(self.bytes()).or_else(|| {
            self.whole().filter(|number| (0.0..1.8e19).contains(number)).map(|number| number as u64)
        })
    }

    /// A number that is whole, though it may be written as `1.0` or `1e3`.
    fn whole(self) -> Option<f64> {
        self.number().filter(|number| number.fract() == 0.0)
    }

    /// Any finite number.
    pub(super) fn number(self) -> Option<f64> {
        if !matches!(self.bytes().first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        std::str::from_utf8(self.bytes()).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
    }

    pub(super) fn flag(self) -> Option<bool> {
        match self.bytes() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// What names a choice: a string itself, an object's `type`, or else the key of its only member.
    pub(super) fn tag(self) -> Option<Text<'a>> {
        if !self.is_object() {
            return self.text();
        }
        let mut kind = None;
        let mut only = None;
        let mut members = 0_u32;
        walk(self.line, self.start + 1, First::Member, |key, value| {
            members = members.saturating_add(1);
            only = Some(key.bytes);
            if key.is("type") {
                kind = value.text();
            }
        })
        .ok()?;
        kind.or_else(|| only.filter(|_| members == 1).map(read_text))
    }

    /// The members of an object with their names, at most [`LIST_LIMIT`].
    pub(super) fn members(self) -> Vec<(Text<'a>, Raw<'a>)> {
        let mut members = Vec::new();
        if self.is_object() {
            // What stands before a break is given.
            let _ = walk(self.line, self.start + 1, First::Member, |key, value| {
                if members.len() < LIST_LIMIT {
                    members.push((read_text(key.bytes), value));
                }
            });
        }
        members
    }

    /// The elements of an array, at most [`LIST_LIMIT`]; none of anything else.
    pub(super) fn elements(self) -> impl Iterator<Item = Raw<'a>> {
        let mut at = if self.is_array() { self.start + 1 } else { usize::MAX };
        let next = move || {
            let value = value_at(self.line, skip_space(self.line, at)).ok()?;
            let after = skip_space(self.line, value.end);
            at = if self.line.get(after) == Some(&b',') { after + 1 } else { usize::MAX };
            Some(value)
        };
        std::iter::from_fn(next).take(LIST_LIMIT)
    }
}

/// A key, as it stands between its quotes.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    bytes: &'a [u8],
    escaped: bool,
}

impl Key<'_> {
    #[inline]
    pub(super) fn is(self, name: &str) -> bool {
        // Telling most names apart by a byte saves a call.
        let name_bytes = name.as_bytes();
        let alike = self.bytes.len() == name_bytes.len() && self.bytes.first() == name_bytes.first();
        (alike && self.bytes == name_bytes) || (self.escaped && read_text(self.bytes) == name)
    }
}

/// What may come first when an object is walked from somewhere inside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Its first member, or its end: the walk begins behind the brace.
    Member,
    /// A comma, or its end: the walk begins behind a member.
    Comma,
}

/// Walks the members of an object from `at` on, and gives the offset behind its closing brace.
#[inline]
pub(super) fn walk<'a>(
    line: &'a [u8],
    at: usize,
    first: First,
    mut member: impl FnMut(Key<'a>, Raw<'a>),
) -> Result<usize, Broken> {
    let mut at = skip_space(line, at);
    match (line.get(at), first) {
        (Some(b'}'), _) => return Ok(at + 1),
        (Some(b','), First::Comma) => at = skip_space(line, at + 1),
        (_, First::Comma) => return Err(Broken { at, expected: "',' or '}'" }),
        (_, First::Member) => {}
    }
    loop {
        if line.get(at) != Some(&b'"') {
            return Err(Broken { at, expected: "a key" });
        }
        let (closing, escaped) = end_of_name(line, at + 1)?;
        let key = Key { bytes: line.get(at + 1..closing).unwrap_or_default(), escaped };
        at = skip_space(line, closing + 1);
        if line.get(at) != Some(&b':') {
            return Err(Broken { at, expected: "':'" });
        }
        let value = value_at(line, skip_space(line, at + 1))?;
        member(key, value);
        at = skip_space(line, value.end);
        match line.get(at) {
            Some(b',') => at = skip_space(line, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return Err(Broken { at, expected: "',' or '}'" }),
        }
    }
}

/// The offset of the first byte from `at` on that is no white space.
#[inline]
pub(super) fn skip_space(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// The offset of the quote that closes the string whose text begins at `at`, and whether there are escapes
/// before it.
#[inline]
pub(super) fn end_of_string(line: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    // Eight bytes at a time: texts of a trace are full of escapes, so that a search with a longer stride, which
    // costs more to begin again behind each of them, is slower.
    while let Some(window) = line.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let window = u64::from_le_bytes(*window);
        let found = zero_bytes(window ^ repeated(b'"')) | zero_bytes(window ^ repeated(b'\\'));
        if found == 0 {
            at += 8;
            continue;
        }
        at += found.trailing_zeros() as usize / 8;
        if line.get(at) == Some(&b'"') {
            return Ok((at, escaped));
        }
        escaped = true;
        at += 2;
    }
    let (closing, more) = end_of_name(line, at)?;
    Ok((closing, escaped | more))
}

/// The same for a string that is short, and whether it has escapes.
#[inline]
pub(super) fn end_of_name(line: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    loop {
        match line.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
            None => return Err(Broken { at: line.len(), expected: "'\"'" }),
        }
    }
}

/// Marks with its highest bit the lowest byte of a word that is zero; higher ones may be marked wrongly.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeated(0x01)) & !word & repeated(0x80)
}

#[inline]
const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The value that begins at `at`.
#[inline]
pub(super) fn value_at(line: &[u8], start: usize) -> Result<Raw<'_>, Broken> {
    let mut escaped = false;
    let end = match line.get(start) {
        Some(b'"') => {
            let (closing, escapes) = end_of_string(line, start + 1)?;
            escaped = escapes;
            closing + 1
        }
        Some(b'{' | b'[') => end_of_container(line, start)?,
        Some(first) if class(*first) == Class::Word => {
            let mut end = start + 1;
            while line.get(end).is_some_and(|byte| class(*byte) == Class::Word) {
                end += 1;
            }
            end
        }
        _ => return Err(Broken { at: start, expected: "a value" }),
    };
    Ok(Raw { line, start, end, escaped })
}

/// The offset behind the bracket that closes the one at `at`.
fn end_of_container(line: &[u8], mut at: usize) -> Result<usize, Broken> {
    let mut depth = 0_usize;
    loop {
        let Some(byte) = line.get(at) else {
            return Err(Broken { at: line.len(), expected: "'}' or ']'" });
        };
        match class(*byte) {
            Class::Quote => at = end_of_string(line, at + 1)?.0,
            Class::Open => depth += 1,
            Class::Close => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            Class::Word | Class::Other => {}
        }
        at += 1;
    }
}

/// What a byte outside of strings is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Word,
    Quote,
    Open,
    Close,
}

#[inline]
fn class(byte: u8) -> Class {
    const CLASSES: [Class; 256] = {
        let mut classes = [Class::Other; 256];
        let mut byte = 0_u8;
        loop {
            classes[byte as usize] = match byte {
                b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => Class::Word,
                b'"' => Class::Quote,
                b'{' | b'[' => Class::Open,
                b'}' | b']' => Class::Close,
                _ => Class::Other,
            };
            if byte == u8::MAX {
                break classes;
            }
            byte += 1;
        }
    };
    CLASSES[usize::from(byte)]
}

/// A number of nothing but digits.
#[inline]
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Bytes as text; what is no UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: &[u8]) -> Text<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// The text of what stands between two quotes.
pub(super) fn read_text(inside: &[u8]) -> Text<'_> {
    if memchr(b'\\', inside).is_none() { lossy(inside) } else { Cow::Owned(unescape(inside, usize::MAX)) }
}

/// The beginning of the text of what stands between two quotes: at most `limit` bytes.
fn read_head(inside: &[u8], limit: usize) -> Text<'_> {
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
    let mut rest = &*valid;
    let mut text = String::with_capacity(rest.len().min(limit));
    while text.len() < limit {
        let Some(plain) = memchr(b'\\', rest.as_bytes()) else {
            text.push_str(rest);
            break;
        };
        text.push_str(rest.get(..plain).unwrap_or_default());
        let escape = rest.get(plain + 1..).unwrap_or_default();
        let (character, used) = escaped(escape.as_bytes());
        match character {
            Some(character) => text.push(character),
            None => text.push('\\'),
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
    }
    text
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
