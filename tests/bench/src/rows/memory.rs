//! What a shim costs while its child runs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use spindle_client::Client;
use spindle_client::v1::{GetRunRequest, KillRunRequest, WaitRunRequest};

use crate::Bench;
use crate::home::{Home, request};
use crate::process::{parent, private_bytes};
use crate::table::{Row, Target, Unit};

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, 8)?;
    let daemon = home.start()?;
    let client = daemon.connect().await?;
    let mut runs = client.runs();
    // It ends by itself, should this program be killed.
    let run = runs.start_run(request(Path::new("sleep"), &["60".into()])).await?.into_inner().id;
    let private = private_bytes(parent(child(&client, &run).await?)?)?;
    runs.kill_run(KillRunRequest { run: run.clone(), ..KillRunRequest::default() }).await?;
    runs.wait_run(WaitRunRequest { run }).await?;
    Ok(vec![Row::new("a shim's private memory", Unit::Bytes, private).aiming(Target::AtMost(2e6))])
}

/// The process of a run, as soon as it is there.
async fn child(client: &Client, run: &str) -> Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let detail = client.runs().get_run(GetRunRequest { run: run.to_owned() }).await?.into_inner();
        let mut attempts = detail.steps.iter().flat_map(|step| &step.attempts);
        if let Some(pid) = attempts.find_map(|attempt| attempt.pid) {
            return u32::try_from(pid).context("not a process id");
        }
        ensure!(Instant::now() < deadline, "run {run} has no process after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
