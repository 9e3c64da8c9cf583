//! A Codex home read for the first time by the real daemon: sessions, turns, calls and signals, stored.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::Bench;
use crate::home::Home;
use crate::process::peak_bytes;
use crate::samples::Samples;
use crate::sessions::{CodexHome, decode_bare, decode_ours, ingest, scan_duckdb};
use crate::table::{Row, Target, Unit};

const ROUNDS: usize = 3;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let codex = CodexHome::new(bench, bench.corpus, None)?;
    let files = codex.files()?;
    let (mut ours, mut bare, mut decoded) = (Samples::default(), Samples::default(), Samples::default());
    let (mut memory, mut store) = (0_f64, 0_f64);
    for _ in 0..ROUNDS {
        bare.add(decode_bare(&files)?);
        decoded.add(decode_ours(&files)?);
        let home = Home::reading(bench, codex.path())?;
        let start = Instant::now();
        let daemon = home.start()?;
        let client = daemon.connect().await?;
        let totals = ingest(&client).await?;
        ours.add(start.elapsed());
        // Fewer would not be what is measured.
        let (read, made) = ((totals.sessions, totals.records), (codex.made.sessions, codex.made.records));
        ensure!(read == made, "{read:?} sessions and records were read of {made:?}");
        memory = memory.max(peak_bytes(daemon.pid())?);
        daemon.terminate()?;
        store = bytes_below(&home.path().join("state/store"))?;
    }
    let duckdb = scan_duckdb(&codex)?;

    let bytes = amount(codex.made.bytes);
    let gigabytes = bytes / 1e9;
    let speed = |samples: &Samples| bytes / samples.median();
    Ok(vec![
        Row::new(format!("{gigabytes:.1} GB of sessions read"), Unit::BytesPerSecond, speed(&ours))
            .against(
                "the same files split into lines and each envelope decoded by serde_json, on all cores",
                speed(&bare),
            )
            .aiming(Target::RatioAtLeast(0.7))
            .beside("our decoder alone", Some(speed(&decoded)))
            .beside("DuckDB's scan of the same files", duckdb.map(|seconds| bytes / seconds)),
        Row::new(format!("{gigabytes:.1} GB of sessions, peak memory"), Unit::Bytes, memory)
            .aiming(Target::AtMost(100e6)),
        Row::new("store of these sessions", Unit::Bytes, store)
            .against("the bytes of their files", bytes)
            .aiming(Target::RatioAtMost(0.1)),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "no disk here comes near 2^52 bytes")]
fn amount(bytes: u64) -> f64 {
    bytes as f64
}

/// What the files below a directory take.
fn bytes_below(directory: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { bytes_below(&entry.path())? } else { amount(metadata.len()) };
    }
    Ok(sum)
}
