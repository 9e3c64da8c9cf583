//! `spindle man`: manual pages, made from the command line itself.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use crate::app::App;
use crate::cli::Cli;
use crate::error::CtlError;
use crate::exit::Exit;

const AFTER_HELP: &str = "\
Examples:
  spindle man | man -l -
  spindle man --dir ~/.local/share/man/man1";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ManArgs {
    /// Write the pages of all commands into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub(crate) fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let Some(directory) = self.dir else {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            app.out.bytes(&page)?;
            return Ok(Exit::DONE);
        };
        let failed = |source| CtlError::File { what: "write the pages to", path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &directory).map_err(failed)?;
        app.out.note(&format!("wrote the manual pages to {}", directory.display()));
        Ok(Exit::DONE)
    }
}
