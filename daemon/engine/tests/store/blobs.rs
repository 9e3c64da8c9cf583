//! Blob files.

use engine::store::{BlobId, StoreError};
use tempfile::tempdir;

use super::open;

#[test]
fn a_blob_is_found_by_its_content_until_it_is_removed() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let id = store.blobs().write(b"a long prompt").unwrap();
    assert_eq!(id, BlobId::of(b"a long prompt"));
    assert_eq!(id.to_string().parse(), Ok(id));
    let digits = id.to_string();
    assert_eq!(store.blobs().path(&id), directory.path().join("blobs").join(&digits[..2]).join(&digits));
    assert_eq!(store.blobs().write(b"a long prompt").unwrap(), id, "writing twice is one file");
    assert_eq!(store.blobs().read(&id, 13).unwrap(), b"a long prompt");
    assert_eq!(store.blobs().list().unwrap(), [id]);
    store.blobs().remove(&id).unwrap();
    store.blobs().remove(&id).unwrap();
    assert!(matches!(store.blobs().read(&id, 13), Err(StoreError::BlobMissing { .. })));
    assert_eq!(store.blobs().list().unwrap(), []);
}

#[test]
fn a_blob_over_the_readers_limit_is_not_read() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let id = store.blobs().write(b"0123456789").unwrap();
    assert!(matches!(store.blobs().read(&id, 9), Err(StoreError::BlobTooLarge { limit: 9, .. })));
}

#[test]
fn a_damaged_blob_is_an_error_and_writing_it_again_repairs_it() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let id = store.blobs().write(b"right").unwrap();
    std::fs::write(store.blobs().path(&id), b"wrong").unwrap();
    assert!(matches!(store.blobs().read(&id, 100), Err(StoreError::BlobDamaged { .. })));
    store.blobs().write(b"right").unwrap();
    assert_eq!(store.blobs().read(&id, 100).unwrap(), b"right");
}

#[test]
fn names_that_are_no_hash_are_refused() {
    for name in ["", "..", "../../../../etc/passwd", "g", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
        assert!(name.parse::<BlobId>().is_err(), "{name}");
    }
}

#[test]
fn what_a_crash_left_half_written_is_gone_after_opening() {
    let directory = tempdir().unwrap();
    open(directory.path()).close().unwrap();
    let half = directory.path().join("blobs/writing/0");
    std::fs::write(&half, b"half").unwrap();
    let store = open(directory.path());
    assert!(!half.exists());
    assert_eq!(store.blobs().list().unwrap(), []);
}

#[test]
fn writers_of_equal_bytes_do_not_disturb_each_other() {
    let directory = tempdir().unwrap();
    let store = open(directory.path());
    let bytes = vec![7; 100_000];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store.blobs().write(&bytes).unwrap());
        }
    });
    assert_eq!(store.blobs().read(&BlobId::of(&bytes), 100_000).unwrap(), bytes);
}
