//! A session as rows: what is shown, filtered, exported and built upon.
//!
//! All rows of a session are numbered by an `ordinal` of their kind, from 0, in the order in which they were
//! first seen; a row that changes keeps its number. Long texts are cut; the [`Place`] beside them says where
//! the whole stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::{ApprovalKind, ChangeKind, TokenCounts};
use crate::{Place, SessionId};

/// How much of a user's words or of a tool's arguments a row keeps, in bytes.
pub const TEXT_LIMIT: usize = 1024;

/// The source of a call that belongs to a sub-agent, whose own session has the original.
pub const COPIED: &str = "sub_agent";

/// Which kind of file a session is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A trace spine.
    Spine,
    /// A rollout.
    Rollout,
    /// A rollout trace bundle.
    Bundle,
}

/// A moment of a session: a record's number, time and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The record's number.
    pub seq: u64,
    /// Its time, where it has one.
    pub time: Option<Timestamp>,
    /// Where it stands.
    pub place: Place,
}

/// A session: one Codex thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The thread's id.
    pub id: SessionId,
    /// What it is read from.
    pub format: Format,
    /// Who used Codex, in the words of the file: `cli`, `vscode`, `exec`, `mcp`, `subagent:<kind>`; `CLI`, `VSCode` and
    /// `SubAgent` in earlier dialects; `unknown` where nothing is said.
    pub source: String,
    /// The thread that started this one, for a sub-agent, or that it was forked from.
    pub parent: Option<SessionId>,
    /// How deep a sub-agent is nested.
    pub depth: Option<u32>,
    /// Threads that this one started or spoke to, as far as its own records say.
    pub children: Vec<SessionId>,
    /// The model of the latest context that names one.
    pub model: Option<String>,
    /// Such as `openai`.
    pub model_provider: Option<String>,
    /// Of the latest context that names it.
    pub approval_policy: Option<String>,
    /// Of the latest context that names it.
    pub sandbox_policy: Option<String>,
    /// The earliest time of its records, or what its metadata says.
    pub started_at: Option<Timestamp>,
    /// The latest time of its records.
    pub ended_at: Option<Timestamp>,
    /// The working directory.
    pub cwd: Option<String>,
    /// The repository's directory, from artifact records.
    pub repo_root: Option<String>,
    /// The remote's URL without credentials; artifact records before metadata.
    pub git_url: Option<String>,
    /// The commit at the start.
    pub git_commit: Option<String>,
    /// The branch at the start.
    pub git_branch: Option<String>,
    /// Codex's version.
    pub cli_version: Option<String>,
    /// The program that wrote the records.
    pub originator: Option<String>,
    /// Counters for filtering, and for the `facets` of earlier tools.
    pub counts: Counts,
    /// Tokens of the whole session (the last total of each epoch, summed).
    pub tokens: TokenCounts,
    /// Whether the last record seen closes the session (`shutdown_complete`, an end of the thread).
    pub closed: bool,
}

impl Session {
    /// A session of which nothing is read yet.
    pub fn new(id: SessionId, format: Format) -> Self {
        Self {
            id,
            format,
            source: "unknown".into(),
            parent: None,
            depth: None,
            children: Vec::new(),
            model: None,
            model_provider: None,
            approval_policy: None,
            sandbox_policy: None,
            started_at: None,
            ended_at: None,
            cwd: None,
            repo_root: None,
            git_url: None,
            git_commit: None,
            git_branch: None,
            cli_version: None,
            originator: None,
            counts: Counts::default(),
            tokens: TokenCounts::default(),
            closed: false,
        }
    }
}

