//! Running `spindled`, the other program: it lies beside this one.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::app::App;
use crate::error::CtlError;
use crate::exit::Exit;

/// `spindled` beside the own executable, else as the PATH finds it.
fn spindled() -> PathBuf {
    let beside = env::current_exe().ok().map(|own| own.with_file_name("spindled"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("spindled"))
}

/// Runs `spindled` with these arguments, on our terminal and for our socket,
/// and gives the code with which it ended.
pub(crate) fn run_spindled(app: &App, arguments: &[impl AsRef<OsStr>]) -> Result<Exit, CtlError> {
    let program = spindled();
    let mut command = Command::new(&program);
    // It inherits the variables; --socket it could not know.
    command.args(arguments);
    if let Some(socket) = app.paths.explicit_socket() {
        command.env("SPINDLE_SOCKET", socket);
    }
    let status = command.status().map_err(|source| CtlError::Program { program, source })?;
    Ok(status.code().map_or(Exit::FAILED, Exit::passed_on))
}
