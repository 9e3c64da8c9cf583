//! What must be known of a rollout trace bundle before it is read.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::name;
use super::stat::FileStat;
use crate::SessionId;
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

/// When a bundle was begun, in milliseconds since 1970, as its manifest says.
fn started(bundle: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Manifest {
        started_at_unix_ms: u64,
    }
    let text = std::fs::read(bundle.join("manifest.json")).ok()?;
    serde_json::from_slice(&text).ok().map(|manifest: Manifest| manifest.started_at_unix_ms)
}

/// The bundle that a process has written about its thread, below the directory that it was asked to write to: the first
/// one that was begun at or after a time, in milliseconds since 1970, when the process was started. None if there is
/// none, or if it does not say when it was begun.
pub fn bundle_of_process(directory: &Path, thread: &SessionId, since: u64) -> io::Result<Option<PathBuf>> {
    let mut first: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_of_thread = entry.file_name().to_str().and_then(name::bundle).is_some_and(|id| id == *thread);
        // What a link leads to is none that was asked for.
        if !is_of_thread || !entry.file_type()?.is_dir() {
            continue;
        }
        let Some(begun) = started(&entry.path()).filter(|begun| *begun >= since) else { continue };
        if first.as_ref().is_none_or(|(earliest, _)| begun < *earliest) {
            first = Some((begun, entry.path()));
        }
    }
    Ok(first.map(|(_, path)| path))
}

impl Bundle {
    /// When it was begun, in milliseconds since 1970, as its manifest says.
    pub(super) fn started(&self) -> u64 {
        started(&self.directory).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_bundle_of_a_process_is_the_first_of_its_thread_since_its_start() {
        let directory = tempfile::TempDir::new().unwrap();
        let thread = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
        let make = |trace: &str, thread: &str, begun: u64| {
            let bundle = directory.path().join(format!("trace-{trace}-{thread}"));
            std::fs::create_dir(&bundle).unwrap();
            let manifest = format!(r#"{{"schema_version":2,"started_at_unix_ms":{begun}}}"#);
            std::fs::write(bundle.join("manifest.json"), manifest).unwrap();
            bundle
        };
        make("before", thread, 99);
        make("later", thread, 120);
        make("other", "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e12", 101);
        let mine = make("mine", thread, 100);
        std::fs::create_dir(directory.path().join(format!("trace-silent-{thread}"))).unwrap();
        let link = directory.path().join(format!("trace-link-{thread}"));
        std::os::unix::fs::symlink(&mine, link).unwrap();
        let of = |since| bundle_of_process(directory.path(), &thread.parse().unwrap(), since).unwrap();
        assert_eq!((of(100), of(121)), (Some(mine), None));
        assert!(bundle_of_process(&directory.path().join("nowhere"), &thread.parse().unwrap(), 0).is_err());
    }
}
