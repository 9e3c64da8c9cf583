//! The scripted agent: it works through the TODO list of an autorunner's prompt, one item a turn.
//!
//! It changes files with real tool calls, so that what a test or a demo sees is the work of the real
//! CLI. An item may carry a directive of its own (`- [ ] fetch it mock:http code=500 times=1`): its
//! tool calls come before the agent's, its fault hits the agent's first answer.

use crate::conversation::Conversation;
use crate::directive::{BadDirective, Directive};
use crate::scenario::Scenario;
use crate::scripts::add_file_patch;
use crate::step::{Call, Step};
use crate::todo::{self, OpenItem};
use std::borrow::Cow;

/// The documents that the agent keeps, relative to the directory in which the client works.
#[derive(Debug, Clone)]
pub(crate) struct AgentFiles {
    pub(crate) todo: String,
    pub(crate) progress: String,
}

impl Default for AgentFiles {
    fn default() -> Self {
        Self {
            todo: ".codex-autorunner/TODO.md".to_owned(),
            progress: ".codex-autorunner/PROGRESS.md".to_owned(),
        }
    }
}

/// What the tick command prints when all of it worked.
const TICKED: &str = "the item is ticked";

/// The steps of a turn: the edit, the tick, and a summary.
pub(crate) fn steps(turn: &Conversation, files: &AgentFiles) -> Result<Vec<Step>, BadDirective> {
    let Some(document) = todo::block(&turn.prompt) else {
        return Ok(vec![Step::say("The prompt holds no <TODO> block, so there is nothing to do.")]);
    };
    let Some(item) = todo::first_open_item(document) else {
        return Ok(vec![Step::say("Every item of the TODO list is done; there is nothing left to do.")]);
    };
    let file = file_for(item.text);
    let mut own = vec![
        Step {
            reasoning: Some(format!("**Working on: {}**", item.text)),
            ..Step::call(Call::Patch(add_file_patch(
                &file,
                &format!("{}\n\nDone by the scripted agent.", item.text),
            )))
        },
        Step::shell(tick_command(&item, &file, files)),
        Step::say(summary(&item, &file, &turn.last_output)),
    ];
    let mut all = Vec::new();
    if let Some(directive) = Directive::find(item.text)? {
        let scripted = Scenario::scripted(&directive)?;
        own[0].fault = scripted.iter().find_map(|step| step.fault.clone());
        all.extend(scripted.into_iter().filter(|step| !step.calls.is_empty()));
    }
    all.append(&mut own);
    Ok(all)
}

/// The closing words, true to what the tick command printed.
fn summary(item: &OpenItem<'_>, file: &str, printed: &str) -> String {
    if printed.contains(TICKED) {
        format!("Finished \"{}\": wrote {file} and ticked the item.", item.text)
    } else {
        format!("Could not finish \"{}\": {}", item.text, printed.trim())
    }
}

/// The file for an item: the one that it names in backquotes, else one named after its words.
fn file_for(text: &str) -> String {
    text.split('`')
        .skip(1)
        .step_by(2)
        .find(|name| is_safe_path(name))
        .map_or_else(|| named_after(text), str::to_owned)
}

/// A plain path below the working directory: no way out, nothing hidden.
fn is_safe_path(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty()
        && name
            .split('/')
            .all(|part| part.starts_with(|c| plain(c) && c != '.' && c != '-') && part.chars().all(plain))
}

fn named_after(text: &str) -> String {
    let before_directive = text.split("mock:").next().unwrap_or_default();
    let words = before_directive.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.take(8).map(str::to_ascii_lowercase).collect();
    if words.is_empty() { "item.md".to_owned() } else { format!("{}.md", words.join("-")) }
}

/// A command that ticks the item, notes the progress, and says so when both worked.
///
/// The line is found by its whole text, so that a list that has changed meanwhile is left alone.
fn tick_command(item: &OpenItem<'_>, file: &str, files: &AgentFiles) -> String {
    let note = format!("- {}: wrote {file}", item.text);
    format!(
        "n=$(grep -nxF -e {line} {todo} | sed -n {nth}p | cut -d: -f1) && test -n \"$n\" && \
         sed \"${{n}}s/\\[ \\]/[x]/\" {todo} > {ticked} && mv {ticked} {todo} && \
         printf '%s\\n' {note} >> {progress} && echo {said}",
        line = quoted(item.line),
        nth = item.occurrence,
        todo = quoted(&files.todo),
        ticked = quoted(&format!("{}.ticked", files.todo)),
        note = quoted(&note),
        progress = quoted(&files.progress),
        said = quoted(TICKED),
    )
}

