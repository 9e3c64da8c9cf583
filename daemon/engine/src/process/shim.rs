//! The shim.

use std::path::Path;
use std::process::ExitCode;

/// Runs the shim.
pub fn main(_dir: &Path) -> ExitCode {
    ExitCode::FAILURE
}
