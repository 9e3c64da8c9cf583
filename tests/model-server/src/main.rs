//! `model-server`: a stand-in for the model behind the Codex CLI, for offline tests and demos.

use clap::Parser;
use model_server::{ModelServer, Options, codex_config, describe_scenarios};
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A stand-in for the model behind the Codex CLI, for offline tests and demos.
///
/// Serves the Responses API on 127.0.0.1 and prints `listening on http://127.0.0.1:PORT` as its
/// first line. A prompt says what the model does with `mock:NAME key=value …`, to the end of the
/// line; values are quoted as in a shell.
#[derive(Parser)]
#[command(name = "model-server", version, after_long_help = after_help(), after_help = "--help lists the scenarios and shows examples.")]
struct Arguments {
    /// TCP port; 0 lets the system choose
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What the model does when the prompt does not say: a scenario with its parameters
    #[arg(long, value_name = "SCENARIO", default_value = "message")]
    default: String,
    /// Append one JSON line per request to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Wait so long before every answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// The list that the agent ticks, relative to the directory in which Codex works
    #[arg(long, value_name = "PATH", env = "MODEL_SERVER_TODO", default_value = ".codex-autorunner/TODO.md")]
    todo: String,
    /// The document in which the agent notes its progress, likewise
    #[arg(
        long,
        value_name = "PATH",
        env = "MODEL_SERVER_PROGRESS",
        default_value = ".codex-autorunner/PROGRESS.md"
    )]
    progress: String,
    /// A header for every stream, such as 'x-codex-primary-used-percent: 42' (repeatable)
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Write a config.toml into this directory, which then serves as the client's `CODEX_HOME`
    #[arg(long, value_name = "DIR")]
    write_config: Option<PathBuf>,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn after_help() -> String {
    format!(
        "Scenarios:\n{}
Examples:
  Point the real CLI at it, with a home of its own:
    mkdir codex-home
    model-server --write-config codex-home &
    CODEX_HOME=$PWD/codex-home codex exec --json 'mock:shell cmd=\"ls -l\"' </dev/null

  Let an agent work through the TODO list in the prompt, a second per answer:
    model-server --default agent --delay-ms 1000

  An item of that list may carry a directive of its own:
    - [ ] fetch the data mock:http code=500 times=1",
        describe_scenarios()
    )
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("model-server: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let server = ModelServer::start(Options {
        port: arguments.port,
        default: arguments.default,
        log: arguments.log,
        delay: Duration::from_millis(arguments.delay_ms),
        todo: arguments.todo,
        progress: arguments.progress,
        headers: arguments.headers,
    })?;
    if let Some(directory) = arguments.write_config {
        let path = directory.join("config.toml");
        fs::write(&path, codex_config(server.url()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", server.url())?;
    stdout.flush()?;
    server.wait();
    Ok(())
}
