//! The clock of the machine.

use std::time::Duration;

use jiff::Timestamp;

use super::{BoxFuture, Clock};

/// The longest single wait where the system cannot tell us that its clock was set: a step of the
/// clock is noticed after this long at the latest.
const LONGEST_LEG: Duration = Duration::from_mins(1);

/// The clock of the machine. Its waits need a tokio runtime with I/O and time enabled.
///
/// On Linux a wait is a kernel timer on the realtime clock, which follows steps and suspends by
/// itself and costs no wake-up before its time. Elsewhere, and when no descriptor is left for a
/// timer, a wait is cut into legs of a minute, each of which looks at the clock again.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, time: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            #[cfg(target_os = "linux")]
            match wall_timer::wait(time).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "no kernel timer to be had; looking at the clock every minute instead");
                }
            }
            wait_in_legs(time).await;
        })
    }
}

/// Waits on the runtime's monotonic timer, looking at the wall clock between legs.
async fn wait_in_legs(time: Timestamp) {
    loop {
        let left = time.duration_since(Timestamp::now());
        let Ok(left) = Duration::try_from(left) else {
            return; // negative: the time has passed
        };
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_LEG)).await;
    }
}

#[cfg(target_os = "linux")]
mod wall_timer {
    use std::io;

    use jiff::Timestamp;
    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// Waits for `time` on a timer of the realtime clock.
    ///
    /// The kernel cancels the timer whenever the clock is set (`TFD_TIMER_CANCEL_ON_SET`). An
    /// absolute timer would move along by itself; the cancellation is what lets us look again, so
    /// that a step forwards past `time` ends the wait in every kernel version.
    pub(super) async fn wait(time: Timestamp) -> io::Result<()> {
        if Timestamp::now() >= time {
            return Ok(());
        }
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "its unsafe successor guards against types that change their descriptor; an OwnedFd cannot"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        // A time in the future has a positive value, which matters: zero would disarm the timer.
        while Timestamp::now() < time {
            let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
            timerfd_settime(&timer, flags, &once_at(time))?;
            expired_or_canceled(&timer).await?;
        }
        Ok(())
    }

    fn once_at(time: Timestamp) -> Itimerspec {
        Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: time.as_second(), tv_nsec: time.subsec_nanosecond().into() },
        }
    }

    async fn expired_or_canceled(timer: &AsyncFd<rustix::fd::OwnedFd>) -> io::Result<()> {
        loop {
            let mut ready = timer.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {
                    return Ok(());
                }
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::SignedDuration;

    use super::*;

    fn soon() -> Timestamp {
        Timestamp::now() + SignedDuration::from_millis(30)
    }

    #[tokio::test]
    async fn a_wait_never_ends_before_its_time() {
        let time = soon();
        SystemClock.sleep_until(time).await;
        assert!(Timestamp::now() >= time);
    }

    #[tokio::test]
    async fn a_wait_in_legs_never_ends_before_its_time() {
        let time = soon();
        wait_in_legs(time).await;
        assert!(Timestamp::now() >= time);
    }

    #[tokio::test]
    async fn a_time_that_has_passed_is_not_waited_for() {
        for past in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::now()] {
            SystemClock.sleep_until(past).await;
            wait_in_legs(past).await;
        }
    }

    /// Polls a wait once, after which its timer runs, and hands it back.
    async fn begin(time: Timestamp) -> BoxFuture<'static, ()> {
        let mut wait = SystemClock.sleep_until(time);
        let pending =
            std::future::poll_fn(|context| std::task::Poll::Ready(wait.as_mut().poll(context).is_pending()));
        assert!(pending.await);
        wait
    }

    #[tokio::test]
    async fn the_end_of_time_can_be_waited_for() {
        drop(begin(Timestamp::MAX).await);
    }

    /// The clock of the machine cannot be set for a test; that the kernel was asked to tell us when it
    /// is can be read from the timer's descriptor.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_wait_is_a_kernel_timer_on_the_wall_clock_that_reports_when_the_clock_is_set() {
        let timers = || {
            let descriptors = std::fs::read_dir("/proc/self/fdinfo").unwrap();
            let infos = descriptors
                .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
                // This test's own: another may be waiting for another time in the same process.
                .filter(|info| info.contains("it_value: (359"));
            infos.collect::<Vec<_>>()
        };
        let wait = begin(Timestamp::now() + SignedDuration::from_hours(1)).await;
        let timer = &timers()[0];
        assert!(timer.contains("clockid: 0\n"), "CLOCK_REALTIME: {timer}");
        let flags = "TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET";
        assert!(timer.contains("settime flags: 03\n"), "{flags}: {timer}");
        drop(wait);
        assert_eq!(timers().len(), 0);
    }
}
