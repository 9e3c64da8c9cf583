//! Codex homes to measure with, and the bare ways to read them that Spindle is set against.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use corpus::{Made, Real, real};
use serde::Deserialize;
use serde_json::value::RawValue;
use spindle_client::Client;
use spindle_client::v1::{IngestRequest, IngestTotals};
use tempfile::TempDir;
use trace::Place;
use trace::decode::Decoder;
use trace::lines::{LineReader, Piece, Position, Splitter};
use trace::session::Format;

use crate::Bench;

/// How many threads read: as many as there are cores.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A Codex home that goes with everything in it.
pub(crate) struct CodexHome {
    directory: TempDir,
    /// What is in it.
    pub(crate) made: Made,
}

impl CodexHome {
    pub(crate) fn new(bench: &Bench, bytes: u64, sessions: Option<u64>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-codex-").tempdir_in(&bench.scratch)?;
        let made =
            real(directory.path(), &Real { bytes, sessions, seed: 42 }).context("cannot make sessions")?;
        Ok(Self { directory, made })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// All files of records.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut directories = vec![self.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                } else if entry.path().extension().is_some_and(|ending| ending == "jsonl") {
                    files.push(entry.path());
                }
            }
        }
        // The largest first, so that the threads end together.
        files.sort_by_cached_key(|file| {
            std::cmp::Reverse(fs::metadata(file).map_or(0, |metadata| metadata.len()))
        });
        Ok(files)
    }
}

/// Reads all that is in the home that a daemon watches, and says what there is.
pub(crate) async fn ingest(client: &Client) -> Result<IngestTotals> {
    let mut traces = client.traces();
    let request = IngestRequest { wait: true, ..IngestRequest::default() };
    let mut progress = traces.ingest(request).await?.into_inner();
    let mut totals = None;
    while let Some(step) = progress.message().await? {
        totals = step.totals.or(totals);
    }
    totals.context("the daemon has not said what it read")
}

/// The envelope of a record, with everything else as it stands.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    timestamp: &'a str,
    seq: Option<u64>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// How long it takes to split all files into lines and to decode each line's envelope with `serde_json`, its
/// payload left raw, on all cores.
pub(crate) fn decode_bare(files: &[PathBuf]) -> Result<Duration> {
    read_all(files, |file| {
        let mut sum = 0;
        each_line(file, |line, _| {
            // A torn last line is no record.
            if let Ok(Envelope { kind, timestamp, seq, payload }) = serde_json::from_slice(line) {
                sum += kind.len() + timestamp.len() + usize::from(seq.is_some()) + payload.get().len();
            }
        })?;
        Ok(sum)
    })
}

/// How long Spindle's own decoder takes for the same, and that alone.
pub(crate) fn decode_ours(files: &[PathBuf]) -> Result<Duration> {
    read_all(files, |file| {
        let is_rollout = file.components().any(|part| part.as_os_str() == "sessions");
        let mut decoder = Decoder::new(if is_rollout { Format::Rollout } else { Format::Spine });
        let mut sum = 0;
        each_line(file, |line, place| sum += usize::from(decoder.decode(line, place).is_ok()))?;
        Ok(sum)
    })
}

/// Splits a file as Spindle does: that is not what is compared.
fn each_line(file: &Path, mut take: impl FnMut(&[u8], Place)) -> io::Result<()> {
    let mut lines = LineReader::new(File::open(file)?, Splitter::new(0, Position::default()))?;
    lines.read_to_end(|piece| {
        if let Piece::Line { bytes, place } = piece {
            take(bytes, place);
        }
    })
}

/// Reads files on all cores, each thread the next one that is left.
fn read_all(files: &[PathBuf], read: impl Fn(&Path) -> io::Result<usize> + Sync) -> Result<Duration> {
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<()> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            std::hint::black_box(read(file)?);
        }
        Ok(())
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| io::Error::other("a reading thread has failed"))??;
        }
        Ok::<_, io::Error>(())
    })?;
    Ok(start.elapsed())
}

/// How long a stat of every file takes.
pub(crate) fn look_at_all(home: &CodexHome) -> Result<Duration> {
    let start = Instant::now();
    std::hint::black_box(home.files()?);
    Ok(start.elapsed())
}

/// How long DuckDB takes to scan all files as JSON, with their payloads as they stand; none where the Python
/// that `tests/setup` prepares is not there.
pub(crate) fn scan_duckdb(home: &CodexHome) -> Result<Option<f64>> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/judges/duckdb/bin/python");
    if !python.exists() {
        return Ok(None);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/scan_with_duckdb.py");
    let output = Command::new(python).arg(script).arg(home.path()).output().context("cannot run Python")?;
    ensure!(output.status.success(), "DuckDB has failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8_lossy(&output.stdout).trim().parse()?))
}
