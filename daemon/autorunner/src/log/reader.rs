//! Reading the log with bounded memory, however large it is.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

use super::{LogError, Marker};

/// How much of a block or tail is returned unless the caller wants something else.
pub const DEFAULT_MAX_BYTES: u64 = 1_000_000;

/// The block of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Its lines, markers included. If it is too long, its end.
    pub text: String,
    /// Bytes left out at the start.
    pub left_out: u64,
    /// Code of the end marker; `None` while the block is open.
    pub exit_code: Option<i32>,
}

/// Where a block lies in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockSummary {
    /// Number of the run.
    pub run: u64,
    /// Offset of its start marker.
    pub start: u64,
    /// Offset behind its last line.
    pub end: u64,
    /// Code of the end marker; `None` if there is none.
    pub exit_code: Option<i32>,
}

/// The last block of this run, `None` if there is none. A number can occur again after the state was
/// reset; the newest block is the one that is meant.
pub fn block(log: &Path, run: u64, max_bytes: u64) -> Result<Option<Block>, LogError> {
    let mut found = None;
    scan(log, |summary| {
        if summary.run == run {
            found = Some(summary);
        }
    })?;
    let Some(BlockSummary { start, end, exit_code, .. }) = found else {
        return Ok(None);
    };
    let from = start.max(end.saturating_sub(max_bytes));
    let text = read_range(log, from, end)?;
    Ok(Some(Block { text, left_out: from - start, exit_code }))
}

/// The newest blocks, oldest first, at most `limit` of them.
pub fn runs(log: &Path, limit: usize) -> Result<Vec<BlockSummary>, LogError> {
    let mut newest = VecDeque::new();
    scan(log, |summary| {
        if newest.len() == limit {
            newest.pop_front();
        }
        if limit > 0 {
            newest.push_back(summary);
        }
    })?;
    Ok(newest.into())
}

/// The last `count` lines of the log, at most `max_bytes` of them. A missing log has none.
pub fn tail(log: &Path, count: usize, max_bytes: u64) -> Result<String, LogError> {
    if count == 0 {
        return Ok(String::new());
    }
    let length = super::position(log)?;
    let from = length.saturating_sub(max_bytes);
    let mut text = if length == 0 { String::new() } else { read_range(log, from, length)? };
    if from > 0 {
        // The window begins inside a line; show only whole ones, unless there is nothing else.
        if let Some(newline) = text.find('\n').filter(|at| at + 1 < text.len()) {
            text.drain(..=newline);
        }
    }
    let body = text.strip_suffix('\n').unwrap_or(&text);
    let start = body.rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    Ok(text.split_off(start))
}

/// Calls `visit` for each block from the start of the log.
fn scan(log: &Path, mut visit: impl FnMut(BlockSummary)) -> Result<(), LogError> {
    let failed = |source| LogError { action: "read", path: log.to_path_buf(), source };
    let file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    let mut lines = Lines::new(file, 0);
    let mut open: Option<BlockSummary> = None;
    while let Some(line) = lines.next_line().map_err(failed)? {
        match Marker::parse(line.head) {
            Some(Marker::Start { run }) => {
                // A block without an end reaches to the next one.
                open.take().into_iter().for_each(&mut visit);
                open = Some(BlockSummary { run, start: line.start, end: line.end, exit_code: None });
            }
            Some(Marker::End { run, code }) if open.as_ref().is_some_and(|block| block.run == run) => {
                if let Some(block) = open.take() {
                    visit(BlockSummary { end: line.end, exit_code: Some(code), ..block });
                }
            }
            _ => {
                if let Some(block) = &mut open {
                    block.end = line.end;
                }
            }
        }
    }
    open.into_iter().for_each(visit);
    Ok(())
}

fn read_range(log: &Path, from: u64, to: u64) -> Result<String, LogError> {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(to - from).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(|source| LogError { action: "read", path: log.to_path_buf(), source })
}

/// Longest beginning of a line that is kept: enough for any marker and any prefix.
const HEAD_BYTES: usize = 128;

/// Walks over the lines of a file, keeping only the beginning of each.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    offset: u64,
    head: Vec<u8>,
}

/// One line.
pub(super) struct Line<'a> {
    /// Its first bytes, without the newline; at most [`HEAD_BYTES`].
    pub(super) head: &'a [u8],
    /// Offset of its first byte.
    pub(super) start: u64,
    /// Offset behind its newline.
    pub(super) end: u64,
    /// Whether it has its newline.
    pub(super) complete: bool,
}

