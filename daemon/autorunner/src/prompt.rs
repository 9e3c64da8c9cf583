//! What an iteration is asked to do: a template with the work documents and the last message of the
//! iteration before put in.
//!
//! All placeholders are replaced in one pass, so text that comes from a document is never expanded
//! again. Unknown placeholders stay as they are.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest part of a document that goes into a prompt, in bytes. Anything near it is a mistake (a
/// log pasted into PROGRESS); the rest is left out and the text says so.
pub const MAX_DOCUMENT_BYTES: usize = 512 * 1024;

/// Longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: u64 = 256 * 1024;

/// The text used when the repository has no template of its own.
const BUILT_IN: &str = "\
You are Codex. You work on a git repository on your own: nobody watches, and nobody can answer a question.

Three documents steer the work. They are files; change them in place and keep no copies elsewhere.
- TODO ({{TODO_PATH}}): the tasks, as a list of checkboxes in the order in which to do them.
- PROGRESS ({{PROGRESS_PATH}}): what was done so far and how it was checked.
- OPINIONS ({{OPINIONS_PATH}}): the decisions, preferences and limits that your work has to respect.

Rules:
- Go through TODO from top to bottom.
- Where you can repair something, repair it; a note about a problem is second best.
- The three documents agree with each other, and with the code, whenever you stop.
- An item that is too large may be split, as long as each part stays an entry of its own.
- TODO is for goals. Keep the small steps of your work in your own plan.
- Leave notes for whoever continues: which tests you ran, which files you touched, what is unfinished.

<TODO>
{{TODO}}
</TODO>

<PROGRESS>
{{PROGRESS}}
</PROGRESS>

<OPINIONS>
{{OPINIONS}}
</OPINIONS>

{{PREV_RUN_OUTPUT}}

Now:
1. Take the highest item of TODO that is not ticked and move it forward.
2. Edit the files of the repository; a description of edits is not enough.
3. Before you finish, bring TODO, PROGRESS and OPINIONS up to date and tick what is truly done.
4. Make changes small and safe, and test them.
5. End with a short summary: what changed, and what remains.
";

/// A work document: where it lies, as shown to the agent, and its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// Path relative to the repository root (absolute if it lies elsewhere).
    pub path: String,
    /// Content; empty if the file is missing.
    pub text: String,
}

/// The three work documents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Documents {
    /// The tasks.
    pub todo: Document,
    /// The work log.
    pub progress: Document,
    /// The constraints.
    pub opinions: Document,
}

/// Why the parts of a prompt could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A document or template exists but cannot be read.
    #[error("cannot read {path} for the prompt: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The template is larger than [`MAX_TEMPLATE_BYTES`].
    #[error(
        "the prompt template {path} is larger than {MAX_TEMPLATE_BYTES} bytes; is prompt.template the right file?"
    )]
    TemplateTooLarge {
        /// The template.
        path: PathBuf,
    },
}

impl Document {
    /// Reads a document. A missing one is empty; invalid UTF-8 is replaced; one that is larger than
    /// [`MAX_DOCUMENT_BYTES`] is cut, with a line that says so.
    pub fn read(root: &Path, path: &Path) -> Result<Self, PromptError> {
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let failed = |source| PromptError::Read { path: path.to_path_buf(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: shown, text: String::new() });
            }
            Err(error) => return Err(failed(error)),
        };
        let size = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT_BYTES as u64).read_to_end(&mut bytes).map_err(failed)?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if size > bytes.len() as u64 {
            let left_out = size - bytes.len() as u64;
            let _ = write!(
                text,
                "\n[The autorunner left out the last {left_out} bytes: the document is too long.]"
            );
        }
        Ok(Self { path: shown, text })
    }
}

