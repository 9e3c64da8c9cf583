//! Verifying the segments of a spine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::Hashing;
use super::line::{at, line, torn};
use super::numbers::Numbers;
use super::report::{At, Code, Report};
use crate::decode::{self, Envelope};
use crate::lines::{LineReader, Piece, Position, Splitter};
use crate::record::{Artifact, Body};
use crate::spine::{
    ArtifactError, SCHEMA_VERSION, Segment, SegmentMeta, SegmentName, open_artifact, segments,
};
use crate::{Place, Record};

/// How many kinds and artifacts are told apart.
const KINDS: usize = 1024;

/// Verifies all segments of a thread's directory.
pub(super) fn verify_all(directory: &Path, report: &mut Report) {
    let Some(thread) = verify_segments(directory, Session::default(), report) else { return };
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if thread != name {
        let message = format!("the directory is named {name:?}, its records say {thread:?}");
        report.add(Code::WrongName, directory, At::File, message);
    }
}

/// Verifies the spine of a bundle, whose artifacts lie beside it. Gives the thread that its records name.
pub(super) fn verify_bundled(spine: &Path, bundle: &Path, report: &mut Report) -> Option<String> {
    let session = Session { artifacts: Some(bundle.to_owned()), ..Session::default() };
    verify_segments(spine, session, report)
}

fn verify_segments(directory: &Path, mut session: Session, report: &mut Report) -> Option<String> {
    let segments = match segments(directory) {
        Ok(segments) => segments,
        Err(error) => {
            let message = format!("it cannot be listed: {error}");
            report.add(Code::Unreadable, directory, At::File, message);
            return None;
        }
    };
    let mut expected = 0;
    for (at, segment) in segments.iter().enumerate() {
        if segment.index() > expected {
            let message = format!("segments {expected} to {} are missing", segment.index() - 1);
            report.add(Code::MissingSegment, &segment.path, At::File, message);
        }
        expected = segment.index().saturating_add(1);
        if !segment.name.is_proper() {
            let message = format!("Codex would name it {}", SegmentName::of(segment.index()));
            report.add(Code::WrongName, &segment.path, At::File, message);
        }
        let is_last = at + 1 == segments.len();
        session.segment(segment, is_last, report);
    }
    if segments.is_empty() {
        report.add(Code::NoSegments, directory, At::File, "there is no segment in the directory");
    }
    session.thread
}

/// Verifies one segment by itself.
pub(super) fn verify_one(segment: &Segment, report: &mut Report) {
    Session::default().segment(segment, true, report);
}

/// What is known across the segments of a session.
#[derive(Default)]
struct Session {
    /// The thread that the first record names.
    thread: Option<String>,
    seen: Numbers,
    unknown: BTreeSet<String>,
    /// What the files of artifacts hash to, by their paths in records.
    hashes: BTreeMap<String, Result<String, (Code, String)>>,
    /// What artifacts lie below, where that is not the segment's own directory.
    artifacts: Option<PathBuf>,
}

/// What is counted in one segment.
#[derive(Default)]
struct Counts {
    lines: u64,
    first: Option<u64>,
    last: Option<u64>,
    lowest: Option<u64>,
    highest: Option<u64>,
}

impl Session {
    fn segment(&mut self, segment: &Segment, is_last: bool, report: &mut Report) {
        let mut counts = Counts::default();
        match self.lines(segment, &mut counts, report) {
            Ok((sha256, bytes)) => self.meta(segment, &counts, &sha256, bytes, is_last, report),
            Err(error) => {
                report.add(Code::Unreadable, &segment.path, At::File, format!("it cannot be read: {error}"));
            }
        }
    }

    fn lines(
        &mut self,
        segment: &Segment,
        counts: &mut Counts,
        report: &mut Report,
    ) -> io::Result<(String, u64)> {
        let file = Hashing::new(File::open(&segment.path)?);
        let mut reader = LineReader::new(file, Splitter::new(segment.index(), Position::default()))?;
        reader.read_to_end(|piece| self.piece(segment, piece, counts, report))?;
        let (file, splitter) = reader.into_parts();
        torn(&splitter, &segment.path, report);
        Ok(file.finish())
    }

