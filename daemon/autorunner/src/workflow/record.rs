//! The record of the iteration under way: a small file in the directory of the run.
//!
//! It says where in the repository's files an attempt writes, before the attempt writes anything, so that whoever
//! comes after a crash (the same attempt followed again, the next one, or the end of the run) finds its traces.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use codex::{Snapshot, TokenUsage};
use engine::Failure;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::atomic;

/// An attempt at an iteration, and what it leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The iteration's place in its run, from 1.
    pub(super) iteration: u64,
    /// The attempt at it, from 1. There is a second one only after a process was lost.
    pub(super) attempt: u32,
    /// Its number in the repository, as its markers and `state.json` have it. Every attempt has its own.
    pub(super) run_id: u64,
    /// Length of the log before its block.
    pub(super) log_offset: u64,
    /// What a killed Codex may have left is judged by this.
    pub(super) snapshot: Snapshot,
    /// How it ended, once that is known.
    pub(super) end: Option<IterationEnd>,
}

/// How an iteration ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct IterationEnd {
    /// Its number in the repository.
    pub(super) run_id: u64,
    /// The code in its end marker.
    pub(super) exit_code: i32,
    /// The thread that Codex worked on.
    pub(super) thread: Option<String>,
    /// The agent's last message.
    pub(super) answer: Option<String>,
    /// What it cost.
    pub(super) tokens: Option<TokenUsage>,
    /// When another iteration makes sense at the earliest, if Codex said so.
    pub(super) retry_at: Option<Timestamp>,
    /// Why it did not succeed.
    pub(super) failure: Option<Failure>,
}

impl Record {
    fn path(directory: &Path) -> PathBuf {
        directory.join("iteration.json")
    }

    /// The record of a run, if it has one. One that cannot be read is as good as none: it is written whole or
    /// not at all, so nobody else can have damaged it.
    pub(super) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(Self::path(directory)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores the record in one step.
    pub(super) fn store(&self, directory: &Path) -> io::Result<()> {
        atomic::replace(&Self::path(directory), &serde_json::to_vec(self)?)
    }

    /// Whether it is the one of this attempt.
    pub(super) fn is_of(&self, iteration: u64, attempt: u32) -> bool {
        (self.iteration, self.attempt) == (iteration, attempt)
    }
}
