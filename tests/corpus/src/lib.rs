//! Makes Codex homes full of sessions, of any size and always the same from the same seed, for tests and
//! benchmarks. All words in them are made up.
//!
//! - [`real()`]: sessions as Codex writes them: spines of the tracing Codex, rollouts of the published one.
//! - [`demo()`]: a corpus with the published totals of an earlier tool's demo, in that demo's dialect.

mod clock;
mod demo;
mod json;
mod random;
mod real;
mod spine;

pub use demo::{DEMO, demo};
pub use real::{Real, real};

/// What has been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Sessions, sub-agents included.
    pub sessions: u64,
    /// Files of records: segments and rollouts.
    pub files: u64,
    /// Records, without a half-written last line.
    pub records: u64,
    /// Bytes of the files of records.
    pub bytes: u64,
}

impl Made {
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.files += other.files;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}