    fn piece(&mut self, segment: &Segment, piece: Piece<'_>, counts: &mut Counts, report: &mut Report) {
        counts.lines = counts.lines.saturating_add(1);
        let Some((place, bytes)) = line(piece, &segment.path, report) else { return };
        let at = |byte| at(place, byte);
        let envelope = match Envelope::read(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                return report.add(Code::Unparsable, &segment.path, at(error.byte), error.to_string());
            }
        };
        self.envelope(segment, &envelope, place, counts, report);
        match decode::spine(bytes, place) {
            Ok(record) => self.record(segment, &record, report),
            // That there is no type has been said.
            Err(error) if error.problem == decode::Problem::NoType => {}
            Err(error) => report.add(Code::Unparsable, &segment.path, at(error.byte), error.to_string()),
        }
    }

    fn envelope(
        &mut self,
        segment: &Segment,
        envelope: &Envelope<'_>,
        place: Place,
        counts: &mut Counts,
        report: &mut Report,
    ) {
        let at = At::Line { line: place.line, byte: place.offset };
        let mut add = |code, message: String| report.add(code, &segment.path, at, message);
        let members = [
            ("schema_version", envelope.schema_version.is_some()),
            ("thread_id", envelope.thread_id.is_some()),
            ("seq", envelope.seq.is_some()),
            ("timestamp", envelope.timestamp.is_some()),
            ("type", envelope.kind.is_some()),
            ("payload", envelope.has_payload),
        ];
        let missing: Vec<&str> = members.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            add(Code::BadEnvelope, format!("the record has no usable {}", missing.join(", ")));
        }
        if let Some(version) = envelope.schema_version.as_deref().filter(|version| *version != SCHEMA_VERSION)
        {
            add(Code::WrongVersion, format!("the record's version is {version:?}, not {SCHEMA_VERSION}"));
        }
        if let Some(thread) = envelope.thread_id.as_deref() {
            let first = self.thread.get_or_insert_with(|| thread.to_owned());
            if first != thread {
                add(Code::WrongThread, format!("the record belongs to thread {thread:?}, not {first:?}"));
            }
        }
        if envelope.timestamp.as_deref().is_some_and(|time| decode::time(time).is_none()) {
            add(Code::BadTime, "the record's timestamp is no time".to_owned());
        }
        if let Some(seq) = envelope.seq {
            if !self.seen.add(seq) {
                add(Code::Duplicate, format!("seq {seq} was there before"));
            } else if let Some(highest) = counts.highest.filter(|highest| *highest > seq) {
                add(Code::Disorder, format!("seq {seq} comes after {highest}"));
            }
            counts.add(seq);
        }
    }

    fn record(&mut self, segment: &Segment, record: &Record<'_>, report: &mut Report) {
        let place = At::Line { line: record.place.line, byte: record.place.offset };
        match &record.body {
            Body::Unknown { kind } if self.unknown.len() < KINDS && self.unknown.insert(kind.to_string()) => {
                report.add(
                    Code::UnknownType,
                    &segment.path,
                    place,
                    format!("records of kind {kind:?} are not known"),
                );
            }
            Body::Compaction(compaction) if !compaction.has_histories => {
                report.add(
                    Code::MissingHistories,
                    &segment.path,
                    place,
                    "the boundary does not carry both histories",
                );
            }
            Body::Artifact(artifact) => {
                if let Artifact::Diff { path, sha256, .. } | Artifact::Shell { path, sha256 } = &**artifact
                    && let Err((code, message)) = self.artifact(segment, path, sha256)
                {
                    report.add(code, &segment.path, place, message);
                }
            }
            _ => {}
        }
    }

    /// Compares an artifact with what its record says.
    fn artifact(&mut self, segment: &Segment, path: &str, expected: &str) -> Result<(), (Code, String)> {
        let own = segment.path.parent().unwrap_or(Path::new("."));
        let directory = self.artifacts.as_deref().unwrap_or(own);
        let known = self.hashes.get(path).cloned();
        let hash = known.unwrap_or_else(|| hash_of_artifact(directory, path));
        if self.hashes.len() < KINDS {
            self.hashes.insert(path.to_owned(), hash.clone());
        }
        if hash? == expected.to_ascii_lowercase() {
            return Ok(());
        }
        Err((Code::OverwrittenArtifact, format!("{path:?} has other content than when this was recorded")))
    }

    /// Compares a segment with what its meta file says.
    fn meta(
        &mut self,
        segment: &Segment,
        counts: &Counts,
        sha256: &str,
        bytes: u64,
        is_last: bool,
        report: &mut Report,
    ) {
        let path = segment.meta_path();
        let meta = match SegmentMeta::read(&path) {
            Ok(Some(meta)) => meta,
            Ok(None) if is_last || bytes == 0 => return,
            Ok(None) => {
                let message = "the segment was never closed: its writer ended before its time";
                return report.add(Code::MissingMeta, &segment.path, At::File, message);
            }
            Err(error) => return report.add(Code::BadMeta, &path, At::File, error.to_string()),
        };
        let mut add = |code, message: String| report.add(code, &path, At::File, message);
        if meta.sha256.as_deref().is_some_and(|said| !said.eq_ignore_ascii_case(sha256)) {
            add(
                Code::HashMismatch,
                format!("the segment hashes to {sha256}, which is not what its meta file says"),
            );
        }
        if let Some(thread) = &meta.thread_id
            && self.thread.as_ref().is_some_and(|first| first != thread)
        {
            add(Code::WrongThread, format!("the meta file belongs to thread {thread:?}"));
        }
        if let Some(version) = meta.schema_version.as_deref().filter(|version| *version != SCHEMA_VERSION) {
            add(Code::WrongVersion, format!("the meta file's version is {version:?}, not {SCHEMA_VERSION}"));
        }
        let mut compare = |name: &str, said: Option<u64>, there: &[Option<u64>]| {
            if said.is_some() && !there.contains(&said) {
                let [said, there] = [said, there.first().copied().flatten()]
                    .map(|n| n.map_or("none".into(), |n| n.to_string()));
                add(Code::MetaMismatch, format!("{name} is {there}, the meta file says {said}"));
            }
        };
        compare("record_count", meta.record_count, &[Some(counts.lines)]);
        compare("bytes", meta.bytes, &[Some(bytes)]);
        compare("segment_index", meta.segment_index, &[Some(u64::from(segment.index()))]);
        // The writer notes the first and the last number that it wrote, which in local disorder are not the
        // lowest and the highest.
        compare("min_seq", meta.min_seq, &[counts.first, counts.lowest]);
        compare("max_seq", meta.max_seq, &[counts.last, counts.highest]);
    }
}

impl Counts {
    fn add(&mut self, seq: u64) {
        self.first.get_or_insert(seq);
        self.last = Some(seq);
        self.lowest = Some(self.lowest.map_or(seq, |lowest| lowest.min(seq)));
        self.highest = Some(self.highest.map_or(seq, |highest| highest.max(seq)));
    }
}

fn hash_of_artifact(directory: &Path, path: &str) -> Result<String, (Code, String)> {
    let file = open_artifact(directory, path).map_err(|error| {
        let code = match &error {
            ArtifactError::Outside { .. } => Code::ArtifactOutside,
            ArtifactError::Io { source, .. } if source.kind() != io::ErrorKind::NotFound => Code::Unreadable,
            ArtifactError::Io { .. } | ArtifactError::NotAFile { .. } => Code::MissingArtifact,
        };
        (code, error.to_string())
    })?;
    let mut file = Hashing::new(file);
    io::copy(&mut file, &mut io::sink())
        .map_err(|error| (Code::Unreadable, format!("the artifact {path:?} cannot be read: {error}")))?;
    Ok(file.finish().0)
}