/// Reads the repository's own template; `None` if there is none.
pub fn read_template(path: &Path) -> Result<Option<String>, PromptError> {
    let failed = |source| PromptError::Read { path: path.to_path_buf(), source };
    match fs::metadata(path) {
        Ok(found) if found.len() > MAX_TEMPLATE_BYTES => {
            Err(PromptError::TemplateTooLarge { path: path.to_path_buf() })
        }
        Ok(_) => {
            let bytes = fs::read(path).map_err(failed)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Puts a prompt together. `previous` is the last message of the iteration before; its last
/// `previous_max_chars` characters are kept, and none if that is 0.
pub fn assemble(
    template: Option<&str>,
    documents: &Documents,
    previous: Option<&str>,
    previous_max_chars: usize,
) -> String {
    let previous = previous.map_or("", |text| tail_chars(text, previous_max_chars));
    let previous = if previous.is_empty() {
        String::new()
    } else {
        format!("<PREV_RUN_OUTPUT>\n{previous}\n</PREV_RUN_OUTPUT>")
    };
    fill(template.unwrap_or(BUILT_IN), |name| {
        Some(match name {
            "TODO" => &documents.todo.text,
            "PROGRESS" => &documents.progress.text,
            "OPINIONS" => &documents.opinions.text,
            "TODO_PATH" => &documents.todo.path,
            "PROGRESS_PATH" => &documents.progress.path,
            "OPINIONS_PATH" => &documents.opinions.path,
            "PREV_RUN_OUTPUT" => &previous,
            _ => return None,
        })
    })
    .into_owned()
}

/// Replaces each `{{NAME}}` that `value` knows, from left to right, once.
fn fill<'a>(template: &'a str, value: impl Fn(&str) -> Option<&'a str>) -> Cow<'a, str> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        let (before, from_mark) = rest.split_at(open);
        filled.push_str(before);
        let known =
            from_mark[2..].split_once("}}").and_then(|(name, behind)| value(name).map(|text| (text, behind)));
        if let Some((text, behind)) = known {
            filled.push_str(text);
            rest = behind;
        } else {
            // Not ours: keep one brace and look again, so that `{{{TODO}}` still finds its name.
            filled.push('{');
            rest = &from_mark[1..];
        }
    }
    if filled.is_empty() {
        return Cow::Borrowed(rest);
    }
    filled.push_str(rest);
    Cow::Owned(filled)
}

/// The last `count` characters of `text`.
fn tail_chars(text: &str, count: usize) -> &str {
    match count.checked_sub(1) {
        None => "",
        Some(before_last) => {
            let start = text.char_indices().rev().nth(before_last).map_or(0, |(at, _)| at);
            &text[start..]
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn documents(todo: &str, progress: &str, opinions: &str) -> Documents {
        let document = |path: &str, text: &str| Document { path: path.into(), text: text.into() };
        Documents {
            todo: document(".codex-autorunner/TODO.md", todo),
            progress: document(".codex-autorunner/PROGRESS.md", progress),
            opinions: document(".codex-autorunner/OPINIONS.md", opinions),
        }
    }

    #[test]
    fn the_built_in_text_has_the_documents_in_tags_and_in_order() {
        let prompt = assemble(None, &documents("- [ ] a", "log", "small"), Some("did b"), 6000);
        let parts = [
            "You are Codex",
            ".codex-autorunner/TODO.md",
            ".codex-autorunner/PROGRESS.md",
            ".codex-autorunner/OPINIONS.md",
            "<TODO>\n- [ ] a\n</TODO>",
            "<PROGRESS>\nlog\n</PROGRESS>",
            "<OPINIONS>\nsmall\n</OPINIONS>",
            "<PREV_RUN_OUTPUT>\ndid b\n</PREV_RUN_OUTPUT>",
            "1. ",
            "5. ",
        ];
        let mut at = 0;
        for part in parts {
            at += prompt[at..].find(part).unwrap_or_else(|| panic!("{part:?} missing or out of order"));
        }
        assert!(!prompt.contains("{{"));
    }

    #[test]
    fn without_a_previous_message_there_is_no_tag() {
        for (previous, limit) in [(None, 100), (Some(""), 100), (Some("text"), 0)] {
            let prompt = assemble(None, &documents("a", "b", "c"), previous, limit);
            assert!(!prompt.contains("PREV_RUN_OUTPUT"), "{previous:?} {limit}");
        }
    }

    #[test]
    fn placeholders_in_documents_are_never_expanded() {
        let documents = documents("{{PREV_RUN_OUTPUT}}", "{{TODO}}", "{{OPINIONS}}");
        let prompt = assemble(Some("{{PROGRESS}}|{{TODO}}|{{OPINIONS}}"), &documents, Some("secret"), 99);
        assert_eq!(prompt, "{{TODO}}|{{PREV_RUN_OUTPUT}}|{{OPINIONS}}");
    }

    #[test]
    fn unknown_and_broken_placeholders_stay() {
        let documents = documents("T", "P", "O");
        let fill = |template| assemble(Some(template), &documents, None, 0);
        assert_eq!(fill("{{SPEC}} {{ TODO }} {{todo}} {{TODO"), "{{SPEC}} {{ TODO }} {{todo}} {{TODO");
        assert_eq!(fill("{{{TODO}}} {{{{TODO}}}} }}{{"), "{T} {{T}} }}{{");
        assert_eq!(fill("{{TODO}}{{TODO}}"), "TT");
        assert_eq!(fill(""), "");
    }

    #[test]
    fn the_previous_message_is_cut_at_its_tail_by_characters() {
        assert_eq!(tail_chars("añb€", 2), "b€");
        assert_eq!(tail_chars("añb€", 3), "ñb€");
        assert_eq!(tail_chars("añb€", 99), "añb€");
        assert_eq!(tail_chars("añb€", 0), "");
    }

    #[test]
    fn a_missing_document_is_empty_and_a_huge_one_is_cut_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("PROGRESS.md");
        let missing = Document::read(dir.path(), &path).unwrap();
        assert_eq!(missing, Document { path: "PROGRESS.md".into(), text: String::new() });
        fs::write(&path, "x".repeat(MAX_DOCUMENT_BYTES + 7)).unwrap();
        let huge = Document::read(dir.path(), &path).unwrap();
        assert!(huge.text.ends_with("left out the last 7 bytes: the document is too long.]"));
        fs::write(&path, b"caf\xe9").unwrap();
        assert_eq!(Document::read(dir.path(), &path).unwrap().text, "caf\u{fffd}");
        assert!(Document::read(dir.path(), dir.path()).is_err());
    }

    #[test]
    fn a_template_is_optional_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompt.txt");
        assert_eq!(read_template(&path).unwrap(), None);
        fs::write(&path, "do {{TODO}}").unwrap();
        assert_eq!(read_template(&path).unwrap().as_deref(), Some("do {{TODO}}"));
        File::create(&path).unwrap().set_len(MAX_TEMPLATE_BYTES + 1).unwrap();
        assert!(matches!(read_template(&path), Err(PromptError::TemplateTooLarge { .. })));
    }

    proptest! {
        #[test]
        fn the_tail_has_at_most_that_many_characters(text in "\\PC{0,40}", count in 0..50_usize) {
            let tail = tail_chars(&text, count);
            prop_assert!(text.ends_with(tail));
            prop_assert_eq!(tail.chars().count(), count.min(text.chars().count()));
        }

        #[test]
        fn any_template_can_be_filled(template in "[{}TOD_ é]{0,40}", todo in "\\PC{0,10}") {
            let prompt = assemble(Some(&template), &documents(&todo, "", ""), None, 0);
            if !template.contains("{{TODO}}") && !template.contains("_PATH") {
                prop_assert_eq!(prompt, template);
            }
        }
    }
}
