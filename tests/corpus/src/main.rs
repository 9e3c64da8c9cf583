//! `make-corpus OUT`: makes a Codex home full of sessions.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use corpus::{DEMO, Real, demo, real};

/// Makes a Codex home full of sessions, always the same from the same seed
#[derive(Debug, Parser)]
struct Arguments {
    /// The directory, which may not have sessions yet
    out: PathBuf,

    /// About how much, as 500MB, 1GiB or a number of bytes
    #[arg(long, default_value = "1GiB", value_parser = bytes)]
    bytes: u64,

    /// How many sessions [default: one for each 512 KiB]
    #[arg(long, value_name = "NUMBER")]
    sessions: Option<u64>,

    /// What all chance hangs on
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    seed: u64,

    /// What the sessions look like
    #[arg(long, value_enum, default_value = "real")]
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// As Codex writes them
    Real,
    /// 500 sessions with the published totals of an earlier tool's demo
    Demo,
}

/// A size with an optional unit.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        unit => return Err(format!("{unit:?} is none of B, kB, KiB, MB, MiB, GB, GiB")),
    };
    let number: u64 = text[..digits].parse().map_err(|error| format!("{error}"))?;
    number.checked_mul(unit).ok_or_else(|| "that is too much".to_owned())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let made = match arguments.shape {
        Shape::Real => {
            let wanted = Real { bytes: arguments.bytes, sessions: arguments.sessions, seed: arguments.seed };
            real(&arguments.out, &wanted)
        }
        Shape::Demo => {
            let number = arguments.sessions.unwrap_or(DEMO.sessions);
            ensure!(number == DEMO.sessions, "the demo has {} sessions: that is its point", DEMO.sessions);
            demo(&arguments.out, arguments.seed)
        }
    };
    let made = made.with_context(|| format!("cannot make a corpus in {}", arguments.out.display()))?;
    println!(
        "{} sessions, {} files, {} records, {} bytes ({} each) in {:.1} s",
        made.sessions,
        made.files,
        made.records,
        made.bytes,
        made.bytes / made.records.max(1),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
