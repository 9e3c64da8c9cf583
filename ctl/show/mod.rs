//! How things are shown: documents for programs, tables and lines for people.
//!
//! Data goes to standard output and nothing else does; notes, progress and
//! errors go to standard error.

pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod time;

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::error::CtlError;
use table::{Table, Tone};

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A program.
    Json,
    /// A person who wants data only.
    Quiet,
    /// A person who looks on.
    Talkative,
}

/// Where and how this command shows things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    manner: Manner,
    color: bool,
    color_notes: bool,
}

impl Out {
    pub(crate) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        let wanted = |terminal: bool| match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let manner = match (json, quiet) {
            (true, _) => Manner::Json,
            (false, true) => Manner::Quiet,
            (false, false) => Manner::Talkative,
        };
        Self {
            manner,
            color: wanted(io::stdout().is_terminal()),
            color_notes: wanted(io::stderr().is_terminal()),
        }
    }

    /// Whether a program reads our output.
    pub(crate) fn is_json(self) -> bool {
        self.manner == Manner::Json
    }

    /// Whether a person looks on.
    pub(crate) fn is_talkative(self) -> bool {
        self.manner == Manner::Talkative
    }

    /// One JSON document on a line of its own.
    pub(crate) fn document(self, document: &impl Serialize) -> Result<(), CtlError> {
        let mut line = serde_json::to_vec(document).map_err(io::Error::from)?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// One line of data for people.
    pub(crate) fn line(self, line: &str) -> Result<(), CtlError> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Bytes exactly as they are.
    #[expect(clippy::unused_self, reason = "written as all other data is")]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CtlError> {
        let mut stdout = io::stdout().lock();
        Ok(stdout.write_all(bytes).and_then(|()| stdout.flush())?)
    }

    /// A table; a note instead when it has no rows.
    pub(crate) fn table<const COLUMNS: usize>(
        self,
        table: &Table<COLUMNS>,
        empty: &str,
    ) -> Result<(), CtlError> {
        if table.is_empty() {
            self.note(empty);
            return Ok(());
        }
        table.render(self.color).iter().try_for_each(|line| self.line(line))
    }

    /// Names and values, one pair a line; pairs without a value are left out.
    pub(crate) fn pairs(self, pairs: &[(&str, String)]) -> Result<(), CtlError> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            self.line(&format!("{}  {value}", self.paint(&format!("{name:width$}"), Tone::Faint)))?;
        }
        Ok(())
    }

    /// A word in the colour of its meaning, for standard output.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        paint(text, tone, self.color)
    }

    /// A word for a person who looks on; nobody else gets it.
    pub(crate) fn note(self, text: &str) {
        if self.manner == Manner::Talkative {
            self.warn(text);
        }
    }

    /// A word that is said even when asked to be quiet.
    pub(crate) fn warn(self, text: &str) {
        let text = paint(text, Tone::Faint, self.color_notes);
        // Nobody can be told that standard error is gone.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Bytes for standard error.
    pub(crate) fn error_bytes(bytes: &[u8]) {
        let _ = io::stderr().write_all(bytes);
    }

    /// How a command failed: for people a line and a hint, for programs one
    /// JSON line, both on standard error.
    pub(crate) fn error(self, error: &CtlError) {
        let (message, hint) = (error.to_string(), error.hint());
        if self.is_json() {
            let fault = ErrorView { error: Fault { reason: error.reason(), message, hint } };
            let line = serde_json::to_string(&fault).unwrap_or_default();
            let _ = writeln!(io::stderr(), "{line}");
            return;
        }
        let label = paint("error:", Tone::Bad, self.color_notes);
        let _ = writeln!(io::stderr(), "{label} {message}");
        if let Some(hint) = hint {
            let label = paint("hint:", Tone::Busy, self.color_notes);
            let _ = writeln!(io::stderr(), "{label} {hint}");
        }
    }
}

#[derive(Serialize)]
struct ErrorView {
    error: Fault,
}

#[derive(Serialize)]
struct Fault {
    reason: String,
    message: String,
    hint: Option<String>,
}

fn paint(text: &str, tone: Tone, color: bool) -> String {
    let style = match tone {
        Tone::Good => Style::new().fg_color(Some(AnsiColor::Green.into())),
        Tone::Bad => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
        Tone::Busy => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
        Tone::Faint => Style::new().dimmed(),
        Tone::Plain => Style::new(),
    };
    if color && tone != Tone::Plain { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// An empty string of the wire is an absent value.
pub(crate) fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// JSON that came as text; text that is no JSON stays a string.
pub(crate) fn parsed(json: &str) -> serde_json::Value {
    if json.is_empty() {
        return serde_json::Value::Null;
    }
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// The word for a value of a protobuf enum: its name without the prefix, in
/// lower case, with hyphens.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// A number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(
            [0, 1023, 1024, 10_485_760, u64::MAX].map(size),
            ["0 B", "1023 B", "1.0 KiB", "10.0 MiB", "16384.0 PiB"]
        );
    }

    #[test]
    fn enum_names_become_words() {
        assert_eq!(word("RUN_STATE_QUEUED", "RUN_STATE_"), "queued");
        assert_eq!(word("OUTPUT_POLICY_DROP_OLDEST", "OUTPUT_POLICY_"), "drop-oldest");
    }
}
