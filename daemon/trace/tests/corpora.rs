//! Replays what the fuzz targets begin with and what they have found.

#![allow(clippy::expect_used)]

use std::path::Path;

use proptest::prelude::*;
use trace::session::Format;

#[path = "../../../tests/fuzz/checks.rs"]
mod checks;

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let entries = directory.read_dir().expect("the corpus is there");
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("the corpus can be listed").path();
            (path.display().to_string(), std::fs::read(&path).expect("an input can be read"))
        })
        .collect();
    inputs.sort();
    assert!(inputs.len() > 5, "the corpus of {target} has {} inputs", inputs.len());
    inputs
}

fn replay(target: &str, check: impl Fn(&[u8])) {
    for (name, input) in corpus(target) {
        // A panic names the input by this line.
        println!("{name}");
        check(&input);
    }
}

#[test]
fn any_bytes_are_a_record_or_an_error() {
    replay("record", checks::record);
}

#[test]
fn a_segment_gives_the_same_records_however_it_is_cut() {
    replay("segment", |data| checks::file(Format::Spine, data));
}

#[test]
fn a_rollout_gives_the_same_records_however_it_is_cut() {
    replay("rollout", |data| checks::file(Format::Rollout, data));
}

proptest! {
    #[test]
    fn any_records_are_the_same_however_they_are_cut(
        records in prop::collection::vec(prop::sample::select(corpus("record")), 0..12),
        cut in any::<u8>(),
        ends_with_newline in any::<bool>(),
    ) {
        let mut file = vec![cut];
        for (_, record) in &records {
            file.extend_from_slice(record);
            file.push(b'\n');
        }
        if !ends_with_newline {
            file.pop();
        }
        checks::file(Format::Spine, &file);
        checks::file(Format::Rollout, &file);
    }
}
