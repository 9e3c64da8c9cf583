//! What a row may be.

use std::collections::HashSet;

use engine::store::{Batch, MAX_KEY_BYTES, MAX_VALUE_BYTES, Order, StoreError, Table, TableInfo};
use tempfile::tempdir;

use super::{Named, Note, Numbered, TABLES, open, options, put, rows};

/// A note whose encoded message has exactly this many bytes.
fn note_of(bytes: usize) -> Note {
    let note = Note::new("x".repeat(bytes - 3));
    assert_eq!(prost::Message::encoded_len(&note), bytes);
    note
}

#[tokio::test]
async fn a_batch_with_a_value_that_is_too_large_is_refused_as_a_whole() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = put(1, "small");
    batch.put::<Numbered>(&2, &note_of(MAX_VALUE_BYTES + 1));
    let error = store.write(batch).await.unwrap_err();
    assert!(
        matches!(error, StoreError::ValueTooLarge { table: "numbered", size, .. } if size == MAX_VALUE_BYTES + 1)
    );
    assert_eq!(rows::<Numbered>(&store), []);
    store.write(put(3, "the store goes on")).await.unwrap();
}

#[tokio::test]
async fn a_batch_with_a_key_that_is_too_large_is_refused_as_a_whole() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = put(1, "small");
    batch.delete::<Named>(&("k".repeat(MAX_KEY_BYTES), 0));
    let error = store.write(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyTooLarge { table: "named", .. }));
    assert_eq!(rows::<Numbered>(&store), []);
}

#[tokio::test]
async fn every_file_that_sled_spills_a_page_into_is_synced() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let spill = directory.path().join("sled/blobs");
    let mut seen = HashSet::new();
    for round in 0..3 {
        // Growing, overwriting and thinning out make sled split, consolidate and merge its pages.
        for number in (0..100_u64).map(|number| number * 37 % 100) {
            let mut batch = Batch::new();
            if round == 2 && number % 5 != 0 {
                batch.delete::<Numbered>(&number);
            } else {
                batch.put::<Numbered>(&number, &note_of(MAX_VALUE_BYTES));
            }
            store.write(batch).await.unwrap();
            seen.extend(std::fs::read_dir(&spill).unwrap().map(|entry| entry.unwrap().file_name()));
            assert!(store.stats().spills >= seen.len() as u64);
        }
    }
    assert!(!seen.is_empty(), "rows of the greatest size fill pages that are spilled");
    assert_eq!(rows::<Numbered>(&store).len(), 20);
}

#[tokio::test]
async fn a_table_that_was_not_named_at_opening_cannot_be_written() {
    struct Stranger;
    impl Table for Stranger {
        const NAME: &'static str = "stranger";
        const PREFIX: u8 = 77;
        type Key = ();
        type Value = Note;
    }
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let mut batch = Batch::new();
    batch.put::<Stranger>(&(), &Note::new("lost"));
    let error = store.write(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownTable { prefix: 77 }));
}

#[test]
fn two_tables_with_one_prefix_are_refused() {
    const CLASH: &[TableInfo] = &[TableInfo::of::<Numbered>(), TableInfo::of::<Numbered>()];
    let directory = tempdir().unwrap();
    let error = engine::store::Store::open(directory.path(), CLASH, &options()).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::TableClash { .. }));
}

#[tokio::test]
async fn a_row_of_a_newer_schema_is_a_clear_error_and_stays_as_it_is() {
    /// The same table, as a later version of the program knows it.
    struct Newer;
    impl Table for Newer {
        const NAME: &'static str = "numbered";
        const PREFIX: u8 = 1;
        const VERSION: u8 = 9;
        type Key = u64;
        type Value = Note;
    }
    const NEWER: &[TableInfo] = &[TableInfo::of::<Newer>()];
    let directory = tempdir().unwrap();
    let store = engine::store::Store::open(directory.path(), NEWER, &options()).unwrap();
    let mut batch = Batch::new();
    batch.put::<Newer>(&7, &Note::new("from the future"));
    store.write(batch).await.unwrap();
    store.close().unwrap();

    let store = open(directory.path());
    let error = store.get::<Numbered>(&7).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the row 010000000000000007 of table numbered cannot be read: its schema version is 9, this program knows 1: \
         it was written by a newer program; `spindle daemon verify` lists all such rows"
    );
    store.write(put(8, "known")).await.unwrap();
    let seen: Vec<_> = store.scan::<Numbered>(.., Order::Ascending).map(|row| row.is_ok()).collect();
    assert_eq!(seen, [false, true], "the rows after it can be read");
    store.close().unwrap();

    let store = engine::store::Store::open(directory.path(), NEWER, &options()).unwrap();
    assert_eq!(store.get::<Newer>(&7).unwrap(), Some(Note::new("from the future")));
}

#[tokio::test]
async fn a_row_of_an_older_schema_is_translated_by_its_table() {
    struct Translated;
    impl Table for Translated {
        const NAME: &'static str = "numbered";
        const PREFIX: u8 = 1;
        const VERSION: u8 = 2;
        type Key = u64;
        type Value = Note;
        fn read(version: u8, bytes: &[u8]) -> Result<Note, prost::DecodeError> {
            let note: Note = prost::Message::decode(bytes)?;
            Ok(if version < 2 { Note::new(note.text.to_uppercase()) } else { note })
        }
    }
    const TRANSLATED: &[TableInfo] = &[TableInfo::of::<Translated>()];
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    store.write(put(1, "old")).await.unwrap();
    store.close().unwrap();
    let store = engine::store::Store::open(directory.path(), TRANSLATED, &options()).unwrap();
    assert_eq!(store.get::<Translated>(&1).unwrap(), Some(Note::new("OLD")));
}

#[test]
fn the_tables_of_the_tests_are_distinct() {
    assert_eq!(TABLES.iter().map(TableInfo::name).collect::<Vec<_>>(), ["numbered", "named", "mixed"]);
}
