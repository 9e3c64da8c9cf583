//! Findings, and how they are gathered in bounded memory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How many findings of one code are kept for a file; the others are counted.
const PER_CODE: u64 = 50;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something is lost, or was changed after it was written.
    Error,
    /// A crash or a known habit of the writer explains it.
    Warning,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A file or directory cannot be read.
    Unreadable,
    /// A directory has no segments.
    NoSegments,
    /// A line is no JSON.
    Unparsable,
    /// A line has bytes that are no UTF-8.
    InvalidUtf8,
    /// A line is too long to be read.
    OversizeLine,
    /// The last line has no newline: it is torn, or still being written.
    TornLine,
    /// A record lacks a member of the envelope, or has one of another type.
    BadEnvelope,
    /// A record names another version of the format.
    WrongVersion,
    /// A record or meta file names another thread.
    WrongThread,
    /// The directory or file is named after another thread than its records.
    WrongName,
    /// A record's number is lower than one before it.
    Disorder,
    /// A record's number was there before.
    Duplicate,
    /// A record's time is no time.
    BadTime,
    /// A record is of a kind that is not known.
    UnknownType,
    /// A compaction boundary lacks a history.
    MissingHistories,
    /// A segment that is not the last one was never closed.
    MissingMeta,
    /// A meta file cannot be read.
    BadMeta,
    /// A meta file, or a bundle's list, says another hash than the file has.
    HashMismatch,
    /// A meta file says other counts or numbers than the segment has.
    MetaMismatch,
    /// Numbers of segments are left out.
    MissingSegment,
    /// The file that a record points to is not there.
    MissingArtifact,
    /// The file that a record points to has other content by now.
    OverwrittenArtifact,
    /// A record points out of the thread's directory.
    ArtifactOutside,
    /// A rollout does not begin with its metadata.
    MissingSessionMeta,
}

impl Code {
    /// How bad it is.
    pub fn level(self) -> Level {
        match self {
            Self::Unreadable
            | Self::NoSegments
            | Self::Unparsable
            | Self::OversizeLine
            | Self::BadEnvelope
            | Self::WrongVersion
            | Self::WrongThread
            | Self::HashMismatch
            | Self::MetaMismatch
            | Self::MissingSegment
            | Self::ArtifactOutside => Level::Error,
            Self::InvalidUtf8
            | Self::TornLine
            | Self::WrongName
            | Self::Disorder
            | Self::Duplicate
            | Self::BadTime
            | Self::UnknownType
            | Self::MissingHistories
            | Self::MissingMeta
            | Self::BadMeta
            | Self::MissingArtifact
            | Self::OverwrittenArtifact
            | Self::MissingSessionMeta => Level::Warning,
        }
    }
}

/// Something that is not as the format promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub code: Code,
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none for the file as a whole.
    pub line: Option<u64>,
    /// The offset in the file, where a byte can be told.
    pub byte: Option<u64>,
    /// What is wrong, in a sentence.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.level == Level::Error { "error" } else { "warning" };
        write!(f, "{level}: {}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(byte) = self.byte {
            write!(f, " (byte {byte})")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The findings so far.
#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    counts: BTreeMap<(PathBuf, Code), u64>,
}

/// Where a finding stands.
#[derive(Clone, Copy)]
pub(super) enum At {
    File,
    Line { line: u64, byte: u64 },
}

impl Report {
    pub(super) fn add(&mut self, code: Code, file: &Path, at: At, message: impl Into<String>) {
        let count = self.counts.entry((file.to_owned(), code)).or_default();
        *count = count.saturating_add(1);
        if *count > PER_CODE {
            return;
        }
        let (line, byte) = match at {
            At::File => (None, None),
            At::Line { line, byte } => (Some(line), Some(byte)),
        };
        let file = file.to_owned();
        self.findings.push(Finding { level: code.level(), code, file, line, byte, message: message.into() });
    }

    /// All findings, with how many were left out.
    pub(super) fn finish(mut self) -> Vec<Finding> {
        for ((file, code), count) in self.counts {
            if let Some(more @ 1..) = count.checked_sub(PER_CODE) {
                let message = format!("{more} more of this kind");
                self.findings.push(Finding {
                    level: code.level(),
                    code,
                    file,
                    line: None,
                    byte: None,
                    message,
                });
            }
        }
        self.findings
    }
}
