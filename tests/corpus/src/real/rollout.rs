//! The file of a rollout: `sessions/YYYY/MM/DD/rollout-…jsonl`, one per thread, appended to by a resume.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use crate::Made;
use crate::clock::Clock;
use crate::json::Json;

/// A rollout that is being written.
#[derive(Debug)]
pub(crate) struct Rollout {
    out: BufWriter<File>,
    /// The number of the next record, in a version that numbers them.
    ordinal: Option<u64>,
    made: Made,
}

impl Rollout {
    pub(crate) fn begin(home: &Path, thread: &str, now: Clock, numbered: bool) -> io::Result<Self> {
        let directory = home.join("sessions").join(now.day());
        fs::create_dir_all(&directory)?;
        let file = File::create_new(directory.join(format!("rollout-{}-{thread}.jsonl", now.file_name())))?;
        Ok(Self {
            out: BufWriter::with_capacity(64 << 10, file),
            ordinal: numbered.then_some(0),
            made: Made { sessions: 1, files: 1, ..Made::default() },
        })
    }

    pub(crate) fn record(&mut self, now: Clock, kind: &str, payload: &Json) -> io::Result<()> {
        let mut line = Vec::with_capacity(payload.0.len() + 96);
        line.extend_from_slice(br#"{"timestamp":""#);
        line.extend_from_slice(now.text().as_bytes());
        if let Some(ordinal) = &mut self.ordinal {
            line.extend_from_slice(br#"","ordinal":"#);
            line.extend_from_slice(ordinal.to_string().as_bytes());
            line.extend_from_slice(br#","type":""#);
            *ordinal += 1;
        } else {
            line.extend_from_slice(br#"","type":""#);
        }
        line.extend_from_slice(kind.as_bytes());
        line.extend_from_slice(br#"","payload":"#);
        line.extend_from_slice(&payload.0);
        line.extend_from_slice(b"}\n");
        self.out.write_all(&line)?;
        self.made.records += 1;
        self.made.bytes += line.len() as u64;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub(crate) fn made(&self) -> Made {
        self.made
    }
}
