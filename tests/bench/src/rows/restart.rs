//! A daemon started on a store of many finished runs: how soon it is ready, what memory it has, how
//! often it wakes when there is nothing to do.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Bench;
use crate::home::{Home, queue_up, work_off};
use crate::part::Part;
use crate::process::{Sleeps, anonymous_bytes, resident_bytes};
use crate::samples::{Samples, rate};
use crate::table::{Row, Target, Unit};

const SLOTS: usize = 16;
const STARTS: usize = 5;
/// Threads that were needed for the start only have ended by then.
const SETTLING: Duration = Duration::from_secs(12);
const WINDOW: Duration = Duration::from_secs(20);

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let home = Home::new(bench, SLOTS)?;
    {
        let daemon = home.start()?;
        let client = daemon.connect().await?;
        let ids = queue_up(&client, bench.finished).await?;
        work_off(&client, &ids).await?;
        drop(client);
        daemon.terminate()?;
    }
    let (mut clean, mut killed) = (Samples::default(), Samples::default());
    for _ in 0..STARTS {
        // Ended by SIGKILL when it is dropped.
        clean.add(home.start()?.ready_after);
        let daemon = home.start()?;
        killed.add(daemon.ready_after);
        daemon.terminate()?;
    }

    let copy = home.path().join("sled-copy");
    copy_files(&home.database(), &copy)?;
    let sled = OpenStore::start(&copy)?;
    let daemon = home.start()?;
    tokio::time::sleep(SETTLING).await;
    let (ours, reference) = (Sleeps::of(daemon.pid())?, Sleeps::of(sled.0.id())?);
    tokio::time::sleep(WINDOW).await;
    let per_second = |sleeps: Sleeps| {
        sleeps.since().map(|sleeps| rate(usize::try_from(sleeps).unwrap_or(usize::MAX), WINDOW))
    };
    let (ours, reference) = (per_second(ours)?, per_second(reference)?);

    let name = |what: &str| format!("{} ended runs, {what}", bench.finished);
    let tenth = Target::AtMost(0.1);
    Ok(vec![
        Row::new(name("start to ready"), Unit::Seconds, clean.median()).aiming(tenth),
        Row::new(name("the same after kill -9"), Unit::Seconds, killed.median()).aiming(tenth),
        Row::new(name("resident memory"), Unit::Bytes, resident_bytes(daemon.pid())?)
            .against(
                "a process that does no more than open the same sled database",
                resident_bytes(sled.0.id())?,
            )
            .aiming(Target::AtMost(20e6))
            .beside("of it anonymous", Some(anonymous_bytes(daemon.pid())?)),
        Row::new(name("wake-ups"), Unit::PerSecond, ours)
            .against("a process that does no more than open the same sled database", reference)
            .aiming(Target::AboveReference(1.0)),
    ])
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// A process that has opened a sled database.
struct OpenStore(Child);

impl OpenStore {
    fn start(path: &Path) -> Result<Self> {
        let mut command = Part::OpenStore(path.to_path_buf()).command();
        let mut store =
            Self(command.stdout(Stdio::piped()).spawn().context("cannot open the copy of the store")?);
        let output = store.0.stdout.take().context("it has no output")?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(store)
    }
}

impl Drop for OpenStore {
    fn drop(&mut self) {
        // It never ends by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
