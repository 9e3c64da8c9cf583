//! Going on after the connection to the daemon was cut.
//!
//! The daemon may be killed, upgraded or restarted while a client waits. What
//! the client waits for goes on without it, so the client knocks again, with
//! growing pauses, until its patience runs out.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Status, TimeoutExpired};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What happened to the connection, for those who want to tell a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It was cut; the client tries to get it back.
    Lost,
    /// It is back.
    Back,
}

/// Decides whether and when a call that was cut is made again.
pub struct Reconnect {
    patience: Duration,
    lost_at: Option<Instant>,
    pause: Duration,
    notice: Box<dyn FnMut(Notice) + Send>,
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("patience", &self.patience)
            .field("lost_at", &self.lost_at)
            .finish_non_exhaustive()
    }
}

impl Reconnect {
    /// Tries for this long after each cut, then gives up.
    pub fn new(patience: Duration) -> Self {
        Self { patience, lost_at: None, pause: FIRST_PAUSE, notice: Box::new(|_| {}) }
    }

    /// Calls `notice` when the connection is lost and when it is back.
    #[must_use]
    pub fn telling(mut self, notice: impl FnMut(Notice) + Send + 'static) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// The daemon answered: the next cut is a new one.
    pub fn answered(&mut self) {
        if self.lost_at.take().is_some() {
            self.pause = FIRST_PAUSE;
            (self.notice)(Notice::Back);
        }
    }

    /// Call this with the error of a call that may be made again. Returns when
    /// it is time to; gives the error back if it was not a cut, or if patience
    /// has run out.
    pub async fn after(&mut self, status: Status) -> Result<(), Status> {
        if !is_cut(&status) {
            return Err(status);
        }
        let now = Instant::now();
        if self.lost_at.is_none() {
            (self.notice)(Notice::Lost);
        }
        let lost_at = *self.lost_at.get_or_insert(now);
        if now + self.pause > lost_at + self.patience {
            return Err(status);
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Whether an error means that the connection was cut (or there was none),
/// rather than that the daemon answered with it.
///
/// The daemon itself says UNAVAILABLE, without details, when it ends; with
/// details it is an answer. All other cuts are errors of the transport, which tonic keeps as the status's source; a deadline has
/// one too, but is no cut.
pub fn is_cut(status: &Status) -> bool {
    let timed_out = causes(status).any(<dyn Error + 'static>::is::<TimeoutExpired>);
    let ending = status.code() == Code::Unavailable && status.details().is_empty();
    ending || (status.source().is_some() && !timed_out)
}

/// The errors behind an error, outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_tries_until_patience_runs_out() {
        let mut reconnect = Reconnect::new(Duration::from_secs(10));
        let begun = Instant::now();
        let mut tries = 0;
        while reconnect.after(Status::unavailable("gone")).await.is_ok() {
            tries += 1;
        }
        assert!(tries > 10, "{tries}");
        assert!(begun.elapsed() <= Duration::from_secs(10) && begun.elapsed() > Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_gives_it_new_patience_and_is_told_once() {
        let (sender, notices) = mpsc::channel();
        let mut reconnect = Reconnect::new(Duration::from_secs(1)).telling(move |n| sender.send(n).unwrap());
        for _ in 0..3 {
            reconnect.after(Status::unavailable("gone")).await.unwrap();
        }
        reconnect.answered();
        reconnect.answered();
        reconnect.after(Status::unavailable("gone")).await.unwrap();
        let told: Vec<Notice> = notices.try_iter().collect();
        assert_eq!(told, [Notice::Lost, Notice::Back, Notice::Lost]);
    }

    #[tokio::test]
    async fn what_the_daemon_said_is_final() {
        let mut reconnect = Reconnect::new(Duration::from_secs(10));
        assert!(reconnect.after(Status::not_found("no such run")).await.is_err());
        let reasoned = Status::with_details(Code::Unavailable, "disk full", vec![1].into());
        assert!(reconnect.after(reasoned).await.is_err());
    }

    #[test]
    fn a_deadline_is_no_cut() {
        let mut status = Status::cancelled("late");
        assert!(!is_cut(&status));
        status.set_source(Arc::new(TimeoutExpired(())));
        assert!(!is_cut(&status));
    }
}
