//! How fast is the store on this disk?
//!
//! `store_bench [DIRECTORY [SECONDS]]` measures, for SECONDS each (default 3), in a new directory below
//! DIRECTORY (default: the current one):
//!
//! - bare writes of 512 bytes, each with `fdatasync`: what the disk itself can do. They go one after the other
//!   into room that the file has already, as sled's do (a file that grows costs the journal of the file system
//!   as well);
//! - durable commits of two small rows (a run and an event) by 1, 8 and 64 tasks at once;
//! - the same by 16 tasks while the oldest rows are trimmed in ranges, as the event log is.
//!
//! The last column is the ratio to the bare writes of the same run.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::store::{Batch, Options, Order, Store, Table, TableInfo};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Clone, PartialEq, prost::Message)]
struct Small {
    #[prost(string, tag = "1")]
    text: String,
}

struct Runs;

impl Table for Runs {
    const NAME: &'static str = "runs";
    const PREFIX: u8 = 1;
    type Key = uuid::Uuid;
    type Value = Small;
}

struct Events;

impl Table for Events {
    const NAME: &'static str = "events";
    const PREFIX: u8 = 2;
    type Key = u64;
    type Value = Small;
}

const TABLES: &[TableInfo] = &[TableInfo::of::<Runs>(), TableInfo::of::<Events>()];

/// How many events the trimmed log keeps.
const KEPT: u64 = 20_000;

/// How many events go in one trim.
const TRIMMED_AT_ONCE: u64 = 400;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let period = Duration::from_secs(seconds);
    let scratch = tempfile::tempdir_in(directory)?;

    println!(
        "{:<22}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}",
        "", "per s", "p50 ms", "p99 ms", "syncs/s", "longest ms", "ratio"
    );
    let bare = bare_syncs(&scratch.path().join("bare"), period)?;
    let reference = bare.rate();
    bare.print("bare fdatasync", reference, None);
    for tasks in [1, 8, 64] {
        let store = Store::open(&scratch.path().join(format!("store-{tasks}")), TABLES, &Options::default())?;
        let measured = commits(&store, tasks, period, Arc::default()).await?;
        measured.print(&format!("{tasks} tasks"), reference, Some(&store));
        store.close()?;
    }
    trimmed(&scratch.path().join("store-trimmed"), period, reference).await
}

/// Durations of single operations, and how long they took together.
struct Measured {
    each: Vec<Duration>,
    total: Duration,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
    fn rate(&self) -> f64 {
        self.each.len() as f64 / self.total.as_secs_f64()
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of syncs")]
    fn print(mut self, name: &str, reference: f64, store: Option<&Store>) {
        self.each.sort_unstable();
        let rate = self.rate();
        let quantile = |part: usize| milliseconds(self.each[(self.each.len() - 1) * part / 100]);
        let longest = self.each.last().copied().unwrap_or_default();
        let (syncs, longest) = store.map_or((rate, longest), |store| {
            let stats = store.stats();
            (stats.syncs as f64 / self.total.as_secs_f64(), stats.longest_flush)
        });
        println!(
            "{name:<22}{rate:>10.0}{:>10.3}{:>10.3}{syncs:>10.0}{:>12.1}{:>8.2}",
            quantile(50),
            quantile(99),
            milliseconds(longest),
            rate / reference,
        );
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn bare_syncs(path: &Path, period: Duration) -> Outcome<Measured> {
    const ROOM: usize = 8 << 20;
    let mut file = File::create(path)?;
    file.write_all(&vec![0; ROOM])?;
    file.sync_all()?;
    let started = Instant::now();
    let mut each = Vec::new();
    while started.elapsed() < period {
        if each.len() % (ROOM / 512) == 0 {
            file.rewind()?;
        }
        let start = Instant::now();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        each.push(start.elapsed());
    }
    Ok(Measured { each, total: started.elapsed() })
}

/// Commits a run and an event at a time, by `tasks` tasks; `next` is the number of the next event.
async fn commits(store: &Store, tasks: usize, period: Duration, next: Arc<AtomicU64>) -> Outcome<Measured> {
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..tasks {
        let (store, next) = (store.clone(), Arc::clone(&next));
        workers.spawn(async move {
            let mut each = Vec::new();
            while started.elapsed() < period {
                let start = Instant::now();
                let mut batch = Batch::new();
                batch.put::<Runs>(&uuid::Uuid::now_v7(), &Small { text: "r".repeat(200) });
                batch.put::<Events>(&next.fetch_add(1, Ordering::Relaxed), &Small { text: "e".repeat(80) });
                store.write(batch).await?;
                each.push(start.elapsed());
            }
            Outcome::Ok(each)
        });
    }
    let mut each = Vec::new();
    while let Some(worker) = workers.join_next().await {
        each.extend(worker??);
    }
    Ok(Measured { each, total: started.elapsed() })
}

/// Commits while the oldest events are deleted, so that about [`KEPT`] remain.
async fn trimmed(path: &Path, period: Duration, reference: f64) -> Outcome<()> {
    let store = Store::open(path, TABLES, &Options::default())?;
    let next = Arc::new(AtomicU64::new(0));
    let trimmer = tokio::spawn(trim(store.clone(), Arc::clone(&next)));
    let measured = commits(&store, 16, period, Arc::clone(&next)).await?;
    trimmer.abort();
    measured.print("16 tasks, trimmed", reference, Some(&store));

    let start = Instant::now();
    let oldest = store.keys::<Events>(.., Order::Ascending).next().transpose()?;
    let found = milliseconds(start.elapsed());
    let (oldest, next) = (oldest.unwrap_or_default(), next.load(Ordering::Relaxed));
    println!("events written {next}, kept {}; the oldest was found in {found:.3} ms", next - oldest);
    store.close()?;
    Ok(())
}

async fn trim(store: Store, next: Arc<AtomicU64>) -> Outcome<()> {
    let mut oldest = 0;
    loop {
        if next.load(Ordering::Relaxed) < oldest + KEPT + TRIMMED_AT_ONCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let mut batch = Batch::new();
        for number in oldest..oldest + TRIMMED_AT_ONCE {
            batch.delete::<Events>(&number);
        }
        store.write(batch).await?;
        oldest += TRIMMED_AT_ONCE;
    }
}
