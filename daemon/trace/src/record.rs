//! A record: one line of a spine or a rollout, decoded into terms that both formats share.
//!
//! Only what something later looks at is decoded; text is borrowed from the line wherever JSON's escapes
//! allow. Everything outside is untrusted: lengths, numbers and texts are as the file has them.
//!
//! Both dialects of a spine's events (fields beside `type`, or nested in `payload`), of decisions
//! (text or object) and of metadata (flat or nested) become the same values here.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::Place;

/// Text of a record: borrowed from its line unless it holds escapes.
pub type Text<'a> = Cow<'a, str>;

/// One decoded line.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// The writer's number: a spine's `seq`, a rollout's `ordinal` + 1, or the line number where there is none.
    pub seq: u64,
    /// When it was written; none if the text is no time.
    pub time: Option<Timestamp>,
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub body: Body<'a>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// A kind that carries nothing for sessions and signals (deltas, listings, streaming duplicates).
    Nothing,
    /// A kind that this version does not know; it is counted.
    Unknown {
        /// The kind as written, such as `event:brand_new`.
        kind: Text<'a>,
    },
    /// `session_meta`.
    Meta(Box<Meta<'a>>),
    /// `turn_context`: the settings of a model request (0.75.0 and spines) or of a turn (0.169.0).
    Context(Box<Context<'a>>),
    /// What the user or client sent: a spine's `submission`.
    Submission {
        /// The submission's own id; a fresh counter value, not the turn that an approval is about.
        id: Text<'a>,
        /// What was asked for.
        op: Op<'a>,
    },
    /// What Codex told: a spine's `event`, a rollout's `event_msg`.
    Event {
        /// The turn that it belongs to; empty for the session as a whole or when the format does not say.
        turn: Text<'a>,
        /// What happened.
        event: Event<'a>,
    },
    /// An item of the model's input or output: a rollout's `response_item`.
    Item {
        /// The turn, where the record names it; else empty.
        turn: Text<'a>,
        /// The item.
        item: Item<'a>,
    },
    /// `artifact_ref`.
    Artifact(Box<Artifact<'a>>),
    /// `compaction_boundary`, or a rollout's `compacted`.
    Compaction(Box<Compaction<'a>>),
    /// `bridge`: an approval or question of a sub-agent, told in the parent's spine.
    Bridge(Box<Bridge<'a>>),
    /// `token_usage_record` (0.169.0): the tokens of one model request.
    Tokens {
        /// The turn; empty when unknown.
        turn: Text<'a>,
        /// What this request used.
        last: TokenCounts,
        /// What the thread has used so far, where it is said.
        total: Option<TokenCounts>,
    },
}

/// Who made the session, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta<'a> {
    /// The thread's id as the record says it.
    pub id: Option<Text<'a>>,
    /// The thread that it was forked from.
    pub forked_from: Option<Text<'a>>,
    /// When the session began.
    pub time: Option<Timestamp>,
    /// The working directory.
    pub cwd: Option<Text<'a>>,
    /// The program that wrote it, such as `codex_exec`.
    pub originator: Option<Text<'a>>,
    /// Codex's version.
    pub cli_version: Option<Text<'a>>,
    /// Who uses Codex.
    pub source: Source<'a>,
    /// Such as `openai`.
    pub model_provider: Option<Text<'a>>,
    /// What the record itself says of git (the published CLI does, the tracing fork does not).
    pub git: Git<'a>,
}

/// Who uses Codex, normalised in case; sub-agents with their kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Source<'a> {
    /// Nothing was said.
    #[default]
    Unknown,
    /// `cli`, `vscode`, `exec`, `mcp`, …: in lower case.
    Named(Text<'a>),
    /// A sub-agent: `review`, `compact`, `thread_spawn`, or another text.
    SubAgent {
        /// Its kind.
        kind: Text<'a>,
        /// The thread that started it, where it is said.
        parent: Option<Text<'a>>,
        /// How deep it is nested, where it is said.
        depth: Option<u32>,
    },
}

/// What is known of a git repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Git<'a> {
    /// The commit at HEAD.
    pub commit: Option<Text<'a>>,
    /// The branch; none when HEAD is detached.
    pub branch: Option<Text<'a>>,
    /// The URL of the remote `origin`.
    pub url: Option<Text<'a>>,
}

/// The settings of a turn or request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context<'a> {
    /// The turn; none where the format does not say (0.75.0).
    pub turn: Option<Text<'a>>,
    /// The working directory.
    pub cwd: Option<Text<'a>>,
    /// `untrusted`, `on-failure`, `on-request`, `never`, or what the dialect has.
    pub approval_policy: Option<Text<'a>>,
    /// The tag of the sandbox policy, such as `workspace-write`.
    pub sandbox_policy: Option<Text<'a>>,
    /// The model.
    pub model: Option<Text<'a>>,
    /// The reasoning effort.
    pub effort: Option<Text<'a>>,
}

/// What the user or client asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Op<'a> {
    /// `user_turn` or `user_input`: words of the user.
    UserTurn {
        /// Its parts, in order.
        items: Vec<UserItem<'a>>,
        /// The settings that a `user_turn` carries.
        context: Box<Context<'a>>,
    },
    /// `exec_approval` or `patch_approval`: an answer to a request.
    Approval {
        /// What was asked about.
        kind: ApprovalKind,
        /// The op's own id: the **turn** that is approved in what Codex writes; a call id in one dialect.
        about: Text<'a>,
        /// The call, where the dialect names it.
        call: Option<Text<'a>>,
        /// The answer.
        decision: Decision<'a>,
    },
    /// `interrupt`.
    Interrupt,
    /// `undo`.
    Undo,
    /// `thread_rollback`.
    Rollback {
        /// How many turns.
        turns: u64,
    },
    /// `compact`.
    Compact,
    /// `user_input_answer`: an answer to a question of the model.
    Answer,
    /// `shutdown`.
    Shutdown,
    /// Any other known op.
    Other {
        /// Its type as written.
        kind: Text<'a>,
    },
}

