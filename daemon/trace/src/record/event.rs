//! Events: what Codex told.

use super::{ApprovalKind, Context, Text};

/// What Codex told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// `session_configured`: a new epoch begins.
    Configured {
        /// The model.
        model: Option<Text<'a>>,
        /// The settings that it carries.
        context: Box<Context<'a>>,
    },
    /// `task_started` / `turn_started`.
    TurnStarted,
    /// `task_complete` / `turn_complete`.
    TurnComplete {
        /// The last words of the agent.
        last_message: Option<Text<'a>>,
        /// The error that ended the turn (0.169.0).
        error: Option<Failure<'a>>,
    },
    /// `turn_aborted`.
    TurnAborted {
        /// `interrupted`, `replaced`, `review_ended`.
        reason: Text<'a>,
    },
    /// Words of the user: `user_message`, or a completed `UserMessage` item.
    UserMessage(Text<'a>),
    /// Words of the agent: `agent_message`, or a completed `AgentMessage` item.
    AgentMessage(Text<'a>),
    /// A summary of its reasoning, of which no more is looked at.
    Reasoning,
    /// `token_count`.
    Tokens {
        /// Of the last request.
        last: Option<TokenCounts>,
        /// Of the thread so far.
        total: Option<TokenCounts>,
    },
    /// `exec_approval_request` / `apply_patch_approval_request`.
    ApprovalRequest {
        /// What is asked about.
        kind: ApprovalKind,
        /// The call; in a delegated review the parent's turn id instead.
        call: Text<'a>,
        /// The turn named inside the event.
        turn: Option<Text<'a>>,
        /// The command, if it is one.
        command: Vec<Text<'a>>,
        /// Why it asks.
        reason: Option<Text<'a>>,
    },
    /// `exec_command_begin`, or a started command item.
    ExecBegin(Box<Exec<'a>>),
    /// `exec_command_end`, or a completed `CommandExecution` item.
    ExecEnd(Box<ExecEnd<'a>>),
    /// `patch_apply_begin`.
    PatchBegin(Box<Patch<'a>>),
    /// `patch_apply_end`, or a completed `FileChange` item.
    PatchEnd(Box<PatchEnd<'a>>),
    /// The beginning of any other tool call (`mcp_tool_call_begin`, `web_search_begin`, …).
    ToolBegin(Box<Tool<'a>>),
    /// Its end.
    ToolEnd {
        /// The call.
        tool: Box<Tool<'a>>,
        /// Whether it said that it failed.
        failed: bool,
        /// How long it took, where it is said.
        duration_ms: Option<u64>,
        /// What it says of a failure.
        message: Option<Text<'a>>,
    },
    /// `turn_diff`: the diff of the turn so far.
    TurnDiff(Text<'a>),
    /// `plan_update`.
    Plan(Vec<PlanStep<'a>>),
    /// `error`.
    Error(Failure<'a>),
    /// `stream_error`: also each automatic reconnect.
    StreamError(Failure<'a>),
    /// `warning`.
    Warning(Text<'a>),
    /// `context_compacted`.
    ContextCompacted,
    /// `thread_rolled_back`.
    RolledBack {
        /// How many turns.
        turns: u64,
    },
    /// `undo_completed`.
    UndoCompleted {
        /// Whether it worked.
        success: bool,
    },
    /// `request_user_input`: the model asks.
    Question {
        /// The call.
        call: Text<'a>,
    },
    /// `entered_review_mode`.
    ReviewEntered,
    /// `exited_review_mode`.
    ReviewExited,
    /// `collab_*_begin`/`_end` that names another thread.
    Collaboration {
        /// The call.
        call: Text<'a>,
        /// The thread spoken to.
        thread: Option<Text<'a>>,
    },
    /// `shutdown_complete`, or a rollout trace's end of the thread.
    Shutdown,
    /// Any other known event.
    Other {
        /// Its type as written.
        kind: Text<'a>,
    },
}

/// What an error says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure<'a> {
    /// The words.
    pub message: Text<'a>,
    /// `codex_error_info` as its tag, such as `usage_limit_exceeded`.
    pub info: Option<Text<'a>>,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exec<'a> {
    /// The call.
    pub call: Text<'a>,
    /// The turn named inside the event.
    pub turn: Option<Text<'a>>,
    /// The command's words.
    pub command: Vec<Text<'a>>,
    /// Where it runs (a `file://` URL has become a path).
    pub cwd: Option<Text<'a>>,
    /// `agent`, `user_shell`, `unified_exec_startup`, `unified_exec_interaction`.
    pub source: Option<Text<'a>>,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecEnd<'a> {
    /// The command.
    pub exec: Exec<'a>,
    /// Its exit code.
    pub exit_code: Option<i64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The beginning of what it wrote: enough to tell a rejection, a time-out or a failure to start
    /// (at most 512 bytes of `formatted_output`, else `aggregated_output`, else `stderr`).
    pub head: Text<'a>,
    /// `status` of an item (0.169.0): `completed`, `failed`, `declined`.
    pub status: Option<Text<'a>>,
}

/// A patch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch<'a> {
    /// The call.
    pub call: Text<'a>,
    /// The turn named inside the event.
    pub turn: Option<Text<'a>>,
    /// What it changes.
    pub changes: Vec<Change<'a>>,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<'a> {
    /// The path as written.
    pub path: Text<'a>,
    /// How it changes.
    pub kind: ChangeKind,
}

/// How a file changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Add,
    /// It is removed.
    Delete,
    /// It is changed or moved.
    Update,
}

/// How a patch ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PatchEnd<'a> {
    /// The patch.
    pub patch: Patch<'a>,
    /// Whether it was applied; a missing word counts as yes.
    pub success: bool,
    /// The beginning of what was said of it (at most 512 bytes of `stderr`, else `stdout`).
    pub head: Text<'a>,
    /// `status` of an item (0.169.0): `completed`, `failed`, `declined`.
    pub status: Option<Text<'a>>,
}

/// A call of any other tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool<'a> {
    /// The call.
    pub call: Text<'a>,
    /// `mcp:<server>.<tool>`, `web_search`, `view_image`, or the tool's own name.
    pub name: Text<'a>,
    /// Its arguments as JSON text, or its query.
    pub arguments: Option<Text<'a>>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanStep<'a> {
    /// Its words.
    pub step: Text<'a>,
    /// `pending`, `in_progress`, `completed`.
    pub status: Text<'a>,
}

/// Numbers of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct TokenCounts {
    /// Given to the model, cached ones included.
    pub input: u64,
    /// Of these, cached.
    pub cached_input: u64,
    /// Made by the model, reasoning included.
    pub output: u64,
    /// Of these, for reasoning.
    pub reasoning: u64,
}
