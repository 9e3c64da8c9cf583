//! A session in full: everything that was said and done, in the order of its files.
//!
//! Sessions as rows keep the beginnings of texts; evidence needs the whole: the output of a command, the words
//! of the agent, the body of a patch. So a transcript is read from the files when evidence is asked for, with
//! limits on each part, and never stored.
//!
//! What a format tells twice (an event and the item of the model that it is about) is here once.

mod bundle;
mod files;
pub mod patch;
mod read;
mod rollout;
mod spine;
#[cfg(test)]
mod tests;
mod told;
mod writer;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use files::{FilesError, SessionFiles};
pub use patch::FileChange;
pub use read::read;

use crate::session::{CallOutcome, Format, TurnEnd};
use crate::{Place, SessionId};

/// How much of one output or message is kept, in bytes. What is cut says so at its end.
pub const TEXT_LIMIT: usize = 1 << 20;

/// A session in full.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The thread's id.
    pub id: SessionId,
    /// What it was read from.
    pub format: Format,
    /// What is known of the session as a whole.
    pub head: Head,
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// The tool calls, in the order of their first record.
    pub calls: Vec<Call>,
    /// Lines that are no records.
    pub unreadable: u64,
}

/// What is known of a session as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// `cli`, `exec`, `subagent:review`, …
    pub source: Option<String>,
    /// The program that wrote the records.
    pub originator: Option<String>,
    /// Codex's version.
    pub cli_version: Option<String>,
    /// Such as `openai`.
    pub model_provider: Option<String>,
    /// The first model that is named.
    pub model: Option<String>,
    /// The working directory at the start.
    pub cwd: Option<String>,
    /// The first approval policy that is named.
    pub approval_policy: Option<String>,
    /// The first sandbox policy that is named.
    pub sandbox_policy: Option<String>,
    /// The thread that it was forked from, or that started it.
    pub parent: Option<String>,
    /// The repository's directory.
    pub repo_root: Option<String>,
    /// The remote, as recorded: it may hold credentials.
    pub git_url: Option<String>,
    /// The commit at the start.
    pub git_commit: Option<String>,
    /// The branch at the start.
    pub git_branch: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The record's number.
    pub seq: u64,
    /// Its time.
    pub time: Option<Timestamp>,
    /// Where it stands.
    pub place: Place,
    /// The process run of Codex, from 0.
    pub epoch: u32,
    /// The context of the model, from 0: how many compactions came before.
    pub context: u32,
    /// The user turn, from 0.
    pub turn: Option<u32>,
    /// Codex's id of the turn; empty when it has none.
    pub turn_id: String,
    /// What happened.
    pub what: What,
}

/// Numbers of tokens, as far as they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Given to the model, cached ones included.
    pub input: Option<u64>,
    /// Of these, cached.
    pub cached_input: Option<u64>,
    /// Made by the model, reasoning included.
    pub output: Option<u64>,
    /// Of these, for reasoning.
    pub reasoning: Option<u64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Codex began to run on the thread.
    EpochBegan,
    /// A turn began.
    TurnBegan,
    /// A turn ended.
    TurnEnded(TurnEnd),
    /// Settings, once per request in spines and old rollouts, once per turn in new ones.
    Context {
        /// The model.
        model: Option<String>,
        /// The reasoning effort.
        effort: Option<String>,
        /// Who is asked before a command runs.
        approval_policy: Option<String>,
        /// What commands may do.
        sandbox_policy: Option<String>,
    },
    /// The user spoke.
    User(String),
    /// The agent spoke.
    Agent(String),
    /// A summary of the agent's reasoning.
    Reasoning(String),
    /// A tool call began: an index into the calls.
    CallOpened(usize),
    /// A tool call ended: an index into the calls.
    CallClosed(usize),
    /// A request to the model has been answered.
    Tokens {
        /// What it used.
        last: Usage,
        /// What the thread used so far.
        total: Option<Usage>,
    },
    /// Approval was asked for.
    Asked {
        /// The call.
        call_id: String,
        /// Why.
        reason: Option<String>,
    },
    /// Approval was given or refused.
    Decided {
        /// What the decision names: a turn or a call.
        about: String,
        /// The answer.
        decision: String,
    },
    /// Something that is told to the user: `error`, `warning`, `stream_error`, `rollback`, `undo`, `interrupt`,
    /// `bridge`.
    Notice {
        /// Which.
        kind: &'static str,
        /// Its words.
        text: String,
    },
    /// The context was compacted; what follows was made with another history.
    Compacted {
        /// The summary that goes on.
        summary: Option<String>,
        /// The history that the model had from here on.
        history: Vec<Said>,
    },
    /// The diff of the turn so far.
    Diff(String),
    /// The repository, as it was found.
    Git {
        /// Its directory.
        root: Option<String>,
        /// The remote.
        url: Option<String>,
        /// The commit.
        commit: Option<String>,
    },
    /// A patch file of the working tree beside the records.
    DiffFile {
        /// The commit that it is against.
        base: Option<String>,
        /// The file, relative to the thread's directory; untrusted.
        path: String,
        /// Of its content as it was then.
        sha256: String,
    },
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// `user`, `assistant`, `developer`, `system`.
    pub role: String,
    /// The words.
    pub text: String,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The model's id for it.
    pub id: String,
    /// The epoch.
    pub epoch: u32,
    /// `exec_command`, `apply_patch`, `mcp:<server>.<tool>`, or the tool's own name.
    pub tool: String,
    /// Its arguments.
    pub arguments: serde_json::Map<String, serde_json::Value>,
    /// The words of a command.
    pub command: Vec<String>,
    /// Where a command ran.
    pub cwd: Option<String>,
    /// `agent`, `user_shell`, …
    pub source: Option<String>,
    /// What a patch changes.
    pub changes: Vec<FileChange>,
    /// The number of its first record.
    pub opened: u64,
    /// The number of the record that ends it.
    pub closed: Option<u64>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The exit code of a command.
    pub exit_code: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// What it gave back.
    pub output: String,
}

