//! Driving a recording: bytes of a rollout in, a spine out.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::convert::Converter;
use super::message::Object;
use super::writer::{Made, Writer, hexadecimal, write_whole};
use super::{RecordingError, problem};
use crate::decode;
use crate::lines::{Piece, Position, Splitter};
use crate::{Body, Place, SessionId};

/// How many bytes are read at a time.
pub(super) const CHUNK: usize = 256 << 10;
/// Where the first patch lies, below the thread's directory, as with Codex; later ones lie beside it.
const DIFF: &str = "artifacts/git_diff.patch";
/// The member that tells which of the records that come from no line of the rollout one is.
pub(crate) const MARK: &str = "recorded_on";

/// Records one session while its rollout grows, or afterwards.
///
/// It is fed the rollout's bytes from the beginning, in pieces of any size. After a crash, a new recorder that
/// is fed the same bytes again goes on where the old one stopped.
#[derive(Debug)]
pub struct Recorder {
    splitter: Splitter,
    recording: Recording,
}

/// All but the splitting into lines.
#[derive(Debug)]
struct Recording {
    converter: Converter,
    writer: Writer,
    /// What was written by an earlier recorder: up to here, nothing is written again.
    written: Option<Made>,
    time: Timestamp,
    /// The commit that the records have told last.
    told_commit: Option<String>,
    records: u64,
    skipped: u64,
}

/// A moment in which git's state is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A process of Codex has begun to work on the thread.
    Begin,
    /// It has ended.
    End,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
        }
    }
}

/// When the process began whose beginning a mark names: its start is what tells it apart from others.
pub(crate) fn began_at(mark: &str) -> Option<Timestamp> {
    let mut words = mark.split(' ').skip(1);
    let begins = words.next() == Some(Moment::Begin.word());
    let milliseconds = words.next()?.parse().ok()?;
    Timestamp::from_millisecond(milliseconds).ok().filter(|_| begins)
}

/// What git says of a working tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitState {
    /// The top directory.
    pub root: String,
    /// The commit that is checked out.
    pub commit: Option<String>,
    /// The branch, if one is checked out.
    pub branch: Option<String>,
    /// Of the remote `origin`; passwords in it are left out of records.
    pub url: Option<String>,
    /// What the patch is against: the closest commit that a remote knows.
    pub base: Option<String>,
    /// The working tree against the base. None where it could not be made, or is too large.
    pub patch: Option<Vec<u8>>,
}

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The spine's directory.
    pub directory: PathBuf,
    /// Records that were written now; those of an earlier recorder are not among them.
    pub records: u64,
    /// The number of the last record.
    pub last_seq: u64,
    /// Lines of the rollout that could not be read.
    pub skipped: u64,
}

impl Recorder {
    /// Begins to record a thread below a root (as a rule `$CODEX_HOME/trace_spine`), or goes on with it. Refuses
    /// a thread of which there is a spine that was not recorded by Spindle.
    pub fn open(root: &Path, thread: SessionId) -> Result<Self, RecordingError> {
        let (writer, written) = Writer::open(root, thread.clone())?;
        let recording = Recording {
            converter: Converter::new(thread),
            writer,
            written,
            time: Timestamp::UNIX_EPOCH,
            told_commit: None,
            records: 0,
            skipped: 0,
        };
        Ok(Self { splitter: Splitter::new(0, Position::default()), recording })
    }

    /// How many bytes of the rollout were taken. The next that are fed must be those that follow.
    pub fn fed_to(&self) -> u64 {
        self.splitter.fed_to()
    }

    /// Whether the spine has a record, by this recorder or an earlier one.
    pub fn has_begun(&self) -> bool {
        self.recording.writer.seq() > 0
    }

    /// Takes the next bytes of the rollout, and writes what their lines become. A half-written last line waits.
    ///
    /// After an error the recorder is of no use any more; a new one goes on where this one stopped.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let Self { splitter, recording } = self;
        let mut result = Ok(());
        splitter.feed(bytes, |piece| {
            if result.is_ok() {
                result = recording.piece(piece);
            }
        });
        result
    }

    /// Records git's state, with the working tree's patch as an artifact: when a process of Codex began to work on
    /// the thread, or ended. Does nothing before the spine has begun, because its first record says whose it is. What
    /// an earlier recorder has recorded of this moment is not recorded again.
    ///
    /// `process` tells the processes of a thread apart: when each began, in milliseconds since 1970. Who reads the
    /// record knows by it that what was found at the beginning holds from there on, wherever the record stands.
    pub fn git(&mut self, state: &GitState, process: &str, moment: Moment) -> Result<(), RecordingError> {
        if !self.has_begun() {
            return Ok(());
        }
        let mark = |kind: &str| format!("{kind} {} {process}", moment.word());
        let recording = &mut self.recording;
        if state.commit.is_some() && recording.told_commit != state.commit {
            let git = Object::new()
                .with_some("commit_hash", state.commit.as_deref())
                .with_some("branch", state.branch.as_deref())
                .with_some("repository_url", state.url.as_deref().map(crate::derive::without_credentials))
                .finish();
            let payload =
                Object::message_by("kind", "git_info").with("repo_root", &state.root).with_json("git", &git);
            recording.artifact(payload, &mark("git_info"))?;
            recording.told_commit.clone_from(&state.commit);
        }
        let Some(patch) = &state.patch else { return Ok(()) };
        if recording.has_mark(&mark("git_diff"))? {
            return Ok(());
        }
        let (path, sha256) = recording.keep_patch(patch)?;
        let payload = Object::message_by("kind", "git_diff")
            .with_some("base_sha", state.base.as_deref())
            .with("artifact_path", path)
            .with("sha256", sha256);
        recording.artifact(payload, &mark("git_diff"))
    }

    /// Hands everything that was written to the operating system, so that readers see it and it outlives this
    /// process.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.recording.writer.flush()
    }

    /// Closes the spine's last segment.
    pub fn close(mut self) -> Result<Recorded, RecordingError> {
        self.recording.writer.close_segment()?;
        Ok(Recorded {
            directory: self.recording.writer.directory().to_owned(),
            records: self.recording.records,
            last_seq: self.recording.writer.seq(),
            skipped: self.recording.skipped,
        })
    }
}

