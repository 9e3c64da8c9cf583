//! Rollout trace bundles that Spindle has asked for: they go with their runs, and before that when they take too much.
//!
//! What is removed is only what is known to be asked for: a workflow tells by a [`Witness`](codex::Witness) where its
//! process was to write bundles, and the one that the process wrote is noted by its path. Whatever else lies beside
//! it is somebody else's. A note is stored before the end of the process is, so none is forgotten.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use codex::Work;
use engine::store::{Batch, Order, StoreError, Table, TableInfo};
use engine::{Engine, Event, RunError, RunId};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trace::SessionId;
use trace::source::bundle_of_process;
use uuid::Uuid;

/// Between two looks at everything, where nothing gave reason to look.
const LOOK: SignedDuration = SignedDuration::from_hours(6);

/// Processes that were asked and are not yet looked at. There are never more than slots for runs.
const QUEUE: usize = 1024;

/// The daemon's own tables: prefix bytes 0x50 to 0x5f of the engine's store.
pub(crate) const TABLES: &[TableInfo] = &[TableInfo::of::<Bundles>()];

/// Bundles that were asked for, by run and by the start of the process, in milliseconds since 1970.
#[derive(Debug)]
struct Bundles;

impl Table for Bundles {
    const NAME: &'static str = "bundles";
    const PREFIX: u8 = 0x50;
    type Key = (Uuid, u64);
    type Value = BundleRow;
}

#[derive(Clone, PartialEq, prost::Message)]
struct BundleRow {
    /// Its directory, as bytes.
    #[prost(bytes = "vec", tag = "1")]
    path: Vec<u8>,
    /// How much it takes, once nothing comes any more.
    #[prost(uint64, optional, tag = "2")]
    bytes: Option<u64>,
}

/// Hears of processes that were asked for bundles.
#[derive(Debug, Clone)]
pub(crate) struct Notebook {
    asked: mpsc::Sender<Asked>,
}

/// A process that was asked.
#[derive(Debug)]
struct Asked {
    run: RunId,
    thread: SessionId,
    directory: PathBuf,
    /// In milliseconds since 1970.
    started: u64,
    ended: oneshot::Receiver<()>,
    /// Dropped when there is nothing to be noted any more.
    _noted: oneshot::Sender<()>,
}

/// To be told of the end of a process that was asked.
pub(crate) struct Noting {
    ended: oneshot::Sender<()>,
    noted: oneshot::Receiver<()>,
}

impl Notebook {
    /// Takes in that a process is at work, if it was asked for a bundle.
    pub(crate) fn begun(&self, work: &Work) -> Option<Noting> {
        let directory = work.bundles.clone()?;
        let thread = work.thread.to_string().parse().ok()?;
        let started = u64::try_from(work.started_at.as_millisecond()).ok()?;
        let (ended, hear_end) = oneshot::channel();
        let (tell_noted, noted) = oneshot::channel();
        let asked =
            Asked { run: RunId(work.run), thread, directory, started, ended: hear_end, _noted: tell_noted };
        if let Err(error) = self.asked.try_send(asked) {
            tracing::warn!(thread = %work.thread, %error, "a bundle is not noted, and will not be removed");
        }
        Some(Noting { ended, noted })
    }
}

impl Noting {
    /// The process has ended. Resolves when its bundle is noted, or when nobody does so.
    pub(crate) async fn ended(self) {
        let _ = self.ended.send(());
        // Nothing is ever sent.
        let _ = self.noted.await;
    }
}

/// Notes bundles, and removes them when it is time.
pub(crate) struct Keeper {
    asked: mpsc::Receiver<Asked>,
}

impl Keeper {
    /// Nothing noted yet, and where it is to be told of processes.
    pub(crate) fn new() -> (Self, Notebook) {
        let (sender, asked) = mpsc::channel(QUEUE);
        (Self { asked }, Notebook { asked: sender })
    }

