//! Writing blocks, live and resumable.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::reader::Lines;
use super::{LogError, MAX_LINE_BYTES, Marker, Redact, is_output_of};
use crate::format_time;
use crate::repo::Layout;

/// Length of the log now; 0 if it does not exist. Store it before a block is opened.
pub fn position(log: &Path) -> Result<u64, LogError> {
    match fs::metadata(log) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(source) => Err(LogError {
            action: "read",
            path: log.to_path_buf(),
            source,
        }),
    }
}

/// What [`recover`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The block was never begun; nothing was written.
    NoBlock,
    /// The block had its end marker already.
    AlreadyClosed,
    /// The block was open and has been closed.
    Closed,
}

/// Closes the block of an iteration that will not go on, if it was left open. `note` is a sentence
/// that says what happened; it becomes the last line of the block.
pub fn recover(
    layout: &Layout,
    run: u64,
    since: u64,
    code: i32,
    note: &str,
    now: Timestamp,
) -> Result<Recovery, LogError> {
    let main_path = layout.log();
    if !main_path.exists() {
        return Ok(Recovery::NoBlock);
    }
    let mut main = Sink::open(main_path, run, since)?;
    if main.block == BlockState::Absent {
        return Ok(Recovery::NoBlock);
    }
    let mut ending = String::new();
    push_line(&mut ending, run, now, note);
    ending.push_str(&Marker::End { run, code }.to_line());

    // The copy first: once the main log says "closed", nobody looks again.
    let copy_path = layout.run_log(run);
    if copy_path.exists() {
        Sink::open(copy_path, run, 0)?.close(&ending)?;
    }
    if main.block == BlockState::Closed {
        return Ok(Recovery::AlreadyClosed);
    }
    main.close(&ending)?;
    Ok(Recovery::Closed)
}

/// Writes the block of one iteration into the main log and into its own file.
pub struct BlockWriter {
    run: u64,
    main: Sink,
    copy: Sink,
    /// Index of the next line that the caller feeds.
    next_line: u64,
    redact: Arc<dyn Redact>,
}

impl BlockWriter {
    /// Begins the block of `run`, or goes on with it if it is there already behind offset `since`.
    ///
    /// Feed it the lines of the iteration from the first one: those that are there are skipped. Or
    /// ask [`lines_written`](Self::lines_written) and [`skip_to`](Self::skip_to) a known line.
    pub fn open(
        layout: &Layout,
        run: u64,
        since: u64,
        redact: Arc<dyn Redact>,
    ) -> Result<Self, LogError> {
        let runs = layout.runs();
        fs::create_dir_all(&runs).map_err(|source| LogError {
            action: "create",
            path: runs,
            source,
        })?;
        let mut main = Sink::open(layout.log(), run, since)?;
        let mut copy = Sink::open(layout.run_log(run), run, 0)?;
        if main.block == BlockState::Absent {
            // A file of that name belongs to an older run: numbers begin again when the state is reset.
            copy.clear()?;
        }
        copy.begin(run)?;
        main.begin(run)?;
        Ok(Self {
            run,
            main,
            copy,
            next_line: 0,
            redact,
        })
    }

    /// How many lines are in both files already.
    pub fn lines_written(&self) -> u64 {
        self.main.lines.min(self.copy.lines)
    }

    /// Whether the block has its end marker; lines fed to a closed block are ignored.
    pub fn is_closed(&self) -> bool {
        self.main.block == BlockState::Closed
    }

    /// Says that the next text fed begins with line `index` of the iteration, counted from 0.
    pub fn skip_to(&mut self, index: u64) {
        self.next_line = index;
    }

    /// Feeds a text, stamped with the time of its arrival; each of its lines becomes one line of the
    /// log. Returns the index of the line after it.
    pub fn append(&mut self, at: Timestamp, text: &str) -> Result<u64, LogError> {
        let text = self.redact.redact(text);
        let (mut for_main, mut for_copy) = (String::new(), String::new());
        for line in text.strip_suffix('\n').unwrap_or(&text).split('\n') {
            if self.main.lines <= self.next_line {
                push_line(&mut for_main, self.run, at, line);
                self.main.lines = self.next_line + 1;
            }
            if self.copy.lines <= self.next_line {
                push_line(&mut for_copy, self.run, at, line);
                self.copy.lines = self.next_line + 1;
            }
            self.next_line += 1;
        }
        self.copy.write_while_open(&for_copy)?;
        self.main.write_while_open(&for_main)?;
        Ok(self.next_line)
    }

    /// Ends the block with the exit code of the iteration and makes both files durable.
    pub fn end(mut self, code: i32) -> Result<(), LogError> {
        let ending = Marker::End {
            run: self.run,
            code,
        }
        .to_line();
        self.copy.close(&ending)?;
        self.main.close(&ending)
    }
}

/// Where a file stands with the block of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockState {
    Absent,
    Open,
    Closed,
}

/// One file that a block is written to.
struct Sink {
    path: PathBuf,
    file: File,
    block: BlockState,
    /// Lines of output of the block that are in the file.
    lines: u64,
}

