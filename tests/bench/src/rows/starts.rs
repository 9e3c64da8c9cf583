//! Durable starts: how many are acknowledged in a second, beside the syncs that the disk does.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use spindle_client::v1::PauseRequest;
use tokio::task::JoinSet;

use crate::Bench;
use crate::home::{Daemon, Home, request_true};
use crate::samples::rate;
use crate::table::{Row, Unit};

const CLIENTS: [usize; 3] = [1, 8, 64];
const PERIOD: Duration = Duration::from_secs(3);
const BLOCK: usize = 4096;
/// The file is written over and over in this room: a file that grows costs the journal of the file
/// system as well, and the store's does not grow.
const ROOM: usize = 8 << 20;

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, 8)?;
    let daemon = home.start()?;
    // What is started waits: it is the starting that is measured.
    daemon.connect().await?.daemon().pause(PauseRequest {}).await?;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        let syncs = bare_syncs(&home.path().join("bare"))?;
        let starts = starts(&daemon, clients).await?;
        rows.push(
            Row::new(format!("durable starts, {clients} at once"), Unit::PerSecond, starts)
                .against("fdatasync of 4 KiB, one after the other", syncs),
        );
    }
    Ok(rows)
}

async fn starts(daemon: &Daemon<'_>, clients: usize) -> Result<f64> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(daemon.connect().await?.runs());
    }
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for mut runs in connected {
        workers.spawn(async move {
            let mut acknowledged = 0;
            while start.elapsed() < PERIOD {
                runs.start_run(request_true()).await?;
                acknowledged += 1;
            }
            Ok::<usize, tonic::Status>(acknowledged)
        });
    }
    let mut acknowledged = 0;
    while let Some(worker) = workers.join_next().await {
        acknowledged += worker??;
    }
    Ok(rate(acknowledged, start.elapsed()))
}

/// How many blocks of a file can be overwritten and synced in a second.
fn bare_syncs(path: &Path) -> Result<f64> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; ROOM])?;
    file.sync_all()?;
    let start = Instant::now();
    let mut syncs = 0;
    while start.elapsed() < PERIOD {
        let offset = syncs % (ROOM / BLOCK) * BLOCK;
        file.write_all_at(&[7; BLOCK], offset as u64)?;
        file.sync_data()?;
        syncs += 1;
    }
    Ok(rate(syncs, start.elapsed()))
}
