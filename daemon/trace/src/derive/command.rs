//! What a tool call does, in words: a command as shell text, a patch as its paths.

use std::borrow::Cow;

use serde::Deserialize;

use super::words::{NAME_LIMIT, cut};
use crate::record::{Change, ChangeKind, Text};
use crate::session::TEXT_LIMIT;

/// How many changed files a call keeps.
const CHANGES: usize = 64;

/// The tool that runs commands, whatever the version calls it.
pub(crate) const EXEC: &str = "exec_command";
/// The tool that patches files.
pub(crate) const PATCH: &str = "apply_patch";

/// A command as shell text. What was given to a shell with `-c` stands as it was given.
pub(super) fn shell_text(command: &[Text<'_>]) -> String {
    if let Some(script) = script(command) {
        return cut(script, TEXT_LIMIT).to_owned();
    }
    let mut text = String::new();
    for word in command {
        if !text.is_empty() {
            text.push(' ');
        }
        let word = cut(word, TEXT_LIMIT);
        text.push_str(&shlex::try_quote(word).unwrap_or(Cow::Borrowed(word)));
        if text.len() > TEXT_LIMIT {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(TEXT_LIMIT));
    text
}

/// The script of `bash -lc SCRIPT` and its like.
fn script<'a>(command: &'a [Text<'_>]) -> Option<&'a str> {
    let [shell, flag, script] = command else { return None };
    let shell = shell.rsplit('/').next().unwrap_or_default();
    let known = matches!(shell, "bash" | "sh" | "zsh" | "dash");
    (known && matches!(&**flag, "-c" | "-lc" | "-ic" | "-lic")).then_some(&**script)
}

/// The patch that a command gives to `apply_patch`, as Codex's earlier versions let the model do.
pub(super) fn patch_in_command<'a>(command: &'a [Text<'_>]) -> Option<&'a str> {
    match command {
        [tool, patch] if &**tool == PATCH || &**tool == "applypatch" => Some(patch),
        _ => script(command).filter(|script| {
            let script = script.trim_start();
            script.starts_with("apply_patch <<") || script.starts_with("applypatch <<")
        }),
    }
}

/// The changes of a patch, as rows keep them.
pub(super) fn changes(changes: &[Change<'_>]) -> Vec<(String, ChangeKind)> {
    changes
        .iter()
        .take(CHANGES)
        .map(|change| (cut(&change.path, NAME_LIMIT).to_owned(), change.kind))
        .collect()
}

/// The changes that the text of a patch names.
pub(super) fn changes_in_patch(patch: &str) -> Vec<(String, ChangeKind)> {
    let named = |line: &str| {
        let rest = line.strip_prefix("*** ")?;
        let (kind, path) = [
            ("Add File: ", ChangeKind::Add),
            ("Delete File: ", ChangeKind::Delete),
            ("Update File: ", ChangeKind::Update),
        ]
        .into_iter()
        .find_map(|(start, kind)| Some((kind, rest.strip_prefix(start)?)))?;
        Some((cut(path.trim_end(), NAME_LIMIT).to_owned(), kind))
    };
    patch.lines().filter_map(named).take(CHANGES).collect()
}

/// Changed paths, one per line.
pub(super) fn paths(changes: &[(String, ChangeKind)]) -> String {
    let mut text = String::new();
    for (path, _) in changes {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(path);
        if text.len() > TEXT_LIMIT {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(TEXT_LIMIT));
    text
}

/// A tool call as the model wrote it, in the terms of rows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    pub tool: String,
    pub arguments: String,
    pub cwd: Option<String>,
    pub changes: Vec<(String, ChangeKind)>,
}

impl Asked {
    /// A command, by its words; one that is a patch in disguise is a patch.
    pub(super) fn command(words: &[Text<'_>], cwd: Option<&str>) -> Self {
        let cwd = super::words::name(cwd);
        match patch_in_command(words) {
            Some(patch) => Self { cwd, ..Self::patch(changes_in_patch(patch)) },
            None => Self { tool: EXEC.into(), arguments: shell_text(words), cwd, changes: Vec::new() },
        }
    }

    /// A patch, by its changes.
    pub(super) fn patch(changes: Vec<(String, ChangeKind)>) -> Self {
        Self { tool: PATCH.into(), arguments: paths(&changes), cwd: None, changes }
    }

    /// Any other tool.
    pub(super) fn other(tool: &str, arguments: Option<&str>) -> Self {
        Self {
            tool: cut(tool, NAME_LIMIT).to_owned(),
            arguments: cut(arguments.unwrap_or_default(), TEXT_LIMIT).to_owned(),
            ..Self::default()
        }
    }

    /// A call as a rollout has it: a name, and arguments as JSON or free text.
    pub(super) fn by_model(name: &str, arguments: &str) -> Self {
        match name {
            "shell" | "local_shell" | "shell_command" | "container.exec" | "exec_command"
            | "unified_exec" => {
                let Ok(given) = serde_json::from_str::<Given<'_>>(arguments) else {
                    return Self::other(EXEC, Some(arguments));
                };
                match given.words() {
                    Some(words) => Self::command(&words, given.workdir.as_deref()),
                    None => Self::other(EXEC, Some(arguments)),
                }
            }
            PATCH => {
                let given: Option<Given<'_>> = serde_json::from_str(arguments).ok();
                let patch = given.and_then(|given| given.input);
                Self::patch(changes_in_patch(patch.as_deref().unwrap_or(arguments)))
            }
            _ => Self::other(&qualified(name), Some(arguments)),
        }
    }
}

/// The source of commands that may go on in the background.
pub(super) const BACKGROUND: &str = "unified_exec_startup";

/// How a command is run, as far as the name of the model's tool says it: that of the newer one goes on in the
/// background if it must.
pub(crate) fn source_of(tool: &str) -> Option<&'static str> {
    matches!(tool, "exec_command" | "unified_exec").then_some(BACKGROUND)
}

/// The words of a command, from the arguments of the tools that run them.
pub(crate) fn words_of(arguments: &str) -> Option<Vec<String>> {
    let given: Given<'_> = serde_json::from_str(arguments).ok()?;
    Some(given.words()?.into_iter().map(Cow::into_owned).collect())
}

/// The patch in the arguments of `apply_patch`, or of a command that calls it.
pub(crate) fn patch_of(arguments: &str) -> Option<String> {
    let Ok(given) = serde_json::from_str::<Given<'_>>(arguments) else { return Some(arguments.to_owned()) };
    if let Some(patch) = given.input {
        return Some(patch.into_owned());
    }
    given.words().and_then(|words| patch_in_command(&words).map(str::to_owned))
}

/// What a patch says of one file: the lines below its header, up to the next one's.
pub(crate) fn part_of_patch(patch: &str, path: &str) -> String {
    let mut lines = patch.split_inclusive('\n').skip_while(|line| {
        let named = line.strip_prefix("*** ").and_then(|rest| rest.split_once(" File: "));
        named.is_none_or(|(_, file)| file.trim_end() != path)
    });
    lines.next();
    lines.take_while(|line| !line.starts_with("*** ")).collect()
}

/// `mcp__server__tool` as `mcp:server.tool`, other names as they are.
fn qualified(name: &str) -> Cow<'_, str> {
    let parts = name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__"));
    match parts {
        Some((server, tool)) => {
            Cow::Owned(format!("mcp:{}.{}", cut(server, NAME_LIMIT), cut(tool, NAME_LIMIT)))
        }
        None => Cow::Borrowed(name),
    }
}

/// The arguments of the tools that run commands, in all their versions.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow, default)]
    command: Option<Words<'a>>,
    #[serde(borrow, default)]
    cmd: Option<Words<'a>>,
    #[serde(borrow, default, alias = "working_directory")]
    workdir: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    input: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    #[serde(borrow)]
    Many(Vec<Cow<'a, str>>),
}

impl Given<'_> {
    /// The command's words; a text is for the shell.
    fn words(&self) -> Option<Vec<Text<'_>>> {
        match self.command.as_ref().or(self.cmd.as_ref())? {
            Words::One(script) => Some(vec!["sh".into(), "-c".into(), Cow::Borrowed(script)]),
            Words::Many(words) => Some(words.iter().map(|word| Cow::Borrowed(&**word)).collect()),
        }
    }
}

/// A plan that the model wrote, where a rollout has no event for it.
#[derive(Deserialize)]
pub(super) struct GivenPlan<'a> {
    #[serde(borrow)]
    pub plan: Vec<GivenStep<'a>>,
}

