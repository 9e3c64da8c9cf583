//! Capturing the child's output: pipes into files, with an index, within limits, whatever the disk does.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::super::launch::{AtOutputLimit, OutputLimit};
use super::super::platform;
use super::super::record::{StreamTotals, UnixNanos};
use super::child::Outputs;
use crate::logs::index::{Entry, INDEX, RESOLUTION, SMALLEST_KEPT, Stream};

/// Most bytes taken from one stream before the other, and the signals, get their turn.
const TURN: usize = 1 << 20;
/// Amounts up to this are copied: cheaper than moving pages, and every kernel then tells watchers of the file.
const COPIED: usize = 16 << 10;
/// Bytes of the one buffer, for copying.
const BUFFER: usize = 64 << 10;
/// A pipe's capacity as it is made, and the largest that an unprivileged user may ask for.
const PIPE: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;
/// Bytes that are moved from a busy stream at once.
const STAGED: usize = 256 << 10;
/// Space reserved behind the end of a file at a time, once so much has been captured: the kernel then need not look
/// for room with every few bytes that are moved, which is a fifth of what moving them takes.
const AHEAD: u64 = 16 << 20;
/// Holes are punched when they are at least so large, or an eighth of what is kept.
const SMALLEST_HOLE: u64 = 64 << 10;
/// File systems give space back in blocks of this size or of one that divides it, seldom in larger ones.
const BLOCK: u64 = 4 << 10;
/// Output up to this size is synced before the end is recorded. More than that was for the most part written back by
/// the kernel already, and syncing it would make the end of every large run wait for the disk.
const SYNCED: u64 = 16 << 20;

/// The capture of both streams.
pub(super) struct Capture {
    streams: [Captured; 2],
    index: Index,
    limit: Option<OutputLimit>,
    /// Made when a stream is found busy.
    stage: Option<Stage>,
    buffer: Vec<u8>,
    last_output: Instant,
    exceeded: bool,
}

struct Captured {
    stream: Stream,
    pipe: Option<OwnedFd>,
    capacity: usize,
    file: KeptFile,
    /// Whether the last write failed; then bytes are copied, so that what cannot be stored is known.
    failing: bool,
    dropped: u64,
    /// Dropped bytes that no entry of the index tells of yet.
    dropped_untold: u64,
}

/// A file that grows at its end and may be given back from its start.
struct KeptFile {
    file: File,
    length: u64,
    punched: u64,
    /// The space up to here is reserved; none if that is not possible (any more).
    reserved: Option<u64>,
}

/// A pipe of our own, empty between two uses, between a child's pipe and a file.
///
/// Moving pages from pipe to pipe costs next to nothing, and while they go from there into the file, which takes time
/// and keeps a pipe locked, the child can fill its own pipe again.
struct Stage {
    out: OwnedFd,
    into: OwnedFd,
    capacity: usize,
}

struct Index {
    file: KeptFile,
    last: Option<(Stream, Instant)>,
}

impl Capture {
    /// Makes the files in the current directory, and the pipes; returns the child's ends of them.
    pub(super) fn new(limit: Option<OutputLimit>) -> io::Result<(Self, Outputs)> {
        let (stdout, stdout_in) = Captured::new(Stream::Stdout)?;
        let (stderr, stderr_in) = Captured::new(Stream::Stderr)?;
        let capture = Self {
            streams: [stdout, stderr],
            index: Index { file: KeptFile::new(INDEX)?, last: None },
            limit,
            stage: None,
            buffer: Vec::new(),
            last_output: Instant::now(),
            exceeded: false,
        };
        Ok((capture, Outputs { stdout: stdout_in, stderr: stderr_in }))
    }

    /// The pipes that are still open, to be polled.
    pub(super) fn pipes(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [0, 1].map(|place| self.streams[place].pipe.as_ref().map(AsFd::as_fd))
    }

    /// When the child last wrote, or the capture began.
    pub(super) fn last_output(&self) -> Instant {
        self.last_output
    }

    /// Whether a stream has passed a limit that stops the child.
    pub(super) fn exceeded(&self) -> bool {
        self.exceeded
    }

    /// Takes what a pipe holds, up to a [`TURN`].
    pub(super) fn drain(&mut self, place: usize, ready: PollFlags) {
        let mut taken = 0;
        while taken < TURN {
            let Some(pipe) = &self.streams[place].pipe else { return };
            let waiting = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
            if waiting == 0 {
                // Nothing waits and nobody can write any more: asked in this order, no byte is missed, because a
                // hang-up that was seen before is for good.
                if taken == 0 && ready.intersects(PollFlags::HUP | PollFlags::ERR) {
                    self.streams[place].pipe = None;
                }
                return;
            }
            let waiting = usize::try_from(waiting).unwrap_or(TURN).min(TURN);
            match self.take(place, waiting) {
                0 => return,
                moved => taken += moved,
            }
        }
    }

