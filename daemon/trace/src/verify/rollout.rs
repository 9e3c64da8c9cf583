//! Verifying a rollout.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;

use super::line::{at, line, torn};
use super::report::{At, Code, Report};
use crate::decode::{self, Envelope};
use crate::lines::{LineReader, Piece, Position, Splitter};
use crate::record::{Body, Meta};

/// How many kinds are told apart.
const KINDS: usize = 1024;

/// Verifies a rollout.
pub(super) fn verify(path: &Path, report: &mut Report) {
    let mut rollout = Rollout { path, report, records: 0, ordinal: None, unknown: BTreeSet::new() };
    if let Err(error) = rollout.read() {
        report.add(Code::Unreadable, path, At::File, format!("it cannot be read: {error}"));
    }
}

struct Rollout<'r> {
    path: &'r Path,
    report: &'r mut Report,
    records: u64,
    /// The highest ordinal so far.
    ordinal: Option<u64>,
    unknown: BTreeSet<String>,
}

impl Rollout<'_> {
    fn read(&mut self) -> io::Result<()> {
        let file = File::open(self.path)?;
        let mut reader = LineReader::new(file, Splitter::new(0, Position::default()))?;
        reader.read_to_end(|piece| self.piece(piece))?;
        let (_, splitter) = reader.into_parts();
        torn(&splitter, self.path, self.report);
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>) {
        let Some((place, bytes)) = line(piece, self.path, self.report) else { return };
        let at = |byte| at(place, byte);
        match Envelope::read(bytes) {
            Ok(envelope) => self.envelope(&envelope, at(0)),
            Err(error) => {
                return self.report.add(Code::Unparsable, self.path, at(error.byte), error.to_string());
            }
        }
        match decode::rollout(bytes, place) {
            Ok(record) => self.body(&record.body, at(0)),
            // That there is no type has been said.
            Err(error) if error.problem == decode::Problem::NoType => {}
            Err(error) => self.report.add(Code::Unparsable, self.path, at(error.byte), error.to_string()),
        }
        self.records = self.records.saturating_add(1);
    }

    fn envelope(&mut self, envelope: &Envelope<'_>, at: At) {
        let members = [
            ("timestamp", envelope.timestamp.is_some()),
            ("type", envelope.kind.is_some()),
            ("payload", envelope.has_payload),
        ];
        let missing: Vec<&str> = members.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            let message = format!("the record has no usable {}", missing.join(", "));
            self.report.add(Code::BadEnvelope, self.path, at, message);
        }
        if envelope.timestamp.as_deref().is_some_and(|time| decode::time(time).is_none()) {
            self.report.add(Code::BadTime, self.path, at, "the record's timestamp is no time");
        }
        if let Some(ordinal) = envelope.seq {
            match self.ordinal {
                Some(highest) if highest == ordinal => {
                    self.report.add(
                        Code::Duplicate,
                        self.path,
                        at,
                        format!("ordinal {ordinal} was there before"),
                    );
                }
                Some(highest) if highest > ordinal => {
                    self.report.add(
                        Code::Disorder,
                        self.path,
                        at,
                        format!("ordinal {ordinal} comes after {highest}"),
                    );
                }
                _ => self.ordinal = Some(ordinal),
            }
        }
    }

    fn body(&mut self, body: &Body<'_>, at: At) {
        match body {
            // A fork carries the metadata of its origin further down.
            Body::Meta(meta) if self.records == 0 => self.name(meta, at),
            _ if self.records == 0 => {
                self.report.add(
                    Code::MissingSessionMeta,
                    self.path,
                    at,
                    "the rollout does not begin with its metadata",
                );
            }
            Body::Unknown { kind } if self.unknown.len() < KINDS && self.unknown.insert(kind.to_string()) => {
                self.report.add(
                    Code::UnknownType,
                    self.path,
                    at,
                    format!("records of kind {kind:?} are not known"),
                );
            }
            _ => {}
        }
    }

    fn name(&mut self, meta: &Meta<'_>, at: At) {
        let name = self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = meta.id.as_deref().filter(|id| name.starts_with("rollout-") && !name.ends_with(id))
        {
            self.report.add(
                Code::WrongName,
                self.path,
                at,
                format!("the file is not named after its thread {id:?}"),
            );
        }
    }
}
