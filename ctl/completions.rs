//! `spindle completions`: scripts that let a shell complete our command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::app::App;
use crate::cli::Cli;
use crate::error::CtlError;
use crate::exit::Exit;

const AFTER_HELP: &str = "\
Examples:
  spindle completions bash > ~/.local/share/bash-completion/completions/spindle
  spindle completions zsh > ~/.zfunc/_spindle
  spindle completions fish > ~/.config/fish/completions/spindle.fish";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn perform(self, app: &App) -> Result<Exit, CtlError> {
        // Into memory first: the generator panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "spindle", &mut script);
        app.out.bytes(&script)?;
        Ok(Exit::DONE)
    }
}