/// A step of it.
#[derive(Deserialize)]
pub(super) struct GivenStep<'a> {
    #[serde(borrow, default)]
    pub step: Cow<'a, str>,
    #[serde(borrow, default)]
    pub status: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn words(words: &[&'static str]) -> Vec<Text<'static>> {
        words.iter().map(|word| Text::Borrowed(*word)).collect()
    }

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        assert_eq!(shell_text(&words(&["bash", "-lc", "ls | wc -l"])), "ls | wc -l");
        assert_eq!(shell_text(&words(&["/bin/zsh", "-c", "a b"])), "a b");
        assert_eq!(shell_text(&words(&["git", "commit", "-m", "two words"])), "git commit -m 'two words'");
        assert_eq!(shell_text(&[]), "");
    }

    #[test]
    fn a_long_command_is_cut() {
        let long = "é".repeat(TEXT_LIMIT);
        assert!(shell_text(&[Text::Borrowed("echo"), Text::Borrowed(&long)]).len() <= TEXT_LIMIT);
        assert!(shell_text(&vec![Text::Borrowed("x"); 100_000]).len() <= TEXT_LIMIT);
    }

    #[test]
    fn every_version_of_the_shell_tool_is_understood() {
        for (name, arguments) in [
            ("shell", r#"{"command":["bash","-lc","make test"],"workdir":"/srv"}"#),
            ("exec_command", r#"{"cmd":"make test","workdir":"/srv"}"#),
            ("shell_command", r#"{"command":"make test","workdir":"/srv"}"#),
        ] {
            let asked = Asked::by_model(name, arguments);
            assert_eq!(
                (&*asked.tool, &*asked.arguments, asked.cwd.as_deref()),
                (EXEC, "make test", Some("/srv"))
            );
        }
        assert_eq!(Asked::by_model("shell", "not json").arguments, "not json");
    }

    #[test]
    fn a_patch_is_known_by_its_paths_however_it_is_given() {
        let patch =
            "*** Begin Patch\n*** Update File: a.rs\n@@\n-x\n+y\n*** Add File: b c.rs\n+z\n*** End Patch";
        let expected = vec![("a.rs".to_owned(), ChangeKind::Update), ("b c.rs".to_owned(), ChangeKind::Add)];
        let here = format!("apply_patch <<'EOF'\n{patch}\nEOF");
        for asked in [
            Asked::by_model("apply_patch", patch),
            Asked::by_model("apply_patch", &serde_json::json!({ "input": patch }).to_string()),
            Asked::by_model("shell", &serde_json::json!({ "command": ["apply_patch", patch] }).to_string()),
            Asked::by_model("shell", &serde_json::json!({ "command": ["bash", "-lc", here] }).to_string()),
        ] {
            assert_eq!(asked.tool, PATCH);
            assert_eq!(asked.changes, expected);
            assert_eq!(asked.arguments, "a.rs\nb c.rs");
        }
    }

    #[test]
    fn an_mcp_tool_has_one_name_in_both_formats() {
        assert_eq!(Asked::by_model("mcp__docs__find__all", "{}").tool, "mcp:docs.find__all");
        assert_eq!(Asked::by_model("view_image", "{}").tool, "view_image");
    }
}
