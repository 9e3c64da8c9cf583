//! The watchdog: ends the process when a write to the database hangs.
//!
//! sled can deadlock. A process that is killed loses nothing that was acknowledged and is started again by
//! its service manager; one that hangs helps nobody.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// After the limit, how much longer the work gets: a process that was stopped for minutes (a suspended
/// machine, a debugger) must have a chance to go on before it is judged.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// Watches one piece of work at a time.
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    limit: Duration,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The work under way and when its time is up.
    armed: Option<(u64, Instant)>,
    /// Counts the pieces of work, to tell one from the next.
    piece: u64,
    /// Whether the thread sleeps without an end and must be woken to see the next deadline.
    asleep: bool,
    stopped: bool,
}

impl Watchdog {
    /// Starts the thread. `expired` is called there when a piece of work has taken `limit` and a little more.
    pub(super) fn start(limit: Duration, expired: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let watched = Arc::clone(&shared);
        thread::Builder::new().name("store-watchdog".to_owned()).spawn(move || {
            if watched.watch() == Verdict::Expired {
                expired();
            }
        })?;
        Ok(Self { shared, limit })
    }

    /// Watches until the guard is dropped.
    pub(super) fn watch(&self) -> Watched<'_> {
        let mut state = self.shared.lock();
        state.piece += 1;
        state.armed = Some((state.piece, Instant::now() + self.limit));
        // Under load the thread is waiting for an earlier deadline already and finds this one when it looks;
        // waking it for every flush would cost a context switch each.
        if state.asleep {
            self.shared.changed.notify_one();
        }
        Watched { shared: &self.shared }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_one();
    }
}

/// Work under watch.
pub(super) struct Watched<'a> {
    shared: &'a Shared,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.shared.lock().armed = None;
    }
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Expired,
    Stopped,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> Verdict {
        let mut state = self.lock();
        // The piece that is over its time and has its last chance.
        let mut suspect = None;
        while !state.stopped {
            let Some((piece, deadline)) = state.armed else {
                state.asleep = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep = false;
                continue;
            };
            let mut left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if suspect == Some(piece) {
                    return Verdict::Expired;
                }
                suspect = Some(piece);
                left = LAST_CHANCE;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Verdict::Stopped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_that_hangs_is_reported() {
        let (sender, expired) = mpsc::channel();
        let watchdog = Watchdog::start(Duration::from_millis(1), move || sender.send(()).unwrap()).unwrap();
        let _hanging = watchdog.watch();
        expired.recv_timeout(Duration::from_mins(1)).expect("the watchdog sees that the work hangs");
    }

    #[test]
    fn work_that_ends_is_left_alone_and_stopping_ends_the_thread() {
        let (sender, expired) = mpsc::channel::<()>();
        let watchdog = Watchdog::start(Duration::from_hours(1), move || sender.send(()).unwrap()).unwrap();
        for _ in 0..1000 {
            drop(watchdog.watch());
        }
        drop(watchdog);
        let end = expired.recv_timeout(Duration::from_mins(1));
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "the thread ends without a report");
    }
}