/// A part of the user's words.
#[derive(Clone, Debug, PartialEq)]
pub enum UserItem<'a> {
    /// Words.
    Text(Text<'a>),
    /// An image, by URL or path.
    Image(Text<'a>),
    /// A skill, by name and path.
    Skill {
        /// Its name.
        name: Text<'a>,
        /// Its path.
        path: Text<'a>,
    },
    /// A mention, by name and path.
    Mention {
        /// Its name.
        name: Text<'a>,
        /// Its path.
        path: Text<'a>,
    },
    /// Anything else.
    Other,
}

/// What an approval is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalKind {
    /// A command.
    Exec,
    /// A patch.
    Patch,
}

/// An answer to a request for approval.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    /// `approved`.
    Approved,
    /// `approved_for_session`.
    ApprovedForSession,
    /// `approved_execpolicy_amendment`.
    ApprovedWithAmendment,
    /// `denied`.
    Denied,
    /// `abort`: denied, and the turn stops.
    Abort,
    /// Anything else, as written.
    Other(Text<'a>),
}

impl Decision<'_> {
    /// Whether the request was granted; none for an answer that is not known.
    pub fn approved(&self) -> Option<bool> {
        match self {
            Self::Approved | Self::ApprovedForSession | Self::ApprovedWithAmendment => Some(true),
            Self::Denied | Self::Abort => Some(false),
            Self::Other(_) => None,
        }
    }

    /// The answer as the wire has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Approved => "approved",
            Self::ApprovedForSession => "approved_for_session",
            Self::ApprovedWithAmendment => "approved_execpolicy_amendment",
            Self::Denied => "denied",
            Self::Abort => "abort",
            Self::Other(text) => text,
        }
    }
}

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

/// An item of the model's input or output, in a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A message.
    Message {
        /// `user`, `assistant`, `developer`, `system`. Its words are told by events.
        role: Text<'a>,
    },
    /// The model calls a tool: `function_call`, `custom_tool_call`, `local_shell_call`.
    Call {
        /// The call.
        call: Text<'a>,
        /// The tool's name.
        name: Text<'a>,
        /// Its arguments: JSON text, or free text of a custom tool.
        arguments: Text<'a>,
    },
    /// What the tool gave back: `function_call_output`, `custom_tool_call_output`.
    Output {
        /// The call.
        call: Text<'a>,
        /// Its exit code, where the text or its metadata says one.
        exit_code: Option<i64>,
        /// How long it took in milliseconds, where it is said.
        duration_ms: Option<u64>,
        /// The beginning of the output (at most 512 bytes).
        head: Text<'a>,
    },
    /// Any other item (`reasoning`, `ghost_snapshot`, …).
    Other {
        /// Its type as written.
        kind: Text<'a>,
    },
}

/// A file or fact beside the records.
#[derive(Clone, Debug, PartialEq)]
pub enum Artifact<'a> {
    /// `git_info`.
    Git {
        /// The repository's directory.
        root: Option<Text<'a>>,
        /// Its state.
        git: Git<'a>,
    },
    /// `git_diff`: the working tree against `base`, when the session began.
    Diff {
        /// The closest commit known to a remote.
        base: Option<Text<'a>>,
        /// Relative to the thread's directory; untrusted.
        path: Text<'a>,
        /// Of the file as it was then.
        sha256: Text<'a>,
    },
    /// `shell_snapshot`.
    Shell {
        /// Relative to the thread's directory; untrusted.
        path: Text<'a>,
        /// Of the file as it was then.
        sha256: Text<'a>,
    },
    /// Another kind.
    Other {
        /// Its kind as written.
        kind: Text<'a>,
    },
}

/// The context was compacted: what follows was made with another history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compaction<'a> {
    /// The turn in which it happened.
    pub turn: Option<Text<'a>>,
    /// `local` or `remote`.
    pub kind: Option<Text<'a>>,
    /// The summary that goes on, for a local one.
    pub summary: Option<Text<'a>>,
    /// Whether both histories are there.
    pub has_histories: bool,
}

/// What a parent's spine says of a sub-agent's request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bridge<'a> {
    /// `exec_approval`, `patch_approval`, `request_user_input`.
    pub kind: Text<'a>,
    /// The parent's turn.
    pub parent_turn: Option<Text<'a>>,
    /// The sub-agent's thread.
    pub thread: Option<Text<'a>>,
    /// The sub-agent's turn.
    pub turn: Option<Text<'a>>,
    /// The sub-agent's call: the true one.
    pub call: Option<Text<'a>>,
    /// What was decided.
    pub decision: Option<Decision<'a>>,
}
