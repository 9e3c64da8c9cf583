//! The store thread: the only one that writes.
//!
//! It takes what waits, applies it as one batch, flushes, syncs, and then answers everybody. So there is
//! never a second batch that is not yet flushed (which can deadlock sled), and a hundred waiters cost one sync.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::Batch;
use super::blob::Blobs;
use super::database::{Database, Identity};
use super::error::StoreError;
use super::open::Lock;
use super::reader::Reader;
use super::table::Tables;
use super::transfer::{self, Transferred};
use super::watchdog::Watchdog;
use super::watermark::{self, Watermark};

/// How many changes are merged into one batch at most. More would make the first waiter wait longer
/// without saving syncs worth speaking of.
const MERGED_CHANGES: usize = 500;

/// How long the watermark may be behind. It is not written at once after a pause: the first commit is often
/// followed by others for which somebody waits.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread is asked for.
pub(super) enum Job {
    Commit(Commit),
    /// An export of exactly what was committed before.
    Export {
        to: PathBuf,
        answer: oneshot::Sender<Result<Transferred, StoreError>>,
    },
    /// The end; `clean` unless the handle was just dropped.
    End {
        clean: bool,
        answer: std::sync::mpsc::SyncSender<Result<(), StoreError>>,
    },
}

/// A batch and who waits for it.
pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<(), StoreError>>,
    /// The place in the queue, free again when the commit is answered.
    pub(super) slot: OwnedSemaphorePermit,
}

/// Numbers that the thread keeps for all to see.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) queued: AtomicUsize,
    pub(super) commits: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) spills: AtomicU64,
    pub(super) longest_flush_micros: AtomicU64,
}

/// Why there are no more writes, once that is so.
pub(super) type Failure = Arc<OnceLock<Arc<StoreError>>>;

pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) tables: Tables,
    pub(super) blobs: Blobs,
    pub(super) database: Arc<Database>,
    pub(super) reader: Reader,
    pub(super) identity: Identity,
    pub(super) gauges: Arc<Gauges>,
    pub(super) failure: Failure,
    pub(super) watchdog: Watchdog,
    pub(super) marked: Marked,
    /// Last, so that it is released after the database is closed.
    pub(super) lock: Lock,
}

/// What the watermark file says, and since when it is behind, if it is.
pub(super) struct Marked {
    pub(super) commits: u64,
    pub(super) at: Instant,
}

