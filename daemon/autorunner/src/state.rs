//! `state.json`: what the loop last did, as other tools and scripts read it.
//!
//! Six keys, indented by two, with a trailing newline. Keys of later versions of the format
//! (`sessions`, …) survive a rewrite. A missing or empty file reads as idle; one that does not
//! parse is an error and is never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{atomic, format_time};

/// The exit code that the format records for a run that was killed (128 + SIGKILL).
pub const KILLED: i32 = 137;

/// The exit code that the format records for a run whose end nobody saw.
pub const LOST: i32 = 1;

/// What the loop is doing, in the format's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No iteration runs, and the last one did not fail.
    #[default]
    Idle,
    /// An iteration runs.
    Running,
    /// The last iteration failed or was killed.
    Error,
}

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Number of the last iteration, counted per repository. Zero means "none", too.
    pub last_run_id: Option<u64>,
    /// What the loop is doing.
    #[serde(deserialize_with = "null_is_default")]
    pub status: Status,
    /// How the last iteration ended; null while one runs.
    pub last_exit_code: Option<i32>,
    /// When the last iteration began (UTC, whole seconds).
    #[serde(serialize_with = "whole_seconds")]
    pub last_run_started_at: Option<Timestamp>,
    /// When it ended (UTC, whole seconds).
    #[serde(serialize_with = "whole_seconds")]
    pub last_run_finished_at: Option<Timestamp>,
    /// The process that owns the loop: the keeper, never the daemon.
    pub runner_pid: Option<u32>,
    /// Keys of other versions of the format, kept as they were.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file exists but cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a state file; it was left alone.
    #[error(
        "{path} is not a valid state file: {source}. It was left as it is: repair it, or move it away to begin again at run 1."
    )]
    Unparsable {
        /// The state file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: serde_json::Error,
    },
    /// The new state could not be stored; the old one is still there.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl State {
    /// Reads the state. Missing, empty and blank files read as idle.
    pub fn load(path: &Path) -> Result<Self, StateError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(StateError::Read { path: path.to_path_buf(), source });
            }
        };
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&text)
            .map_err(|source| StateError::Unparsable { path: path.to_path_buf(), source })
    }

    /// Stores the state: temporary file, fsync, rename. Refuses to replace a file that it could not
    /// read, so that a damaged file is still there to be looked at.
    pub fn store(&self, path: &Path) -> Result<(), StateError> {
        Self::load(path)?;
        atomic::replace(path, self.to_json().as_bytes())
            .map_err(|source| StateError::Write { path: path.to_path_buf(), source })
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        // Maps with string keys and plain values always have a JSON form; were that ever to change,
        // `null` would be refused by the next reader instead of being taken for a state.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|_| "null".to_owned());
        text.push('\n');
        text
    }

    /// The number of the next iteration.
    pub fn next_run_id(&self) -> u64 {
        self.last_run_id.unwrap_or(0).saturating_add(1)
    }

    /// An iteration begins.
    pub fn begin(&mut self, run_id: u64, runner_pid: u32, now: Timestamp) {
        self.last_run_id = Some(run_id);
        self.status = Status::Running;
        self.last_exit_code = None;
        self.last_run_started_at = Some(now);
        self.last_run_finished_at = None;
        self.runner_pid = Some(runner_pid);
    }

    /// The iteration that [`begin`](Self::begin) announced has ended.
    pub fn finish(&mut self, exit_code: i32, now: Timestamp) {
        self.status = if exit_code == 0 { Status::Idle } else { Status::Error };
        self.last_exit_code = Some(exit_code);
        self.last_run_finished_at = Some(now);
        self.runner_pid = None;
    }

    /// The loop ends between iterations (nothing open, time is up, a stop was asked for).
    ///
    /// Code and times stay those of the last iteration that ran. The earlier tool wrote the code
    /// from before the loop here, and a new finishing time even when nothing had run.
    pub fn loop_ended(&mut self) {
        self.status = Status::Idle;
        self.runner_pid = None;
    }

    /// Makes a state that says "running" truthful when its owner is gone: an error, with code
    /// [`LOST`] unless one is recorded. Returns whether anything changed.
    pub fn reconcile(&mut self, owner_is_alive: bool, now: Timestamp) -> bool {
        if owner_is_alive || self.status != Status::Running {
            return false;
        }
        self.finish(self.last_exit_code.unwrap_or(LOST), now);
        // A recorded 0 cannot turn a run that nobody saw ending into a success.
        self.status = Status::Error;
        true
    }
}

