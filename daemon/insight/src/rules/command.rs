//! What a shell command is for: whether it only looks, and whether its exit code 1 is an answer and no failure.
//!
//! Only what is plain to see is judged; anything in doubt counts as work that can fail.

use std::borrow::Cow;

/// The script within `bash -lc 'script'`, or the command as it is.
pub(crate) fn script(command: &str) -> Cow<'_, str> {
    if let Some(words) = shlex::split(command)
        && let [shell, flags, script] = words.as_slice()
        && matches!(base(shell), "bash" | "sh" | "zsh" | "dash")
        && flags.starts_with('-')
        && flags.ends_with('c')
    {
        return Cow::Owned(script.clone());
    }
    Cow::Borrowed(command)
}

/// Whether a command changes nothing and checks nothing: reading, listing, searching.
pub(crate) fn only_looks(command: &str) -> bool {
    parts(&script(command))
        .is_some_and(|parts| !parts.is_empty() && parts.iter().all(|part| part.purpose() != Purpose::Works))
}

/// Whether an exit code 1 of this command is the answer "no": nothing found, not equal, not so.
pub(crate) fn answers_no_with_1(command: &str) -> bool {
    let Some(parts) = parts(&script(command)) else { return false };
    let Some((last, before)) = parts.split_last() else { return false };
    // A part before `&&` may be the one that ended with 1. What stands before `|` or `;` is not heard.
    let others_can_fail =
        before.iter().any(|part| part.joint == Joint::And && part.purpose() == Purpose::Works);
    last.purpose() == Purpose::Asks && !others_can_fail
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Changes nothing.
    Looks,
    /// Changes nothing, and 1 is an answer.
    Asks,
    /// May change something or fail.
    Works,
}

/// What comes after a simple command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    And,
    Or,
    Pipe,
    Next,
}

#[derive(Debug)]
struct Part {
    words: Vec<String>,
    joint: Joint,
    /// Its output goes to a file, or it holds another command.
    writes: bool,
}

impl Part {
    fn purpose(&self) -> Purpose {
        if self.writes {
            return Purpose::Works;
        }
        let mut words = self.words.iter().map(String::as_str).filter(|word| !is_redirect(word));
        let Some(program) = words.by_ref().find(|word| !is_assignment(word)) else { return Purpose::Looks };
        let arguments: Vec<_> = words.collect();
        let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(argument));
        match base(program) {
            "grep" | "egrep" | "fgrep" | "rg" | "ag" | "ack" | "test" | "[" | "[[" | "diff" | "cmp"
            | "which" | "pgrep" | "type" => Purpose::Asks,
            "command" if has(&["-v", "-V"]) => Purpose::Asks,
            "git" => git(&arguments),
            "find" | "fd" if has(&["-delete", "-exec", "-execdir", "-ok", "-x", "-X", "--exec"]) => {
                Purpose::Works
            }
            "sed" if !has(&["-n"]) || arguments.iter().any(|word| word.starts_with("-i")) => Purpose::Works,
            "sed" | "find" | "fd" | "ls" | "cat" | "bat" | "head" | "tail" | "less" | "more" | "nl"
            | "wc" | "pwd" | "cd" | "echo" | "printf" | "stat" | "file" | "tree" | "du" | "df"
            | "whereis" | "printenv" | "date" | "uname" | "whoami" | "id" | "hostname" | "true" | ":"
            | "sort" | "uniq" | "cut" | "tr" | "column" | "realpath" | "readlink" | "basename"
            | "dirname" | "sleep" | "jq" | "ps" | "env"
                if arguments.is_empty() || base(program) != "env" =>
            {
                Purpose::Looks
            }
            _ => Purpose::Works,
        }
    }
}

