//! `spindle`: the command that drives the daemon.
//!
//! One file per noun, `show/` for how things are shown, `parse/` for what
//! people type, `page` for lists. All it knows of the daemon is the client library.

mod app;
mod approval;
mod auto;
mod cli;
mod completions;
mod config;
mod daemon;
mod error;
mod exec;
mod exit;
mod follow;
mod lease;
mod man;
mod page;
mod parse;
mod program;
mod run;
mod schedule;
mod show;
mod start;
mod trace;
mod watched;

use std::process::ExitCode;

use clap::Parser as _;

use crate::app::App;
use crate::cli::Cli;
use crate::error::CtlError;
use crate::exit::Exit;
use crate::show::{ColorChoice, Out};

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    let out = Out::new(cli.global.json, cli.global.quiet, cli.global.color);
    let exit = perform(cli, out).unwrap_or_else(|error| {
        let exit = error.exit();
        // Whoever closed our output does not want to read about it.
        if exit != Exit::BROKEN_PIPE {
            out.error(&error);
        }
        exit
    });
    exit.into()
}

/// Ends the program over a command line that makes no sense, or after the help
/// that was asked for. A program that asked for JSON gets it here too.
fn refuse(error: &clap::Error) -> ! {
    let wants_json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    if wants_json && error.use_stderr() {
        let text = error.render().to_string();
        let message = text.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = message.trim_start_matches("error: ").to_owned();
        let hint = "`spindle help` and --help explain every command";
        Out::new(true, false, ColorChoice::Never).error(&CtlError::Usage { message, hint });
        std::process::exit(error.exit_code());
    }
    error.exit()
}

fn perform(cli: Cli, out: Out) -> Result<Exit, CtlError> {
    // One thread: a command waits for one answer at a time, and starts sooner.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let app = App::new(&cli.global, out)?;
    let exit = runtime.block_on(cli.command.perform(&app));
    // Not to wait for a read of standard input that may never end.
    runtime.shutdown_background();
    exit
}