    /// Takes all that the pipes hold now, and gives up what somebody may still write later.
    pub(super) fn finish(&mut self) {
        for place in [0, 1] {
            // Two turns empty the largest pipe, even if one who was left alone keeps on writing into it.
            self.drain(place, PollFlags::empty());
            self.drain(place, PollFlags::empty());
            self.streams[place].pipe = None;
            self.streams[place].file.give_back_ahead();
            if let Some(limit) = self.drop_oldest() {
                let file = &mut self.streams[place].file;
                file.give_back_to(file.length.saturating_sub(limit), 1);
            }
        }
    }

    /// Makes what was captured survive a loss of power, unless it is too much.
    pub(super) fn sync(&self) {
        for file in self.streams.iter().map(|captured| &captured.file).chain([&self.index.file]) {
            if (1..=SYNCED).contains(&file.length) {
                // A disk that cannot sync now has nothing better to offer a moment later; the exit record, which is
                // synced after this, tells how long the files should be.
                let _ = file.file.sync_data();
            }
        }
    }

    /// What was captured of standard output and standard error.
    pub(super) fn totals(&self) -> [StreamTotals; 2] {
        [0, 1].map(|place| {
            let captured = &self.streams[place];
            StreamTotals {
                bytes: captured.file.length,
                start: self.drop_oldest().map_or(0, |limit| captured.file.length.saturating_sub(limit)),
                dropped: captured.dropped,
            }
        })
    }

    fn drop_oldest(&self) -> Option<u64> {
        self.limit.filter(|limit| limit.then == AtOutputLimit::DropOldest).map(|limit| limit.bytes)
    }

    /// Takes at most `waiting` bytes, which are known to be there; returns how many.
    fn take(&mut self, place: usize, waiting: usize) -> usize {
        let now = Instant::now();
        self.last_output = now;
        if self.streams[place].widen(waiting) && self.stage.is_none() {
            self.stage = Stage::new().ok();
        }

        let room = match self.limit {
            Some(OutputLimit { bytes, then: AtOutputLimit::Stop }) => {
                usize::try_from(bytes.saturating_sub(self.streams[place].file.length)).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        if room == 0 {
            self.exceeded = true;
            return self.copy(place, waiting, false);
        }
        let wanted = waiting.min(room);
        let told = self.tell_index(place, now);
        let taken = if told && wanted > COPIED && !self.streams[place].failing {
            match self.splice(place, wanted) {
                Ok(moved) if moved > 0 => moved,
                // The disk is full, or this file system cannot do it: copying finds out how much can be stored.
                _ => self.copy(place, wanted, true),
            }
        } else {
            self.copy(place, wanted, told)
        };
        if let Some(limit) = self.drop_oldest() {
            let file = &mut self.streams[place].file;
            file.give_back_to(file.length.saturating_sub(limit), SMALLEST_HOLE.max(limit / 8));
        }
        taken
    }

    /// Writes an entry into the index where one is due; `false` when that failed. Then the bytes must not be stored
    /// either, or a reader would take them for a part of what the entry before tells of.
    fn tell_index(&mut self, place: usize, now: Instant) -> bool {
        let captured = &self.streams[place];
        let (stream, dropped) = (captured.stream, captured.dropped_untold);
        let fresh = |(last, at): (Stream, Instant)| last == stream && now.duration_since(at) < RESOLUTION;
        if dropped == 0 && self.index.last.is_some_and(fresh) {
            return true;
        }
        let entry = Entry {
            time: UnixNanos::now(),
            stream,
            lengths: [self.streams[0].file.length, self.streams[1].file.length],
            dropped: u32::try_from(dropped).unwrap_or(u32::MAX),
        };
        if self.index.file.append(&entry.encode()).is_err() {
            // What was written of it is written over by the next.
            self.index.file.length -= self.index.file.length % Entry::SIZE as u64;
            return false;
        }
        self.index.last = Some((stream, now));
        self.streams[place].dropped_untold = 0;
        if let Some(limit) = self.drop_oldest() {
            let kept = limit.max(SMALLEST_KEPT);
            let file = &mut self.index.file;
            file.give_back_to(file.length.saturating_sub(kept), SMALLEST_HOLE);
        }
        true
    }

    /// Moves bytes from a pipe into its file without copying them through this process.
    fn splice(&mut self, place: usize, wanted: usize) -> io::Result<usize> {
        let captured = &mut self.streams[place];
        let Some(pipe) = &captured.pipe else { return Ok(0) };
        let Some(stage) = &self.stage else {
            return captured.file.append_from(pipe.as_fd(), wanted);
        };
        let staged = platform::move_to_pipe(pipe.as_fd(), stage.into.as_fd(), wanted.min(stage.capacity))?;
        captured.file.reserve_ahead(staged);
        let mut moved = 0;
        while moved < staged {
            match captured.file.append_from(stage.out.as_fd(), staged - moved) {
                Ok(more) if more > 0 => moved += more,
                _ => break,
            }
        }
        // Until the stage is empty again.
        while moved < staged {
            let stage = self.stage.as_ref().map(|stage| stage.out.as_fd());
            match Self::copy_from(stage, &mut self.buffer, &mut self.streams[place], staged - moved, true) {
                Some(more) if more > 0 => moved += more,
                _ => break,
            }
        }
        Ok(staged)
    }

    /// Reads bytes from a pipe and stores what can be stored; the rest is counted as dropped.
    fn copy(&mut self, place: usize, wanted: usize, store: bool) -> usize {
        let captured = &mut self.streams[place];
        let pipe = captured.pipe.take();
        let taken =
            Self::copy_from(pipe.as_ref().map(AsFd::as_fd), &mut self.buffer, captured, wanted, store);
        // A pipe that cannot be read is of no use.
        captured.pipe = pipe.filter(|_| taken.is_some());
        taken.unwrap_or(0)
    }

    fn copy_from(
        pipe: Option<BorrowedFd<'_>>,
        buffer: &mut Vec<u8>,
        captured: &mut Captured,
        wanted: usize,
        store: bool,
    ) -> Option<usize> {
        let wanted = wanted.min(BUFFER);
        if buffer.len() < wanted {
            buffer.resize(wanted.next_power_of_two().max(COPIED), 0);
        }
        let buffer = &mut buffer[..wanted];
        let taken = match rustix::io::read(pipe?, &mut *buffer) {
            Ok(taken) => taken,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => 0,
            Err(_) => return None,
        };
        let before = captured.file.length;
        let stored = store && captured.file.append(&buffer[..taken]).is_ok();
        captured.failing = store && !stored;
        let lost = taken as u64 - (captured.file.length - before);
        captured.dropped += lost;
        captured.dropped_untold += lost;
        Some(taken)
    }
}

impl Stage {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
        let capacity = platform::enlarge_pipe(out.as_fd(), STAGED).unwrap_or(*PIPE.start());
        Ok(Self { out, into, capacity })
    }
}

impl Captured {
    fn new(stream: Stream) -> io::Result<(Self, OwnedFd)> {
        let file = KeptFile::new(stream.file_name())?;
        let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&out, true)?;
        let captured = Self {
            stream,
            pipe: Some(out),
            capacity: *PIPE.start(),
            file,
            failing: false,
            dropped: 0,
            dropped_untold: 0,
        };
        Ok((captured, into))
    }

