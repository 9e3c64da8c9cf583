//! A full disk is an error, and costs nothing that was acknowledged.

use std::path::Path;
use std::process::Command;

use engine::store::{Options, Store, StoreError};
use tempfile::{TempDir, tempdir};

use super::{Note, Numbered, TABLES, open, options, put, rows};

/// A small disk of its own, unmounted at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, with a message, where mounting is not possible.
    fn mount() -> Option<Self> {
        let directory = tempdir().unwrap();
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=8m", "tmpfs"], directory.path());
        if !mounted {
            eprintln!("skipped: mounting a small tmpfs needs root");
        }
        mounted.then_some(Self(directory))
    }

    fn grow(&self) {
        assert!(run("mount", &["-o", "remount,size=64m"], self.0.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], self.0.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    Command::new(program).args(arguments).arg(path).output().is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_stops_the_writes_and_loses_nothing_that_was_acknowledged() {
    let Some(disk) = SmallDisk::mount() else { return };
    let directory = disk.0.path().join("store");
    let store = open(&directory);
    let mut acknowledged = Vec::new();
    let first_error = loop {
        let number = acknowledged.len() as u64;
        assert!(number < 100_000, "the disk never fills");
        match store.write(put(number, &format!("{number:0>4000}"))).await {
            Ok(()) => acknowledged.push((number, Note::new(format!("{number:0>4000}")))),
            Err(error) => break error,
        }
    };
    assert!(acknowledged.len() > 100, "some commits fit: {}", acknowledged.len());
    assert!(matches!(first_error, StoreError::ReadOnly(_)));
    assert!(first_error.to_string().contains("No space left on device"), "{first_error}");

    // Every later commit gets the same answer; reads go on.
    let permit = store.reserve().await.map(drop).unwrap_err();
    assert_eq!(permit.to_string(), first_error.to_string());
    let read: Vec<_> = acknowledged.iter().map(|(number, _)| store.get::<Numbered>(number)).collect();
    // sled refuses to read the pages that the failed write had changed already; it never answers wrongly.
    let refused = read.iter().filter(|row| row.is_err()).count();
    assert!(refused * 10 < read.len(), "{refused} of {} rows cannot be read", read.len());
    for (row, (_, note)) in read.into_iter().zip(&acknowledged) {
        assert!(row.is_err() || row.unwrap().as_ref() == Some(note), "a wrong answer");
    }
    assert!(matches!(store.close(), Err(StoreError::ReadOnly(_))));

    let careful = Options { free_space_floor: 4 << 20, ..options() };
    let refused = Store::open(&directory, TABLES, &careful).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::NoSpace { .. }), "{refused}");

    disk.grow();
    let store = open(&directory);
    let present = rows::<Numbered>(&store);
    // The batch that failed may be there: nobody was told either way.
    assert!(present.len() <= acknowledged.len() + 1);
    assert_eq!(present[..acknowledged.len()], acknowledged);
    store.write(put(0, "there is room again")).await.unwrap();
}

#[tokio::test]
async fn opening_on_a_full_disk_fails_and_harms_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let directory = disk.0.path().join("store");
    let store = open(&directory);
    for number in 0..100 {
        store.write(put(number, "kept")).await.unwrap();
    }
    drop(store);
    let filler = disk.0.path().join("filler");
    // Whatever still fits: this ends with an error.
    let mut out = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write(&mut out, &[1; 512]).is_ok() {}
    let floorless = Options { free_space_floor: 0, ..options() };
    drop(out);
    let error = Store::open(&directory, TABLES, &floorless).map(drop).unwrap_err();
    assert!(error.to_string().contains("cannot "), "{error}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(rows::<Numbered>(&open(&directory)).len(), 100);
}
