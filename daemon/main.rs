//! The daemon of Spindle: arguments, configuration and wiring.

mod args;
mod config;
mod detach;
mod failure;
mod listen;
mod lock;
mod logging;
mod notify;
mod offline;
mod power;
mod serve;
mod signals;

use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser as _;
use spindle_client::Paths;

use args::{Arguments, Command};
use config::Source;
use failure::Failure;
use listen::Listener;
use lock::StateLock;
use logging::Log;
use notify::Starter;
use offline::Offline;

/// What is still at work after the daemon has closed its store may take this long.
const LAST_TASKS: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    if let Some(code) = args::small_process() {
        return code;
    }
    let arguments = Arguments::parse();
    run(&arguments).unwrap_or_else(|failure| {
        eprintln!("spindled: {failure}");
        failure.exit_code()
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let paths = Paths::from_environment()?;
    let source = arguments.source(&paths.config);
    match &arguments.command {
        None if arguments.detach => return Ok(detach::start()),
        None => daemon(paths, source, &Starter::default(), false)?,
        Some(Command::Detached) => {
            let readiness = detach::leave().map_err(Failure::system("go to the background"))?;
            daemon(paths, source, &Starter::new(Some(readiness)), true)?;
        }
        Some(Command::Offline(command)) => return Offline { paths, source, json: arguments.json() }.run(command),
    }
    Ok(ExitCode::SUCCESS)
}

fn daemon(mut paths: Paths, source: Source, starter: &Starter, in_background: bool) -> Result<(), Failure> {
    let config = source.load()?.config;
    paths.prepare()?;
    let _lock = StateLock::acquire(&paths.state_dir)?;
    if in_background {
        detach::write_to_log(&paths.log()).map_err(Failure::system("write to the log file"))?;
    }
    let log = Log::begin(&config.daemon.log_level, config.daemon.log_format);
    let threads = available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("spindled")
        .enable_all()
        .build()
        .map_err(Failure::system("start threads"))?;
    let done = runtime.block_on(async {
        let listener = Listener::bind(&paths.socket).await?;
        let requests = signals::requests().map_err(Failure::system("listen for signals"))?;
        let requests = Box::pin(requests);
        let start = serve::Start { config, source, paths, listener, log, requests, starter: starter.clone() };
        serve::serve(start).await.map_err(Failure::Serve)
    });
    runtime.shutdown_timeout(LAST_TASKS);
    done.inspect_err(|failure| starter.failed(&failure.to_string()))
}
