//! What happens in a session, whatever it is written to.

use std::io;

use crate::clock::Clock;
use crate::real::cast::Cast;
use crate::spine::Ending;

/// Writes what happens in the form of one kind of file.
pub(crate) trait Pen {
    /// Writes what happens now, in as many records as the format has for it.
    fn tell(&mut self, moment: &Moment<'_>) -> io::Result<()>;

    /// Time passes.
    fn clock(&mut self) -> &mut Clock;

    /// Bytes written so far.
    fn bytes(&self) -> u64;
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Moment<'a> {
    /// Codex begins to run on the thread.
    Began { resumed: bool },
    /// The user speaks, and a turn begins.
    TurnBegan { text: &'a str },
    /// The user speaks into a running turn.
    Steered { text: &'a str },
    /// A request goes to the model.
    Requested,
    /// The model thinks, and tells a summary.
    Thought { text: &'a str },
    /// The agent speaks.
    Said { text: &'a str },
    /// A command, from its beginning to its end.
    Ran(&'a Command<'a>),
    /// A patch, from its beginning to its end.
    Patched(&'a Patch),
    /// A call of a tool of another server.
    Called { call: &'a str, tool: &'a str, arguments: &'a str, answer: Result<&'a str, &'a str> },
    /// A search of the web.
    Searched { call: &'a str, query: &'a str },
    /// The plan, as it is now.
    Planned { steps: &'a [(&'a str, &'static str)] },
    /// What the last request used: input, cached input, output, reasoning.
    Used { tokens: [u64; 4] },
    /// The model's context was compacted.
    Compacted { local: bool, summary: &'a str, before: &'a [String] },
    /// `error`.
    Failed { message: &'a str, info: &'static str },
    /// `stream_error`.
    StreamFailed { message: &'a str },
    /// `warning`.
    Warned { message: &'a str },
    /// The user takes the last turn's changes back.
    Undone,
    /// The user takes turns back.
    RolledBack { turns: u64 },
    /// The user stops the turn.
    Interrupted,
    /// A reviewing sub-agent takes over; until it has ended, everything is its doing.
    ReviewBegan { reviewer: &'a Cast },
    /// It gives back.
    ReviewEnded { verdict: &'a str },
    /// Another thread is started.
    Spawned { call: &'a str, child: &'a str, prompt: &'a str },
    /// The turn has ended in good order.
    TurnComplete { last: &'a str },
    /// The turn was stopped.
    TurnAborted,
    /// Codex ends.
    Ended(Ending),
}

/// An answer to a request for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Approved,
    ApprovedForSession,
    ApprovedWithAmendment,
    Denied,
    Abort,
}

impl Answer {
    pub(crate) fn granted(self) -> bool {
        !matches!(self, Self::Denied | Self::Abort)
    }
}

/// A request for approval, its answer, and how many milliseconds that took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) answer: Answer,
    pub(crate) after: u64,
}

/// How a command ends that is run at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Exited(i32),
    TimedOut,
    /// Codex could not run it.
    Broken,
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) call: String,
    pub(crate) text: &'a str,
    pub(crate) output: &'a str,
    pub(crate) outcome: Outcome,
    pub(crate) millis: u64,
    pub(crate) asked: Option<Asked>,
    /// It failed in the sandbox, and whether it may be tried outside is a question of its own.
    pub(crate) retry: Option<Asked>,
    /// In a terminal that goes on (`unified exec`).
    pub(crate) terminal: bool,
    /// Such a terminal whose program has not ended when the session does.
    pub(crate) goes_on: bool,
    /// Typed by the user, not by the agent.
    pub(crate) by_user: bool,
}

impl Command<'_> {
    /// Whether somebody said no.
    pub(crate) fn refused(&self) -> bool {
        [self.asked, self.retry].iter().flatten().any(|asked| !asked.answer.granted())
    }
}

/// What a patch does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Delete,
    Update,
}

/// A patch.
#[derive(Debug)]
pub(crate) struct Patch {
    pub(crate) call: String,
    /// Path, kind, and the text added or the diff.
    pub(crate) changes: Vec<(String, Change, String)>,
    pub(crate) applies: bool,
    pub(crate) asked: Option<Asked>,
}

impl Patch {
    pub(crate) fn refused(&self) -> bool {
        self.asked.is_some_and(|asked| !asked.answer.granted())
    }
}
