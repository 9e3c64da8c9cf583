//! The output of a child that writes much, beside the same child writing straight to a file.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use spindle_client::Client;
use spindle_client::v1::{DeleteRunRequest, WaitRunRequest};

use crate::Bench;
use crate::home::{Home, request, succeeded};
use crate::part::Part;
use crate::programs::OWN;
use crate::samples::Samples;
use crate::table::{Row, Target, Unit};

const TOTAL: usize = 2 << 30;
const ROUNDS: usize = 3;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, 8)?;
    let daemon = home.start()?;
    let client = daemon.connect().await?;
    let mut rows = Vec::new();
    for block in [4 << 10, 64 << 10] {
        let writer = Part::Write { block, total: TOTAL };
        let (mut ours, mut reference) = (Samples::default(), Samples::default());
        for _ in 0..ROUNDS {
            // Each file is gone before the next is begun, so that neither waits for the other's pages.
            direct(&home, &writer, &mut reference)?;
            captured(&client, &writer, &mut ours).await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "2^31 is exact")]
        let speed = |samples: &Samples| TOTAL as f64 / samples.median();
        rows.push(
            Row::new(
                format!("2 GiB captured, writes of {} KiB", block >> 10),
                Unit::BytesPerSecond,
                speed(&ours),
            )
            .against("the same child writing to a file", speed(&reference))
            .aiming(Target::RatioAtLeast(0.7)),
        );
    }
    Ok(rows)
}

fn direct(home: &Home, writer: &Part, times: &mut Samples) -> Result<()> {
    let path = home.path().join("direct");
    let file = File::create(&path)?;
    let status = times.time(|| writer.command().stdin(Stdio::null()).stdout(file).status());
    ensure!(status.context("cannot start the writer")?.success(), "the writer has failed");
    Ok(fs::remove_file(&path)?)
}

async fn captured(client: &Client, writer: &Part, times: &mut Samples) -> Result<()> {
    let mut runs = client.runs();
    let start = Instant::now();
    let id = runs.start_run(request(&OWN, &writer.arguments())).await?.into_inner().id;
    let run = runs.wait_run(WaitRunRequest { run: id.clone() }).await?.into_inner();
    times.add(start.elapsed());
    succeeded(&run)?;
    runs.delete_run(DeleteRunRequest { run: id }).await?;
    Ok(())
}
