//! Writing the files of a spine, format v1.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ORIGINATOR, RecordingError, problem};
use crate::SessionId;
use crate::spine::{SCHEMA_VERSION, Segment, SegmentName, segments};

/// A segment is closed when it holds so many bytes.
const BYTES: u64 = 5 * 1024 * 1024;
/// A segment is closed when it holds so many records.
const RECORDS: u64 = 5000;
/// How much of a first line is looked at, to know who wrote it.
const FIRST_LINE: u64 = 1024 * 1024;

/// Appends records to the spine of one thread.
///
/// Records get their numbers in the order in which they are written, so order in the file and order by number
/// are the same. Nothing is created before the first record.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    thread: SessionId,
    /// The number of the last record.
    seq: u64,
    /// The index of the segment that is open or would be next.
    index: u32,
    open: Option<Open>,
    /// The directory, held so that no two recorders write into it; none as long as it is not there.
    claim: Option<File>,
}

/// A segment that is written to.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    records: u64,
    first_seq: u64,
    created: String,
    closed: String,
}

/// Which line of the source a record was made from, and which of the records made from it this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Made {
    pub line: u64,
    pub part: u32,
}

/// What a segment's meta file says.
#[derive(Serialize)]
struct Meta<'m> {
    schema_version: &'m str,
    thread_id: &'m str,
    segment_index: u32,
    min_seq: u64,
    max_seq: u64,
    record_count: u64,
    bytes: u64,
    sha256: String,
    created_at: &'m str,
    closed_at: &'m str,
}

/// What is looked at of a line that was written earlier.
#[derive(Deserialize)]
struct Written {
    seq: u64,
    timestamp: String,
    #[serde(default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default)]
    recorded_from: Option<Made>,
}

impl Writer {
    /// Begins the spine of a thread below a root (`$CODEX_HOME/trace_spine`), or goes on with one that was
    /// begun here earlier: in a new segment, with the numbers after its last record. Says how far the source
    /// was recorded.
    pub(super) fn open(root: &Path, thread: SessionId) -> Result<(Self, Option<Made>), RecordingError> {
        let directory = root.join(thread.as_str());
        let mut writer = Self { directory, thread, seq: 0, index: 0, open: None, claim: None };
        if !writer.directory.is_dir() {
            return Ok((writer, None));
        }
        // Before it is looked at, so that nobody adds to what is seen.
        writer.claim = claim(&writer.directory)?;
        let found = segments(&writer.directory).map_err(problem(&writer.directory))?;
        let Some(last) = found.last() else { return Ok((writer, None)) };
        writer.index =
            last.index().checked_add(1).ok_or_else(|| RecordingError::Full(writer.directory.clone()))?;
        let made = writer.take_up(&found)?;
        Ok((writer, made))
    }

    /// Looks through what was written earlier, from its end.
    fn take_up(&mut self, found: &[Segment]) -> Result<Option<Made>, RecordingError> {
        let first = found.first().filter(|segment| segment.index() == 0);
        if !first.map(|segment| is_ours(&segment.path, &self.thread)).transpose()?.unwrap_or_default() {
            return Err(RecordingError::Foreign(self.directory.clone()));
        }
        let mut made = None;
        for segment in found.iter().rev() {
            let mut text = fs::read(&segment.path).map_err(problem(&segment.path))?;
            mend(&segment.path, &mut text)?;
            let lines = text.split(|byte| *byte == b'\n');
            for written in lines.rev().filter_map(|line| serde_json::from_slice::<Written>(line).ok()) {
                self.seq = self.seq.max(written.seq);
                made = made.max(written.payload.recorded_from);
                if made.is_some() {
                    self.close_abandoned(segment, &text)?;
                    return Ok(made);
                }
            }
        }
        Ok(made)
    }

