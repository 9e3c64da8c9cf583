//! Facts: what happened in a session, told once, in the order of the file.
//!
//! Facts are what signals are made of. They say no more than the records do, but in terms that need no
//! further joining: a decision comes with its request, the end of a call with the whole call.

use crate::record::{PlanStep, TokenCounts};
use crate::session::{Approval, CompactionRow, Session, Stamp, ToolCall, Turn};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact<'a> {
    /// The record that tells of it.
    pub at: Stamp,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The turn's id as Codex says it; empty for the session as a whole.
    pub turn_id: &'a str,
    /// The user turn, as far as it is known.
    pub turn: Option<u32>,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What<'a> {
    /// Codex began to run on the thread; the first of a session, or a resume.
    EpochBegan,
    /// A turn began.
    TurnBegan(&'a Turn),
    /// The user spoke: at the beginning of a turn, or into a running one.
    UserSpoke {
        /// The words in full, parts joined by newlines; scaffolding is left out.
        text: &'a str,
    },
    /// The agent spoke.
    AgentSpoke {
        /// The words in full.
        text: &'a str,
    },
    /// A turn ended; its `end` says how.
    TurnEnded(&'a Turn),
    /// A request went to the model.
    Request,
    /// A request's tokens.
    Tokens(TokenCounts),
    /// A tool call began.
    CallOpened(&'a ToolCall),
    /// A tool call ended; its `outcome` says how.
    CallClosed(&'a ToolCall),
    /// Approval was asked for.
    Asked(&'a Approval),
    /// Approval was given or not. `requested` is none for a decision about nothing that is known.
    Decided(&'a Approval),
    /// A request will never be answered: its turn is over, or another one took its place.
    Unanswered(&'a Approval),
    /// `error`.
    Error {
        /// The words.
        message: &'a str,
        /// The tag, such as `context_window_exceeded`.
        info: Option<&'a str>,
    },
    /// `stream_error`.
    StreamError {
        /// The words.
        message: &'a str,
        /// The tag.
        info: Option<&'a str>,
    },
    /// `warning`.
    Warning {
        /// The words.
        message: &'a str,
    },
    /// The context was compacted.
    Compacted(&'a CompactionRow),
    /// The plan, as it is now.
    Plan(&'a [PlanStep<'a>]),
    /// The diff of the turn so far.
    Diff {
        /// A hash of its text, to see a state come again.
        hash: u64,
        /// Whether it is empty.
        empty: bool,
    },
    /// The user asked to undo, or Codex told that it has.
    Undo {
        /// Whether it worked, where that is told; the asking itself says nothing.
        success: Option<bool>,
    },
    /// The user rolled the thread back. Asking and telling are one fact.
    Rollback {
        /// How many turns.
        turns: u64,
    },
    /// The user interrupted. The end of the turn is a fact of its own.
    Interrupt,
    /// Codex ended in good order.
    Shutdown,
    /// The session has settled: it is closed, or nothing came for the configured time. More records may
    /// still follow (a resume), and with them facts. `at` is the last record.
    Settled(&'a Session),
}
