//! The handle: what the engine holds of its store.

use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use super::batch::Batch;
use super::blob::Blobs;
use super::error::StoreError;
use super::key::PrefixOf;
use super::open::{self, Options};
use super::reader::{Keys, Order, Reader, Rows};
use super::table::{Table, TableInfo, Tables};
use super::transfer::Transferred;
use super::watchdog::Watchdog;
use super::writer::{self, Commit, Failure, Gauges, Job, Marked, Writer};

/// A handle on the open store; clones share it.
///
/// Dropping the last handle ends the store thread, but only [`Store::close`] marks the end as clean.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    id: Uuid,
    tables: Tables,
    reader: Reader,
    blobs: Blobs,
    jobs: mpsc::Sender<Job>,
    slots: Arc<Semaphore>,
    gauges: Arc<Gauges>,
    failure: Failure,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A place in the store's queue; see [`Store::reserve`].
#[derive(Debug)]
#[must_use = "a permit holds a place in the queue until it is used or dropped"]
pub struct Permit {
    slot: OwnedSemaphorePermit,
}

/// The answer to a commit: resolves when the batch is durable, or when it is certain that it is not. Dropping
/// it changes nothing about the commit.
#[derive(Debug)]
#[must_use = "only the ticket tells whether the batch became durable"]
pub struct Ticket {
    answer: oneshot::Receiver<Result<(), StoreError>>,
}

/// Numbers about the store since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Batches that wait to be durable.
    pub queue_depth: usize,
    /// Batches of callers that were made durable.
    pub commits: u64,
    /// Batches of the database; each holds one or more of the callers'.
    pub batches: u64,
    /// Syncs of the database's file.
    pub syncs: u64,
    /// Further files that were synced, because the database moved a large page into them.
    pub spills: u64,
    /// The longest that a batch took from being applied to being durable.
    pub longest_flush: Duration,
}