/// A shell word. No word can hold a NUL, so an item with one fails when its command runs.
fn quoted(text: &str) -> String {
    shlex::Quoter::new().allow_nul(true).quote(text).map(Cow::into_owned).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::step::FaultKind;
    use std::fs;
    use std::process::Command;

    fn turn(todo: &str) -> Conversation {
        let prompt = format!("You are an agent.\n<TODO>\n{todo}\n</TODO>\n<PROGRESS>mock:hang</PROGRESS>");
        Conversation { prompt, ..Conversation::default() }
    }

    fn shell_command(step: &Step) -> &str {
        match &step.calls[0] {
            Call::Shell(shell) => &shell.command,
            other => panic!("not a shell call: {other:?}"),
        }
    }

    /// Runs what the agent would run to tick the first item of `todo`; gives the two documents.
    fn ticked(todo: &str) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let files = AgentFiles::default();
        fs::create_dir(dir.path().join(".codex-autorunner")).unwrap();
        fs::write(dir.path().join(&files.todo), todo).unwrap();
        let steps = steps(&turn(todo), &files).unwrap();
        let output =
            Command::new("sh").arg("-c").arg(shell_command(&steps[1])).current_dir(&dir).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{TICKED}\n"), "{output:?}");
        let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        (read(&files.todo), read(&files.progress))
    }

    #[test]
    fn a_turn_edits_a_file_then_ticks_the_item_then_sums_up() {
        let turn = turn("- [x] a\n- [ ] Write `notes/b.txt`");
        let steps = steps(&turn, &AgentFiles::default()).unwrap();
        assert_eq!(steps.len(), 3);
        let Call::Patch(patch) = &steps[0].calls[0] else {
            panic!("the edit is a patch");
        };
        assert!(patch.contains("Add File: notes/b.txt\n"));
        assert!(shell_command(&steps[1]).contains(".codex-autorunner/TODO.md"));
    }

    #[test]
    fn the_summary_claims_only_what_the_tick_command_confirmed() {
        let said = |printed: &str| {
            let turn = Conversation { last_output: printed.to_owned(), ..turn("- [ ] a") };
            let last = steps(&turn, &AgentFiles::default()).unwrap().pop().unwrap();
            last.message.unwrap().text
        };
        assert!(said("Output:\nthe item is ticked\n").starts_with("Finished \"a\""));
        assert_eq!(said("Read-only file system\n"), "Could not finish \"a\": Read-only file system");
    }

    #[test]
    fn the_tick_changes_only_its_own_line() {
        let (todo, progress) = ticked("- [x] a\n- [ ] it's \"b\" \\ $HOME [ ] & `c.txt`\n- [ ] c\n");
        assert_eq!(todo, "- [x] a\n- [x] it's \"b\" \\ $HOME [ ] & `c.txt`\n- [ ] c\n");
        assert_eq!(progress, "- it's \"b\" \\ $HOME [ ] & `c.txt`: wrote c.txt\n");
    }

    #[test]
    fn an_equal_line_in_a_code_block_stays_open() {
        let (todo, _) = ticked("```\n- [ ] a\n```\n- [ ] a\n");
        assert_eq!(todo, "```\n- [ ] a\n```\n- [x] a\n");
    }

    #[test]
    fn without_open_items_it_just_says_so() {
        let steps = steps(&turn("- [x] a"), &AgentFiles::default()).unwrap();
        assert_eq!(steps.len(), 1);
        assert!(steps[0].calls.is_empty() && steps[0].message.is_some());
    }

    #[test]
    fn a_directive_in_the_item_adds_its_calls_and_its_fault() {
        let files = AgentFiles::default();
        let sleeping = steps(&turn("- [ ] rest mock:sleep secs=1"), &files).unwrap();
        assert_eq!(sleeping.len(), 4);
        assert!(shell_command(&sleeping[0]).starts_with("sleep 1"));
        let failing = steps(&turn("- [ ] try mock:http code=500 times=1"), &files).unwrap();
        assert!(matches!(failing[0].fault.as_ref().unwrap().kind, FaultKind::Http { status: 500, .. }));
        assert_eq!(failing.len(), 3);
    }

    #[test]
    fn file_names_never_lead_out_of_the_repository() {
        for (text, file) in [
            ("Write `a/b.rs` now", "a/b.rs"),
            ("Read `../secret`", "read-secret.md"),
            ("Read `/etc/passwd`", "read-etc-passwd.md"),
            ("Touch `.git/config`", "touch-git-config.md"),
            ("Give `-rf` a try", "give-rf-a-try.md"),
            ("mock:sleep secs=1", "item.md"),
        ] {
            assert_eq!(file_for(text), file);
        }
    }
}
