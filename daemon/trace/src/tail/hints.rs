//! The queue of hints: each session at most once, however often it is written to.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Problem;
use crate::SessionId;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// The session was written to, has appeared, moved or gone; see [`Catalog::look`](crate::Catalog::look). Hints
    /// of a session that come before the first was taken are one.
    Session(SessionId),
    /// The first look at the homes is done. Hints of all sessions that are there came before this, so that reading
    /// can begin at once; what the catalog does not have now is gone. It comes once.
    Rescan,
    /// Something that a user should know. Nothing is lost by it, it only may take longer.
    Problem(Problem),
}

/// Where hints come out. Taking them is a matter of the thread that does it; nothing waits for it.
#[derive(Debug)]
pub struct Hints(Arc<Queue>);

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    hints: VecDeque<Hint>,
    sessions: HashSet<SessionId>,
    closed: bool,
}

impl Hints {
    pub(super) fn of(queue: &Arc<Queue>) -> Self {
        Self(Arc::clone(queue))
    }

    /// The next hint; waits for it. None when the tail was stopped.
    pub fn recv(&self) -> Option<Hint> {
        let mut waiting = self.0.lock();
        loop {
            if let Some(hint) = waiting.take() {
                return Some(hint);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.0.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next hint, if it comes within that time.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Hint> {
        let start = Instant::now();
        let mut waiting = self.0.lock();
        loop {
            if let Some(hint) = waiting.take() {
                return Some(hint);
            }
            let left = timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero())?;
            if waiting.closed {
                return None;
            }
            waiting = self.0.more.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The next hint, if there is one now.
    pub fn try_recv(&self) -> Option<Hint> {
        self.0.lock().take()
    }

    /// How many hints wait.
    pub fn len(&self) -> usize {
        self.0.lock().hints.len()
    }

    /// Whether no hint waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Queue {
    pub(super) fn session(&self, id: &SessionId) {
        let mut waiting = self.lock();
        if !waiting.sessions.contains(id) {
            waiting.sessions.insert(id.clone());
            waiting.hints.push_back(Hint::Session(id.clone()));
            self.more.notify_one();
        }
    }

    pub(super) fn push(&self, hint: Hint) {
        let mut waiting = self.lock();
        if !waiting.hints.contains(&hint) {
            waiting.hints.push_back(hint);
            self.more.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Hint> {
        let hint = self.hints.pop_front()?;
        if let Hint::Session(id) = &hint {
            self.sessions.remove(id);
        }
        Some(hint)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_session_waits_once_however_often_it_was_written_to() {
        let queue = Arc::new(Queue::default());
        let hints = Hints::of(&queue);
        let [a, b] = ["a", "b"].map(|id| id.parse::<SessionId>().unwrap());
        for id in [&a, &b, &a, &a] {
            queue.session(id);
        }
        assert_eq!((hints.try_recv(), hints.len()), (Some(Hint::Session(a.clone())), 1));

        queue.session(&a);
        assert_eq!(hints.try_recv(), Some(Hint::Session(b)));
        assert_eq!(hints.try_recv(), Some(Hint::Session(a)));
        assert_eq!(hints.try_recv(), None);
    }

    #[test]
    fn what_waits_is_still_given_out_after_the_end() {
        let queue = Arc::new(Queue::default());
        let hints = Hints::of(&queue);
        queue.push(Hint::Rescan);
        queue.close();
        assert_eq!((hints.recv(), hints.recv()), (Some(Hint::Rescan), None));
    }
}
