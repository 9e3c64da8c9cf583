//! What traces tell: signals of friction and delight, found while a session is written.
//!
//! - [`signal`]: what a signal is;
//! - [`Insight`]: the handle: what is asked of sessions and signals, and what follows them live;
//! - [`Settings`]: what can be set;
//! - [`view`]: what is asked and answered;
//! - `store`: what is kept, in the engine's store.

mod handle;
mod settings;
pub mod signal;
mod store;
pub mod view;

pub use handle::{Ingest, Insight, SignalStream};
pub use settings::{Retention, Settings};
pub use signal::Signal;
pub use store::tables::TABLES;
pub use view::*;
