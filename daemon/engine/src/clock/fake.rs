//! A clock that tests set by hand.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::{BoxFuture, Clock};

/// A clock that stands still until it is [set](Self::set) or [advanced](Self::advance).
#[derive(Debug)]
pub struct FakeClock {
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// Whoever waits at present, by a number of its own, and for what time.
    sleepers: BTreeMap<u64, Timestamp>,
    next_sleeper: u64,
}

impl FakeClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        let state = State { now, sleepers: BTreeMap::new(), next_sleeper: 0 };
        Self { state: watch::Sender::new(state) }
    }

    /// Sets the clock, forwards or backwards, and wakes whoever waited for a time that has come.
    pub fn set(&self, now: Timestamp) {
        self.state.send_modify(|state| state.now = now);
    }

    /// Moves the clock by `by`, which may be negative.
    pub fn advance(&self, by: SignedDuration) {
        self.state.send_modify(|state| state.now += by);
    }

    /// Waits until somebody sleeps and every sleeper waits for a time yet to come.
    ///
    /// After the clock was moved, this is the moment when what it woke has done its work and gone
    /// back to sleep. It is exact on a current-thread runtime, where no task is half-way through a
    /// step while the test runs.
    pub async fn all_asleep(&self) {
        self.wait_for(|state| {
            !state.sleepers.is_empty() && state.sleepers.values().all(|time| *time > state.now)
        })
        .await;
    }

    async fn wait_for(&self, condition: impl FnMut(&State) -> bool) {
        let mut changes = self.state.subscribe();
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = changes.wait_for(condition).await;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.state.borrow().now
    }

    fn sleep_until(&self, time: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _registered = Sleeper::register(self, time);
            self.wait_for(|state| state.now >= time).await;
        })
    }
}

/// Keeps a wait in the clock's list for as long as its future lives.
struct Sleeper<'a> {
    clock: &'a FakeClock,
    number: u64,
}

impl<'a> Sleeper<'a> {
    fn register(clock: &'a FakeClock, time: Timestamp) -> Self {
        let mut number = 0;
        clock.state.send_modify(|state| {
            number = state.next_sleeper;
            state.next_sleeper += 1;
            state.sleepers.insert(number, time);
        });
        Self { clock, number }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.clock.state.send_modify(|state| {
            state.sleepers.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_reaches_its_time_and_not_before() {
        let clock = Arc::new(FakeClock::new(at("2026-01-01T00:00:00Z")));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(at("2026-01-01T01:00:00Z")).await;
                clock.now()
            }
        });
        clock.all_asleep().await;
        clock.advance(SignedDuration::from_mins(59));
        clock.set(at("2025-12-31T00:00:00Z"));
        clock.all_asleep().await;
        assert!(!sleeper.is_finished());

        clock.set(at("2026-01-01T02:00:00Z"));
        assert_eq!(sleeper.await.unwrap(), at("2026-01-01T02:00:00Z"));
    }
}
