//! However the bytes are cut, and whatever restarts come between them, the end is the same.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corpus::{Real, real};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kills::first_difference;
use crate::lab::Lab;

/// All files of sessions below a directory, by their path within it, each spine's segments in order.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn append(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// A cut falls after so many of these parts of all bytes.
const PARTS: usize = 10_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_signals_are_the_same_however_the_bytes_come(
        seed in 0_u64..1000,
        cuts in prop::collection::vec((0..PARTS, any::<bool>()), 1..6),
    ) {
        let source = TempDir::new().unwrap();
        real(source.path(), &Real { bytes: 300 << 10, sessions: Some(3), seed }).unwrap();
        let mut live = Lab::new();
        live.settings.settle_after = Duration::from_millis(50);
        live.start();
        let mut cuts = cuts;
        cuts.push((PARTS, false));
        cuts.sort_by_key(|cut| cut.0);
        let texts: Vec<_> = files(source.path())
            .into_iter()
            .map(|path| (fs::read(source.path().join(&path)).unwrap(), path))
            .collect();
        let total: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let mut written = 0;
        for (share, restart) in cuts {
            let until = total * share / PARTS;
            let mut begins = 0;
            for (text, path) in &texts {
                let from = written.max(begins).min(begins + text.len());
                let to = until.max(begins).min(begins + text.len());
                if from < to {
                    append(&live.home().join(path), &text[from - begins..to - begins]);
                }
                begins += text.len();
            }
            written = until;
            live.read_all();
            if restart {
                live.kill();
                live.start();
            }
        }
        live.until_settled();
        let mut batch = Lab::new();
        batch.settings = live.settings.clone();
        batch.start();
        batch.until_settled();
        let (expected, found) = (batch.dump(), live.dump());
        prop_assert!(expected == found, "{}", first_difference(&expected, &found));
    }
}
