//! Export and import.

use std::fs;
use std::path::{Path, PathBuf};

use engine::store::{Batch, Store, StoreError, export, import};
use tempfile::{TempDir, tempdir};
use uuid::Uuid;

use super::{Mixed, Named, Note, Numbered, TABLES, open, options, put, rows};

/// A closed store with rows in all tables, and a blob.
async fn filled() -> TempDir {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    store.blobs().write(b"a long prompt").unwrap();
    for first in 0..12_u64 {
        let mut batch = Batch::new();
        for number in first * 100..first * 100 + 100 {
            batch.put::<Numbered>(&number, &Note::new(format!("number {number}")));
        }
        store.write(batch).await.unwrap();
    }
    let mut batch = Batch::new();
    batch.put::<Named>(&("ä\0\u{1F600}\"\n".to_owned(), 1), &Note::default());
    batch.put::<Mixed>(&(vec![0, 255, 0], String::new(), Uuid::from_u128(7)), &Note::new("mixed"));
    store.write(batch).await.unwrap();
    store.close().unwrap();
    directory
}

fn everything(store: &Store) -> String {
    let blobs = store.blobs().list().unwrap();
    let blobs: Vec<_> = blobs.iter().map(|id| store.blobs().read(id, 1000).unwrap()).collect();
    format!("{:?} {:?} {:?} {blobs:?}", rows::<Numbered>(store), rows::<Named>(store), rows::<Mixed>(store))
}

fn exported(directory: &Path) -> PathBuf {
    let to = directory.join("export.jsonl");
    export(directory, TABLES, &options(), &to).unwrap();
    to
}

/// The problem that an import of `content` reports; it must leave no store behind.
fn refused(content: &[u8]) -> String {
    let directory = tempdir().unwrap();
    let (file, target) = (directory.path().join("export.jsonl"), directory.path().join("store"));
    fs::write(&file, content).unwrap();
    let error = import(&target, TABLES, &options(), &file).unwrap_err();
    assert!(matches!(error, StoreError::Import { .. }), "{error}");
    for leftover in ["sled", "importing", "watermark"] {
        assert!(!target.join(leftover).exists(), "{leftover} is left behind");
    }
    error.to_string()
}

#[tokio::test]
async fn an_imported_store_holds_the_same_under_a_new_id() {
    let original = filled().await;
    let file = exported(original.path());
    let target = tempdir().unwrap();
    let done = import(target.path(), TABLES, &options(), &file).unwrap();
    assert_eq!((done.rows, done.blobs), (1202, 1));

    let (before, after) = (open(original.path()), open(target.path()));
    assert_eq!(everything(&after), everything(&before));
    assert_ne!(after.id(), before.id());
    assert_eq!(after.id(), done.store);
    after.write(put(1, "goes on")).await.unwrap();
}

#[tokio::test]
async fn an_open_store_exports_what_was_committed_before() {
    let original = filled().await;
    let store = open(original.path());
    let ticket = store.commit(store.reserve().await.unwrap(), put(9_999, "just in time"));
    let file = original.path().join("export.jsonl");
    let done = store.export(file.clone()).await.unwrap();
    ticket.await.unwrap();
    assert_eq!((done.store, done.rows), (store.id(), 1203));
    let target = tempdir().unwrap();
    import(target.path(), TABLES, &options(), &file).unwrap();
    assert_eq!(everything(&open(target.path())), everything(&store));
}

#[tokio::test]
async fn the_lines_of_an_export_are_stable() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    store.blobs().write(b"test").unwrap();
    store.write(put(258, "text")).await.unwrap();
    let id = store.id();
    store.close().unwrap();
    let text = fs::read_to_string(exported(directory.path())).unwrap();
    let lines: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect();
    let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    assert_eq!(lines[0], serde_json::json!({"kind": "store", "format": 1, "store": id, "commits": 2}));
    assert_eq!(lines[1], serde_json::json!({"kind": "blob", "blob": test, "data": "74657374"}));
    let row = serde_json::json!({
        "kind": "row", "table": "numbered", "key": "0000000000000102", "version": 1, "value": "0a0474657874"
    });
    assert_eq!(lines[2], row);
    assert_eq!(
        (&lines[3]["kind"], &lines[3]["rows"], &lines[3]["blobs"]),
        (&"end".into(), &1.into(), &1.into())
    );
    assert_eq!(lines.len(), 4);
}

#[tokio::test]
async fn a_truncated_export_is_refused_wherever_it_ends() {
    let original = filled().await;
    let content = fs::read(exported(original.path())).unwrap();
    let last_line = content[..content.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for end in [0, 1, 100, content.len() / 2, last_line, last_line + 10, content.len() - 1] {
        let problem = refused(&content[..end]);
        assert!(problem.contains("cut off here"), "{end}: {problem}");
    }
}

#[tokio::test]
async fn a_changed_export_is_refused() {
    let original = filled().await;
    let text = fs::read_to_string(exported(original.path())).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let without_a_row = [&lines[..5], &lines[6..]].concat().join("\n") + "\n";
    assert!(refused(without_a_row.as_bytes()).contains("the checksum is not that"));
    // "number 1" becomes "number 2"
    let other_row = text.replacen("6e756d6265722031\"", "6e756d6265722032\"", 1);
    assert_ne!(other_row, text);
    assert!(refused(other_row.as_bytes()).contains("the checksum is not that"));
    assert!(refused(text.replacen("\"format\":1", "\"format\":2", 1).as_bytes()).contains("it has format 2"));
    assert!(
        refused(text.replace("\"numbered\"", "\"unknown\"").as_bytes())
            .contains("table unknown is not known")
    );
    assert!(
        refused(text.replacen("\"data\":\"61", "\"data\":\"62", 1).as_bytes())
            .contains("not what its name says")
    );
    assert!(
        refused(text.replace("\"version\":1", "\"version\":2").as_bytes())
            .contains("its schema version is 2")
    );
    assert!(refused((text.clone() + &text).as_bytes()).contains("there is more after the end"));
    assert!(refused(b"{}\n").contains("line 1"));
    assert!(refused(b"\0\xff\n").contains("line 1"));
}

#[tokio::test]
async fn an_import_never_replaces_a_store() {
    let original = filled().await;
    let file = exported(original.path());
    let error = import(original.path(), TABLES, &options(), &file).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }));
    let store = open(original.path());
    let error = import(original.path(), TABLES, &options(), &file).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert_eq!(rows::<Numbered>(&store).len(), 1200);
}

#[tokio::test]
async fn what_a_killed_import_left_is_cleared_away_by_the_next() {
    let original = filled().await;
    let file = exported(original.path());
    let target = tempdir().unwrap();
    fs::create_dir_all(target.path().join("importing/blobs")).unwrap();
    fs::write(target.path().join("importing/db"), "half").unwrap();
    import(target.path(), TABLES, &options(), &file).unwrap();
    assert_eq!(rows::<Numbered>(&open(target.path())).len(), 1200);
}

#[test]
fn there_is_nothing_to_export_where_no_store_is() {
    let directory = tempdir().unwrap();
    let to = directory.path().join("export.jsonl");
    assert!(export(directory.path(), TABLES, &options(), &to).is_err());
    assert!(!to.exists());
}
