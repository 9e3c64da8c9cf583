//! `spindle config`: the configuration, without a daemon.

use clap::{Args, Subcommand};

use crate::app::App;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::program::run_spindled;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration file; ends with 1 if something is wrong
    #[command(after_long_help = "Examples:\n  spindle config check && spindle daemon reload")]
    Check,
    /// Show all settings as they are in force, and where each comes from
    #[command(after_long_help = "Examples:\n  spindle config show\n  spindle --json config show\n  \
        spindle config show --default > \"$(spindle config path)\"")]
    Show(ShowArgs),
    /// Print where the configuration file is looked for
    #[command(after_long_help = "Examples:\n  $EDITOR \"$(spindle config path)\"")]
    Path,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Show the commented default file instead
    #[arg(long)]
    default: bool,
}

impl ConfigCommand {
    /// Only `spindled` knows its settings, and it can tell without running.
    pub(crate) fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let words: &[&str] = match self {
            Self::Check => &["config", "check"],
            Self::Show(ShowArgs { default: false }) => &["config", "show"],
            Self::Show(ShowArgs { default: true }) => &["config", "show", "--default"],
            Self::Path => &["config", "path"],
        };
        let json = if app.out.is_json() { &["--json"][..] } else { &[] };
        run_spindled(app, &[words, json].concat())
    }
}
