//! What a recorded command does, as far as one can tell without running it.
//!
//! A command is a verifier only if its exit status says something: it tests, builds or checks, and nothing in
//! it hides a failure. What cannot be read for sure is no verifier.

use serde::{Deserialize, Serialize};

/// What a command is for. The order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It looks at the form of the code.
    Lint,
    /// It makes something of the code.
    Build,
    /// It checks the code without running it, or checks what was made.
    Check,
    /// It runs tests.
    Test,
}

/// Why a command says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Substitutions, here-documents, groups.
    #[error("it is too intricate to be read for sure")]
    Intricate,
    /// `||`, a pipe, a background job.
    #[error("a failure in it would be hidden")]
    Masked,
    /// It neither tests nor builds nor checks.
    #[error("it neither tests nor builds nor checks anything")]
    Meaningless,
}

/// What a fit command is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// What it is for.
    pub(super) class: Class,
    /// The words of the command that says so, wrappers left out.
    pub(super) words: Vec<String>,
    /// Every word of the whole script.
    pub(super) all: Vec<String>,
}

/// The script of a command's words: what a shell is given, or the words quoted.
pub(super) fn script(words: &[String]) -> Option<String> {
    if let [shell, flag, script] = words {
        let name = shell.rsplit('/').next().unwrap_or(shell);
        let is_shell = matches!(name, "bash" | "sh" | "zsh" | "dash");
        if is_shell && matches!(flag.as_str(), "-c" | "-lc" | "-ic" | "-lic") {
            return Some(script.trim().to_owned());
        }
    }
    shlex::try_join(words.iter().map(String::as_str)).ok().filter(|script| !script.is_empty())
}

/// Reads a script.
pub(super) fn judge(script: &str) -> Result<Judged, Unfit> {
    let groups = parse(script)?;
    let pipefail = groups.first().and_then(|group| group.first()).is_some_and(|command| {
        command.words.first().is_some_and(|word| word == "set")
            && command.words.iter().any(|word| word == "pipefail")
    });
    let all: Vec<String> = groups.iter().flatten().flat_map(|command| command.words.clone()).collect();
    // The status of the whole is that of the last group.
    let last = groups.last().ok_or(Unfit::Meaningless)?;
    if last.iter().any(|command| command.masked || (command.piped && !pipefail)) {
        return Err(Unfit::Masked);
    }
    let judged = last
        .iter()
        .filter_map(|command| {
            let words = unwrap(&command.words);
            classify(words).map(|class| (class, words.to_vec()))
        })
        .max_by_key(|(class, _)| *class);
    // What comes after the test in its group must succeed too; that does no harm.
    let (class, words) = judged.ok_or(Unfit::Meaningless)?;
    Ok(Judged { class, words, all })
}

/// One command, with what joins it to the next.
#[derive(Debug, Default)]
struct Command {
    words: Vec<String>,
    piped: bool,
    masked: bool,
}

