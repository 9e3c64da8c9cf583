//! What the model does with one request, before it is put into the words of the wire.

use serde_json::Value;
use std::time::Duration;

/// One answer of the model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// Goes wrong instead of, or in the middle of, answering.
    pub(crate) fault: Option<Fault>,
    /// A summary of the model's reasoning, sent first.
    pub(crate) reasoning: Option<String>,
    /// What the assistant says. `{last_output}` stands for the output of the last tool call.
    pub(crate) message: Option<Message>,
    /// The tool calls, made at once.
    pub(crate) calls: Vec<Call>,
}

/// An assistant message, sent in `chunks` pieces with a pause after each.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) text: String,
    pub(crate) chunks: u32,
    pub(crate) pause: Duration,
}

/// A tool call.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// A command, by whichever shell tool the client offers.
    Shell(Shell),
    /// A patch in the `*** Begin Patch` format.
    Patch(String),
    /// A function by name.
    Function { name: String, arguments: Value },
    /// A tool that runs at the model's side: an output item, sent as it is.
    ServerSide(Value),
}

/// A shell command.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    pub(crate) command: String,
    /// How long the model wants to wait for it; absent: the client's default.
    pub(crate) patience: Option<Duration>,
    /// Keep asking until it has ended, where the client would let it run on in the background.
    pub(crate) until_done: bool,
    /// Ask to leave the sandbox, with this justification.
    pub(crate) escalate: Option<String>,
}

/// A failure of the model's side.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// Only for so many identical requests, after which the step plays as if nothing were wrong.
    /// Absent: always.
    pub(crate) times: Option<u32>,
}

/// The ways to fail.
#[derive(Debug, Clone)]
pub(crate) enum FaultKind {
    /// An HTTP error instead of a stream.
    Http { status: u16, body: Value, retry_after: Option<String> },
    /// The stream says `response.failed`.
    Failed { code: String, message: String },
    /// The stream says `response.incomplete` after the answer.
    Incomplete { reason: String },
    /// The stream ends in the middle of the answer, in good order.
    CutOff,
    /// The connection is reset in the middle of the answer.
    Reset,
    /// The stream begins and then says nothing for so long.
    Silence(Duration),
}

impl Step {
    /// A step that only says something.
    pub(crate) fn say(text: impl Into<String>) -> Self {
        Self { message: Some(Message::whole(text)), ..Self::default() }
    }

    /// A step that only calls a tool.
    pub(crate) fn call(call: Call) -> Self {
        Self { calls: vec![call], ..Self::default() }
    }

    /// A step that runs a command.
    pub(crate) fn shell(command: impl Into<String>) -> Self {
        Self::call(Call::Shell(Shell::new(command)))
    }

    /// The same step with a fault.
    pub(crate) fn failing(self, kind: FaultKind, times: Option<u32>) -> Self {
        Self { fault: Some(Fault { kind, times }), ..self }
    }

    /// Whether one of its commands is to be waited for to its end.
    pub(crate) fn waits_for_its_command(&self) -> bool {
        self.calls.iter().filter_map(Call::as_shell).any(|shell| shell.until_done)
    }
}

impl Call {
    /// The command, for a call that runs one.
    pub(crate) fn as_shell(&self) -> Option<&Shell> {
        match self {
            Self::Shell(shell) => Some(shell),
            _ => None,
        }
    }
}

impl Message {
    /// A message sent in one piece.
    pub(crate) fn whole(text: impl Into<String>) -> Self {
        Self { text: text.into(), chunks: 1, pause: Duration::ZERO }
    }
}

impl Shell {
    /// A command with the client's defaults.
    pub(crate) fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), patience: None, until_done: false, escalate: None }
    }
}