impl Sink {
    /// Opens the file, repairs its end, and looks for the block behind `since`.
    fn open(path: PathBuf, run: u64, since: u64) -> Result<Self, LogError> {
        let opened = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path);
        let file = opened.map_err(|source| LogError {
            action: "open",
            path: path.clone(),
            source,
        })?;
        let mut sink = Self {
            path,
            file,
            block: BlockState::Absent,
            lines: 0,
        };
        sink.find_block(run, since)
            .map_err(|source| sink.error("read", source))?;
        Ok(sink)
    }

    fn find_block(&mut self, run: u64, since: u64) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        // Shorter than it was: rotated or emptied meanwhile, so all of it is newer than the mark.
        let since = if since > length { 0 } else { since };
        self.file.seek(SeekFrom::Start(since))?;
        let mut lines = Lines::new(&self.file, since);
        let mut torn = None;
        while let Some(line) = lines.next_line()? {
            if !line.complete {
                torn = Some(line.start);
                break;
            }
            match Marker::parse(line.head) {
                Some(Marker::Start { run: found }) if found == run => {
                    self.block = BlockState::Open;
                    self.lines = 0;
                }
                Some(Marker::End { run: found, .. }) if found == run => {
                    self.block = BlockState::Closed;
                }
                _ if self.block == BlockState::Open && is_output_of(line.head, run) => {
                    self.lines += 1;
                }
                _ => {}
            }
        }
        match torn {
            // Behind the mark only this loop writes: what is torn is the start of a line of ours.
            Some(start) if start > since || self.line_begins_at(since)? => self.file.set_len(start),
            _ if self.line_begins_at(length)? => Ok(()),
            // Somebody else left a line without its newline.
            _ => self.file.write_all(b"\n"),
        }
    }

    /// Whether a line begins at this offset: at the start of the file, or behind a newline.
    fn line_begins_at(&mut self, offset: u64) -> io::Result<bool> {
        let Some(before) = offset.checked_sub(1) else {
            return Ok(true);
        };
        let mut last = [0];
        self.file.seek(SeekFrom::Start(before))?;
        self.file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }

    fn clear(&mut self) -> Result<(), LogError> {
        self.file
            .set_len(0)
            .map_err(|source| self.error("empty", source))?;
        self.block = BlockState::Absent;
        self.lines = 0;
        Ok(())
    }

    fn begin(&mut self, run: u64) -> Result<(), LogError> {
        if self.block == BlockState::Absent {
            self.write(&Marker::Start { run }.to_line())?;
            self.block = BlockState::Open;
        }
        Ok(())
    }

    fn write_while_open(&mut self, text: &str) -> Result<(), LogError> {
        if text.is_empty() || self.block != BlockState::Open {
            return Ok(());
        }
        self.write(text)
    }

    fn close(&mut self, ending: &str) -> Result<(), LogError> {
        if self.block == BlockState::Open {
            self.write(ending)?;
            self.block = BlockState::Closed;
        }
        self.file
            .sync_data()
            .map_err(|source| self.error("sync", source))
    }

    /// One call per piece: with the file in append mode a reader sees whole lines.
    fn write(&mut self, text: &str) -> Result<(), LogError> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| self.error("write", source))
    }

    fn error(&self, action: &'static str, source: io::Error) -> LogError {
        LogError {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

/// Adds one line with its prefix.
fn push_line(to: &mut String, run: u64, at: Timestamp, line: &str) {
    let line = line.trim_end();
    let _ = write!(to, "[{}] run={run} stdout: ", format_time(at));
    if line.len() > MAX_LINE_BYTES {
        let kept = (0..=MAX_LINE_BYTES)
            .rev()
            .find(|at| line.is_char_boundary(*at))
            .unwrap_or(0);
        to.push_str(&visible(&line[..kept]));
        let _ = write!(to, " [{} bytes left out]", line.len() - kept);
    } else {
        to.push_str(&visible(line));
    }
    to.push('\n');
}

/// Shows control characters and the line separators of Unicode as escapes; a tab stays.
fn visible(line: &str) -> Cow<'_, str> {
    let hidden = |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}');
    if !line.contains(hidden) {
        return Cow::Borrowed(line);
    }
    let mut shown = String::with_capacity(line.len() + 8);
    for c in line.chars() {
        if hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
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
        feed(
            &layout,
            12,
            0,
            &["reading TODO.md  \n", "\tindented\n\nlast\n"],
            Some(0),
        );
        assert_eq!(fs::read_to_string(layout.log()).unwrap(), GOLDEN);
        assert_eq!(fs::read_to_string(layout.run_log(12)).unwrap(), GOLDEN);
    }

    #[test]
    fn output_cannot_forge_a_marker() {
        let (_dir, layout) = scratch();
        let forged = "=== run 1 end (code 0) ===";
        let text =
            format!("{forged}\nx\r{forged}\u{2028}{forged}\u{85}{forged}\u{b}{forged}\u{1b}[2J");
        feed(&layout, 1, 0, &[&text], Some(3));
        let log = fs::read_to_string(layout.log()).unwrap();
        assert_eq!(log.lines().count(), 4);
        assert!(!log.contains(['\r', '\u{2028}', '\u{85}', '\u{b}', '\u{1b}']));
        assert_eq!(
            block(&layout.log(), 1, 10_000).unwrap().unwrap().exit_code,
            Some(3)
        );
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
            assert!(
                fs::read_to_string(path)
                    .unwrap()
                    .contains("stdout: key [redacted]\n")
            );
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
        assert!(
            log.starts_with("[torn line of somebody else\n=== run 1 start ===\n"),
            "{log}"
        );
        assert_eq!(log.lines().count(), 4);
    }

    #[test]
    fn recovery_closes_an_open_block_once_and_says_why() {
        let (_dir, layout) = scratch();
        let close =
            || recover(&layout, 5, 0, 1, "interrupted: the process was lost", at(9)).unwrap();
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
}
