//! Damage is found after an unclean end, explained, and never wiped.

use std::fs;
use std::path::Path;

use engine::store::{Batch, Finding, Options, Order, Reader, Store, StoreError, Table, TableInfo, verify};
use tempfile::{TempDir, tempdir};

use super::{Note, Numbered, TABLES, open, options, put, rows};

/// A store with some hundred rows, not closed in order.
async fn unclean() -> TempDir {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    for first in 0..20_u64 {
        let mut batch = Batch::new();
        for number in 0..20 {
            batch.put::<Numbered>(&(first * 20 + number), &Note::new("padding ".repeat(40)));
        }
        store.write(batch).await.unwrap();
    }
    // Closed once, so that the watermark is up to date, and opened again.
    store.close().unwrap();
    drop(open(directory.path()));
    directory
}

/// What opening says about a damaged store.
fn findings(directory: &Path) -> String {
    match Store::open(directory, TABLES, &options()) {
        Err(error @ StoreError::Damaged { .. }) => error.to_string(),
        Err(error) => panic!("not the error that was expected: {error}"),
        Ok(_) => panic!("the damage was not seen"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_sound_store_opens_after_an_unclean_end() {
    let directory = unclean().await;
    let store = open(directory.path());
    assert_eq!(rows::<Numbered>(&store).len(), 400);
}

#[tokio::test]
async fn a_database_that_was_rolled_back_is_noticed_even_after_a_clean_end() {
    let directory = tempdir().unwrap();
    let database = directory.path().join("sled");
    let store = open(directory.path());
    store.write(put(1, "old")).await.unwrap();
    store.close().unwrap();
    let backup = directory.path().join("backup");
    copy(&database, &backup);
    let store = open(directory.path());
    store.write(put(2, "acknowledged")).await.unwrap();
    store.close().unwrap();
    fs::remove_dir_all(&database).unwrap();
    fs::rename(&backup, &database).unwrap();

    let message = findings(directory.path());
    assert!(message.contains("commits are missing: 3 of them were acknowledged"), "{message}");
    assert!(message.contains(&database.display().to_string()), "{message}");
    assert!(message.contains("spindle daemon verify"), "{message}");
    let again = findings(directory.path());
    assert_eq!(message, again, "looking at it changed nothing");
}

#[tokio::test]
async fn a_person_can_accept_a_rolled_back_store_by_removing_the_watermark() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let id = store.id();
    store.write(put(1, "old")).await.unwrap();
    store.close().unwrap();
    let mark = directory.path().join("watermark");
    let forged = fs::read_to_string(&mark).unwrap().replace("\"commits\":2", "\"commits\":9");
    fs::write(&mark, forged).unwrap();
    assert!(
        findings(directory.path())
            .contains(&format!("To accept the store as it is, remove {}", mark.display()))
    );

    fs::remove_file(&mark).unwrap();
    let store = open(directory.path());
    assert_eq!(store.get::<Numbered>(&1).unwrap(), Some(Note::new("old")));
    assert_ne!(store.id(), id, "numbers handed out before may mean something else from now on");
}

#[tokio::test]
async fn a_truncated_database_is_noticed() {
    for part in [0, 1, 3] {
        let directory = unclean().await;
        let data = directory.path().join("sled/db");
        // The end of the file may be room that is not used yet.
        let used = fs::read(&data).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64;
        fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(used * part / 4).unwrap();
        findings(directory.path());
        assert!(data.exists(), "nothing is wiped");
    }
}

#[tokio::test]
async fn a_changed_byte_in_a_row_is_noticed() {
    let directory = unclean().await;
    let data = directory.path().join("sled/db");
    let mut bytes = fs::read(&data).unwrap();
    let mut found = 0;
    for at in 0..bytes.len() - 8 {
        if &bytes[at..at + 8] == b"padding " {
            bytes[at] = b'P';
            found += 1;
        }
    }
    assert_ne!(found, 0, "the rows are in that file");
    fs::write(&data, bytes).unwrap();
    findings(directory.path());
    let report = verify(directory.path(), TABLES, &options()).unwrap();
    assert!(!report.findings.is_empty());
}

#[tokio::test]
async fn a_vanished_database_is_not_replaced_by_an_empty_one() {
    let directory = unclean().await;
    let database = directory.path().join("sled");
    fs::remove_dir_all(&database).unwrap();
    assert!(findings(directory.path()).contains("commits are missing"));
    assert!(!database.exists());
}

#[tokio::test]
async fn a_watermark_that_cannot_be_understood_is_a_finding() {
    let directory = unclean().await;
    fs::write(directory.path().join("watermark"), "{\"store\":").unwrap();
    assert!(findings(directory.path()).contains("cannot be understood"));
}

#[tokio::test]
async fn the_watermark_of_another_store_is_a_finding() {
    let (one, other) = (unclean().await, tempdir().unwrap());
    drop(open(other.path()));
    fs::copy(other.path().join("watermark"), one.path().join("watermark")).unwrap();
    assert!(findings(one.path()).contains("belongs to another store"));
}

#[tokio::test]
async fn a_row_that_does_not_decode_is_named_by_table_and_key() {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Count {
        #[prost(uint64, tag = "1")]
        count: u64,
    }
    struct Confused;
    impl Table for Confused {
        const NAME: &'static str = "numbered";
        const PREFIX: u8 = 1;
        type Key = (u64, u64);
        type Value = Count;
    }
    const CONFUSED: &[TableInfo] = &[TableInfo::of::<Confused>()];
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path(), CONFUSED, &options()).unwrap();
    let mut batch = Batch::new();
    batch.put::<Confused>(&(1, 2), &Count { count: 3 });
    store.write(batch).await.unwrap();
    drop(store);
    let message = findings(directory.path());
    assert!(
        message.contains("table numbered, row 0100000000000000010000000000000002: its key is malformed"),
        "{message}"
    );

    let report = verify(directory.path(), TABLES, &options()).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.rows.get("numbered"), Some(&1));
}

