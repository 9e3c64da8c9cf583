//! What must be known of a rollout trace bundle before it is read.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::name;
use super::stat::FileStat;
use crate::spine::open_artifact;

/// The thread is told of within so many lines.
const FIRST_LINES: usize = 8;

/// A first line, or a payload, that is longer is none that is looked for.
const LIMIT: u64 = 1 << 20;

/// The last record lies within so many bytes of the end.
const LAST: u64 = 1024;

/// A Codex that has written nothing for so long has written a rollout, if it wanted one.
const LONG_AGO: Duration = Duration::from_mins(1);

/// A rollout trace bundle: each process of Codex writes one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) home: usize,
    pub(super) directory: PathBuf,
    /// Of the file with its events.
    pub(super) stat: FileStat,
}

impl Bundle {
    /// When it was begun, in milliseconds since 1970, as its manifest says.
    pub(super) fn started(&self) -> u64 {
        #[derive(Deserialize)]
        struct Manifest {
            started_at_unix_ms: u64,
        }
        let text = std::fs::read(self.directory.join("manifest.json")).unwrap_or_default();
        serde_json::from_slice(&text).map_or(0, |manifest: Manifest| manifest.started_at_unix_ms)
    }

    /// Whether no rollout is to be expected beside it any more: the session is ephemeral, or Codex has ended.
    pub(super) fn is_alone(&self) -> bool {
        let events = self.directory.join(name::BUNDLE_EVENTS);
        self.is_ephemeral(&events).unwrap_or_default()
            || is_complete(&events).unwrap_or_default()
            || self.stat.mtime.elapsed().is_ok_and(|age| age > LONG_AGO)
    }

    /// Whether its thread says that it has no rollout. None as long as it says nothing.
    fn is_ephemeral(&self, events: &Path) -> Option<bool> {
        let lines = BufReader::new(File::open(events).ok()?.take(LIMIT)).lines();
        let told = lines.take(FIRST_LINES).find_map(|line| {
            let line: Value = serde_json::from_str(&line.ok()?).ok()?;
            let payload = &line["payload"];
            (payload["type"] == "thread_started")
                .then(|| payload["metadata_payload"]["path"].as_str().map(str::to_owned))
        })??;
        let mut text = Vec::new();
        open_artifact(&self.directory, &told).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
        let metadata: Value = serde_json::from_slice(&text).ok()?;
        Some(metadata.get("rollout_path")?.is_null())
    }
}

/// Whether the last record is there.
fn is_complete(events: &Path) -> io::Result<bool> {
    let mut file = File::open(events)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LAST)))?;
    let mut text = Vec::new();
    file.take(LAST).read_to_end(&mut text)?;
    Ok(memchr::memmem::find(&text, b"recording_completed").is_some() && text.ends_with(b"\n"))
}