/// What there was how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Records read, also those that carry nothing.
    pub records: u64,
    /// Records of a kind that this version does not know.
    pub unknown: u64,
    /// User turns.
    pub turns: u64,
    /// Requests to the model.
    pub requests: u64,
    /// Tool calls of every kind.
    pub calls: u64,
    /// Commands that ended.
    pub execs: u64,
    /// Patches that ended.
    pub patches: u64,
    /// Requests for approval.
    pub approval_requests: u64,
    /// Requests that were granted.
    pub approvals: u64,
    /// Requests that were denied, aborts included.
    pub denials: u64,
    /// `error` events.
    pub errors: u64,
    /// `stream_error` events.
    pub stream_errors: u64,
    /// `warning` events.
    pub warnings: u64,
    /// Compaction boundaries.
    pub compactions: u64,
    /// Process runs of Codex over this thread.
    pub epochs: u64,
}

/// A user turn: from the user's words to the end of the agent's work on them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its number in the session.
    pub ordinal: u32,
    /// The epoch, from 0: turn ids repeat after a resume.
    pub epoch: u32,
    /// Codex's id for it; empty when the format has none.
    pub id: String,
    /// Its first record.
    pub started: Stamp,
    /// Its last record, once it has ended.
    pub ended: Option<Stamp>,
    /// How it ended.
    pub end: TurnEnd,
    /// The user's words, cut to [`TEXT_LIMIT`].
    pub user_message: Option<String>,
    /// Where the user's words stand in full.
    pub user_place: Option<Place>,
    /// The model.
    pub model: Option<String>,
    /// The approval policy.
    pub approval_policy: Option<String>,
    /// The sandbox policy.
    pub sandbox_policy: Option<String>,
    /// Requests to the model.
    pub requests: u32,
    /// Tool calls.
    pub calls: u32,
    /// Which context of the model it belongs to: how many compactions came before, from 0.
    pub context: u32,
    /// Tokens of its requests.
    pub tokens: TokenCounts,
}

/// How a turn ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TurnEnd {
    /// It has not, or the format does not say.
    #[default]
    Open,
    /// `task_complete`.
    Complete,
    /// `task_complete` with an error (0.169.0).
    Failed {
        /// Its tag, such as `usage_limit_exceeded`.
        info: Option<String>,
    },
    /// `turn_aborted`.
    Aborted {
        /// `interrupted`, `replaced`, `review_ended`.
        reason: String,
    },
    /// The epoch ended first: Codex was killed, or the thread resumed.
    Cut,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its number in the session.
    pub ordinal: u32,
    /// The epoch.
    pub epoch: u32,
    /// The model's id for the call.
    pub call_id: String,
    /// The turn's id, as Codex says it.
    pub turn_id: String,
    /// The turn, as far as it is known.
    pub turn: Option<u32>,
    /// `exec_command`, `apply_patch`, `mcp:<server>.<tool>`, `web_search`, `view_image`, or the tool's name.
    pub tool: String,
    /// The command as shell text, the changed paths, or the arguments as JSON; cut to [`TEXT_LIMIT`].
    pub arguments: String,
    /// Where it ran.
    pub cwd: Option<String>,
    /// `agent`, `user_shell`, …; none when not said. [`COPIED`] for a sub-agent's call that the parent's
    /// records tell again: it is shown, but neither counted nor told in facts.
    pub source: Option<String>,
    /// The first record that tells of it.
    pub opened: Stamp,
    /// The record that ends it.
    pub closed: Option<Stamp>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The exit code of a command.
    pub exit_code: Option<i64>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// The beginning of what it said, for calls that did not succeed (at most 200 bytes).
    pub message: Option<String>,
    /// Its requests for approval, by ordinal.
    pub approvals: Vec<u32>,
    /// Changed files of a patch (at most 64).
    pub changes: Vec<(String, ChangeKind)>,
}

/// How a tool call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It has not, as far as is known.
    #[default]
    Open,
    /// It did what it was to do.
    Succeeded,
    /// It failed: an exit code other than 0, or its own word.
    Failed,
    /// It took too long.
    TimedOut,
    /// The user said no: not a failure.
    Rejected,
    /// Codex could not run it (`execution error:`), or it died by a signal.
    Broken,
    /// The user interrupted the turn while it ran: not a failure.
    Interrupted,
}

