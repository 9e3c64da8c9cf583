//! The log of what became known of signals: ordered, numbered without gaps, followed by watchers.

mod entry;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, Mutex, PoisonError};

use engine::store::{Batch, Order, Reader, StoreError};
use jiff::Timestamp;
use tokio::sync::watch;
use trace::SessionId;
use uuid::Uuid;

pub(crate) use self::entry::Past;
use crate::ingest::session::Change;
use crate::signal::{Signal, SignalId};
use crate::store::message::{ChangeLogMessage, Numbered};
use crate::store::page::{self, Kind, Rows};
use crate::store::tables::Log as LogTable;
use crate::view::{InsightError, Phase, SignalChange};

/// How many of the newest changes are kept in memory.
const RING: usize = 2048;

/// How many changes a watcher is given at once at the most.
const GIVEN: usize = 256;

/// How many bytes of changes go into a page before it is packed.
const FILL: usize = 12 * 1024;

/// The log: what is durable of it, and the newest changes.
pub(crate) struct Log {
    reader: Reader,
    durable: watch::Sender<u64>,
    oldest: AtomicU64,
    ring: Mutex<VecDeque<Arc<SignalChange>>>,
}

/// What is to be numbered.
pub(crate) enum Entry {
    Change {
        change: Change,
        /// The schedules that led to the run whose session it is.
        lineage: Vec<Uuid>,
    },
    Past(Past),
}

/// Changes on their way to the store.
pub(crate) struct Numbering {
    /// The newest of them, without a gap up to the last; what is past has no place in memory.
    recent: Vec<Arc<SignalChange>>,
    /// Whether those are all, so that they go on where the changes in memory end.
    all: bool,
    last: u64,
    oldest: u64,
}

impl Log {
    /// The log as the store has it.
    pub(crate) fn open(reader: Reader) -> Result<Self, StoreError> {
        let oldest = reader.keys::<LogTable>(.., Order::Ascending).next().transpose()?.unwrap_or(1);
        let last = match reader.scan::<LogTable>(.., Order::Descending).next().transpose()? {
            Some((first, page)) => first + u64::from(page.rows).max(1) - 1,
            None => 0,
        };
        let (durable, _) = watch::channel(last);
        Ok(Self { reader, durable, oldest: AtomicU64::new(oldest), ring: Mutex::default() })
    }

    pub(crate) fn last(&self) -> u64 {
        *self.durable.borrow()
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.load(Memory::Acquire)
    }

    /// Numbers changes and puts them into a batch. One caller at a time, and each is published before the next.
    pub(crate) fn number(
        &self,
        batch: &mut Batch,
        entries: Vec<Entry>,
        now: Timestamp,
        keep: u64,
    ) -> Result<Numbering, StoreError> {
        let mut number = self.last() + 1;
        let (mut recent, mut all) = (Vec::new(), true);
        let (mut rows, mut begins) = (Rows::with_room(FILL), number);
        let mut put = |rows: &mut Rows, enough: usize, next: u64| {
            if rows.bytes() >= enough {
                rows.close(|first, page| batch.put::<LogTable>(&(begins + first as u64), &page));
                begins = next;
            }
        };
        for entry in entries {
            match entry {
                Entry::Change { change, lineage } => {
                    rows.add(&entry::message(&change, now, &lineage));
                    recent.push(Arc::new(entry::numbered(change, number, now, lineage)));
                    number += 1;
                }
                Entry::Past(past) => {
                    for message in past.messages() {
                        rows.add_encoded(message);
                        number += 1;
                        put(&mut rows, FILL, number);
                        recent.clear();
                        all = false;
                    }
                }
            }
            put(&mut rows, FILL, number);
        }
        put(&mut rows, 0, number);
        let oldest = self.trim(batch, number, keep)?;
        Ok(Numbering { recent, all, last: number - 1, oldest })
    }

    /// Removes pages of which nothing is to be kept.
    fn trim(&self, batch: &mut Batch, next: u64, keep: u64) -> Result<u64, StoreError> {
        let oldest = self.oldest();
        let floor = next.saturating_sub(keep.max(1));
        if floor < oldest + 1024 {
            return Ok(oldest);
        }
        let mut kept = oldest;
        let mut before = None;
        for first in self.reader.keys::<LogTable>(oldest..=floor, Order::Ascending) {
            let first = first?;
            if let Some(page) = before.replace(first) {
                batch.delete::<LogTable>(&page);
                kept = first;
            }
        }
        Ok(kept)
    }