impl Transcript {
    /// Takes over what a spine that Spindle has recorded of the same session says about git: a rollout says less, and
    /// nothing of the working tree. Numbers and places of the two have nothing to do with each other, so that what is
    /// taken over has none, and stands by its time.
    pub fn take_git_of(&mut self, recorded: Self) {
        let Head { repo_root, git_url, git_commit, git_branch, .. } = recorded.head;
        let head = &mut self.head;
        for (known, new) in [
            (&mut head.repo_root, repo_root),
            (&mut head.git_url, git_url),
            (&mut head.git_commit, git_commit),
            (&mut head.git_branch, git_branch),
        ] {
            if known.is_none() {
                *known = new;
            }
        }
        for entry in recorded.entries {
            let Some(time) = entry.time else { continue };
            match &entry.what {
                // What has no record was found at a beginning.
                What::Git { .. } | What::DiffFile { .. } if entry.place.line == 0 => {
                    self.insert_beginning(time, entry.what);
                }
                // Without a root it is what the rollout itself says.
                What::Git { root: Some(_), .. } | What::DiffFile { .. } => {
                    self.insert(self.after(time), time, entry.what);
                }
                _ => {}
            }
        }
    }

    /// The index of the first entry that is later.
    fn after(&self, time: Timestamp) -> usize {
        let later = |entry: &Entry| entry.time.is_some_and(|at| at > time);
        self.entries.iter().position(later).unwrap_or(self.entries.len())
    }

    /// Puts what was found when a process began before all that came after it, save what Codex says of the same.
    fn insert_beginning(&mut self, time: Timestamp, what: What) {
        let index = self.after(time);
        let begins = |entry: &&Entry| {
            matches!(entry.what, What::EpochBegan | What::Git { .. } | What::DiffFile { .. })
        };
        let index = index + self.entries.iter().skip(index).take_while(begins).count();
        self.insert(index, time, what);
    }

    /// Puts something that has no record here and belongs to no turn.
    fn insert(&mut self, index: usize, time: Timestamp, what: What) {
        let neighbour = self.entries.get(index).or(self.entries.last());
        let (epoch, context) = neighbour.map_or((0, 0), |entry| (entry.epoch, entry.context));
        let (place, turn_id) = (Place::default(), String::new());
        let entry = Entry { seq: 0, time: Some(time), place, epoch, context, turn: None, turn_id, what };
        self.entries.insert(index, entry);
    }

    /// The entries whose records have a number in this range (in the order of the files).
    pub fn between(&self, first: u64, last: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| (first..=last).contains(&entry.seq))
    }
}

/// Cuts a text to the limit and says so at its end.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > TEXT_LIMIT {
        let end = text.floor_char_boundary(TEXT_LIMIT);
        let left_out = text.len() - end;
        text.truncate(end);
        let _ = write!(text, "\n[{left_out} bytes left out]");
    }
    text
}
