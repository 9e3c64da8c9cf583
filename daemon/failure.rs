//! Why the program ends without having done what it should, and its exit code.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use spindle_client::PathsError;

use crate::config::Problems;
use crate::listen::ListenError;
use crate::lock::LockError;
use crate::serve;

/// A failure of the whole program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no place to work in.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The configuration is wrong.
    #[error("the configuration is not valid:\n{0}")]
    Config(#[from] Problems),
    /// The state directory cannot be claimed.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The socket cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store is not as it should be.
    #[error(transparent)]
    Store(#[from] engine::store::StoreError),
    /// There is nothing to verify.
    #[error("there is no store in {}", .0.display())]
    NoStore(PathBuf),
    /// The system refused something that every daemon needs.
    #[error("cannot {action}: {cause}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// The daemon has failed in its work.
    #[error("{}", Causes(.0))]
    Serve(#[from] serve::ServeError),
}

impl Failure {
    /// For `map_err`.
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { action, cause }
    }

    /// Prints it, and gives its code.
    pub(crate) fn print(&self) -> ExitCode {
        eprintln!("spindled: {self}");
        self.exit_code()
    }

    /// 2: it will fail again until somebody changes the configuration; 5: another daemon is there; else 1.
    /// The service manager starts the daemon again after 1 only.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) | Self::Paths(_) => 2,
            Self::Lock(LockError::Held { .. })
            | Self::Listen(ListenError::Answered { .. })
            | Self::Store(engine::store::StoreError::Locked { .. }) => 5,
            _ => 1,
        })
    }
}

/// An error with all its causes.
struct Causes<'e>(&'e (dyn std::error::Error + 'static));

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(out, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