    /// What was numbered is on disk.
    pub(crate) fn publish(&self, numbering: Numbering) {
        let Numbering { recent, all, last, oldest } = numbering;
        self.oldest.store(oldest, Memory::Release);
        if last == self.last() {
            return;
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if !all {
            ring.clear();
        }
        ring.extend(recent);
        let surplus = ring.len().saturating_sub(RING);
        ring.drain(..surplus);
        drop(ring);
        self.durable.send_replace(last);
    }

    /// Follows the log from a number on; 0 is from now on.
    ///
    /// A number beyond the next one was told by another log, such as the one before a restore: whoever waited for it
    /// would miss all that is told until then.
    pub(crate) fn follow(self: &Arc<Self>, from: u64) -> Result<SignalStream, InsightError> {
        let newest = self.last();
        let next = if from == 0 { newest + 1 } else { from };
        if next > newest + 1 {
            return Err(InsightError::Ahead { wanted: next, newest });
        }
        let oldest = self.oldest();
        if next < oldest {
            return Err(InsightError::Expired { wanted: next, oldest });
        }
        Ok(SignalStream { durable: self.durable.subscribe(), log: Arc::clone(self), next })
    }

    fn recent(&self, next: u64, last: u64) -> Option<Vec<Arc<SignalChange>>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front()?.number;
        let skip = usize::try_from(next.checked_sub(first)?).ok()?;
        Some(ring.iter().skip(skip).take_while(|change| change.number <= last).take(GIVEN).cloned().collect())
    }

    fn stored(&self, next: u64, last: u64) -> Result<Vec<Arc<SignalChange>>, StoreError> {
        let mut known = HashMap::new();
        let mut given = Vec::new();
        for change in self.changes(next)? {
            let mut change = change?;
            if change.number > last || given.len() == GIVEN {
                break;
            }
            if change.phase != Phase::Withdrawn {
                let signals = match known.entry(change.session.clone()) {
                    std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        let signals = signals_of(&self.reader, &change.session)?;
                        entry.insert(signals)
                    }
                };
                change.signal = signals.get(&change.id).cloned();
            }
            given.push(Arc::new(change));
        }
        Ok(given)
    }

    /// The stored changes from a number on, in order, without the signals that stand with their sessions.
    fn changes(
        &self,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<SignalChange, StoreError>> + use<>, StoreError> {
        let page = self.reader.keys::<LogTable>(..=from, Order::Descending).next().transpose()?;
        let pages = self.reader.scan::<LogTable>(page.unwrap_or(from).., Order::Ascending);
        let changes = pages.flat_map(|page| match page {
            Ok((first, page)) => changes_of(first, page).map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        Ok(changes.filter(move |change| change.as_ref().map_or(true, |change| change.number >= from)))
    }

    /// The changes up to a number, the latest first: for who counts back from an event.
    pub(crate) fn back_from(
        &self,
        number: u64,
    ) -> impl Iterator<Item = Result<SignalChange, StoreError>> + use<> {
        let pages = self.reader.scan::<LogTable>(..=number, Order::Descending);
        let changes = pages.flat_map(|page| match page {
            Ok((first, page)) => {
                let mut changes: Vec<_> = changes_of(first, page).map(Ok).collect();
                changes.reverse();
                changes
            }
            Err(error) => vec![Err(error)],
        });
        changes.filter(move |change| change.as_ref().map_or(true, |change| change.number <= number))
    }
}

fn changes_of(first: u64, page: crate::store::tables::PageRow) -> impl Iterator<Item = SignalChange> {
    // A change that cannot be read keeps its number.
    (first..)
        .zip(page::unpack_page::<ChangeLogMessage>(page))
        .filter_map(|(number, message)| entry::read(number, message))
}

/// The current signals of a session.
pub(crate) fn signals_of(
    reader: &Reader,
    session: &SessionId,
) -> Result<HashMap<SignalId, Arc<Signal>>, StoreError> {
    page::rows::<Numbered>(reader, session, Kind::Signals, 0)
        .map(|row| row.map(|numbered| (numbered.signal.id.clone(), numbered.signal)))
        .collect()
}

/// A watcher's place in the log of signals. A slow watcher costs nobody anything: it reads from the store what
/// has left the memory.
pub struct SignalStream {
    log: Arc<Log>,
    durable: watch::Receiver<u64>,
    next: u64,
}

impl SignalStream {
    /// The number of the change that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next changes, at least one: waits until there is one.
    pub async fn next(&mut self) -> Result<Vec<SignalChange>, InsightError> {
        loop {
            let waited = self.durable.wait_for(|last| *last >= self.next).await;
            let last = *waited.map_err(|_| InsightError::Closed)?;
            let oldest = self.log.oldest();
            if self.next < oldest {
                return Err(InsightError::Expired { wanted: self.next, oldest });
            }
            let changes = if let Some(changes) = self.log.recent(self.next, last) {
                changes
            } else {
                let (log, next) = (Arc::clone(&self.log), self.next);
                let read = tokio::task::spawn_blocking(move || log.stored(next, last));
                read.await.map_err(|_| InsightError::Closed)??
            };
            match changes.last() {
                Some(change) => {
                    self.next = change.number + 1;
                    return Ok(changes.into_iter().map(Arc::unwrap_or_clone).collect());
                }
                // None of them could be read.
                None => self.next = last + 1,
            }
        }
    }
}