/// Splits a script into groups that `;` or a newline ends, of commands that `&&` or `|` joins.
fn parse(script: &str) -> Result<Vec<Vec<Command>>, Unfit> {
    let mut groups: Vec<Vec<Command>> = Vec::new();
    let mut group: Vec<Command> = Vec::new();
    let mut command = Command::default();
    let mut word: Option<String> = None;
    // The next word is where a redirection goes.
    let mut redirect = false;
    let mut chars = script.chars().peekable();
    let end_word = |word: &mut Option<String>, command: &mut Command, redirect: &mut bool| {
        if let Some(word) = word.take()
            && !std::mem::take(redirect)
        {
            command.words.push(word);
        }
    };
    while let Some(char) = chars.next() {
        match char {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(Unfit::Intricate)? {
                        '\'' => break,
                        char => word.push(char),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or(Unfit::Intricate)? {
                        '"' => break,
                        '\\' => word.push(chars.next().ok_or(Unfit::Intricate)?),
                        '`' => return Err(Unfit::Intricate),
                        '$' if chars.peek() == Some(&'(') => return Err(Unfit::Intricate),
                        char => word.push(char),
                    }
                }
            }
            '\\' => match chars.next().ok_or(Unfit::Intricate)? {
                '\n' => {}
                char => word.get_or_insert_default().push(char),
            },
            '`' | '(' | ')' | '{' | '}' => return Err(Unfit::Intricate),
            '$' if chars.peek() == Some(&'(') => return Err(Unfit::Intricate),
            '#' if word.is_none() => while chars.next_if(|char| *char != '\n').is_some() {},
            '<' if chars.peek() == Some(&'<') => return Err(Unfit::Intricate),
            '<' | '>' => {
                // `2>&1`: the number belongs to the redirection.
                if word.as_deref().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
                    word = None;
                }
                end_word(&mut word, &mut command, &mut redirect);
                while chars.next_if(|char| matches!(char, '>' | '&' | '|')).is_some() {}
                redirect = true;
            }
            '&' if chars.next_if_eq(&'&').is_some() => {
                end_word(&mut word, &mut command, &mut redirect);
                group.push(std::mem::take(&mut command));
            }
            '&' => {
                if chars.next_if_eq(&'>').is_none() {
                    return Err(Unfit::Masked);
                }
                end_word(&mut word, &mut command, &mut redirect);
                redirect = true;
            }
            '|' => {
                end_word(&mut word, &mut command, &mut redirect);
                let either = chars.next_if_eq(&'|').is_some();
                chars.next_if_eq(&'&');
                command.masked |= either;
                command.piped |= !either;
                group.push(std::mem::take(&mut command));
            }
            ';' | '\n' => {
                end_word(&mut word, &mut command, &mut redirect);
                if !command.words.is_empty() || !group.is_empty() {
                    group.push(std::mem::take(&mut command));
                    groups.push(std::mem::take(&mut group));
                }
            }
            char if char.is_whitespace() => end_word(&mut word, &mut command, &mut redirect),
            char => word.get_or_insert_default().push(char),
        }
    }
    end_word(&mut word, &mut command, &mut redirect);
    if !command.words.is_empty() || !group.is_empty() {
        group.push(command);
        groups.push(group);
    }
    let keyword = |word: &String| {
        matches!(
            word.as_str(),
            "if" | "for" | "while" | "until" | "case" | "function" | "!" | "eval" | "exec" | "trap"
        )
    };
    if groups.iter().flatten().any(|command| command.words.first().is_some_and(keyword)) {
        return Err(Unfit::Intricate);
    }
    Ok(groups)
}

/// Leaves out what only leads to a command: assignments, `env`, `timeout`, `time`, runners.
fn unwrap(mut words: &[String]) -> &[String] {
    while let Some(first) = words.first() {
        let assignment = first.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let skip = match first.as_str() {
            _ if assignment => 1,
            "env" | "time" | "command" | "nice" | "npx" | "pnpx" | "bunx" => 1,
            "timeout" => 1 + words.iter().skip(1).take_while(|word| word.starts_with('-')).count() + 1,
            "uv" | "poetry" | "pipenv" | "pdm" | "rye" | "bundle" | "hatch"
                if words.get(1).is_some_and(|word| matches!(word.as_str(), "run" | "exec")) =>
            {
                2
            }
            _ => break,
        };
        words = words.get(skip..).unwrap_or(&[]);
    }
    words
}

/// What a simple command is for.
fn classify(words: &[String]) -> Option<Class> {
    // These ask for nothing to be done.
    const IDLE: &[&str] = &[
        "--help",
        "--version",
        "-V",
        "--no-run",
        "--collect-only",
        "--co",
        "--list",
        "--listTests",
        "--dry-run",
        "--passWithNoTests",
        "--just-print",
    ];
    let (program, arguments) = words.split_first()?;
    if arguments.iter().any(|word| IDLE.contains(&word.as_str())) {
        return None;
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let plain: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('-') && !word.starts_with('+') && !word.contains('='))
        .collect();
    let first = plain.first().copied().unwrap_or_default();
    let has = |flag: &str| arguments.iter().any(|word| word == flag);
    match name {
        "cargo" => match first {
            "test" | "nextest" | "t" => Some(Class::Test),
            "build" | "b" => Some(Class::Build),
            "check" | "c" => Some(Class::Check),
            "clippy" => Some(Class::Lint),
            "fmt" => has("--check").then_some(Class::Lint),
            _ => None,
        },
        "go" | "swift" | "dotnet" | "mix" | "sbt" | "zig" | "bazel" | "gradle" | "gradlew" | "mvn"
        | "mvnw" | "deno" | "dune" | "stack" | "cabal" => plain.iter().filter_map(|word| by_name(word)).max(),
        "make" | "gmake" | "just" | "task" | "rake" | "ninja" | "tox" | "nox" => {
            if has("-n") {
                None
            } else if matches!(name, "tox" | "nox") {
                Some(Class::Test)
            } else {
                plain
                    .iter()
                    .filter_map(|word| by_name(word))
                    .max()
                    .or(plain.is_empty().then_some(Class::Build))
            }
        }
        "npm" | "pnpm" | "yarn" | "bun" => match first {
            "test" | "t" => Some(Class::Test),
            "run" | "run-script" | "exec" => by_name(plain.get(1)?),
            other => by_name(other).filter(|_| name != "npm"),
        },
        "python" | "python3" | "python3.11" | "python3.12" | "python3.13" | "node" | "ruby" | "perl"
        | "php" => match arguments.iter().position(|word| word == "-m") {
            Some(at) => classify(arguments.get(at + 1..)?),
            None if first.ends_with("manage.py") => by_name(plain.get(1)?),
            None if has("--test") => Some(Class::Test),
            None if has("-c") || has("-e") => None,
            None => by_file(first),
        },
        "sh" | "bash" | "dash" | "zsh" => {
            if has("-c") {
                None
            } else {
                by_file(first)
            }
        }
        "pytest" | "py.test" | "unittest" | "jest" | "vitest" | "mocha" | "ava" | "rspec" | "phpunit"
        | "ctest" | "bats" | "prove" | "nosetests" | "playwright" | "cypress" => Some(Class::Test),
        "mypy" | "pyright" | "tsc" | "compileall" | "py_compile" => Some(Class::Check),
        "eslint" | "flake8" | "pylint" | "shellcheck" | "golangci-lint" | "rubocop" | "stylelint"
        | "biome" => Some(Class::Lint),
        "ruff" => (first == "check" || has("--check")).then_some(Class::Lint),
        "black" | "prettier" | "isort" | "gofmt" => (has("--check") || has("-c")).then_some(Class::Lint),
        _ if program.contains('/') => by_file(program),
        _ => None,
    }
}