fn git(arguments: &[&str]) -> Purpose {
    match arguments.first() {
        Some(&"grep") => Purpose::Asks,
        Some(&"diff") if arguments.iter().any(|word| matches!(*word, "--exit-code" | "--quiet")) => {
            Purpose::Asks
        }
        Some(
            &("status" | "log" | "show" | "diff" | "rev-parse" | "ls-files" | "blame" | "describe"
            | "shortlog"),
        ) => Purpose::Looks,
        Some(&("branch" | "remote")) if arguments.len() == 1 => Purpose::Looks,
        _ => Purpose::Works,
    }
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Redirections that write no file.
fn is_redirect(word: &str) -> bool {
    matches!(word, "2>&1" | "2>/dev/null" | ">/dev/null" | "&>/dev/null" | "1>/dev/null" | "</dev/null")
}

/// The simple commands of a script, or none if it is too much to be understood here.
fn parts(script: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut quote = None;
    let mut chars = script.trim().chars().peekable();
    let mut writes = false;
    let mut end = |text: &mut String, joint, writes: &mut bool| {
        let words = shlex::split(text)?;
        text.clear();
        let writes = std::mem::take(writes);
        if !words.is_empty() {
            parts.push(Part { words, joint, writes });
        }
        Some(())
    };
    while let Some(char) = chars.next() {
        let twice = chars.peek() == Some(&char);
        match (quote, char) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(char),
            (None | Some('"'), '\\') => {
                text.push(char);
                text.extend(chars.next());
                continue;
            }
            (None | Some('"'), '`') => writes = true,
            (None | Some('"'), '$') if chars.peek() == Some(&'(') => writes = true,
            (None, '>') => writes |= !is_harmless_output(&text, chars.clone()),
            (None, '&') if twice => {
                chars.next();
                end(&mut text, Joint::And, &mut writes)?;
                continue;
            }
            (None, '|') => {
                if twice {
                    chars.next();
                }
                end(&mut text, if twice { Joint::Or } else { Joint::Pipe }, &mut writes)?;
                continue;
            }
            (None, ';' | '\n') => {
                end(&mut text, Joint::Next, &mut writes)?;
                continue;
            }
            _ => {}
        }
        text.push(char);
    }
    end(&mut text, Joint::Next, &mut writes)?;
    Some(parts)
}

/// Whether `>` leads to nothing: to /dev/null or another descriptor.
fn is_harmless_output(before: &str, after: impl Iterator<Item = char>) -> bool {
    let target: String = after.skip_while(|char| *char == ' ').take(9).collect();
    !before.ends_with('>') && (target.starts_with("/dev/null") || target.starts_with('&'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_a_shell_is_what_counts() {
        assert_eq!(script("bash -lc 'npm test'"), "npm test");
        assert_eq!(script("/bin/sh -c \"a b\""), "a b");
        assert_eq!(script("npm test"), "npm test");
        assert_eq!(script("bash -lc 'cut in the mid"), "bash -lc 'cut in the mid");
    }

    #[test]
    fn a_probe_answers_no_with_1() {
        for command in [
            "grep -r todo src",
            "bash -lc 'rg foo | head | grep bar'",
            "test -f a",
            "cd src && [ -d b ]",
            "git diff --quiet",
            "make | grep warning",
            "make; diff a b",
            "LANG=C grep a b 2>/dev/null",
            "command -v cargo",
        ] {
            assert!(answers_no_with_1(command), "{command}");
        }
    }

    #[test]
    fn what_may_have_failed_is_no_probe() {
        for command in [
            "cargo test",
            "make && grep a b",
            "grep a b && make",
            "grep a b | tee c && cargo test",
            "git diff",
            "diff $(make x) b",
            "grep 'a",
            "",
        ] {
            assert!(!answers_no_with_1(command), "{command}");
        }
    }

    #[test]
    fn reading_is_no_work_and_writing_is() {
        for command in [
            "ls -la",
            "cat a | head -3",
            "sed -n 1,20p a",
            "git status 2>&1",
            "cd a && pwd",
            "rg x > /dev/null",
        ] {
            assert!(only_looks(command), "{command}");
        }
        for command in [
            "cargo build",
            "echo x > a",
            "cat a >> b",
            "find . -delete",
            "sed -i s/a/b/ c",
            "git commit",
            "ls `make`",
        ] {
            assert!(!only_looks(command), "{command}");
        }
    }
}
