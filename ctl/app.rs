//! What every command is given: where the daemon is, and how to show things.

use std::time::Duration;

use spindle_client::{Client, Notice, Paths, Reconnect};

use crate::cli::GlobalArgs;
use crate::error::CtlError;
use crate::show::Out;

/// How long a command that waits for a run goes on looking for a daemon that
/// went away: enough for an upgrade or a reboot of its service.
const WAIT_PATIENCE: Duration = Duration::from_mins(10);

/// How long a start goes on looking for one: its answer is expected at once.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) paths: Paths,
    pub(crate) out: Out,
}

impl App {
    pub(crate) fn new(global: &GlobalArgs, out: Out) -> Result<Self, CtlError> {
        let paths = Paths::from_environment()?;
        let paths = match &global.socket {
            Some(socket) => paths.with_socket(socket)?,
            None => paths,
        };
        Ok(Self { paths, out })
    }

    /// A connection to the daemon.
    pub(crate) async fn client(&self) -> Result<Client, CtlError> {
        Ok(Client::connect(&self.paths).await?)
    }

    /// For calls that wait: they survive a restart of the daemon and say so.
    pub(crate) fn wait_patiently(&self) -> Reconnect {
        let out = self.out;
        Reconnect::new(WAIT_PATIENCE).telling(move |notice| match notice {
            Notice::Lost => out.note("the daemon went away; waiting for it to come back"),
            Notice::Back => out.note("the daemon is back"),
        })
    }

    /// As [`App::wait_patiently`], for the second of two calls that wait together: one of them tells.
    pub(crate) fn retry_quietly() -> Reconnect {
        Reconnect::new(WAIT_PATIENCE)
    }

    /// For calls that start something and can safely be made again.
    pub(crate) fn retry_briefly() -> Reconnect {
        Reconnect::new(START_PATIENCE)
    }
}
