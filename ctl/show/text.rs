//! Text for people: what comes from elsewhere is made safe for a terminal.

use std::fmt::Display;

/// One line without control characters: line breaks and tabs become blanks,
/// what could move the cursor, colour the screen or turn the direction of
/// writing is dropped.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|character| match character {
            '\n' | '\t' => Some(' '),
            _ if character.is_control() || is_direction_mark(character) => None,
            _ => Some(character),
        })
        .collect()
}

/// Bytes that are text for most people, as one clean line.
pub(crate) fn clean_bytes(bytes: &[u8]) -> String {
    clean(&String::from_utf8_lossy(bytes))
}

/// At most `limit` characters; what is cut off is marked.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// `1 task`, `2 tasks`; also of nouns in `-ch` and `-y`.
pub(crate) fn count<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    if number == N::from(1) {
        return format!("{number} {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None if noun.ends_with("ch") => format!("{number} {noun}es"),
        None => format!("{number} {noun}s"),
    }
}

/// A command as a person would type it in a shell.
pub(crate) fn command_line(argv: &[Vec<u8>]) -> String {
    argv.iter().map(|word| quote(&clean_bytes(word))).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "_-./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_survives() {
        assert_eq!(clean("a\u{1b}[2Jb\r\u{7}c\u{9b}d\u{202e}e\nf\tg"), "a[2Jbcde f g");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(shorten("äöüß", 3), "äö…");
        assert_eq!(shorten("äöü", 3), "äöü");
    }

    #[test]
    fn a_noun_goes_with_its_number() {
        assert_eq!(count(1_u64, "task"), "1 task");
        assert_eq!(count(0_u32, "task"), "0 tasks");
        assert_eq!(count(2_usize, "patch"), "2 patches");
        assert_eq!(
            (count(1_u64, "category"), count(3_u64, "category")),
            ("1 category".into(), "3 categories".into())
        );
    }

    #[test]
    fn a_command_is_quoted_where_a_shell_needs_it() {
        let argv = [b"sh".to_vec(), b"-c".to_vec(), b"echo 'x'".to_vec(), Vec::new()];
        assert_eq!(command_line(&argv), r"sh -c 'echo '\''x'\''' ''");
    }
}
