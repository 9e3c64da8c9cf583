//! Verifying a rollout trace bundle: its events as lines, and the payloads that they point to.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::line::{at, line, torn};
use super::numbers::Numbers;
use super::report::{At, Code, Report};
use crate::decode::Decoder;
use crate::lines::{LineReader, Piece, Position, Splitter};
use crate::record::Body;
use crate::session::Format;
use crate::source::{BUNDLE_EVENTS, thread_of_bundle};
use crate::spine::{ArtifactError, open_artifact};

/// The version that is known.
const VERSION: u64 = 2;

/// How many kinds are told apart.
const KINDS: usize = 1024;

pub(super) fn verify(directory: &Path, report: &mut Report) {
    let mut bundle = Bundle {
        directory,
        path: directory.join(BUNDLE_EVENTS),
        thread: directory
            .file_name()
            .and_then(|name| thread_of_bundle(name.to_str()?))
            .map(|id| id.to_string()),
        report,
        seen: Numbers::default(),
        highest: 0,
        unknown: BTreeSet::new(),
    };
    if let Err(error) = bundle.read() {
        bundle.add(Code::Unreadable, At::File, format!("it cannot be read: {error}"));
    }
}

struct Bundle<'r> {
    directory: &'r Path,
    path: PathBuf,
    /// The thread that the directory is named after.
    thread: Option<String>,
    report: &'r mut Report,
    seen: Numbers,
    highest: u64,
    unknown: BTreeSet<String>,
}

impl Bundle<'_> {
    fn add(&mut self, code: Code, at: At, message: String) {
        self.report.add(code, &self.path, at, message);
    }

    fn read(&mut self) -> io::Result<()> {
        let mut reader = LineReader::new(File::open(&self.path)?, Splitter::new(0, Position::default()))?;
        reader.read_to_end(|piece| self.piece(piece))?;
        let (_, splitter) = reader.into_parts();
        torn(&splitter, &self.path, self.report);
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>) {
        let Some((place, bytes)) = line(piece, &self.path, self.report) else { return };
        let at = |byte| at(place, byte);
        // What is no UTF-8 has been said.
        let Ok(record) = serde_json::from_str::<Value>(&String::from_utf8_lossy(bytes)) else { return };
        self.envelope(&record, &at(0));
        self.payloads(&record["payload"], &at(0));
        // Without payloads: whether they are there is a question of its own.
        let kind = match Decoder::new(Format::Bundle).decode(bytes, place) {
            Ok(record) => match record.body {
                Body::Unknown { kind } => Some(kind.into_owned()),
                _ => None,
            },
            Err(error) => return self.add(Code::Unparsable, at(error.byte), error.to_string()),
        };
        if let Some(kind) = kind
            && self.unknown.len() < KINDS
            && self.unknown.insert(kind.clone())
        {
            self.add(Code::UnknownType, at(0), format!("records of kind {kind:?} are not known"));
        }
    }

    fn envelope(&mut self, record: &Value, at: &At) {
        match record["schema_version"].as_u64() {
            Some(VERSION) => {}
            Some(version) => {
                self.add(
                    Code::WrongVersion,
                    *at,
                    format!("the record's version is {version}, not {VERSION}"),
                );
            }
            None => self.add(Code::BadEnvelope, *at, "the record has no usable schema_version".to_owned()),
        }
        let Some(seq) = record["seq"].as_u64() else {
            return self.add(Code::BadEnvelope, *at, "the record has no usable seq".to_owned());
        };
        if !self.seen.add(seq) {
            self.add(Code::Duplicate, *at, format!("seq {seq} was there before"));
        } else if seq < self.highest {
            self.add(Code::Disorder, *at, format!("seq {seq} comes after {}", self.highest));
        }
        self.highest = self.highest.max(seq);
        if let (Some(thread), Some(root)) = (self.thread.clone(), record["rollout_id"].as_str())
            && thread != root
        {
            self.add(Code::WrongThread, *at, format!("the record belongs to {root:?}, not {thread:?}"));
        }
    }

    /// Every payload that a record points to is there.
    fn payloads(&mut self, payload: &Value, at: &At) {
        let references =
            payload.as_object().into_iter().flatten().filter(|(name, _)| name.ends_with("_payload"));
        for path in references.filter_map(|(_, reference)| reference["path"].as_str()) {
            let code = match open_artifact(self.directory, path) {
                Ok(_) => continue,
                Err(ArtifactError::Outside { .. }) => Code::ArtifactOutside,
                Err(ArtifactError::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                    Code::Unreadable
                }
                Err(ArtifactError::Io { .. } | ArtifactError::NotAFile { .. }) => Code::MissingArtifact,
            };
            self.add(code, *at, format!("the payload {path:?} cannot be opened"));
        }
    }
}
