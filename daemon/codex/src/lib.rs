//! How to call the Codex CLI and how to read what it prints.
//!
//! The crate starts no run: it says what to start and explains what came out. It knows nothing of
//! the engine.
//!
//! - [`Binary`] finds the program, [`Version`] is what it says of itself.
//! - [`Settings`] are the choices of a user, [`Invocation`] is the command line made of them.
//! - [`Decoder`] turns the bytes of stdout into [`Event`]s, live or after the fact.
//! - [`Transcript`] gathers the events of one run; [`RunUsage`] is what it cost.
//! - [`classify()`] decides how the run ended; [`Outcome`] says so, with its evidence.
//! - [`home_of`] knows the Codex home of a process; [`Witness`] is told of the threads that Codex works on.
//! - [`Renderer`] shows events as text; [`Snapshot`] cleans up after a killed Codex.

mod binary;
mod classify;
mod command;
mod event;
mod home;
mod item;
mod launcher;
mod leftovers;
mod lines;
mod message;
mod outcome;
mod probe;
mod render;
mod reset;
mod settings;
mod settings_args;
mod stderr;
mod thread;
mod transcript;
mod usage;
mod version;
mod witness;

pub use binary::{Binary, BinaryKind, LocateError};
pub use classify::classify;
pub use command::{Invocation, InvocationError, Turn};
pub use event::{Body, Decoder, Event};
pub use home::{BUNDLES_VARIABLE, bundles_below, home_of};
pub use item::{ChangeKind, FileChange, Item, ItemKind, ItemStatus, TodoEntry};
pub use leftovers::{Cleaned, Snapshot};
pub use lines::{DEFAULT_LINE_LIMIT, Line, LineKind, LineSplitter};
pub use outcome::{Evidence, ExitFacts, Outcome, OutcomeKind, Source, StartupFailure, StopCause};
pub use probe::ProbeError;
pub use render::Renderer;
pub use settings::{ConfigOverride, NetworkRetries, Sandbox, Settings, Switch};
pub use settings_args::{Reason, Unmapped};
pub use stderr::{StderrLine, plain_text};
pub use thread::{InvalidThreadId, ThreadId};
pub use transcript::{ItemState, McpCall, ShellCommand, Terminal, Transcript};
pub use usage::{RunUsage, TokenUsage, UsageBasis, UsageContext};
pub use version::{InvalidVersion, Version};
pub use witness::{Testimony, Witness, Work};