impl CallOutcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Rejected,
        Self::Broken,
        Self::Interrupted,
    ];

    /// The word for it, as it is written wherever it leaves the program.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Rejected => "rejected",
            Self::Broken => "broken",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A request for approval and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// Its number in the session.
    pub ordinal: u32,
    /// The epoch.
    pub epoch: u32,
    /// What it is about.
    pub kind: ApprovalKind,
    /// The call; empty for a decision that no request was found for, unless the decision names one.
    pub call_id: String,
    /// The turn's id.
    pub turn_id: String,
    /// The request; none for a decision that no request was found for, and for a denial that only the end
    /// of the call tells of (rollouts have neither requests nor answers).
    pub requested: Option<Stamp>,
    /// Why it was asked.
    pub reason: Option<String>,
    /// The answer's record.
    pub decided: Option<Stamp>,
    /// The answer as the wire has it; `declined` where only the end of the call tells of it.
    pub decision: Option<String>,
    /// Whether it was granted; none when it was never answered.
    pub approved: Option<bool>,
    /// The id of the submission that answered.
    pub submission_id: Option<String>,
}

impl Approval {
    /// How long the answer took.
    pub fn latency_ms(&self) -> Option<i64> {
        let asked = self.requested?.time?;
        let told = self.decided?.time?;
        Some(told.as_millisecond() - asked.as_millisecond())
    }
}

/// A compaction of the model's context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompactionRow {
    /// Its number in the session.
    pub ordinal: u32,
    /// The epoch.
    pub epoch: u32,
    /// The boundary.
    pub at: Stamp,
    /// The turn's id.
    pub turn_id: String,
    /// `local`, `remote`; none when not said.
    pub kind: Option<String>,
}

/// A file or fact beside the records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRow {
    /// Its number in the session.
    pub ordinal: u32,
    /// `git_info`, `git_diff`, `shell_snapshot`, or another kind.
    pub kind: String,
    /// The record.
    pub at: Stamp,
    /// The file, relative to the thread's directory; untrusted.
    pub path: Option<String>,
    /// What the file's content hashed to then.
    pub sha256: Option<String>,
    /// The commit that a diff is against.
    pub base: Option<String>,
}

/// A row of a session. A later row of the same kind and ordinal takes the place of the earlier one.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// A turn.
    Turn(Turn),
    /// A tool call.
    Call(ToolCall),
    /// An approval.
    Approval(Approval),
    /// A compaction.
    Compaction(CompactionRow),
    /// An artifact.
    Artifact(ArtifactRow),
}

/// All rows of a session, by kind and in order: what a batch reading gives, and what rows gathered live add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The turns.
    pub turns: BTreeMap<u32, Turn>,
    /// The tool calls.
    pub calls: BTreeMap<u32, ToolCall>,
    /// The approvals.
    pub approvals: BTreeMap<u32, Approval>,
    /// The compactions.
    pub compactions: BTreeMap<u32, CompactionRow>,
    /// The artifacts.
    pub artifacts: BTreeMap<u32, ArtifactRow>,
}

impl Rows {
    /// Takes a row, in place of an earlier one of its number.
    pub fn put(&mut self, row: Row) {
        match row {
            Row::Turn(row) => drop(self.turns.insert(row.ordinal, row)),
            Row::Call(row) => drop(self.calls.insert(row.ordinal, row)),
            Row::Approval(row) => drop(self.approvals.insert(row.ordinal, row)),
            Row::Compaction(row) => drop(self.compactions.insert(row.ordinal, row)),
            Row::Artifact(row) => drop(self.artifacts.insert(row.ordinal, row)),
        }
    }
}

/// Whether a session's [`source`](Session::source) says that it is one of a sub-agent.
pub fn is_sub_agent(source: &str) -> bool {
    let begins = |word: &str| source.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins("subagent") || begins("sub_agent")
}