impl<R: Read> Lines<R> {
    /// `source` is at `offset` of the file.
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, source), offset, head: Vec::new() }
    }

    pub(super) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.head.clear();
        let start = self.offset;
        let mut complete = false;
        while !complete {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let newline = buffer.iter().position(|byte| *byte == b'\n');
            let text = &buffer[..newline.unwrap_or(buffer.len())];
            let wanted = text.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&text[..wanted]);
            let used = text.len() + usize::from(newline.is_some());
            complete = newline.is_some();
            self.reader.consume(used);
            self.offset += used as u64;
        }
        let end = self.offset;
        Ok((end > start).then_some(Line { head: &self.head, start, end, complete }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::fs;

    const LOG: &str = "=== run 1 start ===\n\
        [t] run=1 stdout: old\n\
        === run 1 end (code 0) ===\n\
        === run 2 chat start ===\n\
        [t] run=2 chat: hello\n\
        === run 2 chat end (code 0) ===\n\
        === run 2 start ===\n\
        [t] run=2 stdout: crashed\n\
        === run 1 start ===\n\
        [t] run=1 stdout: === run 1 end (code 9) ===\n\
        [t] run=1 stdout: new\n\
        === run 1 end (code 3) ===\n\
        === run 3 start ===\n\
        [t] run=3 stdout: working";

    fn log_with(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("codex-autorunner.log");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_last_block_with_a_number_is_the_one_meant() {
        let (_dir, log) = log_with(LOG);
        let found = block(&log, 1, DEFAULT_MAX_BYTES).unwrap().unwrap();
        assert_eq!(found.exit_code, Some(3));
        assert_eq!(found.left_out, 0);
        assert!(found.text.starts_with("=== run 1 start ===\n") && found.text.contains("new"));
        assert!(!found.text.contains("old"));
        assert!(found.text.ends_with("=== run 1 end (code 3) ===\n"));
    }

    #[test]
    fn a_block_without_an_end_reaches_to_the_next_one_or_the_end_of_the_file() {
        let (_dir, log) = log_with(LOG);
        let crashed = block(&log, 2, DEFAULT_MAX_BYTES).unwrap().unwrap();
        assert_eq!(crashed.text, "=== run 2 start ===\n[t] run=2 stdout: crashed\n");
        assert_eq!(crashed.exit_code, None);
        let open = block(&log, 3, DEFAULT_MAX_BYTES).unwrap().unwrap();
        assert_eq!(open.text, "=== run 3 start ===\n[t] run=3 stdout: working");
        assert_eq!(block(&log, 4, DEFAULT_MAX_BYTES).unwrap(), None);
    }

    #[test]
    fn a_long_block_is_cut_at_its_start() {
        let (_dir, log) = log_with(LOG);
        let found = block(&log, 1, 27).unwrap().unwrap();
        assert_eq!(found.text, "=== run 1 end (code 3) ===\n");
        assert!(found.left_out > 0);
    }

    #[test]
    fn the_tail_has_whole_lines_and_zero_lines_are_none() {
        let (_dir, log) = log_with(LOG);
        assert_eq!(tail(&log, 0, 1000).unwrap(), "");
        assert_eq!(tail(&log, 1, 1000).unwrap(), "[t] run=3 stdout: working");
        assert_eq!(tail(&log, 2, 1000).unwrap(), "=== run 3 start ===\n[t] run=3 stdout: working");
        assert_eq!(tail(&log, 10_000, 1_000_000).unwrap(), LOG);
        assert_eq!(tail(&log, 10, 30).unwrap(), "[t] run=3 stdout: working");
        assert_eq!(tail(&log, 10, 7).unwrap(), "working");
        assert_eq!(tail(&log.with_extension("gone"), 10, 7).unwrap(), "");
    }

    #[test]
    fn runs_are_listed_oldest_first_and_bounded() {
        let (_dir, log) = log_with(LOG);
        let list = runs(&log, 100).unwrap();
        let seen: Vec<(u64, Option<i32>)> = list.iter().map(|run| (run.run, run.exit_code)).collect();
        assert_eq!(seen, [(1, Some(0)), (2, None), (1, Some(3)), (3, None)]);
        assert_eq!(list[0].start, 0);
        assert_eq!(list[3].end, LOG.len() as u64);
        assert_eq!(runs(&log, 2).unwrap(), list[2..]);
        assert_eq!(runs(&log, 0).unwrap(), []);
    }

    #[test]
    fn a_line_of_any_length_is_no_problem_and_no_marker() {
        let long = format!("=== run 9 start ==={}\n=== run 1 start ===\n", "=".repeat(300_000));
        let (_dir, log) = log_with(&long);
        let seen: Vec<u64> = runs(&log, 10).unwrap().iter().map(|run| run.run).collect();
        assert_eq!(seen, [1]);
    }

    #[test]
    fn invalid_utf8_is_shown_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, b"=== run 1 start ===\n[t] run=1 stdout: \xff\n").unwrap();
        assert!(block(&log, 1, 1000).unwrap().unwrap().text.contains('\u{fffd}'));
    }
}
