//! Offline tests against the real Codex CLI.
//!
//! - [`ModelServer`]: a Responses API on loopback whose "model" does what the prompt asks for
//!   (`mock:shell cmd="make test"`), or works through a TODO list like an agent.
//! - [`codex_config`]: the `config.toml` that points the CLI at it and keeps it off the network.
//! - [`Release`]: the CLI releases under test and where `tests/codex/install` has put them.
//! - [`Scratch`]: a throw-away home and git repository to run the CLI in.

mod agent;
mod beats;
mod config;
mod conversation;
mod directive;
mod record;
mod release;
mod scenario;
mod scratch;
mod scripts;
mod server;
mod step;
mod todo;
mod tools;
mod wire;

pub use config::codex_config;
pub use record::ReceivedRequest;
pub use release::{MissingRelease, Release};
pub use scenario::describe_scenarios;
pub use scratch::{Scratch, ScratchError};
pub use server::{ModelServer, Options, StartError};
