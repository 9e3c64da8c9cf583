//! A part of the log as a stream of bytes, which can go on as the log grows.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Config, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::reader::{BlockSummary, runs};
use super::{DEFAULT_MAX_BYTES, LogError, Marker, position};
use crate::atomic;

/// Most bytes of one piece.
const PIECE: usize = 64 * 1024;

/// A follower that got no hint looks again after this time: hints can be lost, and network file systems give none.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Which part of the log is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The newest block of this run.
    Block(u64),
    /// The newest block of all.
    LastBlock,
    /// The last lines.
    Tail(usize),
}

/// Reads a part of the log, piece by piece.
pub struct LogStream {
    path: PathBuf,
    at: u64,
    /// Where it ends, unless it goes on as the log grows.
    end: Option<u64>,
    /// The run whose end marker ends the stream.
    until_end_of: Option<u64>,
    hints: Option<Hints>,
}

struct Hints {
    changed: watch::Receiver<()>,
    /// Gives hints as long as it lives.
    _watcher: Option<RecommendedWatcher>,
}

impl LogStream {
    /// Opens a part of the log; `None` if there is no such block. With `follow` the stream goes on: that of a block
    /// until its end marker, any other for ever. Blocks.
    pub fn open(log: &Path, part: Part, follow: bool) -> Result<Option<Self>, LogError> {
        // Before the first look, so that nothing is written unnoticed.
        let hints = follow.then(|| Hints::watch(log));
        let length = position(log)?;
        let (at, end, until_end_of) = match part {
            Part::Block(run) => {
                let newest = runs(log, usize::MAX)?.into_iter().rfind(|block| block.run == run);
                let Some(BlockSummary { start, end, exit_code, .. }) = newest else { return Ok(None) };
                if exit_code.is_some() { (start, Some(end), None) } else { (start, None, Some(run)) }
            }
            Part::LastBlock => {
                let newest = runs(log, 1)?.pop();
                (newest.map_or(length, |block| block.start), None, None)
            }
            Part::Tail(count) => (tail_start(log, length, count)?, None, None),
        };
        let end = if follow { end } else { end.or(Some(length)) };
        Ok(Some(Self { path: log.to_owned(), at, end, until_end_of, hints }))
    }

    /// The same stream for a reader that was cut off after this position.
    #[must_use]
    pub fn going_on_at(mut self, position: Option<u64>) -> Self {
        self.at = position.unwrap_or(self.at);
        self
    }

    /// Where in the log the last piece ended.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// The next lines; `None` at the end. May be cancelled at any time without losing anything.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            if let Some(hints) = &mut self.hints {
                hints.changed.mark_unchanged();
            }
            if self.end.is_some_and(|end| self.at >= end) {
                return Ok(None);
            }
            let (path, at, end) = (self.path.clone(), self.at, self.end);
            let reading = tokio::task::spawn_blocking(move || read(&path, at, end));
            let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let piece =
                read.map_err(|source| LogError { action: "read", path: self.path.clone(), source })?;
            match piece {
                Piece::Bytes(bytes) => return Ok(Some(self.take(bytes))),
                // Emptied or replaced: all that is there is new.
                Piece::Shrunk => self.at = 0,
                Piece::Nothing => match &mut self.hints {
                    Some(hints) => drop(tokio::time::timeout(LOOK_AGAIN, hints.changed.changed()).await),
                    None => return Ok(None),
                },
            }
        }
    }

    fn take(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(run) = self.until_end_of {
            let mut length = 0;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                length += line.len();
                let marker = Marker::parse(line.strip_suffix(b"\n").unwrap_or(line));
                if matches!(marker, Some(Marker::End { run: ended, .. }) if ended == run) {
                    self.end = Some(self.at + length as u64);
                    break;
                }
            }
            bytes.truncate(length);
        }
        self.at += bytes.len() as u64;
        bytes
    }
}

enum Piece {
    Bytes(Vec<u8>),
    Nothing,
    Shrunk,
}

/// Reads whole lines, unless a line is longer than a piece or nothing will follow it.
fn read(path: &Path, at: u64, end: Option<u64>) -> io::Result<Piece> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(if at > 0 { Piece::Shrunk } else { Piece::Nothing });
        }
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() < at {
        return Ok(Piece::Shrunk);
    }
    let wanted = end.map_or(PIECE, |end| usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE)));
    let mut bytes = vec![0; wanted];
    let mut length = 0;
    while length < wanted {
        match file.read_at(&mut bytes[length..], at + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    bytes.truncate(length);
    if end.is_none() && length < wanted {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        bytes.truncate(whole);
    }
    Ok(if bytes.is_empty() { Piece::Nothing } else { Piece::Bytes(bytes) })
}

/// Where the last lines begin; no further back than [`DEFAULT_MAX_BYTES`].
fn tail_start(log: &Path, length: u64, count: usize) -> Result<u64, LogError> {
    let from = length.saturating_sub(DEFAULT_MAX_BYTES);
    if length == 0 || count == 0 {
        return Ok(length);
    }
    let read = || {
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or_default()];
        File::open(log)?.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|source| LogError { action: "read", path: log.to_owned(), source })?;
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let newlines = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let before = newlines.take(count).enumerate().last();
    Ok(match before {
        Some((found, at)) if found + 1 == count => from + at as u64 + 1,
        // Fewer lines than wanted: all of them, without one that began before the window.
        Some((_, at)) if from > 0 => from + at as u64 + 1,
        _ => from,
    })
}

