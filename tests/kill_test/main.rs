//! The kill test: a daemon with much to do is killed at random moments, again and again, and everything that it
//! had acknowledged happens all the same, once.
//!
//! In CI it ends after a hundred kills. By hand it may go on for hours, and what it did can be done again:
//!
//! ```sh
//! SPINDLE_KILL_TEST_MINUTES=60 SPINDLE_KILL_TEST_SEED=7 cargo test --test kill_test -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod book;
mod killer;
mod load;
mod loops;
#[path = "../nest/mod.rs"]
mod nest;
mod plan;
mod schedules;
mod story;
mod watchers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nest::{Nest, until_answered};
use spindle_client::v1::ListLeasesRequest;
use tokio::task::JoinSet;

use crate::load::Load;
use crate::watchers::Watchers;

/// Few runs and events are kept, so that retention is at work all the time.
const CONFIG: &str = "[runs]\nslots = 12\nkeep = 300\nkeep_events = 6000\n";

/// So many ask for work at the same time.
const WORKERS: u32 = 10;

/// What somebody at the keyboard may ask for.
struct Asked {
    seed: u64,
    at_least: Duration,
}

impl Asked {
    fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        Self {
            seed: number("SPINDLE_KILL_TEST_SEED").unwrap_or_else(rand::random),
            at_least: Duration::from_secs(60 * number("SPINDLE_KILL_TEST_MINUTES").unwrap_or(0)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_test_what_was_acknowledged_happens_once_however_often_the_daemon_is_killed() {
    let asked = Asked::from_environment();
    eprintln!("kill test: SPINDLE_KILL_TEST_SEED={}", asked.seed);
    let begun = Instant::now();
    let mut nest = Nest::configured(CONFIG).await;
    let load = Arc::new(Load::new(&nest, asked.seed).await);
    let watchers = Watchers::start(&nest.paths(), asked.seed).await;
    schedules::add(&load).await;

    let mut workers = JoinSet::new();
    for number in 0..WORKERS {
        workers.spawn(Arc::clone(&load).keep_busy(number));
    }
    workers.spawn(Arc::clone(&load).keep_looping());
    let lives = killer::live_and_die(&mut nest, &asked, begun).await;
    load.enough();
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    schedules::remove(&load).await;
    come_to_rest(&nest).await;

    let events = watchers.see_all(&nest.client().await).await;
    let runs = load.check(&events);
    nest.only_the_daemon_is_left().await;
    assert!(nest.terminate().await.success());
    nest.verify_store();
    nest.start().await;
    let kept = watchers::count_kept(&nest.client().await).await;
    eprintln!(
        "kill test: {lives}\nkill test: {runs}\nkill test: {} events, of which {kept} are kept; {:?} in all",
        events.count(),
        begun.elapsed(),
    );
}

/// Waits until nothing is under way any more, and nothing is held.
async fn come_to_rest(nest: &Nest) {
    let client = nest.client().await;
    until_answered("all runs have ended", async || {
        let info = client.info().await.unwrap();
        (info.queued + info.running + info.waiting == 0).then_some(())
    })
    .await;
    let leases = client.leases().list_leases(ListLeasesRequest {}).await.unwrap().into_inner().leases;
    assert!(leases.is_empty(), "leases that nobody needs are held: {leases:?}");
}
