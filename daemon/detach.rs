//! `--detach`: the daemon in the background.
//!
//! The program starts itself again, with standard output and error on a pipe, and waits: for a byte that says
//! that the daemon is ready, or for the end of the pipe without it. All else that comes through the pipe is
//! for people. The new process leaves the session; once it has the state directory for itself, its standard
//! error is the log file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use crate::args::Arguments;
use crate::logging;

/// The byte that says "ready": ASCII's ACK, which no message contains.
const READY: u8 = 0x06;

/// Starts the daemon in the background. Returns when it is ready, else with its code after its error.
pub(crate) fn start() -> ExitCode {
    match spawn().and_then(|(child, pipe)| wait(child, pipe)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("spindled: cannot go to the background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn spawn() -> io::Result<(Child, io::PipeReader)> {
    let (reader, writer) = io::pipe()?;
    let child = Command::new(std::env::current_exe()?)
        .args(Arguments::detached())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    Ok((child, reader))
}

fn wait(mut child: Child, mut pipe: io::PipeReader) -> io::Result<ExitCode> {
    let mut bytes = [0; 4096];
    loop {
        let text = match pipe.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => &bytes[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let (text, is_ready) = match text.iter().position(|byte| *byte == READY) {
            Some(end) => (&text[..end], true),
            None => (text, false),
        };
        // That nobody reads our errors is not the daemon's trouble.
        let _ = io::stderr().write_all(text);
        if is_ready {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let status = child.wait()?;
    if let Some(signal) = status.signal() {
        eprintln!("spindled: the daemon was ended by signal {signal} before it was ready");
    }
    // A daemon that ends by itself before it was ready has failed, whatever its code says.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The pipe to the process that waits for the daemon to be ready. When this is dropped, it waits no more.
#[derive(Debug)]
pub(crate) struct Readiness {
    pipe: File,
}

impl Readiness {
    /// Says that the daemon is ready.
    pub(crate) fn ready(mut self) {
        self.write(&[READY]);
    }

    /// Says why it will not be.
    pub(crate) fn failed(mut self, error: &str) {
        self.write(format!("spindled: {error}\n").as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.pipe.write_all(bytes) {
            tracing::debug!(%error, "nobody waits for the daemon to be ready");
        }
    }
}

/// Makes the process that [`start`] started one of its own: out of the session and its terminal, in no
/// directory that somebody may want to unmount.
pub(crate) fn leave() -> io::Result<Readiness> {
    // Fails for a leader of a process group only, and such is one that was started by hand.
    let _ = nix::unistd::setsid();
    std::env::set_current_dir("/")?;
    // The copy is closed on exec: no process of a run keeps the waiting one waiting.
    let pipe: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(Readiness { pipe: pipe.into() })
}

/// Puts the log file in the place of standard error, and nothing in that of standard output. The state
/// directory must be locked.
pub(crate) fn write_to_log(path: &Path) -> io::Result<()> {
    let log = logging::open_file(path)?;
    nix::unistd::dup2_stderr(log)?;
    nix::unistd::dup2_stdout(fs::OpenOptions::new().write(true).open("/dev/null")?)?;
    Ok(())
}
