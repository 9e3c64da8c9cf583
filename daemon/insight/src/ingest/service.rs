//! The pipeline at work: threads that read, one task that stores ([`commit`]), one that follows the homes
//! ([`follow`]), one that watches the clock.

mod asked;
mod commit;
mod follow;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread;

use engine::Engine;
use engine::store::{Reader, StoreError};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trace::lines::CHUNK;
use trace::source::{Catalog, SessionSource};
use trace::tail::RootState;
use trace::{SessionId, Tail};

pub(crate) use self::asked::Asked;
use self::commit::Sent;
use super::board::{Board, Outcome};
use super::files;
use super::pipeline::VERSION;
use super::queue::Queue;
use super::session::{Live, Loaded, Part, Reached, ReadError, Terms, settles_at};
use crate::log::Log;
use crate::owner::Owners;
use crate::settings::{Retention, Settings};
use crate::store::cursor;
use crate::store::tables::Cursors;
use crate::view::{HomeView, Ingested, InsightError, InsightStats};

/// What the threads and tasks share.
pub(crate) struct Service {
    pub(crate) engine: Engine,
    pub(crate) reader: Reader,
    pub(crate) settings: RwLock<Arc<Settings>>,
    pub(crate) board: Board,
    pub(crate) queue: Queue,
    pub(crate) log: Arc<Log>,
    owners: Owners,
    pub(crate) gauges: Gauges,
    /// What the homes are looked over with.
    pub(crate) catalog: RwLock<Arc<Catalog>>,
    /// Homes of sessions that are known and that are not watched.
    elsewhere: std::sync::Mutex<Vec<Arc<Catalog>>>,
    parts: mpsc::UnboundedSender<Sent>,
    waiting: std::sync::Mutex<Option<mpsc::UnboundedReceiver<Sent>>>,
    alarms: mpsc::UnboundedSender<(Timestamp, SessionId)>,
    waiting_alarms: std::sync::Mutex<Option<mpsc::UnboundedReceiver<(Timestamp, SessionId)>>>,
    failure: OnceLock<String>,
    failed: Notify,
    homes_changed: Notify,
    tail: std::sync::Mutex<Option<Tail>>,
    ended: CancellationToken,
}

/// Numbers since the start.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) raised: AtomicU64,
    pub(crate) withdrawn: AtomicU64,
    pub(crate) commits: AtomicU64,
}

