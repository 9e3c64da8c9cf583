//! Texts of records as rows keep them: cut, told apart from scaffolding, hashed.

use std::collections::VecDeque;

use twox_hash::XxHash3_64;

/// How much of an id is kept and compared, in bytes. Codex's own have 36 at most.
pub(super) const ID_LIMIT: usize = 200;

/// How much of a name, path or URL is kept, in bytes.
pub(super) const NAME_LIMIT: usize = 1024;

/// At most so many bytes of a text, cut between characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// An id as it is kept.
pub(super) fn id(text: &str) -> &str {
    cut(text, ID_LIMIT)
}

/// A name, if it says anything.
pub(super) fn name(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(|text| cut(text, NAME_LIMIT).to_owned())
}

/// A hash that stays the same in all versions, for seeing a text again; not against forgery.
pub(super) fn hash(text: &str) -> u64 {
    XxHash3_64::oneshot(text.as_bytes())
}

/// A hash of a text's words, whatever the space between them: one record joins the parts of a message with
/// newlines, another one with nothing.
pub(super) fn hash_of_words(text: &str) -> u64 {
    let mut dense = Vec::with_capacity(text.len());
    for word in text.as_bytes().split(u8::is_ascii_whitespace) {
        dense.extend_from_slice(word);
    }
    XxHash3_64::oneshot(&dense)
}

/// Whether a message in the user's name was written by Codex: surroundings, instructions, notices.
pub(super) fn is_scaffolding(text: &str) -> bool {
    const STARTS: [&str; 9] = [
        "<environment_context>",
        "<turn_aborted>",
        "<user_instructions>",
        "<user_shell_command>",
        "<permissions instructions>",
        "<subagent_notification>",
        "<collaboration_mode>",
        "<skill>",
        "# agents.md instructions",
    ];
    let text = text.trim_start().as_bytes();
    STARTS
        .iter()
        .any(|start| text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes())))
}

/// Puts something into a queue that keeps only so many; gives what had to leave.
pub(super) fn keep<T>(queue: &mut VecDeque<T>, limit: usize, value: T) -> Option<T> {
    let left = if queue.len() >= limit { queue.pop_front() } else { None };
    queue.push_back(value);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_codex_says_in_the_users_name_is_scaffolding_in_any_case_and_behind_space() {
        for text in [
            "<environment_context>\n",
            "  <Turn_Aborted>",
            "# AGENTS.md instructions for /srv",
            "\n<user_instructions>",
        ] {
            assert!(is_scaffolding(text), "{text:?}");
        }
        for text in ["", "fix <environment_context>", "# Agents", "<turn"] {
            assert!(!is_scaffolding(text), "{text:?}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
