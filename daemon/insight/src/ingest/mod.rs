//! From bytes to what is stored: the live pipeline.
//!
//! - `files`: what is to be done about a session, by a stat;
//! - `session`: a session that is being read, from its files to one batch;
//! - `pipeline`: derivation and rules of one session;
//! - `board`: what is known of every session, and who is at work on it;
//! - `queue`: who is read next;
//! - `service`: threads that read, a task that stores, a task that watches the clock.

pub(crate) mod board;
pub(crate) mod files;
pub(crate) mod pipeline;
pub(crate) mod queue;
pub(crate) mod service;
pub(crate) mod session;
