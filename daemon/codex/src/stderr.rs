//! What Codex says on stderr: free text, but the only source for a failure at start.

use std::borrow::Cow;

/// How many lines of stderr are kept as evidence, from the end.
const KEPT_LINES: usize = 10;

/// How long a line of evidence may be, in characters.
const KEPT_OF_LINE: usize = 1000;

/// One line of stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StderrLine<'a> {
    /// Says nothing about how the run goes.
    Noise(&'a str),
    /// A line of Codex's log: `2026-01-31T10:20:30.123456Z ERROR module: text`.
    Log {
        /// `ERROR`, `WARN`, `INFO`, …
        level: &'a str,
        /// Where it comes from, and what it says.
        text: &'a str,
    },
    /// The announcement of a panic.
    Panic(&'a str),
    /// Anything else, such as `Error: …`.
    Text(&'a str),
}

impl<'a> StderrLine<'a> {
    /// Tells what a line is. It must be free of colour codes; see [`plain_text`].
    pub fn read(line: &'a str) -> Self {
        let noise = line.trim().is_empty()
            || line.starts_with("Reading additional input from stdin")
            || line.starts_with("Reading prompt from stdin")
            || line.starts_with("WARNING: proceeding, even though we could not ")
            || is_backtrace(line);
        if noise {
            Self::Noise(line)
        } else if line.starts_with("thread '") && line.contains("panicked at") {
            Self::Panic(line)
        } else {
            log_line(line).unwrap_or(Self::Text(line))
        }
    }
}

/// With `RUST_BACKTRACE` set, an error that Codex reports in one line is followed by many of these.
fn is_backtrace(line: &str) -> bool {
    let frame = line.trim_start();
    let is_indented = frame.len() < line.len();
    let number = frame.find(|c: char| !c.is_ascii_digit()).unwrap_or_default();
    line == "Stack backtrace:"
        || line == "stack backtrace:"
        || (line.starts_with("note: ") && line.contains("RUST_BACKTRACE"))
        || (is_indented && (number > 0 && frame[number..].starts_with(": ") || frame.starts_with("at ")))
}

fn log_line(line: &str) -> Option<StderrLine<'_>> {
    let (time, rest) = line.split_once(' ')?;
    time.parse::<jiff::Timestamp>().ok()?;
    let (level, text) = rest.trim_start().split_once(' ')?;
    matches!(level, "ERROR" | "WARN" | "INFO" | "DEBUG" | "TRACE").then_some(StderrLine::Log { level, text })
}

/// The last lines of stderr that mean something, oldest first.
pub(crate) fn telling_lines(tail: &[u8]) -> Vec<String> {
    let text = plain_text(&String::from_utf8_lossy(tail)).into_owned();
    let telling = text.lines().filter(|line| match StderrLine::read(line) {
        StderrLine::Noise(_) => false,
        StderrLine::Log { level, .. } => matches!(level, "ERROR" | "WARN"),
        StderrLine::Panic(_) | StderrLine::Text(_) => true,
    });
    let mut lines: Vec<String> = telling.map(|line| line.chars().take(KEPT_OF_LINE).collect()).collect();
    lines.split_off(lines.len().saturating_sub(KEPT_LINES))
}

/// A text without control sequences and control characters, but with its tabs and newlines: fit for
/// a terminal and for a log that people read.
pub fn plain_text(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n');
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            skip_sequence(&mut rest);
        } else if is_plain(c) {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Skips what follows an escape character: a sequence such as `[31m`, a string such as `]0;title` up
/// to its end, or one character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            // Parameters come before the final byte. What is none of them is text again.
            while let Some(c) = rest.clone().next().filter(|c| (' '..='~').contains(c)) {
                rest.next();
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        }
        Some(']') => {
            while let Some(c) = rest.clone().next().filter(|c| *c != '\n' && *c != '\u{1b}') {
                rest.next();
                if c == '\u{7}' {
                    break;
                }
            }
        }
        Some(' '..='~') => {
            rest.next();
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_titles_and_bells_are_taken_out() {
        assert_eq!(
            plain_text("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7}bell\u{7}\r\n\ttab"),
            "red bell\n\ttab"
        );
        assert_eq!(plain_text("\u{1b}"), "");
        assert_eq!(plain_text("\u{1b}[ä"), "ä");
        assert!(matches!(plain_text("plain ä"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_are_told_apart() {
        assert!(matches!(StderrLine::read("Reading additional input from stdin..."), StderrLine::Noise(_)));
        assert_eq!(
            StderrLine::read("2026-11-20T22:02:40.337090Z ERROR codex_core::session: failed"),
            StderrLine::Log { level: "ERROR", text: "codex_core::session: failed" }
        );
        assert!(matches!(
            StderrLine::read("thread 'main' panicked at core/src/x.rs:1:2:"),
            StderrLine::Panic(_)
        ));
        assert!(matches!(StderrLine::read("Error: no such thing"), StderrLine::Text(_)));
    }

    #[test]
    fn a_backtrace_does_not_hide_the_error_before_it() {
        let mut tail = b"Error: no such thing\n\nStack backtrace:\n".to_vec();
        for number in 0..50 {
            tail.extend(format!("{number:>4}: <unknown>\n             at /src/main.rs:1:2\n").bytes());
        }
        tail.extend(b"note: run with `RUST_BACKTRACE=full` for a verbose backtrace.\n");
        assert_eq!(telling_lines(&tail), ["Error: no such thing"]);
    }

    #[test]
    fn only_the_last_telling_lines_are_evidence() {
        let mut tail = b"cut in the middle\nReading additional input from stdin...\n".to_vec();
        for number in 0..20 {
            tail.extend(format!("line {number}\n").bytes());
        }
        let lines = telling_lines(&tail);
        assert_eq!(lines.len(), KEPT_LINES);
        assert_eq!(lines.first().map(String::as_str), Some("line 10"));
    }
}
