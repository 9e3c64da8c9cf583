//! What Codex writes about itself, read as one model.
//!
//! Two formats, one model: trace spines (`$CODEX_HOME/trace_spine/<thread>/segment-NNN.jsonl`) and the
//! rollouts that every Codex writes (`$CODEX_HOME/sessions/YYYY/MM/DD/rollout-*.jsonl`). The crate knows
//! nothing of the engine and starts nothing.
//!
//! Bytes become insight one way only:
//!
//! - [`record`]: a line, decoded into terms that both formats share ([`Record`]);
//! - [`mod@derive`]: records, fed one by one, become the rows of a session ([`session`]) and the facts that
//!   signals are made of ([`fact`]);
//! - [`batch`]: a whole session at once;
//! - [`recording`]: the other way round, a spine for a session that has only a rollout.
//!
//! Where the bytes lie is found by [`source`], and that there are more of them is told by [`tail`]. How a spine
//! lies on the disk is known by [`spine`], and whether one is as it should be is told by [`verify`].
//!
//! Evidence is made from a whole session, read again in full ([`transcript`]): [`bundle`], [`atif`]. What leaves goes
//! through [`redact`] and is written by [`output`]. Runs that other tools keep in directories are recognised by
//! [`rundir`].

pub mod atif;
pub mod batch;
pub mod bundle;
pub mod decode;
pub mod derive;
pub mod fact;
mod id;
pub mod lines;
pub mod output;
mod place;
pub mod record;
pub mod recording;
pub mod redact;
pub mod rundir;
pub mod session;
pub mod source;
pub mod spine;
pub mod tail;
pub mod transcript;
pub mod verify;
mod watch;

pub use fact::{Fact, What};
pub use id::{InvalidSessionId, SessionId};
pub use place::Place;
pub use record::{Body, Record};
pub use source::{Catalog, SessionSource, SourceFile};
pub use tail::{Hint, Hints, Settings, Tail};
