//! JSON, only as far as it is looked at.
//!
//! A trace is mostly text that nobody asks for: outputs, diffs, instructions. So an object is walked once,
//! the members that are asked for are kept as ranges of the line, and all others are stepped over by looking
//! for quotes and brackets alone. The members that are kept are read later, one by one; a member of an
//! unexpected type is as good as absent, of a member that is there twice the last one counts, and depth costs
//! no stack. Checking grammar to the last letter is left to [`crate::verify`].

use memchr::memchr;

use super::text::{lossy, read_head, read_text};
use super::word::{first_marked, marks};
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
}

/// Members of an object, in the order in which they were asked for.
pub(super) type Picked<'a, const N: usize> = [Option<Raw<'a>>; N];

impl<'a> Raw<'a> {
    /// The first value of a text, with nothing but white space before it.
    pub(super) fn first(line: &'a [u8]) -> Result<Self, Broken> {
        let start = skip_space(line, 0);
        value_at(line, start)
    }

    /// What is taken for a value at this place. Whether an object ends there shows when its members are picked.
    pub(super) fn at(line: &'a [u8], start: usize, end: usize) -> Self {
        Self { line, start, end }
    }

    /// An object without members.
    pub(super) fn nothing() -> Self {
        Self::at(b"{}", 0, 2)
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

    /// The same value, to be walked.
    pub(super) fn unread(self) -> Unread<'a> {
        Unread { line: self.line, at: self.start }
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
    pub(super) fn pick<const N: usize>(self, names: [&'static str; N]) -> Result<Picked<'a, N>, Broken> {
        let mut picking = Picking::new(names);
        if self.is_object() {
            walk(self.line, self.start + 1, First::Member, |key, value| match picking.take(key, value)? {
                Some(end) => Ok(end),
                None => value.end(),
            })?;
        }
        Ok(picking.found)
    }

    /// The text of a string.
    pub(super) fn text(self) -> Option<Text<'a>> {
        self.inside().map(read_text)
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

    /// A whole number as an exit code: what is too large is the largest, as a failure must not pass for nothing.
    pub(super) fn code(self) -> Option<i64> {
        self.int().or_else(|| match std::str::from_utf8(self.bytes()).ok()?.parse::<f64>().ok()? {
            number if number >= 9e18 => Some(i64::MAX),
            number if number <= -9e18 => Some(i64::MIN),
            _ => None,
        })
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
            let value = value.raw()?;
            members = members.saturating_add(1);
            only = Some(key.bytes);
            if key.is("type") {
                kind = value.text();
            }
            Ok(value.end)
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
                let value = value.raw()?;
                if members.len() < LIST_LIMIT {
                    members.push((read_text(key.bytes), value));
                }
                Ok(value.end)
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

/// A value of which nothing is known but where it begins.
#[derive(Clone, Copy)]
pub(super) struct Unread<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Unread<'a> {
    /// What begins there.
    pub(super) fn new(line: &'a [u8], at: usize) -> Self {
        Self { line, at }
    }

    /// The line, and where in it the value begins.
    pub(super) fn place(self) -> (&'a [u8], usize) {
        (self.line, self.at)
    }

    /// The value as a range, for which it is stepped over.
    #[inline]
    pub(super) fn raw(self) -> Result<Raw<'a>, Broken> {
        value_at(self.line, self.at)
    }

    /// The offset behind it.
    #[inline]
    pub(super) fn end(self) -> Result<usize, Broken> {
        Ok(self.raw()?.end)
    }

    /// Walks its members where it stands, so that it need not be stepped over first, and gives the offset behind
    /// it. None if it is no object.
    #[inline]
    pub(super) fn walk(
        self,
        member: impl FnMut(Key<'a>, Unread<'a>) -> Result<usize, Broken>,
    ) -> Result<Option<usize>, Broken> {
        if self.line.get(self.at) != Some(&b'{') {
            return Ok(None);
        }
        walk(self.line, self.at + 1, First::Member, member).map(Some)
    }
}

/// Members that are asked for by name, as far as they have been found.
pub(super) struct Picking<'a, const N: usize> {
    names: [&'static str; N],
    /// The marks of all names: most members are not asked for, and are told by theirs.
    marks: u64,
    pub(super) found: Picked<'a, N>,
}

impl<'a, const N: usize> Picking<'a, N> {
    #[inline]
    pub(super) fn new(names: [&'static str; N]) -> Self {
        let marks = names.iter().fold(0, |marks, name| marks | mark(name.as_bytes()));
        Self { names, marks, found: [None; N] }
    }

    /// Keeps a member that was asked for, and gives the offset behind it; none for any other.
    #[inline]
    pub(super) fn take(&mut self, key: Key<'a>, value: Unread<'a>) -> Result<Option<usize>, Broken> {
        if self.marks & mark(key.bytes) == 0 && !key.escaped {
            return Ok(None);
        }
        let slot = self.names.iter().position(|name| key.is(name));
        let Some(slot) = slot.and_then(|at| self.found.get_mut(at)) else { return Ok(None) };
        let value = value.raw()?;
        *slot = Some(value);
        Ok(Some(value.end))
    }
}

/// One bit of 64 for a name, by its length and its ends.
#[inline]
fn mark(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    1 << ((usize::from(*first) ^ usize::from(*last) << 1 ^ name.len() << 2) % 64)
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

/// Walks the members of an object from `at` on, and gives the offset behind its closing brace. The visitor gives the
/// offset behind each value.
#[inline]
pub(super) fn walk<'a>(
    line: &'a [u8],
    at: usize,
    first: First,
    mut member: impl FnMut(Key<'a>, Unread<'a>) -> Result<usize, Broken>,
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
        let value = Unread { line, at: skip_space(line, at + 1) };
        at = skip_space(line, member(key, value)?);
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

/// The offset of the quote that closes the string whose text begins at `start`.
#[inline]
pub(super) fn end_of_string(line: &[u8], start: usize) -> Result<usize, Broken> {
    let mut at = start;
    loop {
        // Only quotes are searched for, as other escapes come far more often.
        at = next_quote(line, at).ok_or(Broken { at: line.len(), expected: "'\"'" })?;
        if !is_escaped(line, start, at) {
            return Ok(at);
        }
        at += 1;
    }
}

/// Whether the byte at `at`, of a string whose text begins at `start`, is behind a backslash that is not itself escaped.
#[inline]
fn is_escaped(line: &[u8], start: usize, at: usize) -> bool {
    let text = line.get(start..at).unwrap_or_default();
    text.last() == Some(&b'\\') && text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The offset of the next quote.
#[inline]
fn next_quote(line: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..5 {
        let Some(window) = line.get(at..)?.first_chunk::<8>() else { break };
        if let Some(quote) = first_marked(marks(*window, b'"')) {
            return Some(at + quote);
        }
        at += 8;
    }
    memchr(b'"', line.get(at..)?).map(|quote| at + quote)
}

/// The offset of the quote that closes a string that is short, and whether there are escapes before it.
#[inline]
pub(super) fn end_of_name(line: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut escaped = false;
    while let Some(window) = line.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let Some(found) = first_marked(marks(*window, b'"') | marks(*window, b'\\')) else {
            at += 8;
            continue;
        };
        at += found;
        if line.get(at) == Some(&b'"') {
            return Ok((at, escaped));
        }
        escaped = true;
        at += 2;
    }
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

/// The value that begins at `at`.
#[inline]
pub(super) fn value_at(line: &[u8], start: usize) -> Result<Raw<'_>, Broken> {
    let end = match line.get(start) {
        Some(b'"') => end_of_string(line, start + 1)? + 1,
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
    Ok(Raw { line, start, end })
}

/// The offset behind the bracket that closes the one at `at`.
fn end_of_container(line: &[u8], mut at: usize) -> Result<usize, Broken> {
    let mut depth = 0_usize;
    loop {
        while line.get(at).is_some_and(|byte| matches!(class(*byte), Class::Word | Class::Other)) {
            at += 1;
        }
        match line.get(at) {
            Some(b'"') => at = end_of_string(line, at + 1)?,
            Some(b'{' | b'[') => depth += 1,
            Some(_) => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            None => return Err(Broken { at: line.len(), expected: "'}' or ']'" }),
        }
        at += 1;
    }
}

/// What a byte outside of strings is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// What may stand between values, and what may not.
    Other,
    /// What numbers and words consist of.
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