    /// Lets the pipe hold more when it is found nearly full. Quiet children keep small pipes: all pipes of a user
    /// count against one limit, and beyond it every new pipe of that user is tiny.
    ///
    /// Returns whether it was.
    fn widen(&mut self, waiting: usize) -> bool {
        if waiting < self.capacity / 4 * 3 || self.capacity >= *PIPE.end() {
            return false;
        }
        let wider = (self.capacity * 4).min(*PIPE.end());
        let got = self.pipe.as_ref().and_then(|pipe| platform::enlarge_pipe(pipe.as_fd(), wider));
        // Refused: the limit is reached, do not ask again.
        self.capacity = got.unwrap_or(*PIPE.end());
        true
    }
}

impl KeptFile {
    fn new(name: &str) -> io::Result<Self> {
        Ok(Self {
            file: File::options().write(true).create_new(true).open(name)?,
            length: 0,
            punched: 0,
            reserved: Some(0),
        })
    }

    /// Reserves space for these bytes and those to come, if there are that many.
    fn reserve_ahead(&mut self, bytes: usize) {
        let Some(reserved) = self.reserved.filter(|_| self.length >= AHEAD) else { return };
        if self.length + bytes as u64 > reserved {
            let from = reserved.max(self.length);
            // Refused: the disk has no room to spare, or the file system cannot do it. Nothing depends on it.
            let done = platform::reserve_behind(&self.file, from, AHEAD);
            self.reserved = done.is_ok().then_some(from + AHEAD);
            if done.is_err() {
                self.give_back_from(reserved);
            }
        }
    }

    /// Gives back what was reserved and is not needed.
    fn give_back_ahead(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.give_back_from(reserved);
        }
    }

    fn give_back_from(&self, reserved: u64) {
        if reserved > self.length {
            // To the length that it has: what lies behind is freed.
            let _ = self.file.set_len(self.length);
        }
    }

    /// Writes at the end. On an error, what could be written is kept and counted in `length`.
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.length) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.length += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves bytes from a pipe to the end; returns how many.
    fn append_from(&mut self, pipe: BorrowedFd<'_>, wanted: usize) -> io::Result<usize> {
        let moved = platform::move_to_file(pipe, &self.file, self.length, wanted)?;
        self.length += moved as u64;
        Ok(moved)
    }

    /// Gives the space before `start` back, in whole blocks, when it is worth it.
    fn give_back_to(&mut self, start: u64, worth: u64) {
        let start = start - start % BLOCK;
        if start.saturating_sub(self.punched) >= worth {
            // Where the file system cannot do it, the bytes stay and are only hidden from readers.
            let _ = platform::punch_hole(&self.file, self.punched, start - self.punched);
            self.punched = start;
        }
    }
}
