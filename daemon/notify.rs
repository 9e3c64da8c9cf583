//! What the daemon tells whoever started it: a service manager, by its datagrams; `--detach`, by a pipe.
//!
//! Without either of them, all of this does nothing.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::detach::Readiness;

/// How much longer the service manager is asked to wait each time.
const MORE_TIME: Duration = Duration::from_mins(1);

/// Whoever started the daemon. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Starter {
    readiness: Arc<Mutex<Option<Readiness>>>,
}

#[expect(clippy::unused_self, reason = "the service manager is reached through the environment")]
impl Starter {
    /// In the background, there is somebody who waits for readiness.
    pub(crate) fn new(readiness: Option<Readiness>) -> Self {
        Self { readiness: Arc::new(Mutex::new(readiness)) }
    }

    /// Does a part of the start that may take long, such as the check of a large store after a crash: meanwhile
    /// the service manager is asked to be patient.
    pub(crate) async fn while_starting<T>(&self, status: &str, part: impl Future<Output = T>) -> T {
        let patience = async {
            let mut beat = tokio::time::interval(MORE_TIME / 2);
            loop {
                beat.tick().await;
                let more = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
                tell(&[NotifyState::Status(status), NotifyState::ExtendTimeoutUsec(more)]);
            }
        };
        tokio::select! {
            biased;
            done = part => done,
            () = patience => unreachable!("patience has no end"),
        }
    }

    /// The daemon serves: after the start, and after each reload.
    pub(crate) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        if let Some(readiness) = self.take_readiness() {
            readiness.ready();
        }
    }

    /// The configuration is read again; [`Starter::ready`] must follow, whether that succeeds or not.
    pub(crate) fn reloading(&self) {
        // Without the time, systemd from 253 on takes the reload for failed.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the time for the service manager cannot be read"),
        }
    }

    /// The daemon ends.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The daemon cannot go on. Who waits for readiness is told why.
    pub(crate) fn failed(&self, error: &str) {
        tell(&[NotifyState::Status(error)]);
        if let Some(readiness) = self.take_readiness() {
            readiness.failed(error);
        }
    }

    /// Gives signs of life to the service manager, if it wants them; it kills a daemon that gives none. Each
    /// comes after `probe` has succeeded, which must go through what can hang: the main loop and the store.
    /// Does not return.
    pub(crate) async fn watchdog<E: Display>(&self, probe: impl AsyncFnMut() -> Result<(), E>) {
        match sd_notify::watchdog_enabled() {
            Some(limit) => signs_of_life(limit / 2, probe, || tell(&[NotifyState::Watchdog])).await,
            None => std::future::pending::<()>().await,
        }
    }

    fn take_readiness(&self) -> Option<Readiness> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn signs_of_life<E: Display>(
    period: Duration,
    mut probe: impl AsyncFnMut() -> Result<(), E>,
    mut ping: impl FnMut(),
) {
    let mut beat = tokio::time::interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        match probe().await {
            Ok(()) => ping(),
            Err(error) => {
                tracing::error!(%error, "no sign of life for the service manager: the probe failed");
            }
        }
    }
}

/// A service manager that does not listen is no reason to stop working.
fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        // Before logging begins, nobody reads this; then nothing has been told yet.
        log_once(&error);
    }
}

fn log_once(error: &io::Error) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::warn!(%error, "the service manager cannot be told"));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn a_sign_of_life_follows_a_probe_that_succeeded_and_no_other() {
        let seen = RefCell::new(Vec::new());
        let done = tokio::sync::Notify::new();
        let mut outcomes = [Ok(()), Err("the store hangs"), Ok(())].into_iter();
        let probe = async || {
            let Some(outcome) = outcomes.next() else {
                done.notify_one();
                return std::future::pending().await;
            };
            seen.borrow_mut().push(if outcome.is_ok() { "sound" } else { "broken" });
            outcome
        };
        tokio::select! {
            () = signs_of_life(Duration::from_millis(1), probe, || seen.borrow_mut().push("ping")) => {}
            () = done.notified() => {}
        }
        assert_eq!(*seen.borrow(), ["sound", "ping", "broken", "sound", "ping"]);
    }

    #[tokio::test]
    async fn a_part_of_the_start_gives_its_result() {
        let starter = Starter::default();
        assert_eq!(starter.while_starting("opening the store", async { 7 }).await, 7);
    }
}
