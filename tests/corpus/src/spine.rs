//! The files of a trace spine, as the recorder of a tracing Codex writes them: segments that rotate, a
//! number for each record, meta files with hashes.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::Made;
use crate::clock::Clock;
use crate::json::{Json, object};

/// A segment is closed after the record with which it reaches this size, or this number of records.
const SEGMENT_BYTES: u64 = 5 << 20;
const SEGMENT_RECORDS: u64 = 5_000;

/// How a recorder ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In order: the last segment gets its meta file.
    Shutdown,
    /// The process is gone: no meta file.
    Killed,
    /// The same in the middle of a line.
    Torn,
}

/// A spine that is being written.
#[derive(Debug)]
pub(crate) struct Spine {
    directory: PathBuf,
    thread: String,
    segment: Option<Segment>,
    next_index: u64,
    seq: u64,
    /// Records with a number that wait to be written after later ones: each with how many of these.
    held: VecDeque<(Line, u32)>,
    made: Made,
}

#[derive(Debug)]
struct Line {
    seq: u64,
    text: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    index: u64,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    records: u64,
    first_seq: u64,
    last_seq: u64,
    created: Clock,
}

impl Spine {
    /// Begins the spine of a new thread below a Codex home.
    pub(crate) fn begin(home: &Path, thread: &str, now: Clock) -> io::Result<Self> {
        let directory = home.join("trace_spine").join(thread);
        fs::create_dir_all(directory.join("artifacts"))?;
        let mut spine = Self {
            directory,
            thread: thread.to_owned(),
            segment: None,
            next_index: 0,
            seq: 0,
            held: VecDeque::new(),
            made: Made { sessions: 1, ..Made::default() },
        };
        spine.open(now)?;
        Ok(spine)
    }

    /// Goes on after an ending, as a resume does: in a new segment, with the numbers of the last one. A last
    /// segment that is empty gives none, and the numbers begin again: so does the recorder.
    pub(crate) fn resume(&mut self, now: Clock) -> io::Result<()> {
        if self.segment.take().is_some_and(|segment| segment.records == 0) {
            self.seq = 0;
        }
        self.open(now)
    }

    /// Writes a record.
    pub(crate) fn record(&mut self, now: Clock, kind: &str, payload: &Json) -> io::Result<()> {
        let line = self.line(now, kind, payload);
        self.write(&line, now)?;
        for (_, wait) in &mut self.held {
            *wait = wait.saturating_sub(1);
        }
        while self.held.front().is_some_and(|(_, wait)| *wait == 0) {
            if let Some((line, _)) = self.held.pop_front() {
                self.write(&line, now)?;
            }
        }
        Ok(())
    }

    /// Numbers a record now, and writes it after `later` others: numbers are taken before the queue, so
    /// that two tasks can change places.
    pub(crate) fn record_late(&mut self, now: Clock, kind: &str, payload: &Json, later: u32) {
        let line = self.line(now, kind, payload);
        self.held.push_back((line, later));
    }

    /// Writes an artifact in place of an earlier one, and gives its hash.
    pub(crate) fn artifact(&self, name: &str, content: &[u8]) -> io::Result<String> {
        fs::write(self.directory.join("artifacts").join(name), content)?;
        Ok(hex(&Sha256::digest(content)))
    }

    pub(crate) fn end(&mut self, now: Clock, ending: Ending) -> io::Result<()> {
        while let Some((line, _)) = self.held.pop_front() {
            self.write(&line, now)?;
        }
        if ending == Ending::Torn {
            let payload =
                object! { "id": "0", "msg": object! { "type": "agent_message", "message": "half" } };
            let line = self.line(now, "event", &payload);
            let half = &line.text[..line.text.len() / 2];
            if let Some(segment) = &mut self.segment {
                segment.out.write_all(half)?;
                segment.bytes += half.len() as u64;
                self.made.bytes += half.len() as u64;
            }
        }
        if let Some(segment) = &mut self.segment {
            segment.out.flush()?;
            if ending == Ending::Shutdown {
                segment.write_meta(&self.directory, &self.thread, now)?;
            }
        }
        Ok(())
    }

    pub(crate) fn thread(&self) -> &str {
        &self.thread
    }

    pub(crate) fn made(&self) -> Made {
        self.made
    }

    fn line(&mut self, now: Clock, kind: &str, payload: &Json) -> Line {
        self.seq += 1;
        let mut text = Vec::with_capacity(payload.0.len() + 192);
        text.extend_from_slice(br#"{"schema_version":"codex_trace_spine_v1","thread_id":""#);
        text.extend_from_slice(self.thread.as_bytes());
        text.extend_from_slice(br#"","seq":"#);
        text.extend_from_slice(self.seq.to_string().as_bytes());
        text.extend_from_slice(br#","timestamp":""#);
        text.extend_from_slice(now.text().as_bytes());
        text.extend_from_slice(br#"","type":""#);
        text.extend_from_slice(kind.as_bytes());
        text.extend_from_slice(br#"","payload":"#);
        text.extend_from_slice(&payload.0);
        text.extend_from_slice(b"}\n");
        Line { seq: self.seq, text }
    }

    fn write(&mut self, line: &Line, now: Clock) -> io::Result<()> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        segment.write(line)?;
        self.made.records += 1;
        self.made.bytes += line.text.len() as u64;
        if segment.bytes >= SEGMENT_BYTES || segment.records >= SEGMENT_RECORDS {
            segment.out.flush()?;
            segment.write_meta(&self.directory, &self.thread, now)?;
            self.open(now)?;
        }
        Ok(())
    }

    fn open(&mut self, now: Clock) -> io::Result<()> {
        let index = self.next_index;
        self.next_index += 1;
        let out = File::create_new(self.directory.join(format!("segment-{index:03}.jsonl")))?;
        self.made.files += 1;
        self.segment = Some(Segment {
            index,
            out: BufWriter::with_capacity(64 << 10, out),
            hash: Sha256::new(),
            bytes: 0,
            records: 0,
            first_seq: 0,
            last_seq: 0,
            created: now,
        });
        Ok(())
    }
}

impl Segment {
    fn write(&mut self, line: &Line) -> io::Result<()> {
        self.out.write_all(&line.text)?;
        self.hash.update(&line.text);
        self.bytes += line.text.len() as u64;
        self.records += 1;
        if self.records == 1 {
            self.first_seq = line.seq;
        }
        self.last_seq = line.seq;
        Ok(())
    }

    /// `min_seq` and `max_seq` are those of the first and last record written, whatever stands between.
    fn write_meta(&self, directory: &Path, thread: &str, now: Clock) -> io::Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        let meta = serde_json::json!({
            "schema_version": "codex_trace_spine_v1",
            "thread_id": thread,
            "segment_index": self.index,
            "min_seq": self.first_seq,
            "max_seq": self.last_seq,
            "record_count": self.records,
            "bytes": self.bytes,
            "sha256": hex(&self.hash.clone().finalize()),
            "created_at": self.created.text(),
            "closed_at": now.text(),
        });
        fs::write(directory.join(format!("segment-{:03}.meta.json", self.index)), format!("{meta:#}"))
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
