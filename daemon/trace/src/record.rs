//! A record: one line of a spine or a rollout, decoded into terms that both formats share.
//!
//! Only what something later looks at is decoded; text is borrowed from the line wherever JSON's escapes
//! allow. Everything outside is untrusted: lengths, numbers and texts are as the file has them.
//!
//! Both dialects of a spine's events (fields beside `type`, or nested in `payload`), of decisions
//! (text or object) and of metadata (flat or nested) become the same values here.

mod event;

pub use event::{
    Change, ChangeKind, Event, Exec, ExecEnd, Failure, Patch, PatchEnd, PlanStep, TokenCounts, Tool,
};

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

/// Who uses Codex, in the words of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Source<'a> {
    /// Nothing was said.
    #[default]
    Unknown,
    /// `cli`, `vscode`, `exec`, `mcp`, …; earlier dialects have `CLI` and `VSCode`.
    Named(Text<'a>),
    /// A sub-agent.
    SubAgent {
        /// `subagent:` and its kind: `review`, `compact`, `thread_spawn`, or another text; one dialect has nothing but
        /// the word `SubAgent`.
        name: Text<'a>,
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
