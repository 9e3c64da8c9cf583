//! Commits: order, durability, waiting, ending.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use engine::store::{Batch, Options, Order, Store, StoreError};
use tempfile::tempdir;
use tokio::task::JoinHandle;

use super::{Named, Note, Numbered, TABLES, open, options, put, rows};

/// Keeps the store thread busy: with an export into a pipe that nobody reads yet.
struct Busy {
    pipe: PathBuf,
    export: JoinHandle<()>,
}

impl Busy {
    fn make(store: &Store, directory: &Path) -> Self {
        let to = directory.join("export");
        let pipe = directory.join("export.tmp");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Polled once, the export is queued before anything that comes after this.
        let mut export = Box::pin({
            let store = store.clone();
            async move { drop(store.export(to).await) }
        });
        assert!(export.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        Self { pipe, export: tokio::spawn(export) }
    }

    async fn release(self) {
        let drain = move || File::open(&self.pipe).unwrap().read_to_end(&mut Vec::new()).unwrap();
        tokio::task::spawn_blocking(drain).await.unwrap();
        self.export.await.unwrap();
    }
}

#[tokio::test]
async fn a_hundred_waiting_batches_share_one_sync() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("store"));
    let busy = Busy::make(&store, directory.path());
    let mut tickets = Vec::new();
    for number in 0..100 {
        tickets.push(store.commit(store.reserve().await.unwrap(), put(number, "waits")));
    }
    assert_eq!(store.stats().queue_depth, 100);
    busy.release().await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let stats = store.stats();
    assert_eq!((stats.commits, stats.batches, stats.syncs, stats.queue_depth), (100, 1, 1, 0));
    assert!(stats.longest_flush > Duration::ZERO);
}

#[tokio::test]
async fn at_most_five_hundred_operations_are_merged() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("store"));
    let busy = Busy::make(&store, directory.path());
    let mut tickets = Vec::new();
    for number in 0..6_u64 {
        let mut batch = Batch::new();
        for row in 0..200 {
            batch.put::<Numbered>(&(number * 200 + row), &Note::new("one of many"));
        }
        tickets.push(store.commit(store.reserve().await.unwrap(), batch));
    }
    busy.release().await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(store.stats().batches, 3);
    assert_eq!(rows::<Numbered>(&store).len(), 1200);
}

#[tokio::test]
async fn batches_are_applied_in_the_order_of_their_commits() {
    let directory = tempdir().unwrap();
    let store = open(&directory.path().join("store"));
    let busy = Busy::make(&store, directory.path());
    let mut permits = Vec::new();
    for _ in 0..3 {
        permits.push(store.reserve().await.unwrap());
    }
    let mut last = None;
    for (text, permit) in ["first", "second", "third"].into_iter().zip(permits.into_iter().rev()) {
        last = Some(store.commit(permit, put(1, text)));
    }
    busy.release().await;
    last.unwrap().await.unwrap();
    assert_eq!(store.get::<Numbered>(&1).unwrap(), Some(Note::new("third")));
}

#[tokio::test]
async fn within_a_batch_the_last_change_of_a_row_wins() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = put(1, "overwritten");
    batch.delete::<Numbered>(&1);
    batch.append(put(1, "last"));
    batch.put::<Numbered>(&2, &Note::new("deleted"));
    batch.delete::<Numbered>(&2);
    assert_eq!(batch.len(), 5);
    store.write(batch).await.unwrap();
    assert_eq!(rows::<Numbered>(&store), [(1, Note::new("last"))]);
}

#[tokio::test]
async fn a_dropped_ticket_commits_all_the_same_and_an_empty_batch_waits_for_it() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    drop(store.commit(store.reserve().await.unwrap(), put(1, "unattended")));
    store.write(Batch::new()).await.unwrap();
    assert_eq!(store.get::<Numbered>(&1).unwrap(), Some(Note::new("unattended")));
    assert_eq!(store.stats().syncs, 1, "an empty batch needs no sync of its own");
}

#[tokio::test]
async fn a_full_queue_makes_reserve_wait_and_nothing_else() {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path(), TABLES, &Options { queue: 2, ..options() }).unwrap();
    let first = store.reserve().await.unwrap();
    let second = store.reserve().await.unwrap();
    let mut third = pin!(store.reserve());
    assert!(third.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    store.commit(first, put(1, "does not block")).await.unwrap();
    let third = third.await.expect("the answered commit gave its place back");
    drop((second, third));
    let _both = (store.reserve().await.unwrap(), store.reserve().await.unwrap());
}

#[tokio::test]
async fn closing_commits_what_waits_and_ends_all_handles() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let other = store.clone();
    let permit = other.reserve().await.unwrap();
    let waiting = store.commit(store.reserve().await.unwrap(), put(1, "in time"));
    store.close().unwrap();
    waiting.await.unwrap();
    assert!(matches!(other.commit(permit, put(2, "too late")).await, Err(StoreError::Closed)));
    assert!(matches!(other.reserve().await, Err(StoreError::Closed)));
    assert!(matches!(other.get::<Numbered>(&1), Err(StoreError::Closed)));
    assert!(matches!(other.scan::<Numbered>(.., Order::Ascending).next(), Some(Err(StoreError::Closed))));
    assert!(matches!(other.export(directory.path().join("export")).await, Err(StoreError::Closed)));

    let again = open(directory.path());
    assert_eq!(again.id(), other.id());
    assert_eq!(rows::<Numbered>(&again), [(1, Note::new("in time"))]);
    assert!(matches!(other.close(), Err(StoreError::Closed)));
}

#[tokio::test]
async fn the_watermark_follows_the_commits_without_a_further_one() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mark = || std::fs::read_to_string(directory.path().join("watermark")).unwrap();
    let before = mark();
    assert!(before.contains("\"clean\":false"), "an open store is not clean: {before}");
    store.write(put(1, "moves the counter")).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while mark() == before {
        assert!(Instant::now() < deadline, "the watermark stays behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().unwrap();
    assert!(mark().contains("\"clean\":true"));
}

#[tokio::test]
async fn ranges_and_prefixes_go_both_ways() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = Batch::new();
    for name in ["a", "ab", "b", "b\0", "c"] {
        for number in [1, 2, u64::MAX] {
            batch.put::<Named>(&(name.to_owned(), number), &Note::new(name));
        }
    }
    store.write(batch).await.unwrap();
    let keys = |rows: engine::store::Rows<Named>| rows.map(|row| row.unwrap().0).collect::<Vec<_>>();
    let key = |name: &str, number| (name.to_owned(), number);

    let of_b = store.scan_prefix::<Named, String>(&"b".to_owned(), Order::Descending);
    assert_eq!(keys(of_b), [key("b", u64::MAX), key("b", 2), key("b", 1)]);
    let range = store.scan::<Named>(key("a", 2)..key("ab", 2), Order::Ascending);
    assert_eq!(keys(range), [key("a", 2), key("a", u64::MAX), key("ab", 1)]);
    let up_to = store.scan::<Named>(..=key("a", 2), Order::Descending);
    assert_eq!(keys(up_to), [key("a", 2), key("a", 1)]);
    assert_eq!(keys(store.scan::<Named>(key("b", 1)..key("a", 1), Order::Ascending)), []);
    let last = store.keys::<Named>(.., Order::Descending).next().unwrap().unwrap();
    assert_eq!(last, key("c", u64::MAX));
}
