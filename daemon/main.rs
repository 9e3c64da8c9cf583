//! The daemon of Spindle.
//!
//! - [`args`], [`config`]: what it is told; [`offline`]: what it does for `spindle` without a daemon;
//! - [`life`]: from the start to the end, with [`detach`], [`lock`], [`listen`], [`logging`], [`signals`],
//!   [`notify`] and [`power`];
//! - [`serve`], [`tasks`], [`api`], [`hooks`], [`recording`], [`bundles`], [`witness`], [`tables`]: the daemon at work.

mod api;
mod args;
mod bundles;
mod config;
mod detach;
mod failure;
mod hooks;
mod life;
mod listen;
mod lock;
mod logging;
mod notify;
mod offline;
mod power;
mod recording;
mod router;
mod serve;
mod signals;
mod tables;
mod tasks;
mod witness;

use std::process::ExitCode;

use clap::Parser as _;
use spindle_client::Paths;

use args::{Arguments, Command};
use failure::Failure;
use life::Life;
use notify::Starter;
use offline::Offline;

fn main() -> ExitCode {
    if let Some(code) = args::small_process() {
        return code;
    }
    run(&Arguments::parse()).unwrap_or_else(|failure| failure.print())
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let paths = Paths::from_environment()?;
    let source = arguments.source(&paths.config);
    let (starter, in_background) = match &arguments.command {
        Some(Command::Offline(command)) => {
            return Offline { paths, source, json: arguments.json() }.run(command);
        }
        None if arguments.detach => return Ok(detach::start()),
        None => (Starter::default(), false),
        Some(Command::Detached) => {
            let readiness = detach::leave().map_err(Failure::system("go to the background"))?;
            (Starter::new(Some(readiness)), true)
        }
    };
    Ok(Life { paths, source, starter, in_background }.live())
}
