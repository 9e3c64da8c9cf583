//! The command line of `spindled`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{LogFormat, LogLevel, Source};

/// The hidden first argument of a shim: one process beside every process of a run.
pub(crate) const SHIM: &str = "shim";
/// The hidden first argument of a keeper: one process beside every autorunner loop.
pub(crate) const KEEPER: &str = "keeper";

/// Runs as a shim or a keeper, if the arguments say so. It comes before all else, since there may be a
/// thousand of them: each counts by its memory and the time it takes to start.
pub(crate) fn small_process() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let first = words.next()?;
    if first == SHIM {
        // Without a directory the shim says what is missing.
        return Some(engine::process::shim::main(Path::new(&words.next().unwrap_or_default())));
    }
    if first == KEEPER {
        return Some(autorunner::keeper::main(words));
    }
    None
}

/// The daemon that supervises runs. `spindle` is the command that drives it.
#[derive(Debug, Parser)]
#[command(name = "spindled", version)]
pub(crate) struct Arguments {
    /// Goes to the background, and returns when the daemon is ready.
    #[arg(long)]
    pub(crate) detach: bool,

    #[command(flatten)]
    common: Common,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Args)]
struct Common {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// How the log is written.
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,

    /// What is logged, such as `debug` or `info,engine=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log_level: Option<LogLevel>,

    /// Prints JSON.
    #[arg(long, global = true, hide = true)]
    json: bool,
}

/// What else the program does. People do not see these.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Offline(OfflineCommand),
    /// The daemon in the background, as `--detach` starts it.
    #[command(hide = true)]
    Detached,
}

/// What is done without a daemon, for `spindle`.
#[derive(Debug, Subcommand)]
pub(crate) enum OfflineCommand {
    /// The configuration.
    #[command(subcommand, hide = true)]
    Config(ConfigCommand),
    /// Reads the whole store and says what it finds.
    #[command(hide = true)]
    Verify,
    /// Makes a store from an export.
    #[command(hide = true)]
    Restore {
        /// The export.
        file: PathBuf,
    },
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Lists all that is wrong with it.
    Check,
    /// Prints the values in effect.
    Show {
        /// Prints a file with all keys, their meaning and their defaults instead.
        #[arg(long)]
        default: bool,
    },
    /// Prints where it is.
    Path,
}

impl Arguments {
    /// Whether the output is to be JSON.
    pub(crate) fn json(&self) -> bool {
        self.common.json
    }

    /// Where the configuration is read from; without `--config`, from the file at `usual`.
    pub(crate) fn source(&self, usual: &Path) -> Source {
        let named = self.common.config.as_deref();
        let path = named.unwrap_or(usual);
        Source {
            // The path is shown to others, who are in another directory.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            must_exist: named.is_some(),
            log_level: self.common.log_level.clone(),
            log_format: self.common.log_format,
        }
    }

    /// The arguments with which `--detach` starts the daemon.
    pub(crate) fn detached() -> Vec<OsString> {
        let own = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
        own.chain([OsString::from("detached")]).collect()
    }
}