fn null_is_default<'de, D>(value: D) -> Result<Status, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn whole_seconds<S>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
{
    at.map(format_time).serialize(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_file_has_six_keys_in_order_two_spaces_and_a_newline() {
        let mut state = State::default();
        assert_eq!(
            state.to_json(),
            "{\n  \"last_run_id\": null,\n  \"status\": \"idle\",\n  \"last_exit_code\": null,\n  \
             \"last_run_started_at\": null,\n  \"last_run_finished_at\": null,\n  \"runner_pid\": null\n}\n"
        );
        state.begin(12, 4711, at("2025-12-09T10:00:01.987Z"));
        assert_eq!(
            state.to_json(),
            "{\n  \"last_run_id\": 12,\n  \"status\": \"running\",\n  \"last_exit_code\": null,\n  \
             \"last_run_started_at\": \"2025-12-09T10:00:01Z\",\n  \"last_run_finished_at\": null,\n  \
             \"runner_pid\": 4711\n}\n"
        );
        state.finish(3, at("2025-12-09T10:05:00Z"));
        assert_eq!(
            state.to_json(),
            "{\n  \"last_run_id\": 12,\n  \"status\": \"error\",\n  \"last_exit_code\": 3,\n  \
             \"last_run_started_at\": \"2025-12-09T10:00:01Z\",\n  \
             \"last_run_finished_at\": \"2025-12-09T10:05:00Z\",\n  \"runner_pid\": null\n}\n"
        );
    }

    #[test]
    fn missing_empty_and_partial_files_read_as_idle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        assert_eq!(State::load(&path).unwrap(), State::default());
        for text in ["", " \n", "{}", "{\"status\": null}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(State::load(&path).unwrap(), State::default(), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_explained_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for text in ["{\"last_run_id\": 3,", "[]", "{\"status\": \"dancing\"}", "{\"last_run_id\": \"x\"}"] {
            fs::write(&path, text).unwrap();
            let error = State::load(&path).unwrap_err().to_string();
            assert!(error.contains("move it away"), "{error}");
            assert!(State::default().store(&path).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn keys_of_later_versions_survive_a_rewrite() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        fs::write(
            &path,
            r#"{"sessions": {"a": {"repo_path": "/r"}}, "last_run_id": 2, "repo_to_session": {"/r": "a"}}"#,
        )
        .unwrap();
        let mut state = State::load(&path).unwrap();
        state.begin(state.next_run_id(), 1, at("2025-01-01T00:00:00Z"));
        state.store(&path).unwrap();
        let again: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(again["last_run_id"], 3);
        assert_eq!(again["sessions"]["a"]["repo_path"], "/r");
        assert_eq!(again["repo_to_session"]["/r"], "a");
    }

    #[test]
    fn a_loop_without_work_changes_neither_code_nor_times() {
        let mut state = State::default();
        state.begin(1, 9, at("2025-01-01T00:00:00Z"));
        state.finish(3, at("2025-01-01T00:01:00Z"));
        let before = state.clone();
        state.loop_ended();
        assert_eq!(state, State { status: Status::Idle, ..before });
    }

    #[test]
    fn running_without_a_living_owner_becomes_an_error() {
        let now = at("2025-01-01T01:00:00Z");
        let mut state = State::default();
        assert!(!state.reconcile(false, now));
        state.begin(4, 99, at("2025-01-01T00:00:00Z"));
        assert!(!state.reconcile(true, now));
        assert!(state.reconcile(false, now));
        assert_eq!(state.status, Status::Error);
        assert_eq!(state.last_exit_code, Some(LOST));
        assert_eq!(state.last_run_finished_at, Some(now));
        assert_eq!(state.runner_pid, None);
        assert!(!state.reconcile(false, now));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            id in proptest::option::of(0..u64::MAX),
            code in proptest::option::of(any::<i32>()),
            started in proptest::option::of(0..4_000_000_000_i64),
            pid in proptest::option::of(any::<u32>()),
            status in prop_oneof![Just(Status::Idle), Just(Status::Running), Just(Status::Error)],
        ) {
            let time = started.map(|seconds| Timestamp::from_second(seconds).unwrap());
            let state = State {
                last_run_id: id, status, last_exit_code: code, last_run_started_at: time,
                last_run_finished_at: time, runner_pid: pid, other: Map::new(),
            };
            let read: State = serde_json::from_str(&state.to_json()).unwrap();
            prop_assert_eq!(read, state);
        }
    }
}