/// A target or task by its name.
fn by_name(name: &str) -> Option<Class> {
    let name = name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase();
    let mut parts = name.split(|char: char| !char.is_ascii_alphanumeric());
    let class = |part: &str| match part {
        "test" | "tests" | "spec" | "e2e" => Some(Class::Test),
        "check" | "verify" | "typecheck" | "vet" | "ci" => Some(Class::Check),
        "build" | "compile" | "all" | "assemble" => Some(Class::Build),
        "lint" | "fmt" | "format" => Some(Class::Lint),
        _ => None,
    };
    parts.find_map(class)
}

/// A script by the name of its file and directory.
fn by_file(path: &str) -> Option<Class> {
    let parts = path.split(['/', '.', '_', '-']);
    parts.filter_map(by_name).max()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_tests_builds_or_checks_is_known() {
        for (script, class) in [
            ("cargo test --workspace", Class::Test),
            ("cd sub && RUST_BACKTRACE=1 cargo +nightly nextest run 2>&1", Class::Test),
            ("set -euo pipefail; cargo test | tail -5", Class::Test),
            ("npm install; npm test", Class::Test),
            ("npm run lint", Class::Lint),
            ("timeout 60 python3 -m pytest -q tests/test_x.py", Class::Test),
            ("uv run pytest", Class::Test),
            ("sh run_tests.sh", Class::Test),
            ("./scripts/check.sh", Class::Check),
            ("make -j4 && make test", Class::Test),
            ("make", Class::Build),
            ("cargo fmt -- --check", Class::Lint),
            ("npx tsc --noEmit", Class::Check),
            ("go vet ./...", Class::Check),
            ("python manage.py test", Class::Test),
        ] {
            assert_eq!(judge(script).map(|judged| judged.class), Ok(class), "{script}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_verifier() {
        for (script, unfit) in [
            ("ls -la", Unfit::Meaningless),
            ("git status", Unfit::Meaningless),
            ("cat tests/test_x.py", Unfit::Meaningless),
            ("true", Unfit::Meaningless),
            ("", Unfit::Meaningless),
            ("cargo test --no-run", Unfit::Meaningless),
            ("pytest --version", Unfit::Meaningless),
            ("cargo test; echo done", Unfit::Meaningless),
            ("cargo test || true", Unfit::Masked),
            ("cargo test | tail -5", Unfit::Masked),
            ("cargo test &", Unfit::Masked),
            ("cargo test $(cat list)", Unfit::Intricate),
            ("if cargo test; then echo ok; fi", Unfit::Intricate),
            ("! cargo test", Unfit::Intricate),
            ("cargo test 'unfinished", Unfit::Intricate),
            ("python3 - <<'E'\nprint(1)\nE", Unfit::Intricate),
            ("sh -c 'exit 0'", Unfit::Meaningless),
        ] {
            assert_eq!(judge(script).map(|judged| judged.class), Err(unfit), "{script}");
        }
    }

    #[test]
    fn the_script_of_a_shell_is_what_it_was_given() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(script(&words(&["/bin/bash", "-lc", "make test"])).unwrap(), "make test");
        assert_eq!(script(&words(&["cargo", "test", "a b"])).unwrap(), "cargo test 'a b'");
        assert_eq!(script(&words(&["x", "a\0b"])), None);
    }
}
