//! The autorunner: one agent, one repository, one TODO list, worked through iteration by iteration.
//!
//! Most of the crate knows the files below `.codex-autorunner/`, a layout shared with an earlier tool
//! (codex-autorunner) whose users' scripts read them, and the pure rules of the loop, and needs no
//! engine. On top of it stands the loop itself, the workflow [`Autorun`].
//!
//! - [`repo`]: which directory is the repository, and where each file lies
//! - [`config`]: `config.yml`; [`state`]: `state.json`; [`lock`] and [`keeper`]: who owns the loop
//! - [`log`]: the text log; [`mod@todo`]: the TODO document; [`prompt`]: what an iteration is asked
//! - [`stop`]: when the loop ends; [`git`]: commits and signs of progress
//! - [`init`] seeds a repository, [`doctor`] examines one, [`status`] says how its loop stands
//! - [`driver`]: Codex as the configuration wants it; [`workflow`]: the loop as a durable run

mod atomic;
pub mod config;
pub mod doctor;
pub mod driver;
pub mod git;
pub mod init;
pub mod keeper;
pub mod lock;
pub mod log;
mod process_table;
pub mod prompt;
pub mod repo;
pub mod state;
pub mod status;
pub mod stop;
pub mod todo;
pub mod workflow;

pub use workflow::{Autorun, AutorunOutput, AutorunSpec, KIND};

/// Writes a time as the files of this format do: UTC, whole seconds, `2025-12-09T10:00:01Z`.
pub fn format_time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