impl Recording {
    fn piece(&mut self, piece: Piece<'_>) -> Result<(), RecordingError> {
        match piece {
            Piece::Line { place, bytes } => self.line(place, bytes),
            Piece::Oversize { .. } => {
                self.skipped = self.skipped.saturating_add(1);
                Ok(())
            }
        }
    }

    fn line(&mut self, place: Place, bytes: &[u8]) -> Result<(), RecordingError> {
        let Ok(record) = decode::rollout(bytes, place) else {
            self.skipped = self.skipped.saturating_add(1);
            return Ok(());
        };
        self.time = record.time.unwrap_or(self.time);
        if let Body::Meta(meta) = &record.body
            && let Some(commit) = &meta.git.commit
        {
            self.told_commit = Some(commit.to_string());
        }
        for (part, out) in (0..).zip(self.converter.line(bytes, &record)) {
            let made = Made { line: place.line, part };
            if self.written.is_none_or(|written| made > written) {
                self.writer.write(self.time, out.kind, &out.payload, Some(made))?;
                self.records = self.records.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Records an artifact under a mark, unless there is one under that mark.
    fn artifact(&mut self, payload: Object, mark: &str) -> Result<(), RecordingError> {
        if self.has_mark(mark)? {
            return Ok(());
        }
        let payload = payload.with(MARK, mark).finish();
        self.writer.write(self.time, "artifact_ref", &payload, None)?;
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// Whether an earlier recorder has written a record under a mark.
    fn has_mark(&self, mark: &str) -> Result<bool, RecordingError> {
        match &self.written {
            Some(_) => self.writer.has(&Object::new().with(MARK, mark).finish()[1..]),
            None => Ok(false),
        }
    }

    /// Keeps a patch as an artifact, and says under which path and with which hash. Earlier ones stay, because
    /// their records vouch for them.
    fn keep_patch(&mut self, patch: &[u8]) -> Result<(String, String), RecordingError> {
        let directory = self.writer.directory();
        let parent = directory.join("artifacts");
        std::fs::create_dir_all(&parent).map_err(problem(&parent))?;
        let sha256 = hexadecimal(&Sha256::digest(patch));
        let mut name = DIFF.to_owned();
        let mut number = 1_u32;
        loop {
            let path = directory.join(&name);
            match std::fs::read(&path) {
                Ok(known) if known == patch => return Ok((name, sha256)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    write_whole(&path, patch)?;
                    return Ok((name, sha256));
                }
                Err(error) => return Err(problem(&path)(error)),
            }
            number = number.saturating_add(1);
            name = format!("artifacts/git_diff-{number}.patch");
        }
    }
}

/// Records a session of the past below a root (as a rule `$CODEX_HOME/trace_spine`). Doing it again adds only
/// what the rollout has more by now.
pub fn record_rollout(rollout: &Path, root: &Path) -> Result<Recorded, RecordingError> {
    let thread = thread_of(rollout)?;
    let mut recorder = Recorder::open(root, thread)?;
    let mut file = File::open(rollout).map_err(problem(rollout))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk).map_err(problem(rollout))?;
        if read == 0 {
            return recorder.close();
        }
        recorder.feed(chunk.get(..read).unwrap_or_default())?;
    }
}

/// The thread of a rollout: its first line says it, and its name ends with it.
fn thread_of(rollout: &Path) -> Result<SessionId, RecordingError> {
    let mut first = None;
    let mut splitter = Splitter::new(0, Position::default());
    let mut file = File::open(rollout).map_err(problem(rollout))?;
    let mut chunk = vec![0; CHUNK];
    while first.is_none() {
        let read = file.read(&mut chunk).map_err(problem(rollout))?;
        if read == 0 {
            break;
        }
        splitter.feed(chunk.get(..read).unwrap_or_default(), |piece| {
            if let Piece::Line { place, bytes } = piece {
                first.get_or_insert_with(|| named_thread(bytes, place));
            }
        });
    }
    let by_name = || {
        let name = rollout.file_stem()?.to_str()?;
        // `rollout-2026-03-02T08-00-00-` stands before it.
        name.strip_prefix("rollout-")?.get(20..)?.parse().ok()
    };
    first.flatten().or_else(by_name).ok_or_else(|| RecordingError::NoThread(rollout.to_owned()))
}

fn named_thread(line: &[u8], place: Place) -> Option<SessionId> {
    match decode::rollout(line, place).ok()?.body {
        Body::Meta(meta) => meta.id?.parse().ok(),
        _ => None,
    }
}
