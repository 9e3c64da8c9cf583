//! Measures Spindle's two programs as a user runs them, and prints one table: what was measured,
//! the reference measured beside it in the same run, their ratio, and whether the target is met.
//!
//! `rows` holds a file per measurement. `home` is a scratch home with a daemon in it, `programs`
//! finds or builds what is measured, `part` is what this program becomes when a measurement needs
//! another process, and `table` is what comes out.

mod home;
mod part;
mod process;
mod programs;
mod pueue;
mod rows;
mod samples;
mod sessions;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::part::Part;
use crate::programs::Programs;
use crate::pueue::Pueue;
use crate::rows::Measurement;
use crate::table::{Row, Table};

/// No measurement may take longer than this: the whole table stays below five minutes on two cores.
const LIMIT: Duration = Duration::from_secs(150);

/// Measures Spindle, each figure beside a reference measured in the same run
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    rows: Vec<Measurement>,

    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,

    /// The daemon to measure [default: built from this checkout with --release]
    #[arg(long, value_name = "PATH", requires = "spindle")]
    spindled: Option<PathBuf>,

    /// The command to measure
    #[arg(long, value_name = "PATH", requires = "spindled")]
    spindle: Option<PathBuf>,

    /// Where the scratch home is made: on the disk that is to be measured [default: beside this program]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// How many finished runs the store holds that a daemon is started on
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    finished: usize,

    /// How many megabytes of sessions are read for the first time; they are deleted afterwards
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000)]
    corpus: u64,

    /// Build pueue below target/tools when it is not there; without it, it is measured when found
    #[arg(long)]
    with_pueue: bool,
}

/// What every measurement is given.
struct Bench {
    programs: Programs,
    scratch: PathBuf,
    finished: usize,
    /// Bytes of sessions.
    corpus: u64,
    pueue: Option<Pueue>,
}

fn main() -> ExitCode {
    let done = match Part::from_arguments() {
        Some(part) => part.and_then(Part::play).map(|()| ExitCode::SUCCESS),
        None => measure(Arguments::parse()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::from(2)
    })
}

fn measure(arguments: Arguments) -> Result<ExitCode> {
    let programs = match (arguments.spindled, arguments.spindle) {
        (Some(spindled), Some(spindle)) => Programs::given(&spindled, &spindle)?,
        _ => Programs::build()?,
    };
    let scratch = arguments.scratch.unwrap_or_else(|| programs::beside_this_one().to_path_buf());
    let pueue = if arguments.with_pueue { Some(Pueue::install()?) } else { Pueue::find() };
    let corpus = arguments.corpus.saturating_mul(1_000_000);
    let bench = Bench { programs, scratch, finished: arguments.finished, corpus, pueue };

    let wanted = if arguments.rows.is_empty() { Measurement::all() } else { arguments.rows };
    let runtime = tokio::runtime::Runtime::new().context("cannot start threads")?;
    let mut table = Table::default();
    for measurement in wanted {
        eprintln!("measuring {measurement} …");
        match runtime.block_on(bounded(measurement, &bench)) {
            Ok(rows) => table.rows.extend(rows),
            Err(error) => table.failed(measurement, &error),
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        print!("{table}");
    }
    Ok(if table.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn bounded(measurement: Measurement, bench: &Bench) -> Result<Vec<Row>> {
    let rows = tokio::time::timeout(LIMIT, measurement.take(bench));
    rows.await.with_context(|| format!("not done after {} s", LIMIT.as_secs()))?
}
