//! Opening: locks, leftovers, room.

use engine::store::{Options, Store, StoreError};
use tempfile::tempdir;

use super::{Note, Numbered, TABLES, open, options, put, rows};

#[test]
fn a_second_opener_is_refused_and_told_who_holds_the_store() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let error = Store::open(directory.path(), TABLES, &options()).map(drop).unwrap_err();
    let lock = directory.path().join("lock");
    assert!(
        matches!(&error, StoreError::Locked { path, holder } if *path == lock && *holder == Some(std::process::id()))
    );
    assert!(error.to_string().contains(&lock.display().to_string()), "{error}");
    drop(store);
    open(directory.path());
}

#[tokio::test]
async fn a_closed_store_can_be_opened_again_at_once() {
    let directory = tempdir().unwrap();
    for round in 0..40 {
        let store = open(directory.path());
        assert_eq!(rows::<Numbered>(&store).len(), round);
        store.write(put(round as u64, "one more")).await.unwrap();
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
}

#[tokio::test]
async fn a_half_written_snapshot_is_removed_and_nothing_is_lost() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    store.write(put(1, "kept")).await.unwrap();
    store.close().unwrap();
    for half in [&b""[..], b"short", &[0; 5000]] {
        let snapshot = directory.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating");
        std::fs::write(&snapshot, half).unwrap();
        let store = open(directory.path());
        assert!(!snapshot.exists());
        assert_eq!(store.get::<Numbered>(&1).unwrap(), Some(Note::new("kept")));
        store.close().unwrap();
    }
}

#[test]
fn a_disk_with_too_little_room_is_refused_before_anything_is_written() {
    let directory = tempdir().unwrap();
    let greedy = Options { free_space_floor: u64::MAX, ..options() };
    let error = Store::open(directory.path(), TABLES, &greedy).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { floor: u64::MAX, .. }));
    assert!(!directory.path().join("sled").exists());
}

#[cfg(unix)]
#[test]
fn only_this_user_may_enter_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempdir().unwrap();
    let directory = parent.path().join("a/store");
    open(&directory);
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_id_stays_and_differs_between_stores() {
    let (one, other) = (tempdir().unwrap(), tempdir().unwrap());
    let id = open(one.path()).id();
    assert_eq!(open(one.path()).id(), id);
    assert_ne!(open(other.path()).id(), id);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = Store::open(&file.join("store"), TABLES, &options()).map(drop).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot create {}", file.display())), "{error}");
}