impl Service {
    /// Reads how far everything has come.
    pub(crate) fn open(engine: Engine, settings: Settings, owners: Owners) -> Result<Arc<Self>, StoreError> {
        let reader = engine.reader().clone();
        owners.load(&reader)?;
        let catalog = Arc::new(Catalog::new(settings.homes.clone()));
        let board = Board::default();
        let terms = terms(&engine, &settings);
        let mut elsewhere: HashMap<Vec<u8>, Arc<Catalog>> = HashMap::new();
        for row in cursor::all(&reader) {
            let (id, cursor) = row?;
            let Ok(id) = id.parse::<SessionId>() else { continue };
            let whole = cursor.version == VERSION && !cursor.anew;
            let read = if whole { files::fingerprint_of_cursor(&cursor) } else { 0 };
            let home = PathBuf::from(OsString::from_vec(cursor.home.clone()));
            let catalog = if settings.homes.contains(&home) {
                &catalog
            } else {
                let made = || Arc::new(Catalog::new(vec![home]));
                elsewhere.entry(cursor.home.clone()).or_insert_with(made)
            };
            board.put(id, catalog, read, cursor.gone_at != 0, settles_at(&cursor, &terms));
        }
        let (parts, waiting) = mpsc::unbounded_channel();
        let (alarms, waiting_alarms) = mpsc::unbounded_channel();
        Ok(Arc::new(Self {
            log: Arc::new(Log::open(reader.clone())?),
            owners,
            engine,
            reader,
            settings: RwLock::new(Arc::new(settings)),
            board,
            queue: Queue::default(),
            gauges: Gauges::default(),
            catalog: RwLock::new(catalog),
            elsewhere: std::sync::Mutex::new(elsewhere.into_values().collect()),
            parts,
            waiting: std::sync::Mutex::new(Some(waiting)),
            alarms,
            waiting_alarms: std::sync::Mutex::new(Some(waiting_alarms)),
            failure: OnceLock::new(),
            failed: Notify::new(),
            homes_changed: Notify::new(),
            tail: std::sync::Mutex::default(),
            ended: CancellationToken::new(),
        }))
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works until it is told to stop, or until the store fails.
    pub(crate) async fn run(self: &Arc<Self>, stop: CancellationToken) -> Result<(), InsightError> {
        let take = |receiver: &std::sync::Mutex<Option<_>>| {
            receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let (Some(parts), Some(alarms)) =
            (take(&self.waiting), self.waiting_alarms.lock().unwrap_or_else(PoisonError::into_inner).take())
        else {
            return Err(InsightError::Closed);
        };
        self.queue.open();
        // Whoever drops this future stops everything at once, as a kill would; nothing is lost by it.
        let _halt = Halt(Arc::clone(self));
        let threads: Vec<_> = (0..self.settings().threads.max(1))
            .map(|number| {
                let service = Arc::clone(self);
                thread::Builder::new().name(format!("traces-{number}")).spawn(move || service.work())
            })
            .collect();
        let (stop, ending) = (stop.child_token(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).store(parts, ending.clone()));
        tasks.spawn(Arc::clone(self).watch_the_clock(alarms, stop.clone()));
        tasks.spawn(Arc::clone(self).follow(stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.failed.notified() => {}
        }
        stop.cancel();
        self.queue.close();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().flatten().for_each(|thread| drop(thread.join()));
        });
        let _ = joined.await;
        // Only now is everything that was read on its way to the store.
        ending.cancel();
        while tasks.join_next().await.is_some() {}
        match self.failure.get() {
            Some(problem) => {
                tracing::error!(%problem, "traces are followed no longer");
                Err(InsightError::Closed)
            }
            None => Ok(()),
        }
    }

    /// A thread that reads.
    fn work(&self) {
        let mut buffer = Vec::new();
        // What is read into is given back for as long as there is nothing to read.
        while let Some(turn) = self.queue.pop(|| buffer = Vec::new()) {
            let id = &turn.id;
            let Some(job) = self.board.take(id) else { continue };
            if buffer.is_empty() {
                buffer = vec![0; CHUNK];
            }
            let terms = terms(&self.engine, &self.settings());
            let source = job.catalog.look_unless_scanned(id);
            let reading = AssertUnwindSafe(|| match &source {
                Some(source) => self.read(id, source, job.live, job.watched, &terms, &mut buffer),
                None => self.gone(id, &terms),
            });
            // A session that is read makes itself felt by its batch alone, which a panic keeps from coming about.
            let result = catch_unwind(reading).unwrap_or_else(|_| {
                tracing::error!(session = %id, "a session cannot be read: this is a fault of the program");
                self.finish(id, Outcome::given_up(source.as_ref().map(files::fingerprint_of_source)));
                Ok(())
            });
            if let Err(error) = result {
                self.fail(&error.to_string());
                return;
            }
        }
    }

    /// One turn of a session. An error is one of the store.
    fn read(
        &self,
        id: &SessionId,
        source: &SessionSource,
        live: Option<Box<Live>>,
        watched: bool,
        terms: &Terms,
        buffer: &mut [u8],
    ) -> Result<(), StoreError> {
        let mut live = match live {
            Some(live) => live,
            None => match Live::load(&self.reader, source)? {
                Loaded::Live(live) => live,
                Loaded::Moved(batch) => {
                    let read = Some(files::fingerprint_of_source(source));
                    self.send(id, Some(Part::without_records(batch)), Outcome::given_up(read), watched);
                    return Ok(());
                }
            },
        };
        live.watched |= watched;
        let news = live.watched;
        let (reached, refused) = match live.read(source, terms, buffer) {
            Ok(reached) => (reached, None),
            Err(ReadError::Store(error)) => return Err(error),
            Err(error) => (Reached::Turn, Some(error)),
        };
        if reached == Reached::End {
            live.settle(terms);
        }
        let part = live.part(&self.reader, reached, terms)?;
        let deadline = match &refused {
            // It is tried again; a permission that returns is seen earlier by the scan.
            Some(error) => {
                tracing::warn!(session = %id, error = error as &dyn std::error::Error, "a session cannot be read");
                let wait = SignedDuration::try_from(self.settings().poll_interval).unwrap_or_default();
                terms.now.checked_add(wait).ok()
            }
            None if reached == Reached::End => live.settles_at(terms),
            None => None,
        };
        let read = match (reached, &refused) {
            (Reached::End, _) => Some(files::fingerprint_of_source(source)),
            // Neither read to the end nor to be read at once.
            (Reached::Turn, Some(_)) => Some(0),
            (Reached::Turn, None) => None,
        };
        let settled = live.cursor().settled;
        let keep = !settled || reached == Reached::Turn;
        let outcome =
            Outcome { live: keep.then_some(live), read, settled, gone: false, deadline, forgotten: false };
        self.send(id, part, outcome, news);
        Ok(())
    }

    /// A session's files are gone.
    fn gone(&self, id: &SessionId, terms: &Terms) -> Result<(), StoreError> {
        // A home that is away as a whole may be a disk that is not mounted.
        let known = self.reader.get::<Cursors>(&id.as_str().to_owned())?;
        let home = known.map(|cursor| PathBuf::from(OsString::from_vec(cursor.home)));
        let away = home.is_some_and(|home| !home.is_dir());
        let forgotten = !away && self.settings().retention == Retention::Drop;
        let batch = if forgotten {
            Live::forget(&self.reader, id)?
        } else {
            Live::note_gone(&self.reader, id, terms.now)?
        };
        let outcome =
            Outcome { live: None, read: Some(0), settled: true, gone: true, deadline: None, forgotten };
        self.send(id, batch.map(Part::without_records), outcome, true);
        Ok(())
    }

    /// Asks for sessions when they are due to settle.
    async fn watch_the_clock(
        self: Arc<Self>,
        mut alarms: mpsc::UnboundedReceiver<(Timestamp, SessionId)>,
        stop: CancellationToken,
    ) {
        let mut due = BinaryHeap::new();
        loop {
            let next = due.peek().map(|Reverse((at, _)): &Reverse<(Timestamp, SessionId)>| *at);
            let clock = self.engine.clock();
            let alarm = async {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                alarm = alarms.recv() => match alarm {
                    Some((at, id)) => due.push(Reverse((at, id))),
                    None => return,
                },
                () = alarm => {
                    while let Some(Reverse((at, _))) = due.peek() {
                        if *at > self.engine.now() {
                            break;
                        }
                        if let Some(Reverse((at, id))) = due.pop() {
                            self.board.due(&self.queue, &id, at);
                        }
                    }
                }
            }
        }
    }

    /// Resolves when nothing is read or stored any more.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes new settings.
    pub(crate) fn reload(&self, settings: Settings) {
        let homes = settings.homes.clone();
        let mut mine = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let other = mine.homes != homes;
        *mine = Arc::new(settings);
        drop(mine);
        if other {
            let catalog = Arc::new(Catalog::new(homes));
            *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
            self.homes_changed.notify_one();
        }
    }

    pub(crate) fn stats(&self, totals: &Ingested) -> InsightStats {
        let numbers = self.board.numbers();
        let gauge = |gauge: &AtomicU64| gauge.load(Memory::Relaxed);
        let settings = self.settings();
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let status = tail.as_ref().map(Tail::status).unwrap_or_default();
        drop(tail);
        let homes = settings.homes.iter().map(|path| home(path, &status));
        InsightStats {
            sessions: numbers.sessions,
            open_sessions: numbers.open,
            gone_sessions: numbers.gone,
            signals: totals.signals,
            records: totals.records,
            bytes: totals.bytes,
            findings: totals.findings,
            last_scan: status.scan.as_ref().and_then(|scan| Timestamp::try_from(scan.at).ok()),
            last_scan_took: status.scan.as_ref().map(|scan| scan.took),
            bytes_read: gauge(&self.gauges.bytes),
            records_read: gauge(&self.gauges.records),
            signals_raised: gauge(&self.gauges.raised),
            signals_withdrawn: gauge(&self.gauges.withdrawn),
            queue_depth: self.queue.len() as u64,
            sessions_in_memory: numbers.in_memory,
            commits: gauge(&self.gauges.commits),
            last_change: self.log.last(),
            oldest_change: self.log.oldest(),
            homes: homes.collect(),
        }
    }

    fn fail(&self, problem: &str) {
        let _ = self.failure.set(problem.to_owned());
        self.queue.close();
        self.failed.notify_one();
    }
}

fn terms(engine: &Engine, settings: &Settings) -> Terms {
    let duration = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Terms {
        now: engine.now(),
        settle_after: duration(settings.settle_after),
        live_window: duration(settings.live_window),
        keep_findings: settings.keep_findings,
    }
}

/// Stops reading when it is dropped.
struct Halt(Arc<Service>);

impl Drop for Halt {
    fn drop(&mut self) {
        self.0.queue.close();
        self.0.owners.close();
        self.0.ended.cancel();
        drop(self.0.tail.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A home, as the tail sees it.
fn home(path: &Path, status: &trace::tail::Status) -> HomeView {
    let polled =
        status.roots.iter().filter(|root| root.path.starts_with(path)).find_map(|root| match &root.state {
            RootState::Polled(why) => Some(why.clone()),
            RootState::Absent | RootState::Watched => None,
        });
    let too_many = |polled| {
        format!("directories in use that cannot be watched: {polled}; they are looked at every so often")
    };
    HomeView {
        path: path.to_owned(),
        present: path.is_dir(),
        notified: polled.is_none(),
        watches: status.watched as u64,
        problem: polled.or_else(|| (status.polled > 0).then(|| too_many(status.polled))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_system_gives_too_few_watches_the_home_says_so() {
        let status = trace::tail::Status { polled: 3, ..trace::tail::Status::default() };
        let home = home(Path::new("/home/ada/.codex"), &status);
        assert!(
            home.notified && home.problem.is_some_and(|problem| problem.contains("cannot be watched: 3"))
        );
    }
}