#[tokio::test]
async fn rows_of_an_unknown_table_are_a_finding() {
    const FEWER: &[TableInfo] = &[TableInfo::of::<super::Named>()];
    let directory = unclean().await;
    let error = Store::open(directory.path(), FEWER, &options()).map(drop).unwrap_err().to_string();
    assert!(
        error.contains("table unknown (0x01), row 010000000000000000: no table with this prefix is known"),
        "{error}"
    );
    assert!(error.contains("and 395 more"), "{error}");
}

#[tokio::test]
async fn what_must_hold_between_rows_is_checked_after_an_unclean_end_only() {
    fn odd_ones_out(reader: &Reader) -> Result<Vec<Finding>, StoreError> {
        let keys = reader.keys::<Numbered>(.., Order::Ascending);
        keys.map(|key| key.map(|key| Finding::row::<Numbered>(&key, "should not be"))).collect()
    }
    let strict = Options { invariants: Some(odd_ones_out), ..options() };
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path(), TABLES, &strict).unwrap();
    store.write(put(5, "odd")).await.unwrap();
    store.close().unwrap();
    drop(Store::open(directory.path(), TABLES, &strict).expect("a clean end is trusted"));
    let error = Store::open(directory.path(), TABLES, &strict).map(drop).unwrap_err().to_string();
    assert!(error.contains("table numbered, row 010000000000000005: should not be"), "{error}");
}

#[tokio::test]
async fn verify_counts_the_rows_of_a_sound_store_and_leaves_it_as_it_is() {
    let directory = unclean().await;
    let report = verify(directory.path(), TABLES, &options()).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.rows.into_iter().collect::<Vec<_>>(), [("numbered", 400)]);
    let store = open(directory.path());
    assert_eq!(report.id, Some(store.id()));
    let error = verify(directory.path(), TABLES, &options()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "an open store is not verified behind its back");
}

#[tokio::test]
async fn every_row_is_checked_and_counted_once_however_many_there_are() {
    for number in [0, 1, 63, 64, 65, 127, 128, 129, 700] {
        let directory = tempdir().unwrap();
        let store = open(directory.path());
        let mut batch = Batch::new();
        for key in 0..number {
            batch.put::<Numbered>(&key, &Note::new("a row"));
        }
        store.write(batch).await.unwrap();
        drop(store);
        let report = verify(directory.path(), TABLES, &options()).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.rows.values().sum::<u64>(), number);
        let unknown: &[TableInfo] = &[];
        let report = verify(directory.path(), unknown, &options()).unwrap();
        let rows: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert_eq!(rows.len() as u64, number);
        assert!(rows.is_sorted(), "findings come in the order of the rows");
    }
}
