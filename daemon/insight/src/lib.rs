//! What traces tell: signals of friction and delight, found while a session is written.
//!
//! - [`signal`]: what a signal is.

pub mod signal;

pub use signal::Signal;
