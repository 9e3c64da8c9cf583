//! Judging files as they stand: does a spine or a rollout keep what its format promises?
//!
//! Everything is read as a stream; what is remembered is bounded. An [`Level::Error`] says that something is
//! lost or was changed; a [`Level::Warning`] what crashes and the writers' known habits explain.

mod below;
mod bundle;
mod line;
mod numbers;
mod report;
mod rollout;
mod segment;
mod trace;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use below::{Target, below};
pub use report::{Code, Finding, Level};

use crate::source::BUNDLE_EVENTS;
use crate::spine::{self, Segment, SegmentName};
use report::Report;

/// Verifies a session's directory, a bundle, a rollout trace bundle of Codex, one segment of a spine, or a rollout. What cannot be read is a finding, too.
pub fn verify(path: &Path) -> Vec<Finding> {
    let mut report = Report::default();
    if path.join("bundle.json").is_file() {
        bundle::verify(path, &mut report);
    } else if path.join(BUNDLE_EVENTS).is_file() {
        trace::verify(path, &mut report);
    } else if path.is_dir() {
        segment::verify_all(path, &mut report);
    } else if let Some(segment) = Segment::of(path) {
        segment::verify_one(&segment, &mut report);
    } else if begins_like_a_spine(path) {
        segment::verify_one(&Segment { name: SegmentName::of(0), path: path.to_owned() }, &mut report);
    } else {
        rollout::verify(path, &mut report);
    }
    report.finish()
}

fn begins_like_a_spine(path: &Path) -> bool {
    let mut start = [0; 4096];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or_default();
    memchr::memmem::find(start.get(..read).unwrap_or_default(), spine::SCHEMA_VERSION.as_bytes()).is_some()
}

/// Hashes and counts what is read through it.
struct Hashing<R> {
    source: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> Hashing<R> {
    fn new(source: R) -> Self {
        Self { source, hash: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (String, u64) {
        (hexadecimal(&self.hash.finalize()), self.bytes)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Hashing<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.source.seek(position)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