    /// Works until the daemon ends. `limit` is how much may be kept, in bytes.
    pub(crate) async fn run(
        mut self,
        engine: Engine,
        limit: u64,
        stopping: CancellationToken,
    ) -> Result<(), String> {
        let mut noting = JoinSet::new();
        let mut events = engine.events();
        // Where nothing is kept, no event matters: then nobody wakes for each of them.
        let mut keeps = false;
        let mut next = engine.now();
        loop {
            if engine.now() >= next {
                if !keeps {
                    events = engine.events();
                }
                keeps = sweep(&engine, limit).await.map_err(|error| error.to_string())?;
                next = engine.now().checked_add(LOOK).unwrap_or(Timestamp::MAX);
            }
            tokio::select! {
                Some(asked) = self.asked.recv() => drop(noting.spawn(note(engine.clone(), asked))),
                Some(noted) = noting.join_next() => match noted {
                    Ok(Ok(())) => next = engine.now(),
                    Ok(Err(error)) => return Err(error.to_string()),
                    Err(error) => tracing::error!(%error, "noting a bundle has failed"),
                },
                page = events.next(), if keeps => match page {
                    Ok(page) if page.iter().any(|event| concerns(&engine, event)) => next = engine.now(),
                    Ok(_) => {}
                    Err(_) => {
                        events = engine.events();
                        next = engine.now();
                    }
                },
                () = engine.clock().sleep_until(next) => {}
                () = stopping.cancelled() => return Ok(()),
            }
        }
    }
}

/// Whether a run with bundles has ended or was deleted.
fn concerns(engine: &Engine, event: &Event) -> bool {
    matches!(event.kind.as_str(), "run.finished" | "run.deleted")
        && event.run.is_some_and(|run| {
            engine.reader().scan_prefix::<Bundles, _>(&run.0, Order::Ascending).next().is_some()
        })
}

/// Notes the bundle of a process: now, or when the process has ended.
async fn note(engine: Engine, asked: Asked) -> Result<(), StoreError> {
    let Asked { run, thread, directory, started, ended, _noted } = asked;
    let directory = Arc::new(directory);
    let look = || {
        let (directory, thread) = (Arc::clone(&directory), thread.clone());
        tokio::task::spawn_blocking(move || bundle_of_process(&directory, &thread, started).ok().flatten())
    };
    let mut found = look().await.ok().flatten();
    if found.is_none() {
        // Whoever lets go of it without a word will tell of the process again.
        let _ = ended.await;
        found = look().await.ok().flatten();
    }
    let Some(path) = found else { return Ok(()) };
    let mut batch = Batch::new();
    let row = BundleRow { path: path.as_os_str().as_bytes().to_vec(), bytes: None };
    batch.put::<Bundles>(&(run.0, started), &row);
    engine.commit(batch, Vec::new()).await
}

/// A bundle that is noted.
struct Noted {
    key: (Uuid, u64),
    row: BundleRow,
    path: PathBuf,
    /// Whether its process may be at work on it.
    in_use: bool,
    /// Whether its run is known no more.
    orphaned: bool,
}

