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
        Err(source) => Err(LogError { action: "read", path: log.to_path_buf(), source }),
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
    pub fn open(layout: &Layout, run: u64, since: u64, redact: Arc<dyn Redact>) -> Result<Self, LogError> {
        let runs = layout.runs();
        fs::create_dir_all(&runs).map_err(|source| LogError { action: "create", path: runs, source })?;
        let mut main = Sink::open(layout.log(), run, since)?;
        let mut copy = Sink::open(layout.run_log(run), run, 0)?;
        if main.block == BlockState::Absent {
            // A file of that name belongs to an older run: numbers begin again when the state is reset.
            copy.clear()?;
        }
        copy.begin(run)?;
        main.begin(run)?;
        Ok(Self { run, main, copy, next_line: 0, redact })
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
        let ending = Marker::End { run: self.run, code }.to_line();
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
        let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = opened.map_err(|source| LogError { action: "open", path: path.clone(), source })?;
        let mut sink = Self { path, file, block: BlockState::Absent, lines: 0 };
        sink.find_block(run, since).map_err(|source| sink.error("read", source))?;
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
        self.file.set_len(0).map_err(|source| self.error("empty", source))?;
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
        self.file.sync_data().map_err(|source| self.error("sync", source))
    }

    /// One call per piece: with the file in append mode a reader sees whole lines.
    fn write(&mut self, text: &str) -> Result<(), LogError> {
        self.file.write_all(text.as_bytes()).map_err(|source| self.error("write", source))
    }

    fn error(&self, action: &'static str, source: io::Error) -> LogError {
        LogError { action, path: self.path.clone(), source }
    }
}

/// Adds one line with its prefix.
fn push_line(to: &mut String, run: u64, at: Timestamp, line: &str) {
    let line = line.trim_end();
    let _ = write!(to, "[{}] run={run} stdout: ", format_time(at));
    if line.len() > MAX_LINE_BYTES {
        let kept = (0..=MAX_LINE_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
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
mod tests;
