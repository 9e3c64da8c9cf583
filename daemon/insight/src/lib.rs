//! What traces tell: signals of friction and delight, found while a session is written.
//!
//! - [`signal`]: what a signal is;
//! - [`rules`]: the rule set `v1`, fed fact by fact;
//! - [`compat`]: what an earlier tool finds, for comparing;
//! - [`profile`]: a session in two words;
//! - [`Insight`]: the handle: what is asked of sessions and signals, and what follows them live;
//! - [`mod@export`]: all of it in one file for others;
//! - [`Settings`]: what can be set;
//! - [`view`]: what is asked and answered;
//! - [`distill`]: from a moment of a session to a task that an agent can be judged by;
//! - [`dataset`]: tasks together;
//! - [`owner`]: which run a session belongs to;
//! - [`external`]: runs of other tools, in directories that a user registers;
//! - `store`: what is kept, in the engine's store.

mod batch;
pub mod compat;
pub mod dataset;
pub mod distill;
pub mod export;
pub mod external;
mod find;
mod handle;
mod ingest;
mod log;
pub mod owner;
pub mod profile;
mod query;
pub mod rules;
mod settings;
pub mod signal;
mod store;
mod trigger;
pub mod view;

pub use external::Externals;
pub use handle::{Ingest, Insight};
pub use log::SignalStream;
pub use profile::Profile;
pub use settings::{Retention, Settings};
pub use signal::Signal;
pub use store::tables::TABLES;
pub use view::*;
