//! The TODO document: which items are open, which are done.
//!
//! An item is a line whose first text is a bullet (`-`, `*` or `+`), spaces, and a box: `[ ]` open,
//! `[x]` or `[X]` done. Indentation does not matter, and neither a text nor a space before it is
//! needed (`- [ ]text` and `- [ ]` both count). Lines inside fenced code and HTML comments do not
//! count: an example in a fence would otherwise keep the loop running for ever.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One checkbox line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Line in the document, counted from 1.
    pub line: usize,
    /// Whether the box is ticked.
    pub done: bool,
    /// What stands behind the box, without comments and trimmed; may be empty.
    pub text: String,
}

/// Something that was opened and never closed, so that all lines behind it are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclosed {
    /// A code fence, opened on this line.
    Fence(usize),
    /// An HTML comment, opened on this line.
    Comment(usize),
}

/// The items of a document, top to bottom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TodoList {
    /// All items, open and done.
    pub items: Vec<Item>,
    /// Set if the end of the document is hidden by a fence or comment that nobody closed.
    pub unclosed: Option<Unclosed>,
}

/// The counts by which progress is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Open items.
    pub open: usize,
    /// Done items.
    pub done: usize,
}

impl TodoList {
    /// Reads a document. Invalid UTF-8 is replaced, never an error; line ends may be `\n` or `\r\n`.
    pub fn parse(document: &[u8]) -> Self {
        parse(&String::from_utf8_lossy(document))
    }

    /// The open items, top to bottom.
    pub fn open(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| !item.done)
    }

    /// The done items, top to bottom.
    pub fn done(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.done)
    }

    /// How many items are open and done.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { open: self.open().count(), done: self.done().count() }
    }
}

fn parse(document: &str) -> TodoList {
    let lines: Vec<&str> = document.lines().collect();
    // A comment that begins in the middle of a line counts only if something closes it later, as in
    // Markdown; this is the last line on which something can.
    let last_close = lines.iter().rposition(|line| line.contains("-->"));

    let mut list = TodoList::default();
    let mut region = Region::Text;
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let visible = match region {
            Region::Fence { mark, length, .. } => {
                if closes_fence(line, mark, length) {
                    region = Region::Text;
                }
                continue;
            }
            Region::Comment { .. } => {
                let Some((_, rest)) = line.split_once("-->") else {
                    continue;
                };
                region = Region::Text;
                strip_comments(rest, number, last_close, &mut region)
            }
            Region::Text => {
                if let Some((mark, length)) = opens_fence(line) {
                    region = Region::Fence { mark, length, opened: number };
                    continue;
                }
                strip_comments(line, number, last_close, &mut region)
            }
        };
        if let Some((done, text)) = checkbox(&visible) {
            list.items.push(Item { line: number, done, text: text.to_owned() });
        }
    }
    list.unclosed = match region {
        Region::Text => None,
        Region::Fence { opened, .. } => Some(Unclosed::Fence(opened)),
        Region::Comment { opened } => Some(Unclosed::Comment(opened)),
    };
    list
}

/// What the reader is inside of at the start of a line.
#[derive(Clone, Copy)]
enum Region {
    Text,
    Fence { mark: char, length: usize, opened: usize },
    Comment { opened: usize },
}

