//! What traces tell: signals of friction and delight, found while a session is written.
//!
//! - [`signal`]: what a signal is;
//! - [`distill`]: from a moment of a session to a task that an agent can be judged by;
//! - [`dataset`]: tasks together.

pub mod dataset;
pub mod distill;
pub mod signal;

pub use signal::Signal;
