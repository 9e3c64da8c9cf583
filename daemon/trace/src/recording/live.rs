//! Recording a session while Codex writes its rollout.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::recorder::CHUNK;
use super::{GitState, Moment, Recorded, Recorder, RecordingError, problem};
use crate::SessionId;
use crate::source::{FileIdentity, Store, open_file, rollout_anywhere, rollout_near};

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaughtUp {
    /// Codex has not written a line of a rollout yet.
    Nothing,
    /// Everything that is in the rollout is in the spine.
    Recorded,
}

/// Records one thread below a Codex home, as far as its rollout has come.
///
/// Each [`Live::catch_up`] costs what has come since the last one. After an error, and in a new process, the first
/// one reads the rollout from its beginning and goes on with the spine where it stands.
#[derive(Debug)]
pub struct Live {
    home: PathBuf,
    thread: SessionId,
    state: Option<Recording>,
    chunk: Vec<u8>,
}

/// A rollout that was found, and what is made of it.
#[derive(Debug)]
struct Recording {
    path: PathBuf,
    /// Stays what is read, also when the file is archived meanwhile.
    rollout: File,
    identity: FileIdentity,
    recorder: Recorder,
}

impl Live {
    /// Is going to record a thread; nothing is looked at yet.
    pub fn new(home: &Path, thread: SessionId) -> Self {
        Self { home: home.to_owned(), thread, state: None, chunk: vec![0; CHUNK] }
    }

    /// The rollout, once it was found.
    pub fn rollout(&self) -> Option<&Path> {
        self.state.as_ref().map(|state| &*state.path)
    }

    /// Records what has come, and hands it to the operating system. `thoroughly`: a rollout that is not where it
    /// belongs by the time of its thread is looked for everywhere.
    pub fn catch_up(&mut self, thoroughly: bool) -> Result<CaughtUp, RecordingError> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => match self.begin(thoroughly)? {
                Some(state) => state,
                None => return Ok(CaughtUp::Nothing),
            },
        };
        state.catch_up(&mut self.chunk)?;
        let caught_up = if state.recorder.has_begun() { CaughtUp::Recorded } else { CaughtUp::Nothing };
        // Only now: after an error it is begun anew.
        self.state = Some(state);
        Ok(caught_up)
    }

    fn begin(&self, thoroughly: bool) -> Result<Option<Recording>, RecordingError> {
        let find = if thoroughly { rollout_anywhere } else { rollout_near };
        let Some(path) = find(&self.home, &self.thread) else { return Ok(None) };
        let (rollout, metadata) = open_file(&path).map_err(problem(&path))?;
        let identity = FileIdentity::of(&metadata);
        let recorder = Recorder::open(&Store::Spines.below(&self.home), self.thread.clone())?;
        Ok(Some(Recording { path, rollout, identity, recorder }))
    }

    /// Records git's state; see [`Recorder::git`]. Does nothing as long as nothing was recorded.
    pub fn git(&mut self, state: &GitState, process: &str, moment: Moment) -> Result<(), RecordingError> {
        let Some(mut recording) = self.state.take() else { return Ok(()) };
        recording.recorder.git(state, process, moment)?;
        recording.recorder.flush()?;
        self.state = Some(recording);
        Ok(())
    }

    /// Closes the spine's last segment. None if nothing was recorded.
    pub fn close(&mut self) -> Result<Option<Recorded>, RecordingError> {
        self.state.take().map(|state| state.recorder.close()).transpose()
    }
}

impl Recording {
    fn catch_up(&mut self, chunk: &mut [u8]) -> Result<(), RecordingError> {
        self.check()?;
        loop {
            let read = self.rollout.read(chunk).map_err(problem(&self.path))?;
            if read == 0 {
                return self.recorder.flush();
            }
            self.recorder.feed(chunk.get(..read).unwrap_or_default())?;
        }
    }

    /// What was recorded must still be what the rollout says. One that is gone may have been archived, and is read
    /// to its end.
    fn check(&self) -> Result<(), RecordingError> {
        let rewritten = || RecordingError::Rewritten(self.path.clone());
        let there = self.rollout.metadata().map_err(problem(&self.path))?;
        if there.len() < self.recorder.fed_to() {
            return Err(rewritten());
        }
        match fs::metadata(&self.path) {
            Ok(named) if FileIdentity::of(&named) != self.identity => Err(rewritten()),
            _ => Ok(()),
        }
    }
}