    /// Writes the meta file of a segment whose writer died, if every line of it is whole.
    fn close_abandoned(&self, segment: &Segment, text: &[u8]) -> Result<(), RecordingError> {
        if segment.meta_path().exists() || !text.ends_with(b"\n") {
            return Ok(());
        }
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let parsed: Result<Vec<Written>, _> = lines.by_ref().map(serde_json::from_slice).collect();
        let Ok(parsed) = parsed else { return Ok(()) };
        let (Some(first), Some(last)) = (parsed.first(), parsed.last()) else { return Ok(()) };
        // The meta file must not outlive what it vouches for.
        File::open(&segment.path).and_then(|file| file.sync_all()).map_err(problem(&segment.path))?;
        let meta = Meta {
            schema_version: SCHEMA_VERSION,
            thread_id: self.thread.as_str(),
            segment_index: segment.index(),
            min_seq: first.seq,
            max_seq: last.seq,
            record_count: parsed.len() as u64,
            bytes: text.len() as u64,
            sha256: hexadecimal(&Sha256::digest(text)),
            created_at: &first.timestamp,
            closed_at: &last.timestamp,
        };
        write_meta(&segment.meta_path(), &meta)
    }

    /// The thread's directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the text of a member is in what was written before this writer. Within strings of a record the
    /// same text would have its quotes escaped.
    pub(super) fn has(&self, member: &str) -> Result<bool, RecordingError> {
        let member = memchr::memmem::Finder::new(member);
        for segment in segments(&self.directory).map_err(problem(&self.directory))?.iter().rev() {
            let text = fs::read(&segment.path).map_err(problem(&segment.path))?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
            if member.find(text.get(..whole).unwrap_or_default()).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The number of the last record.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends a record. `payload` is a JSON object that is not empty.
    pub(super) fn write(
        &mut self,
        time: Timestamp,
        kind: &str,
        payload: &str,
        made: Option<Made>,
    ) -> Result<(), RecordingError> {
        let seq = self.seq.saturating_add(1);
        let time = milliseconds(time);
        let envelope = format!(
            r#""schema_version":"{SCHEMA_VERSION}","thread_id":"{}","seq":{seq},"timestamp":"{time}","type":"{kind}""#,
            self.thread
        );
        let from =
            made.map(|Made { line, part }| format!(r#","recorded_from":{{"line":{line},"part":{part}}}"#));
        let members = payload.strip_suffix('}').unwrap_or(payload);
        let line = format!("{{{envelope},\"payload\":{members}{}}}}}\n", from.unwrap_or_default());
        if self.open.is_none() {
            let open = self.begin(&time, seq, Some(&line))?;
            self.open = Some(open);
        } else if let Some(open) = &mut self.open {
            open.file.write_all(line.as_bytes()).map_err(problem(&open.path))?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.records == 0 {
            (open.first_seq, open.created) = (seq, time.clone());
        }
        open.hash.update(line.as_bytes());
        open.bytes = open.bytes.saturating_add(line.len() as u64);
        open.records = open.records.saturating_add(1);
        open.closed = time;
        self.seq = seq;
        if open.bytes >= BYTES || open.records >= RECORDS {
            self.close_segment()?;
            let now = milliseconds(Timestamp::now());
            let open = self.begin(&now, seq.saturating_add(1), None)?;
            self.open = Some(open);
        }
        Ok(())
    }

    /// Creates the next segment. The very first one appears with its first line in it, so that it can always
    /// be told who wrote it.
    fn begin(&mut self, time: &str, seq: u64, first: Option<&str>) -> Result<Open, RecordingError> {
        fs::create_dir_all(&self.directory).map_err(problem(&self.directory))?;
        if self.claim.is_none() {
            self.claim = claim(&self.directory)?;
        }
        let path = self.directory.join(SegmentName::of(self.index).to_string());
        if self.index == 0 {
            let whole = self.directory.join(".segment-000.jsonl.new");
            fs::write(&whole, first.unwrap_or_default()).map_err(problem(&whole))?;
            let linked = fs::hard_link(&whole, &path);
            fs::remove_file(&whole).map_err(problem(&whole))?;
            match linked {
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(RecordingError::Foreign(self.directory.clone()));
                }
                linked => linked.map_err(problem(&path))?,
            }
        }
        let mut options = OpenOptions::new();
        options.append(true).create_new(self.index != 0);
        let mut file = BufWriter::new(options.open(&path).map_err(problem(&path))?);
        if self.index != 0 {
            file.write_all(first.unwrap_or_default().as_bytes()).map_err(problem(&path))?;
        }
        Ok(Open {
            path,
            file,
            hash: Sha256::new(),
            bytes: 0,
            records: 0,
            first_seq: seq,
            created: time.to_owned(),
            closed: time.to_owned(),
        })
    }

    /// Hands what was written to the operating system.
    pub(super) fn flush(&mut self) -> Result<(), RecordingError> {
        match &mut self.open {
            Some(open) => open.file.flush().map_err(problem(&open.path)),
            None => Ok(()),
        }
    }

    /// Closes the open segment: everything is on disk, and its meta file says what it is.
    pub(super) fn close_segment(&mut self) -> Result<(), RecordingError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.file.flush().map_err(problem(&open.path))?;
        open.file.get_ref().sync_all().map_err(problem(&open.path))?;
        let index = self.index;
        self.index = index.checked_add(1).ok_or_else(|| RecordingError::Full(self.directory.clone()))?;
        if open.records == 0 {
            return Ok(());
        }
        let meta = Meta {
            schema_version: SCHEMA_VERSION,
            thread_id: self.thread.as_str(),
            segment_index: index,
            min_seq: open.first_seq,
            max_seq: self.seq,
            record_count: open.records,
            bytes: open.bytes,
            sha256: hexadecimal(&open.hash.finalize()),
            created_at: &open.created,
            closed_at: &open.closed,
        };
        write_meta(&Segment { name: SegmentName::of(index), path: open.path }.meta_path(), &meta)
    }
}

/// Claims a thread's directory until the file is dropped, or the process dies. None where the filesystem has no
/// locks: that two record one thread is our own doing, and rare.
fn claim(directory: &Path) -> Result<Option<File>, RecordingError> {
    let opened = File::open(directory).map_err(problem(directory))?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(opened)),
        Err(TryLockError::WouldBlock) => Err(RecordingError::Busy(directory.to_owned())),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Adds the newline of a last record that lacks nothing else: some readers would take the line as it is, and others
/// wait for the newline for ever.
fn mend(path: &Path, text: &mut Vec<u8>) -> Result<(), RecordingError> {
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if serde_json::from_slice::<Written>(last).is_err() {
        return Ok(());
    }
    text.push(b'\n');
    let added = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(b"\n"));
    added.map_err(problem(path))
}

/// Whether a segment's first line says that it was recorded here, for this thread.
fn is_ours(path: &Path, thread: &SessionId) -> Result<bool, RecordingError> {
    #[derive(Deserialize)]
    struct First {
        thread_id: String,
        #[serde(rename = "type")]
        kind: String,
        payload: Who,
    }
    #[derive(Deserialize)]
    struct Who {
        originator: String,
    }
    let mut line = Vec::new();
    let file = File::open(path).map_err(problem(path))?;
    BufReader::new(file.take(FIRST_LINE)).read_until(b'\n', &mut line).map_err(problem(path))?;
    Ok(serde_json::from_slice::<First>(&line).is_ok_and(|first| {
        first.kind == "session_meta"
            && first.payload.originator == ORIGINATOR
            && first.thread_id == thread.as_str()
    }))
}

fn write_meta(path: &Path, meta: &Meta<'_>) -> Result<(), RecordingError> {
    let mut text = serde_json::to_vec_pretty(meta).map_err(|error| problem(path)(error.into()))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// Writes a file that is there as a whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RecordingError> {
    let new = path.with_added_extension("new");
    let written =
        File::create(&new).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(problem(&new))?;
    fs::rename(&new, path).map_err(problem(path))
}

/// A time as spines have it.
fn milliseconds(time: Timestamp) -> String {
    format!("{time:.3}")
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
