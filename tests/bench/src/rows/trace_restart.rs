//! A daemon started again on 10,000 sessions of which it knows everything.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::Bench;
use crate::home::Home;
use crate::samples::Samples;
use crate::sessions::{CodexHome, ingest, look_at_all};
use crate::table::{Row, Target, Unit};

const SESSIONS: u64 = 10_000;
const ROUNDS: usize = 5;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    // A turn each, which is what so many have at least.
    let codex = CodexHome::new(bench, 1, Some(SESSIONS))?;
    let home = Home::reading(bench, codex.path())?;
    let first = {
        let daemon = home.start()?;
        let first = ingest(&daemon.connect().await?).await?;
        daemon.terminate()?;
        first
    };
    let (mut ours, mut walks) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        walks.add(look_at_all(&codex)?);
        let start = Instant::now();
        let daemon = home.start()?;
        let again = ingest(&daemon.connect().await?).await?;
        ours.add(start.elapsed());
        ensure!(again == first, "{again:?} is not what was known: {first:?}");
        daemon.terminate()?;
    }
    Ok(vec![
        Row::new(format!("{SESSIONS} known sessions, restart"), Unit::Seconds, ours.median())
            .against("a walk over the same directories with a stat of every file", walks.median())
            .aiming(Target::AtMost(1.0)),
    ])
}
