//! What Codex writes about itself, read as one model.
//!
//! Two formats, one model: trace spines (`$CODEX_HOME/trace_spine/<thread>/segment-NNN.jsonl`) and the
//! rollouts that every Codex writes (`$CODEX_HOME/sessions/YYYY/MM/DD/rollout-*.jsonl`). The crate knows
//! nothing of the engine and starts nothing.
//!
//! Bytes become insight one way only:
//!
//! - [`record`]: a line, decoded into terms that both formats share ([`Record`]);
//! - [`derive`]: records, fed one by one, become the rows of a session ([`session`]) and the facts that
//!   signals are made of ([`fact`]);
//! - [`batch`]: a whole session at once;
//! - [`recording`]: the other way round, a spine for a session that has only a rollout.

pub mod batch;
pub mod decode;
pub mod derive;
pub mod fact;
mod id;
pub mod lines;
mod place;
pub mod record;
pub mod recording;
pub mod session;
pub mod spine;
pub mod verify;

pub use fact::{Fact, What};
pub use id::{InvalidSessionId, SessionId};
pub use place::Place;
pub use record::{Body, Record};
