//! Words from outside, made fit to be shown.

use std::borrow::Cow;

/// The text in one line, without what could steer a terminal or turn the reading direction, and with at
/// most that many characters.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(limit.saturating_mul(4)));
    let mut count = 0_usize;
    let mut gap = false;
    for char in text.chars() {
        if char.is_whitespace() || char.is_control() {
            gap = !clean.is_empty();
            continue;
        }
        if is_invisible(char) {
            continue;
        }
        let needed = 1 + usize::from(gap);
        if count.saturating_add(needed) > limit {
            // The last character makes room for the mark.
            if count == limit {
                clean.pop();
            }
            clean.push('…');
            return clean;
        }
        if std::mem::take(&mut gap) {
            clean.push(' ');
        }
        clean.push(char);
        count += needed;
    }
    clean
}

/// Marks that change how text around them is shown and are not seen themselves.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text in quotation marks, cut to fit into a sentence.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", clean(text, 80))
}

/// `1 file`, `3 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// Whether a message tells that something took too long.
pub(crate) fn tells_of_a_timeout(message: &str) -> bool {
    let message = lower(message);
    ["timeout", "timed out", "time-out", "deadline exceeded"].iter().any(|word| message.contains(word))
}

/// The beginning of a text in lower case: messages from outside can be of any length.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    const LOOKED_AT: usize = 16 * 1024;
    let text = &text[..text.floor_char_boundary(LOOKED_AT)];
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_turned_reading_directions_are_taken_out() {
        assert_eq!(clean("a\x1b[31mred\x07\r\n\tb\u{202e}c\0", 100), "a [31mred bc");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(clean("äöü", 3), "äöü");
        assert_eq!(clean("äöüß", 3), "äö…");
        assert_eq!(clean("ab cd", 3), "ab…");
        assert_eq!(clean("", 0), "");
    }
}