/// Removes what is to be removed, and forgets what is gone. Says whether there was anything.
async fn sweep(engine: &Engine, limit: u64) -> Result<bool, RunError> {
    let reader = engine.reader().clone();
    let rows = tokio::task::spawn_blocking(move || {
        reader.scan::<Bundles>(.., Order::Ascending).collect::<Result<Vec<_>, _>>()
    });
    let rows = rows.await.map_err(|_| RunError::Closed)??;
    if rows.is_empty() {
        return Ok(false);
    }
    // A run works on one thread at a time: the last one, as long as it is not over.
    let last: HashMap<Uuid, u64> = rows.iter().map(|((run, started), _)| (*run, *started)).collect();
    let mut active: HashMap<Uuid, Option<bool>> = HashMap::new();
    for run in last.keys() {
        let state = match engine.record(RunId(*run)).await {
            Ok(record) => Some(!record.state.is_ended()),
            Err(RunError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        active.insert(*run, state);
    }
    let bundles = rows.into_iter().map(|(key, row)| Noted {
        path: PathBuf::from(OsString::from_vec(row.path.clone())),
        in_use: last.get(&key.0) == Some(&key.1) && active.get(&key.0) == Some(&Some(true)),
        orphaned: matches!(active.get(&key.0), Some(None)),
        key,
        row,
    });
    let bundles = bundles.collect();
    let swept = tokio::task::spawn_blocking(move || clear(bundles, limit));
    let batch = swept.await.map_err(|_| RunError::Closed)?;
    if !batch.is_empty() {
        engine.commit(batch, Vec::new()).await?;
    }
    Ok(true)
}

/// Removes bundles whose runs are gone, and then the oldest ones beyond the limit. What is gone is forgotten by the
/// batch.
fn clear(mut bundles: Vec<Noted>, limit: u64) -> Batch {
    let mut batch = Batch::new();
    bundles.retain_mut(|bundle| {
        if !is_bundle(&bundle.path) || (bundle.orphaned && remove(&bundle.path, "its run is gone")) {
            batch.delete::<Bundles>(&bundle.key);
            return false;
        }
        if bundle.row.bytes.is_none() && !bundle.in_use {
            bundle.row.bytes = Some(size(&bundle.path));
            batch.put::<Bundles>(&bundle.key, &bundle.row);
        }
        true
    });
    let mut kept: u64 = bundles.iter().filter_map(|bundle| bundle.row.bytes).sum();
    bundles.sort_by_key(|bundle| bundle.key.1);
    for bundle in bundles.iter().filter(|bundle| !bundle.in_use) {
        if kept <= limit {
            break;
        }
        if remove(&bundle.path, "there are too many") {
            batch.delete::<Bundles>(&bundle.key);
            kept = kept.saturating_sub(bundle.row.bytes.unwrap_or_default());
        }
    }
    batch
}

/// Whether a bundle still lies there. A link in its place is none.
fn is_bundle(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        // What cannot be seen now may be there later.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn remove(path: &Path, why: &str) -> bool {
    match fs::remove_dir_all(path) {
        Ok(()) => {
            tracing::info!(bundle = %path.display(), why, "a rollout trace bundle was removed");
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(bundle = %path.display(), %error, "a rollout trace bundle cannot be removed");
            false
        }
    }
}

/// How much the files of a directory take, as far as they can be seen.
fn size(directory: &Path) -> u64 {
    let mut bytes: u64 = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                left.push(entry.path());
            } else {
                bytes = bytes.saturating_add(metadata.len());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;

    struct Home(TempDir);

    impl Home {
        /// A bundle of so many bytes.
        fn bundle(&self, started: u64, bytes: usize) -> Noted {
            let path = self.0.path().join(format!("trace-{started}"));
            fs::create_dir_all(path.join("payloads")).unwrap();
            fs::write(path.join("payloads/1.json"), vec![0; bytes]).unwrap();
            let row = BundleRow { path: path.as_os_str().as_bytes().to_vec(), bytes: None };
            Noted { key: (Uuid::nil(), started), row, path, in_use: false, orphaned: false }
        }

        fn left(&self) -> Vec<String> {
            let names = fs::read_dir(self.0.path()).unwrap();
            let mut names: Vec<_> =
                names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_bundle_goes_with_its_run_and_what_is_not_noted_stays() {
        let home = Home(TempDir::new().unwrap());
        let mine = Noted { orphaned: true, ..home.bundle(1, 10) };
        let _somebody_elses = home.bundle(2, 10);
        let kept = home.bundle(3, 10);
        assert_eq!(clear(vec![mine, kept], 1000).len(), 2);
        assert_eq!(home.left(), ["trace-2", "trace-3"]);
    }

    #[test]
    fn the_oldest_go_first_where_there_is_too_much_and_none_that_codex_is_at_work_on() {
        let home = Home(TempDir::new().unwrap());
        let at_work = Noted { in_use: true, ..home.bundle(1, 1000) };
        let bundles = vec![home.bundle(4, 40), at_work, home.bundle(2, 40), home.bundle(3, 40)];
        assert_eq!(clear(bundles, 100).len(), 4);
        assert_eq!(home.left(), ["trace-1", "trace-3", "trace-4"]);
    }

    #[test]
    fn a_bundle_that_somebody_has_removed_is_forgotten_and_a_link_in_its_place_is_left_alone() {
        let home = Home(TempDir::new().unwrap());
        let (gone, replaced) = (home.bundle(1, 10), Noted { orphaned: true, ..home.bundle(2, 10) });
        let target = home.bundle(3, 10);
        fs::remove_dir_all(&gone.path).unwrap();
        fs::remove_dir_all(&replaced.path).unwrap();
        std::os::unix::fs::symlink(&target.path, &replaced.path).unwrap();
        assert_eq!(clear(vec![gone, replaced], 0).len(), 2);
        assert_eq!(home.left(), ["trace-2", "trace-3"]);
    }
}
