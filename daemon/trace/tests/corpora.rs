//! Replays what the fuzz targets begin with and what they have found.

#![allow(clippy::expect_used)]

use std::path::Path;

use trace::session::Format;

#[path = "../../../tests/fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in directory.read_dir().expect("the corpus is there") {
        let path = entry.expect("the corpus can be listed").path();
        // A panic names the input by this line.
        println!("{}", path.display());
        check(&std::fs::read(&path).expect("an input can be read"));
        replayed += 1;
    }
    assert!(replayed > 5, "the corpus of {target} has {replayed} inputs");
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
