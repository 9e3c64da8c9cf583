//! Who is read next.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use trace::SessionId;

/// How much may be on its way to the store before reading waits, in bytes.
const IN_FLIGHT: usize = 12 << 20;

/// How many bytes are worth a commit of their own.
pub(crate) const COMMIT: usize = 3 << 20;

/// Of so many sessions that are read, one is from the backlog even while others are being written.
const SHARE_OF_BACKLOG: u32 = 4;

/// Why a session is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody may be watching: it has just been written.
    Now,
    /// It is found by looking everything over.
    Backlog,
}

/// Sessions that wait to be read. A session is in it once at most, which its entry on the board sees to.
#[derive(Default)]
pub(crate) struct Queue {
    lanes: Mutex<Lanes>,
    ready: Condvar,
    /// Whoever stores is woken by this.
    enough: Notify,
}

#[derive(Default)]
struct Lanes {
    now: VecDeque<SessionId>,
    backlog: VecDeque<SessionId>,
    turn: u32,
    /// How many sessions are being read at this moment.
    turns: usize,
    /// Bytes on their way to the store.
    in_flight: usize,
    /// Whether somebody may wait for some of these.
    news: bool,
    closed: bool,
}

/// A session that is being read.
pub(crate) struct Turn<'q> {
    queue: &'q Queue,
    pub(crate) id: SessionId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lanes = self.queue.lanes();
        lanes.turns -= 1;
        self.queue.wake_if_enough(&lanes);
    }
}

impl Queue {
    pub(crate) fn push(&self, id: SessionId, urgency: Urgency) {
        let mut lanes = self.lanes();
        match urgency {
            Urgency::Now => lanes.now.push_back(id),
            Urgency::Backlog => lanes.backlog.push_back(id),
        }
        drop(lanes);
        self.ready.notify_one();
    }

    /// The next session, once there is one and room for what it gives. None after the end. What `idle` does is done
    /// before it waits.
    pub(crate) fn pop(&self, mut idle: impl FnMut()) -> Option<Turn<'_>> {
        let mut lanes = self.lanes();
        loop {
            if lanes.closed {
                return None;
            }
            if lanes.in_flight < IN_FLIGHT
                && let Some(id) = lanes.next()
            {
                lanes.turns += 1;
                return Some(Turn { queue: self, id });
            }
            idle();
            lanes = self.ready.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes are on their way to the store. `news` says whether somebody may wait for them.
    pub(crate) fn sent(&self, bytes: usize, news: bool) {
        let mut lanes = self.lanes();
        lanes.in_flight += bytes;
        lanes.news |= news;
        self.wake_if_enough(&lanes);
    }

    /// Resolves when what is on its way to the store is worth a commit: there is enough of it, somebody may wait for
    /// it, or nothing else is being read. For the one task that stores, between its commits.
    pub(crate) async fn gathered(&self) {
        loop {
            {
                let mut lanes = self.lanes();
                if lanes.is_enough() {
                    lanes.news = false;
                    return;
                }
            }
            self.enough.notified().await;
        }
    }

    /// Tells once, and not with every part: each would cost a switch of threads.
    fn wake_if_enough(&self, lanes: &Lanes) {
        if lanes.is_enough() {
            self.enough.notify_one();
        }
    }

    /// So many bytes have come there.
    pub(crate) fn stored(&self, bytes: usize) {
        let mut lanes = self.lanes();
        lanes.in_flight = lanes.in_flight.saturating_sub(bytes);
        drop(lanes);
        self.ready.notify_all();
    }

    /// Lets everybody who waits go.
    pub(crate) fn close(&self) {
        self.lanes().closed = true;
        self.ready.notify_all();
    }

    pub(crate) fn open(&self) {
        self.lanes().closed = false;
    }

    pub(crate) fn len(&self) -> usize {
        let lanes = self.lanes();
        lanes.now.len() + lanes.backlog.len()
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn is_enough(&self) -> bool {
        let dry = self.turns == 0 && self.now.is_empty() && self.backlog.is_empty();
        self.news || self.in_flight >= COMMIT || dry
    }

    fn next(&mut self) -> Option<SessionId> {
        self.turn = self.turn.wrapping_add(1);
        let backlog_first = self.turn.is_multiple_of(SHARE_OF_BACKLOG);
        if backlog_first {
            self.backlog.pop_front().or_else(|| self.now.pop_front())
        } else {
            self.now.pop_front().or_else(|| self.backlog.pop_front())
        }
    }
}
