//! The ordered log of everything that happens: written with the transitions that it tells of,
//! read by watchers from any point, without gap or repeat.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use crate::run::RunId;
use crate::run::tables::table;
use crate::store::{self, Store, StoreError, Table};

table! { /// Events by number.
Events = 0x20 "events": u64 => EventRow }

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EventRow {
    /// Microseconds since the epoch.
    #[prost(int64, tag = "1")]
    pub time: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub run: Vec<u8>,
    #[prost(string, tag = "3")]
    pub kind: String,
    #[prost(bytes = "vec", tag = "4")]
    pub data_json: Vec<u8>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the log, from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The run that it happened to; none for the daemon itself.
    pub run: Option<RunId>,
    /// Such as `run.finished`.
    pub kind: String,
    /// More, as a JSON object.
    pub data: Value,
}

/// An event that another crate tells by [`Engine::commit`](crate::Engine::commit): the log gives it its number
/// and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Such as `signal.raised`.
    pub kind: String,
    /// More, as a JSON object; an event must fit a row of the store (8 KiB).
    pub data: Value,
}

impl NewEvent {
    /// Whether a row can hold it.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let size = self.kind.len() + crate::run::tables::to_json(&self.data).len() + 64;
        if size > store::MAX_VALUE_BYTES {
            return Err(StoreError::value_too_large(Events::NAME, self.kind.as_bytes(), size));
        }
        Ok(())
    }
}

/// A point in one store's log. A watcher shows it to go on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The store; a restored one has another id, since its numbers may tell another story.
    pub store: Uuid,
    /// The last event seen.
    pub seq: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store.simple(), self.seq)
    }
}

/// The text is no token.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no event token: pass one as a watch printed it")]
pub struct InvalidToken(String);

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let invalid = || InvalidToken(text.chars().take(80).collect());
        let (store, seq) = text.split_once(':').ok_or_else(invalid)?;
        Ok(Self {
            store: Uuid::try_parse(store).map_err(|_| invalid())?,
            seq: seq.parse().map_err(|_| invalid())?,
        })
    }
}

/// Why a watcher cannot have what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Retention has removed it.
    #[error("event {wanted} is no longer kept: the oldest one is {oldest}")]
    Expired {
        /// The first event wanted.
        wanted: u64,
        /// The first one there is.
        oldest: u64,
    },
    /// The token is from before a restore, or from another daemon.
    #[error("the token is of another store: this one's id is {store}")]
    Foreign {
        /// This store.
        store: Uuid,
    },
    /// The store could not be read.
    #[error("could not read the event log")]
    Store(#[from] StoreError),
    /// The daemon is going down.
    #[error("the daemon is shutting down")]
    Closed,
}

/// How many of the newest events are kept in memory, so that watchers who keep up never touch
/// the store.
const RING: usize = 4096;

/// How many events a watcher is given at once at the most.
const PAGE: usize = 256;

/// The log's memory: which events are durable, and the newest of them.
pub(crate) struct EventLog {
    store: Store,
    ring: Mutex<VecDeque<Arc<Event>>>,
    durable: watch::Sender<u64>,
    oldest: AtomicU64,
}

impl EventLog {
    pub(crate) fn new(store: Store, oldest: u64, last: u64) -> Self {
        let (durable, _) = watch::channel(last);
        Self { store, ring: Mutex::new(VecDeque::new()), durable, oldest: AtomicU64::new(oldest) }
    }

    /// Takes an event on its way to the store. Called in the order of the numbers.
    pub(crate) fn remember(&self, event: Arc<Event>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// Everything up to this number is on disk: watchers may see it.
    pub(crate) fn publish(&self, seq: u64) {
        self.durable.send_if_modified(|durable| {
            let newer = seq > *durable;
            *durable = (*durable).max(seq);
            newer
        });
    }

    /// The newest durable event's number.
    pub(crate) fn last(&self) -> u64 {
        *self.durable.borrow()
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.oldest.load(Ordering::Acquire)
    }

    pub(crate) fn set_oldest(&self, seq: u64) {
        self.oldest.store(seq, Ordering::Release);
    }

    /// Follows the log from event `next` on.
    pub(crate) fn follow(self: &Arc<Self>, next: u64) -> EventStream {
        EventStream { durable: self.durable.subscribe(), log: Arc::clone(self), next }
    }

    /// The events from `next` on that are still in memory, up to `last`.
    fn recent(&self, next: u64, last: u64) -> Option<Vec<Arc<Event>>> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front()?.seq;
        let skip = usize::try_from(next.checked_sub(first)?).ok()?;
        Some(ring.iter().skip(skip).take_while(|event| event.seq <= last).take(PAGE).cloned().collect())
    }

    fn stored(&self, next: u64, last: u64) -> Result<Vec<Arc<Event>>, StoreError> {
        self.store
            .scan::<Events>(next..=last, store::Order::Ascending)
            .take(PAGE)
            .map(|row| row.map(|(seq, row)| Arc::new(row.read(seq))))
            .collect()
    }
}

impl EventRow {
    pub(crate) fn new(event: &Event) -> Self {
        Self {
            time: event.time.as_microsecond(),
            run: event.run.map(|run| run.0.as_bytes().to_vec()).unwrap_or_default(),
            kind: event.kind.clone(),
            data_json: crate::run::tables::to_json(&event.data),
        }
    }

    fn read(self, seq: u64) -> Event {
        Event {
            seq,
            time: Timestamp::from_microsecond(self.time).unwrap_or_default(),
            run: Uuid::from_slice(&self.run).ok().map(RunId),
            kind: self.kind,
            data: serde_json::from_slice(&self.data_json).unwrap_or_default(),
        }
    }
}

/// A watcher's place in the log. A slow watcher costs nobody anything: it reads from the store
/// what has left the memory.
pub struct EventStream {
    log: Arc<EventLog>,
    durable: watch::Receiver<u64>,
    next: u64,
}

impl EventStream {
    /// The number of the event that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The next events, at least one: waits until there is one.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        let last = *self.durable.wait_for(|last| *last >= self.next).await.map_err(|_| WatchError::Closed)?;
        let oldest = self.log.oldest();
        if self.next < oldest {
            return Err(WatchError::Expired { wanted: self.next, oldest });
        }
        let events = if let Some(events) = self.log.recent(self.next, last) {
            events
        } else {
            let (log, next) = (Arc::clone(&self.log), self.next);
            let read = tokio::task::spawn_blocking(move || log.stored(next, last));
            read.await.map_err(|_| WatchError::Closed)??
        };
        match (events.first(), events.last()) {
            (Some(first), Some(last)) if first.seq == self.next => self.next = last.seq + 1,
            // Trimmed between the two looks, in whole or in part.
            _ => return Err(WatchError::Expired { wanted: self.next, oldest: self.log.oldest() }),
        }
        Ok(events)
    }
}