impl Hints {
    fn watch(log: &Path) -> Self {
        let (sender, changed) = watch::channel(());
        let told = move |_| {
            // The follower may have gone.
            let _ = sender.send(());
        };
        // That the follower reads is no event.
        let config = Config::default().with_event_kinds(EventKindMask::CORE);
        let watcher = RecommendedWatcher::new(told, config);
        // The directory, because the file may be replaced. It can do without: it looks again by itself.
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(atomic::parent(log), RecursiveMode::NonRecursive).map(|()| watcher)
        });
        let watcher = watcher.inspect_err(|error| tracing::warn!(%error, "cannot watch a log")).ok();
        Self { changed, _watcher: watcher }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::fs;
    use std::io::Write;

    use super::*;

    const LOG: &str = "=== run 1 start ===\n[t] run=1 stdout: a\n=== run 1 end (code 0) ===\n\
        === run 2 start ===\n[t] run=2 stdout: b\n";

    fn log() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, LOG).unwrap();
        (dir, path)
    }

    async fn all(log: &Path, part: Part) -> Option<String> {
        let mut stream = LogStream::open(log, part, false).unwrap()?;
        let mut text = Vec::new();
        while let Some(piece) = stream.next().await.unwrap() {
            text.extend(piece);
        }
        Some(String::from_utf8(text).unwrap())
    }

    #[tokio::test]
    async fn a_block_and_a_tail_are_read_to_what_is_there() {
        let (_dir, log) = log();
        let second = LOG.find("=== run 2 start").unwrap();
        assert_eq!(all(&log, Part::Block(1)).await.unwrap(), LOG[..second]);
        assert_eq!(all(&log, Part::LastBlock).await.unwrap(), LOG[second..]);
        assert_eq!(all(&log, Part::Block(3)).await, None);
        assert_eq!(all(&log, Part::Tail(2)).await.unwrap(), LOG[second..]);
        assert_eq!(all(&log, Part::Tail(0)).await.unwrap(), "");
        assert_eq!(all(&log, Part::Tail(100)).await.unwrap(), LOG);
        assert_eq!(all(&log.with_extension("gone"), Part::LastBlock).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_block_is_followed_to_its_end_marker_by_whole_lines() {
        let (_dir, log) = log();
        let mut stream = LogStream::open(&log, Part::Block(2), true).unwrap().unwrap();
        let mut text = String::from_utf8(stream.next().await.unwrap().unwrap()).unwrap();
        let mut file = File::options().append(true).open(&log).unwrap();
        file.write_all(b"[t] run=2 stdout: half").unwrap();
        file.write_all(b" a line\n=== run 2 end (code 0) ===\n=== run 3 start ===\n").unwrap();
        while let Some(piece) = stream.next().await.unwrap() {
            assert!(piece.ends_with(b"\n"));
            text += &String::from_utf8(piece).unwrap();
        }
        assert!(text.ends_with("[t] run=2 stdout: half a line\n=== run 2 end (code 0) ===\n"), "{text}");
    }

    #[tokio::test]
    async fn a_follower_that_was_cut_off_goes_on_where_it_was() {
        let (_dir, log) = log();
        let mut stream = LogStream::open(&log, Part::LastBlock, true).unwrap().unwrap();
        stream.next().await.unwrap().unwrap();
        let position = stream.position();
        drop(stream);
        let mut file = File::options().append(true).open(&log).unwrap();
        file.write_all(b"=== run 2 end (code 0) ===\n=== run 3 start ===\n").unwrap();
        // The last block is another one by now.
        let again = LogStream::open(&log, Part::LastBlock, true).unwrap().unwrap();
        let piece = again.going_on_at(Some(position)).next().await.unwrap().unwrap();
        assert_eq!(piece, b"=== run 2 end (code 0) ===\n=== run 3 start ===\n");
    }

    #[tokio::test]
    async fn that_a_log_was_read_is_no_reason_to_read_it_again() {
        let (_dir, log) = log();
        let hints = Hints::watch(&log);
        read(&log, 0, None).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!hints.changed.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_log_that_was_emptied_is_followed_from_its_start() {
        let (_dir, log) = log();
        let mut stream = LogStream::open(&log, Part::Tail(0), true).unwrap().unwrap();
        fs::write(&log, "new\n").unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), b"new\n");
    }
}
