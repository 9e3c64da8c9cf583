//! Measures the live pipeline over a Codex home: `ingest_bench STATE HOME`.
//!
//! Prints what a cold ingest takes, how large the store and the process become, and what a restart with nothing
//! new takes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor};
use engine::store::{Options, TableInfo, join_tables};
use engine::{Engine, Registry, Setup};
use insight::{Insight, Settings};
use tokio_util::sync::CancellationToken;

static TABLES: &[TableInfo] =
    &join_tables::<{ engine::TABLES.len() + insight::TABLES.len() }>(&[engine::TABLES, insight::TABLES]);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (state, home) = (arguments.next().expect("STATE"), arguments.next().expect("HOME"));
    for round in ["cold", "restart"] {
        let begun = Instant::now();
        let engine = Engine::open(setup(&state)).await.unwrap();
        let opened = begun.elapsed();
        let settings = Settings { homes: vec![home.clone()], ..Settings::default() };
        let insight = Insight::open(engine.clone(), settings).await.unwrap();
        let known = begun.elapsed();
        let stop = CancellationToken::new();
        let running = {
            let (insight, stop) = (insight.clone(), stop.clone());
            tokio::spawn(async move { insight.run(stop).await })
        };
        let done = insight.ingest(None).done().await.unwrap();
        let took = begun.elapsed();
        let stats = insight.stats().await.unwrap();
        let rate = u128::from(stats.bytes_read) / took.saturating_sub(opened).as_micros().max(1);
        println!("{round}: {done:?}");
        println!("  engine open {opened:?}, known {known:?}, all read {took:?}: {rate} MB/s");
        println!("  commits {}, peak memory {} MiB", stats.commits, peak_memory());
        let begun = Instant::now();
        while insight.stats().await.unwrap().open_sessions > 0 && begun.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("  settled after {:?}", begun.elapsed());
        stop.cancel();
        running.await.unwrap().unwrap();
        if round == "cold" {
            let export = state.join("export.jsonl");
            engine.export(export.clone()).await.unwrap();
            by_table(&export);
        }
        println!("  store {:?}", engine.store_stats());
        engine.close().await.unwrap();
        println!("  store on disk {} MB", size(&state) / 1_000_000);
    }
}

fn setup(state: &Path) -> Setup {
    Setup {
        state_dir: state.to_owned(),
        settings: engine::Settings::default(),
        registry: Registry::default(),
        supervisor: Supervisor::new(ShimCommand { program: "/bin/false".into(), args: Vec::new() }, None),
        clock: Arc::new(SystemClock),
        on_end: Arc::new(|_| Vec::new()),
        tables: TABLES,
        store: Options::default(),
    }
}

/// What the tables hold.
fn by_table(export: &Path) {
    let mut tables: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in std::fs::read_to_string(export).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(table) = row["table"].as_str() else { continue };
        let sum = tables.entry(table.to_owned()).or_default();
        // Keys and values stand there in hexadecimal.
        let bytes = |key: &str| row[key].as_str().map_or(0, |text| text.len() as u64 / 2);
        sum.0 += 1;
        sum.1 += bytes("key") + bytes("value");
    }
    std::fs::remove_file(export).unwrap();
    for (table, (rows, bytes)) in tables {
        println!("  {table:<24} {rows:>8} rows {:>8} kB", bytes / 1000);
    }
}

/// The most memory that the process has had, in MiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn size(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                size(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}
