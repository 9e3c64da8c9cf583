//! The wall clock, as something that can be replaced.
//!
//! Everything in the engine that asks for the time, or waits for one, goes through a [`Clock`]. The
//! daemon uses [`SystemClock`]; tests use `FakeClock`, which moves only when it is told to, in
//! both directions, so that a daylight-saving change or a night of suspend takes no time to test.
//!
//! These are times on the wall: they may jump. What must measure how long something took uses
//! [`std::time::Instant`] instead.

#[cfg(any(test, feature = "testing"))]
mod fake;
mod system;

use std::future::Future;
use std::pin::Pin;

use jiff::Timestamp;

#[cfg(any(test, feature = "testing"))]
pub use fake::FakeClock;
pub use system::SystemClock;

/// A boxed future, as the engine's object-safe traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time of day, and a way to wait for one. Shared as `Arc<dyn Clock>`.
pub trait Clock: Send + Sync {
    /// The wall time now.
    ///
    /// Not monotonic: it goes back when somebody sets the clock back.
    fn now(&self) -> Timestamp;

    /// Waits until [`now`](Self::now) is `time` or later; at once when it already is.
    ///
    /// The wait follows the wall: it ends early when the clock is stepped forwards past `time`, or
    /// when the machine wakes from a sleep that covered it, and it is prolonged when the clock is
    /// stepped back. Dropping the future gives the wait up.
    fn sleep_until(&self, time: Timestamp) -> BoxFuture<'_, ()>;
}
