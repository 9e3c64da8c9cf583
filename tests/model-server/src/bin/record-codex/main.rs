//! `record-codex`: runs the real Codex CLI through every case that Spindle's driver must understand,
//! and keeps what it printed.

mod cases;
mod index;
mod mcp;
mod normalise;
mod run;

use cases::{CASES, Case};
use clap::{Parser, ValueEnum};
use index::Index;
use model_server::Release;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Record what the real Codex CLI prints, case by case, against the local model server.
///
/// Needs the CLI releases that tests/codex/install downloads. Writes `VERSION-CASE.jsonl` (standard
/// output, with paths, ids and ports replaced by fixed ones) and `index.json`. Takes about two
/// minutes.
#[derive(Parser)]
#[command(name = "record-codex")]
struct Arguments {
    /// Which release to record
    #[arg(long, value_enum, default_value = "all")]
    version: Which,
    /// Record only these cases, and leave the other recordings alone (repeatable)
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Where the recordings are kept
    #[arg(long, value_name = "DIR", default_value = "tests/codex/recordings")]
    out: PathBuf,
    /// Serve the tool of the MCP case on standard input and output instead
    #[arg(long, hide = true)]
    mcp_server: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    All,
    Current,
    Oldest,
}

impl Which {
    fn releases(self) -> &'static [Release] {
        match self {
            Self::All => &Release::ALL,
            Self::Current => &[Release::Current],
            Self::Oldest => &[Release::Oldest],
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.mcp_server { mcp::serve().map_err(Into::into) } else { record(&arguments) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("record-codex: {error}");
            ExitCode::FAILURE
        }
    }
}

fn record(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(unknown) = arguments.cases.iter().find(|name| !CASES.iter().any(|case| case.name == **name)) {
        return Err(format!("there is no case called {unknown}").into());
    }
    let wanted =
        |case: &&Case| arguments.cases.is_empty() || arguments.cases.iter().any(|name| name == case.name);
    let mut index = Index::open(&arguments.out)?;
    for &release in arguments.version.releases() {
        if arguments.cases.is_empty() {
            index.forget(release)?;
        }
        for case in CASES.iter().filter(|case| case.releases.include(release)).filter(wanted) {
            let started = Instant::now();
            let recording = run::record(case, release).map_err(|error| format!("{}: {error}", case.name))?;
            eprintln!("{} {:32} {:5.1} s", release.version(), case.name, started.elapsed().as_secs_f64());
            index.keep(recording)?;
        }
    }
    Ok(index.save()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    fn recordings() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../codex/recordings")
    }

    #[test]
    fn every_case_is_recorded_for_each_of_its_releases_and_nothing_else_is() {
        let mut expected = BTreeSet::from(["index.json".to_owned()]);
        for release in Release::ALL {
            let cases = CASES.iter().filter(|case| case.releases.include(release));
            expected.extend(cases.map(|case| format!("{}-{}.jsonl", release.version(), case.name)));
        }
        let files = fs::read_dir(recordings()).unwrap();
        let found: BTreeSet<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(found, expected);
        assert_eq!(Index::open(&recordings()).unwrap().len(), expected.len() - 1);
    }

    #[test]
    fn every_recorded_line_is_an_event_and_a_thread_comes_first() {
        for file in fs::read_dir(recordings()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            for (at, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                let is_start = event["type"] == "thread.started";
                assert_eq!(is_start, at == 0, "{}: {line}", path.display());
            }
        }
    }
}