impl Store {
    /// Opens or creates the store in `directory`. Blocks: after an unclean end, for a check of every row.
    ///
    /// `tables` are all the tables there are; a row that belongs to none of them is a finding of that check.
    pub fn open(
        directory: &Path,
        tables: &'static [TableInfo],
        options: &Options,
    ) -> Result<Self, StoreError> {
        let tables = Tables::new(tables)?;
        let opened = open::open(directory, tables, options)?;
        let blobs = Blobs::open(directory)?;
        let reader = Reader::new(Arc::clone(&opened.database));
        let gauges = Arc::new(Gauges::default());
        let failure = Arc::new(OnceLock::new());
        let watchdog = Watchdog::start(options.flush_limit, writer::abort_on_hang(directory))
            .map_err(StoreError::io("start the watchdog of", directory))?;
        let writer = Writer {
            directory: directory.to_owned(),
            tables,
            blobs: blobs.clone(),
            database: opened.database,
            reader: reader.clone(),
            identity: opened.identity,
            gauges: Arc::clone(&gauges),
            failure: Arc::clone(&failure),
            watchdog,
            marked: Marked { commits: opened.identity.commits, at: Instant::now() },
            lock: opened.lock,
        };
        let (jobs, waiting) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(StoreError::io("start the thread of", directory))?;
        let inner = Inner {
            id: opened.identity.id,
            tables,
            reader,
            blobs,
            jobs,
            slots: Arc::new(Semaphore::new(options.queue)),
            gauges,
            failure,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The store's id: stays the same from open to open; a restored store has another one than its original.
    pub fn id(&self) -> Uuid {
        self.inner.id
    }

    /// Waits for a place in the queue. This is where a caller feels that the disk is slow; it is called before
    /// any lock is taken under which [`Store::commit`] will run.
    pub async fn reserve(&self) -> Result<Permit, StoreError> {
        self.require_writable()?;
        let slot = Arc::clone(&self.inner.slots).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        Ok(Permit { slot })
    }

    /// Queues a batch; never blocks. Batches are applied in the order of these calls, each as a whole.
    pub fn commit(&self, permit: Permit, batch: Batch) -> Ticket {
        let (answer, receiver) = oneshot::channel();
        match self.require_writable().and_then(|()| batch.checked(self.inner.tables)) {
            Ok(batch) => {
                self.inner.gauges.queued.fetch_add(1, Ordering::Relaxed);
                let commit = Commit { batch, answer, slot: permit.slot };
                // Sending fails when the thread has ended; the answer is dropped with the job and the ticket
                // says that the store is closed.
                let _ = self.inner.jobs.send(Job::Commit(commit));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
        Ticket { answer: receiver }
    }

    /// Reserves, commits and waits, for callers that need no lock in between.
    pub async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let permit = self.reserve().await?;
        self.commit(permit, batch).await
    }

    /// The reading side, for code that must not write.
    pub fn reader(&self) -> &Reader {
        &self.inner.reader
    }

    /// See [`Reader::get`].
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, StoreError> {
        self.inner.reader.get::<T>(key)
    }

    /// See [`Reader::scan`].
    pub fn scan<T: Table>(&self, range: impl RangeBounds<T::Key>, order: Order) -> Rows<T> {
        self.inner.reader.scan::<T>(range, order)
    }

    /// See [`Reader::scan_prefix`].
    pub fn scan_prefix<T: Table, P: PrefixOf<T::Key>>(&self, prefix: &P, order: Order) -> Rows<T> {
        self.inner.reader.scan_prefix::<T, P>(prefix, order)
    }

    /// See [`Reader::keys`].
    pub fn keys<T: Table>(&self, range: impl RangeBounds<T::Key>, order: Order) -> Keys<T> {
        self.inner.reader.keys::<T>(range, order)
    }

    /// The files for what is too large for a row.
    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// Exports everything that was committed before this call into the file `to`, which appears when it is
    /// complete. Commits wait meanwhile.
    pub async fn export(&self, to: PathBuf) -> Result<Transferred, StoreError> {
        let (answer, done) = oneshot::channel();
        self.inner.jobs.send(Job::Export { to, answer }).map_err(|_| StoreError::Closed)?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Commits what waits, closes the database and marks it as closed in order. Blocks for the last flush.
    /// Other handles remain, but everything they do fails with [`StoreError::Closed`].
    pub fn close(self) -> Result<(), StoreError> {
        self.inner.end(true)
    }

    /// Numbers about the store's work.
    pub fn stats(&self) -> Stats {
        let gauges = &self.inner.gauges;
        Stats {
            queue_depth: gauges.queued.load(Ordering::Relaxed),
            commits: gauges.commits.load(Ordering::Relaxed),
            batches: gauges.batches.load(Ordering::Relaxed),
            syncs: gauges.syncs.load(Ordering::Relaxed),
            spills: gauges.spills.load(Ordering::Relaxed),
            longest_flush: Duration::from_micros(gauges.longest_flush_micros.load(Ordering::Relaxed)),
        }
    }

    /// Why nothing can be written any more, if a write has failed.
    pub fn problem(&self) -> Option<StoreError> {
        self.inner.failure.get().map(|cause| StoreError::ReadOnly(Arc::clone(cause)))
    }

    fn require_writable(&self) -> Result<(), StoreError> {
        self.problem().map_or(Ok(()), Err)
    }
}

impl Inner {
    /// Ends the store thread and waits for it.
    fn end(&self, clean: bool) -> Result<(), StoreError> {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(StoreError::Closed);
        };
        if thread.thread().id() == thread::current().id() {
            // The last handle was dropped by a waker that the store thread itself runs; it ends by itself
            // when the queue is gone.
            return Ok(());
        }
        self.slots.close();
        let (answer, closed) = mpsc::sync_channel(1);
        let asked = self.jobs.send(Job::End { clean, answer });
        let result = closed.recv();
        let joined = thread.join();
        match (asked, result, joined) {
            (Ok(()), Ok(result), Ok(())) => result,
            _ => Err(StoreError::Closed),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // `Closed` is what an earlier `close` leaves; the store thread itself has logged anything else.
        let _ = self.end(false);
    }
}

impl Future for Ticket {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or(Err(StoreError::Closed)))
    }
}