/// Three or more backticks or tildes open a fence, at any indentation (a fence may belong to an
/// item). Backticks behind the mark make it an inline code span instead.
fn opens_fence(line: &str) -> Option<(char, usize)> {
    let line = line.trim_start();
    let mark = line.chars().next().filter(|first| matches!(first, '`' | '~'))?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

/// A fence ends at a line of at least as many of its marks and nothing else.
fn closes_fence(line: &str, mark: char, length: usize) -> bool {
    let line = line.trim();
    line.len() >= length && line.chars().all(|found| found == mark)
}

/// Removes the comments that begin on this line, unless they stand in a code span, and notes in
/// `region` if one goes on behind its end.
fn strip_comments<'a>(
    line: &'a str,
    number: usize,
    last_close: Option<usize>,
    region: &mut Region,
) -> Cow<'a, str> {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(start) = find_comment(rest) {
        let (before, comment) = rest.split_at(start);
        if let Some(length) = comment["<!--".len()..].find("-->") {
            kept.push_str(before);
            rest = &comment["<!--".len() + length + "-->".len()..];
            continue;
        }
        // `number` is the index of the line after this one.
        let at_line_start = kept.trim().is_empty() && before.trim().is_empty();
        if at_line_start || last_close.is_some_and(|last| last >= number) {
            *region = Region::Comment { opened: number };
            kept.push_str(before);
            return Cow::Owned(kept);
        }
        break;
    }
    if kept.is_empty() && rest.len() == line.len() {
        return Cow::Borrowed(line);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Where the first `<!--` outside of an inline code span begins.
fn find_comment(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(offset) = text[at..].find(['`', '<']) {
        at += offset;
        let here = &text[at..];
        if here.starts_with("<!--") {
            return Some(at);
        }
        if !here.starts_with('`') {
            at += 1;
            continue;
        }
        let after = here.trim_start_matches('`');
        let ticks = &here[..here.len() - after.len()];
        at += ticks.len();
        // An unpaired run of backticks is plain text.
        if let Some(close) = find_run(after, ticks.len()) {
            at += close + ticks.len();
        }
    }
    None
}

/// Where a run of exactly `length` backticks begins.
fn find_run(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(offset) = text[at..].find('`') {
        at += offset;
        let run = text[at..].len() - text[at..].trim_start_matches('`').len();
        if run == length {
            return Some(at);
        }
        at += run;
    }
    None
}

/// Reads `- [ ] text`: whether the box is ticked, and the text.
fn checkbox(line: &str) -> Option<(bool, &str)> {
    let item = line.trim_start().strip_prefix(['-', '*', '+'])?;
    let boxed = item.trim_start_matches([' ', '\t']);
    if boxed.len() == item.len() {
        return None;
    }
    let (done, text) = if let Some(text) = boxed.strip_prefix("[ ]") {
        (false, text)
    } else {
        (true, boxed.strip_prefix("[x]").or_else(|| boxed.strip_prefix("[X]"))?)
    };
    Some((done, text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn open(document: &str) -> Vec<String> {
        TodoList::parse(document.as_bytes()).open().map(|item| item.text.clone()).collect()
    }

    #[test]
    fn bullets_boxes_and_indentation() {
        let list = TodoList::parse(
            b"# TODO\n- [ ] one\n* [ ] two\n+ [ ] three\n  - [x] four\n\t* [X] five\n-   [ ]  wide \n",
        );
        let seen: Vec<(usize, bool, &str)> =
            list.items.iter().map(|item| (item.line, item.done, item.text.as_str())).collect();
        assert_eq!(
            seen,
            [
                (2, false, "one"),
                (3, false, "two"),
                (4, false, "three"),
                (5, true, "four"),
                (6, true, "five"),
                (7, false, "wide")
            ]
        );
        assert_eq!(list.fingerprint(), Fingerprint { open: 4, done: 2 });
        assert_eq!(list.unclosed, None);
    }

    #[test]
    fn a_box_needs_neither_text_nor_a_space_behind_it() {
        assert_eq!(open("- [ ]text\n- [ ]\n- [ ] \n"), ["text", "", ""]);
    }

    #[test]
    fn what_only_looks_like_an_item_does_not_count() {
        for line in ["- []", "-[ ] x", "1. [ ] x", "> - [ ] x", "text - [ ] x", "- [y] x", "- (x)", "--- [ ]"]
        {
            assert_eq!(TodoList::parse(line.as_bytes()).items, [], "{line}");
        }
    }

    #[test]
    fn fenced_code_does_not_count() {
        assert_eq!(open("```\n- [ ] no\n```\n- [ ] yes"), ["yes"]);
        assert_eq!(open("~~~ md\n- [ ] no\n```\n~~~\n- [ ] yes"), ["yes"]);
        assert_eq!(open("````\n```\n- [ ] no\n````\n- [ ] yes"), ["yes"]);
        assert_eq!(open("- [ ] yes\n  ```sh\n  - [ ] no\n  ```\n- [ ] too"), ["yes", "too"]);
        // A mark with text behind it does not close, an inline span does not open.
        assert_eq!(open("```\n``` not yet\n- [ ] no\n```"), Vec::<String>::new());
        assert_eq!(open("``` a ``` b\n- [ ] yes"), ["yes"]);
    }

    #[test]
    fn comments_do_not_count_on_one_line_or_many() {
        assert_eq!(open("<!-- - [ ] no -->\n- [ ] yes"), ["yes"]);
        assert_eq!(open("<!--\n- [ ] no\n- [ ] no\n-->\n- [ ] yes"), ["yes"]);
        assert_eq!(open("<!-- a --> <!-- b\n- [ ] no --> \n- [ ] yes"), ["yes"]);
        assert_eq!(open("<!-- ```\n--> \n- [ ] yes"), ["yes"]);
    }

    #[test]
    fn a_comment_behind_the_text_does_not_hide_the_item() {
        assert_eq!(open("- [ ] task <!-- note -->"), ["task"]);
        assert_eq!(open("- [ ] a <!-- note --> b"), ["a  b"]);
        assert_eq!(open("- [ ] task <!-- note\n- [ ] no\n-->\n- [ ] next"), ["task", "next"]);
        assert_eq!(open("- [ ] <!-- only a note -->"), [""]);
    }

    #[test]
    fn a_comment_mark_in_the_text_of_an_item_hides_nothing() {
        assert_eq!(open("- [ ] parse `<!--` too\n- [ ] next"), ["parse `<!--` too", "next"]);
        assert_eq!(open("- [ ] parse <!-- too\n- [ ] next"), ["parse <!-- too", "next"]);
        assert_eq!(open("- [ ] lone ` tick\n- [ ] next"), ["lone ` tick", "next"]);
    }

    #[test]
    fn an_unclosed_fence_or_comment_is_reported_with_its_line() {
        let list = TodoList::parse(b"- [ ] a\n```\n- [ ] b\n");
        assert_eq!((list.fingerprint().open, list.unclosed), (1, Some(Unclosed::Fence(2))));
        let list = TodoList::parse(b"- [ ] a\n\n<!-- later\n- [ ] b\n");
        assert_eq!((list.fingerprint().open, list.unclosed), (1, Some(Unclosed::Comment(3))));
    }

    #[test]
    fn windows_line_ends_and_invalid_utf8_are_read() {
        assert_eq!(open("- [ ] one\r\n```\r\n- [ ] no\r\n```\r\n- [x] two\r\n"), ["one"]);
        let list = TodoList::parse(b"\xff\xfe\n- [ ] caf\xe9 \xf0\x9f\n");
        assert_eq!(list.fingerprint(), Fingerprint { open: 1, done: 0 });
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let list = TodoList::parse(&bytes);
            prop_assert!(list.items.windows(2).all(|pair| pair[0].line < pair[1].line));
        }

        #[test]
        fn any_mix_of_the_marks_can_be_read(
            lines in proptest::collection::vec("[ \\-*+x\\[\\]`~<!>\u{e9}]{0,12}", 0..20)
        ) {
            TodoList::parse(lines.join("\n").as_bytes());
        }

        #[test]
        fn plain_items_are_all_found(
            items in proptest::collection::vec((any::<bool>(), "[a-z ]{0,20}"), 0..30)
        ) {
            let mut document = String::new();
            for (done, text) in &items {
                let mark = if *done { 'x' } else { ' ' };
                document.push_str(&["- [", &mark.to_string(), "] ", text, "\n"].concat());
            }
            let list = TodoList::parse(document.as_bytes());
            let found: Vec<(bool, String)> =
                list.items.iter().map(|item| (item.done, item.text.clone())).collect();
            let expected: Vec<(bool, String)> =
                items.iter().map(|(done, text)| (*done, text.trim().to_owned())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