impl Writer {
    /// Works until the end is asked for, or until nobody is left who could ask.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut next = None;
        let end = loop {
            let Some(job) = next.take().or_else(|| self.wait(jobs)) else { break None };
            match job {
                Job::Commit(first) => {
                    let merged;
                    (merged, next) = merge(first, jobs);
                    self.commit(merged);
                    self.mark_in_passing();
                }
                Job::Export { to, answer } => {
                    let done = transfer::export_database(
                        &self.database,
                        self.tables,
                        &self.blobs,
                        self.identity,
                        &to,
                    );
                    // The one who asked may have gone; the file is there all the same.
                    let _ = answer.send(done);
                }
                Job::End { clean, answer } => break Some((clean, answer)),
            }
        };
        let (clean, answer) = end.unzip();
        let closed = self.end(clean.unwrap_or(false));
        if let Some(answer) = answer {
            let _ = answer.send(closed);
        }
    }

    /// The next job. Sleeps without an end unless the watermark is behind.
    fn wait(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        if self.marked.commits != self.identity.commits {
            match jobs.recv_timeout(WATERMARK_INTERVAL.saturating_sub(self.marked.at.elapsed())) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.mark_in_passing(),
            }
        }
        jobs.recv().ok()
    }

    /// Makes the merged commits durable and answers them.
    fn commit(&mut self, merged: Vec<Commit>) {
        let result = match self.failure.get() {
            Some(cause) => Err(Arc::clone(cause)),
            None => self.write(&merged).map_err(|error| {
                tracing::error!(%error, store = %self.directory.display(), "the store takes no more changes");
                Arc::clone(self.failure.get_or_init(|| Arc::new(error)))
            }),
        };
        self.gauges.queued.fetch_sub(merged.len(), Ordering::Relaxed);
        if result.is_ok() {
            self.gauges.commits.fetch_add(merged.len() as u64, Ordering::Relaxed);
        }
        for Commit { answer, slot, .. } in merged {
            drop(slot);
            // A waiter that is gone is none of our business.
            let _ = answer.send(result.clone().map_err(StoreError::ReadOnly));
        }
    }

    fn write(&mut self, merged: &[Commit]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut empty = true;
        for (key, value) in merged.iter().flat_map(|commit| commit.batch.changes()) {
            empty = false;
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        if empty {
            // All that came before is durable already.
            return Ok(());
        }
        let watched = self.watchdog.watch();
        let started = Instant::now();
        let commits = self.identity.commits + 1;
        self.database.apply(batch, commits)?;
        self.database.make_durable()?;
        drop(watched);
        if self.marked.commits == self.identity.commits {
            // From now on it is behind.
            self.marked.at = Instant::now();
        }
        self.identity.commits = commits;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.gauges.longest_flush_micros.fetch_max(micros, Ordering::Relaxed);
        self.gauges.batches.fetch_add(1, Ordering::Relaxed);
        self.gauges.syncs.fetch_add(1, Ordering::Relaxed);
        self.gauges.spills.store(self.database.spilled(), Ordering::Relaxed);
        Ok(())
    }

    /// Writes the watermark if it is due. An old watermark is still a true one, so a failure is no reason to
    /// stop; the next commit will meet the same full disk.
    fn mark_in_passing(&mut self) {
        if self.marked.commits == self.identity.commits || self.marked.at.elapsed() < WATERMARK_INTERVAL {
            return;
        }
        if let Err(error) = self.mark(false) {
            tracing::warn!(%error, "the store's watermark was not written");
            self.marked = Marked { commits: self.identity.commits, at: Instant::now() };
        }
    }

    fn mark(&mut self, clean: bool) -> Result<(), StoreError> {
        let Identity { id, commits } = self.identity;
        watermark::write(&watermark::path(&self.directory), Watermark { store: id, commits, clean })?;
        self.marked = Marked { commits, at: Instant::now() };
        Ok(())
    }

    /// Closes the database. Everything acknowledged is durable already.
    fn end(mut self, clean: bool) -> Result<(), StoreError> {
        self.reader.close();
        let result = match self.failure.get() {
            Some(cause) => Err(StoreError::ReadOnly(Arc::clone(cause))),
            None if clean => self.close_clean(),
            None => Ok(()),
        };
        drop(self.database);
        drop(self.lock);
        result
    }

    fn close_clean(&mut self) -> Result<(), StoreError> {
        let watched = self.watchdog.watch();
        self.database.make_durable()?;
        drop(watched);
        self.mark(true)
    }
}

/// Adds to `first` what waits behind it, up to the limit; what does not fit is the next job.
fn merge(first: Commit, jobs: &Receiver<Job>) -> (Vec<Commit>, Option<Job>) {
    let mut changes = first.batch.len();
    let mut merged = vec![first];
    loop {
        match jobs.try_recv() {
            Ok(Job::Commit(commit)) if changes + commit.batch.len() <= MERGED_CHANGES => {
                changes += commit.batch.len();
                merged.push(commit);
            }
            Ok(job) => return (merged, Some(job)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return (merged, None),
        }
    }
}

/// What happens when a write hangs.
pub(super) fn abort_on_hang(directory: &Path) -> impl FnOnce() + Send + 'static {
    let directory = directory.to_owned();
    move || {
        tracing::error!(store = %directory.display(), "a write to the store hangs; aborting, which loses nothing acknowledged");
        std::process::abort();
    }
}
