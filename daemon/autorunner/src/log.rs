//! The text log of the loop, `codex-autorunner.log`, and the copy of one block per iteration in
//! `runs/run-<id>.log`.
//!
//! ```text
//! === run 12 start ===
//! [2025-12-09T10:00:01Z] run=12 stdout: <line>
//! === run 12 end (code 0) ===
//! ```
//!
//! Lines appear in the log as they come, so that `tail -f` works as it always did. What keeps a crash
//! from leaving half a block is resumption: before a block begins the caller stores the length of the
//! log ([`position`]); after a crash [`BlockWriter::open`] finds the block behind that offset, removes
//! a torn last line, counts what is there, and skips that much when the caller feeds the same lines
//! again. An iteration that cannot go on is closed by [`recover`] with a truthful end marker. All of it
//! is idempotent: opening, feeding and closing a block any number of times gives the same bytes.
//!
//! Every line of output carries a prefix and control characters are shown escaped, so output can never
//! forge a marker, not even for a reader that splits lines at exotic separators.

mod follow;
mod reader;
mod writer;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

pub use follow::{LogStream, Part};
pub use reader::{Block, BlockSummary, DEFAULT_MAX_BYTES, block, runs, tail};
pub use writer::{BlockWriter, Recovery, position, recover};

/// Longest text of one line, in bytes; what is longer is cut, and the line says so.
pub const MAX_LINE_BYTES: usize = 256 * 1024;

/// What failed, on which log.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct LogError {
    /// What was attempted: `read`, `write`, …
    pub action: &'static str,
    /// The log file.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Removes secrets from a text before it is written. Must give the same answer for the same text, or
/// a resumed block would lose or repeat lines.
pub trait Redact: Send + Sync {
    /// The text to write instead.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str>;
}

/// Writes everything as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl Redact for KeepAll {
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(text)
    }
}

/// The first or last line of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Start { run: u64 },
    End { run: u64, code: i32 },
}

impl Marker {
    /// Reads a line without its newline. Only the exact form counts; chat markers of the earlier tool
    /// (`=== run N chat start ===`) are not markers of a block.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let body = line.strip_suffix('\r').unwrap_or(line);
        let (run, what) = body.strip_prefix("=== run ")?.strip_suffix(" ===")?.split_once(' ')?;
        let run = run.parse().ok()?;
        if what == "start" {
            return Some(Self::Start { run });
        }
        let code = what.strip_prefix("end (code ")?.strip_suffix(')')?.parse().ok()?;
        Some(Self::End { run, code })
    }

    fn to_line(self) -> String {
        match self {
            Self::Start { run } => format!("=== run {run} start ===\n"),
            Self::End { run, code } => format!("=== run {run} end (code {code}) ===\n"),
        }
    }
}

/// Whether a line (its beginning suffices) is a line of output of this run.
fn is_output_of(line: &[u8], run: u64) -> bool {
    let line = String::from_utf8_lossy(line);
    line.strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .is_some_and(|(_, rest)| rest.starts_with(&format!(" run={run} stdout:")))
}
