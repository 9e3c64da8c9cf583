//! Reading the TODO list of a prompt: the `<TODO>` block of the autorunner's prompt and its items.

/// The text between `<TODO>` and `</TODO>`.
pub(crate) fn block(prompt: &str) -> Option<&str> {
    let (_, rest) = prompt.split_once("<TODO>")?;
    rest.split_once("</TODO>").map(|(inside, _)| inside)
}

/// An open checkbox item.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OpenItem<'a> {
    /// Its text, without bullet and box.
    pub(crate) text: &'a str,
    /// The whole line, as it stands in the document.
    pub(crate) line: &'a str,
    /// Which of the equal lines of the document it is, from 1: a code block above may quote it.
    pub(crate) occurrence: usize,
}

/// The first open item outside code blocks and HTML comments.
pub(crate) fn first_open_item(document: &str) -> Option<OpenItem<'_>> {
    let mut in_fence = false;
    let mut in_comment = false;
    for (at, line) in document.split('\n').enumerate() {
        let text = line.trim();
        if in_comment {
            in_comment = !text.contains("-->");
        } else if text.starts_with("```") || text.starts_with("~~~") {
            in_fence = !in_fence;
        } else if in_fence {
        } else if text.starts_with("<!--") {
            in_comment = !text.contains("-->");
        } else if let Some(text) = open_box(text) {
            let occurrence = document.split('\n').take(at + 1).filter(|other| *other == line).count();
            return Some(OpenItem { text, line, occurrence });
        }
    }
    None
}

fn open_box(line: &str) -> Option<&str> {
    let after_bullet = line.strip_prefix(['-', '*', '+'])?;
    after_bullet.trim_start().strip_prefix("[ ]").map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_block_is_what_stands_between_the_tags() {
        assert_eq!(block("x <TODO>\n- [ ] a\n</TODO> y"), Some("\n- [ ] a\n"));
        assert_eq!(block("no list here"), None);
        assert_eq!(block("<TODO> never closed"), None);
    }

    #[test]
    fn the_first_open_item_follows_the_done_ones() {
        let item = first_open_item("# List\n- [x] a\n* [X] b\n  + [ ] c d \n- [ ] e").unwrap();
        assert_eq!((item.text, item.line), ("c d", "  + [ ] c d "));
    }

    #[test]
    fn boxes_in_code_and_comments_are_no_items() {
        let document = "```\n- [ ] real\n```\n<!-- - [ ] no -->\n<!--\n- [ ] no\n-->\n- [ ] real";
        let item = first_open_item(document).unwrap();
        assert_eq!((item.text, item.occurrence), ("real", 2));
    }

    #[test]
    fn a_finished_list_has_none() {
        assert_eq!(first_open_item("- [x] a\nprose\n"), None);
    }
}
