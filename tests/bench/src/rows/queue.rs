//! A thousand runs of `true` that wait in the queue, eight at a time.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::Bench;
use crate::home::{Home, queue_up, work_off};
use crate::samples::{Samples, rate};
use crate::table::{Row, Target, Unit};

const RUNS: usize = 1000;
const SLOTS: usize = 8;
const ROUNDS: usize = 3;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, SLOTS)?;
    let daemon = home.start()?;
    let client = daemon.connect().await?;
    let (mut ours, mut reference) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        reference.add(xargs()?);
        let ids = queue_up(&client, RUNS).await?;
        let start = Instant::now();
        work_off(&client, &ids).await?;
        ours.add(start.elapsed());
    }
    let pueue = bench.pueue.as_ref().map(|pueue| pueue.start(&bench.scratch)?.work_off(RUNS, SLOTS));
    let rate = |time: f64| rate(RUNS, Duration::from_secs_f64(time));
    Ok(vec![
        Row::new("1000 queued runs, 8 slots", Unit::PerSecond, rate(ours.median()))
            .against("xargs -P8 -n1 true", rate(reference.median()))
            .aiming(Target::RatioAtLeast(0.15))
            .beside("pueue with 8 slots", pueue.transpose()?.map(|time| rate(time.as_secs_f64()))),
    ])
}

/// How long `xargs` takes for as many.
fn xargs() -> Result<Duration> {
    let start = Instant::now();
    let mut xargs = Command::new("xargs");
    xargs.args([&format!("-P{SLOTS}"), "-n1", "true"]).stdin(Stdio::piped());
    let mut child = xargs.spawn().context("cannot start xargs")?;
    let mut words = child.stdin.take().context("xargs has no input")?;
    words.write_all("x\n".repeat(RUNS).as_bytes())?;
    drop(words);
    ensure!(child.wait()?.success(), "xargs has failed");
    Ok(start.elapsed())
}
