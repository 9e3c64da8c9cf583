//! `spindle config`: the configuration, without a daemon.

use clap::Subcommand;

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
    #[command(after_long_help = "Examples:\n  spindle config show\n  spindle --json config show")]
    Show,
    /// Print where the configuration file is looked for
    #[command(after_long_help = "Examples:\n  $EDITOR \"$(spindle config path)\"")]
    Path,
}

impl ConfigCommand {
    /// Only `spindled` knows its settings, and it can tell without running.
    pub(crate) fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let verb = match self {
            Self::Check => "check",
            Self::Show => "show",
            Self::Path => "path",
        };
        let json = if app.out.is_json() { &["--json"][..] } else { &[] };
        run_spindled(app, &[&["config", verb], json].concat())
    }
}
