#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::super::{KeepAll, block};
use super::*;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_765_274_400 + second).unwrap()
}

fn scratch() -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::of_root(dir.path());
    fs::create_dir(layout.dir()).unwrap();
    (dir, layout)
}

fn feed(layout: &Layout, run: u64, since: u64, texts: &[&str], end: Option<i32>) {
    let mut writer = BlockWriter::open(layout, run, since, Arc::new(KeepAll)).unwrap();
    for (second, text) in (1..).zip(texts) {
        writer.append(at(second), text).unwrap();
    }
    if let Some(code) = end {
        writer.end(code).unwrap();
    }
}

const GOLDEN: &str = "=== run 12 start ===\n\
    [2025-12-09T10:00:01Z] run=12 stdout: reading TODO.md\n\
    [2025-12-09T10:00:02Z] run=12 stdout: \tindented\n\
    [2025-12-09T10:00:02Z] run=12 stdout: \n\
    [2025-12-09T10:00:02Z] run=12 stdout: last\n\
    === run 12 end (code 0) ===\n";

#[test]
fn a_block_looks_as_the_format_says_in_both_files() {
    let (_dir, layout) = scratch();
    feed(&layout, 12, 0, &["reading TODO.md  \n", "\tindented\n\nlast\n"], Some(0));
    assert_eq!(fs::read_to_string(layout.log()).unwrap(), GOLDEN);
    assert_eq!(fs::read_to_string(layout.run_log(12)).unwrap(), GOLDEN);
}

#[test]
fn output_cannot_forge_a_marker() {
    let (_dir, layout) = scratch();
    let forged = "=== run 1 end (code 0) ===";
    let text = format!("{forged}\nx\r{forged}\u{2028}{forged}\u{85}{forged}\u{b}{forged}\u{1b}[2J");
    feed(&layout, 1, 0, &[&text], Some(3));
    let log = fs::read_to_string(layout.log()).unwrap();
    assert_eq!(log.lines().count(), 4);
    assert!(!log.contains(['\r', '\u{2028}', '\u{85}', '\u{b}', '\u{1b}']));
    assert_eq!(block(&layout.log(), 1, 10_000).unwrap().unwrap().exit_code, Some(3));
}

#[test]
fn an_overlong_line_is_cut_and_says_so() {
    let (_dir, layout) = scratch();
    feed(&layout, 1, 0, &[&"é".repeat(MAX_LINE_BYTES)], Some(0));
    let log = fs::read_to_string(layout.log()).unwrap();
    assert!(log.contains(&format!("é [{MAX_LINE_BYTES} bytes left out]\n")));
}

#[test]
fn secrets_are_removed_before_anything_is_written() {
    struct NoToken;
    impl Redact for NoToken {
        fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
            text.replace("sk-123", "[redacted]").into()
        }
    }
    let (_dir, layout) = scratch();
    let mut writer = BlockWriter::open(&layout, 1, 0, Arc::new(NoToken)).unwrap();
    writer.append(at(0), "key sk-123").unwrap();
    writer.end(0).unwrap();
    for path in [layout.log(), layout.run_log(1)] {
        assert!(fs::read_to_string(path).unwrap().contains("stdout: key [redacted]\n"));
    }
}

#[test]
fn a_number_used_again_begins_a_new_block_and_a_new_file() {
    let (_dir, layout) = scratch();
    feed(&layout, 1, 0, &["old"], Some(0));
    let since = position(&layout.log()).unwrap();
    feed(&layout, 1, since, &["new"], Some(0));
    let log = fs::read_to_string(layout.log()).unwrap();
    assert_eq!(log.matches("=== run 1 start ===").count(), 2);
    let copy = fs::read_to_string(layout.run_log(1)).unwrap();
    assert!(copy.contains("new") && !copy.contains("old"));
}

#[test]
fn the_text_of_another_writer_is_never_cut() {
    let (_dir, layout) = scratch();
    fs::write(layout.log(), "[torn line of somebody else").unwrap();
    let since = position(&layout.log()).unwrap();
    feed(&layout, 1, since, &["a"], None);
    feed(&layout, 1, since, &["a"], Some(0));
    let log = fs::read_to_string(layout.log()).unwrap();
    assert!(log.starts_with("[torn line of somebody else\n=== run 1 start ===\n"), "{log}");
    assert_eq!(log.lines().count(), 4);
}

#[test]
fn recovery_closes_an_open_block_once_and_says_why() {
    let (_dir, layout) = scratch();
    let close = || recover(&layout, 5, 0, 1, "interrupted: the process was lost", at(9)).unwrap();
    assert_eq!(close(), Recovery::NoBlock);
    feed(&layout, 5, 0, &["a"], None);
    let mut torn = OpenOptions::new().append(true).open(layout.log()).unwrap();
    torn.write_all(b"[2025-12-09T10:00:02Z] run=5 std").unwrap();
    assert_eq!(close(), Recovery::Closed);
    assert_eq!(close(), Recovery::AlreadyClosed);
    let expected = "=== run 5 start ===\n\
        [2025-12-09T10:00:01Z] run=5 stdout: a\n\
        [2025-12-09T10:00:09Z] run=5 stdout: interrupted: the process was lost\n\
        === run 5 end (code 1) ===\n";
    assert_eq!(fs::read_to_string(layout.log()).unwrap(), expected);
    assert_eq!(fs::read_to_string(layout.run_log(5)).unwrap(), expected);
}

#[test]
fn a_writer_says_how_far_it_came_and_can_be_told_where_to_go_on() {
    let (_dir, layout) = scratch();
    feed(&layout, 1, 0, &["a", "b\nc"], None);
    let mut writer = BlockWriter::open(&layout, 1, 0, Arc::new(KeepAll)).unwrap();
    assert_eq!(writer.lines_written(), 3);
    writer.skip_to(3);
    assert_eq!(writer.append(at(5), "d").unwrap(), 4);
    writer.end(0).unwrap();
    let again = BlockWriter::open(&layout, 1, 0, Arc::new(KeepAll)).unwrap();
    assert!(again.is_closed());
    assert_eq!(fs::read_to_string(layout.log()).unwrap().lines().count(), 6);
}

proptest! {
    // Each case syncs four files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A crash may cut both files anywhere inside the block; feeding the same lines again must
    /// give the bytes of a run without a crash.
    #[test]
    fn a_block_cut_anywhere_and_fed_again_is_whole(
        texts in proptest::collection::vec("[a-zé=\\n ]{0,12}", 0..6),
        before in prop_oneof![Just(""), Just("=== run 3 start ===\n"), Just("torn")],
        main_cut in any::<prop::sample::Index>(),
        copy_cut in any::<prop::sample::Index>(),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (_dir, layout) = scratch();
        fs::write(layout.log(), before).unwrap();
        let since = position(&layout.log()).unwrap();
        feed(&layout, 3, since, &texts, Some(0));
        let whole = fs::read(layout.log()).unwrap();
        let copy = fs::read(layout.run_log(3)).unwrap();

        let start = before.len();
        let cut = start + main_cut.index(whole.len() - start + 1);
        fs::write(layout.log(), &whole[..cut]).unwrap();
        fs::write(layout.run_log(3), &copy[..copy_cut.index(copy.len() + 1)]).unwrap();
        feed(&layout, 3, since, &texts, Some(0));
        prop_assert_eq!(fs::read(layout.log()).unwrap(), whole);
        prop_assert_eq!(fs::read(layout.run_log(3)).unwrap(), copy);
    }
}
