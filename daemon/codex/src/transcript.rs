//! What happened in a run, gathered from its events.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Body, Decoder, Event, FileChange, Item, ItemKind, ItemStatus, RunUsage, ThreadId, TodoEntry, TokenUsage,
    UsageContext,
};

/// How much of a command's output is kept, from its end; the events hold it whole.
const KEPT_OF_OUTPUT: usize = 4096;

/// How many lines that are no events are kept, and how much of each, in characters.
const KEPT_STRAYS: usize = 5;
const KEPT_OF_STRAY: usize = 200;

/// How Codex announces that it tries again.
const RECONNECTING: &str = "Reconnecting...";

/// What happened in one run (one process). Fed with events one by one; whether live or after the fact
/// makes no difference.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    started_thread: Option<String>,
    turn_started: bool,
    terminal: Option<(Timestamp, Terminal)>,
    messages: Vec<String>,
    commands: Vec<ShellCommand>,
    file_changes: Vec<FileChange>,
    mcp_calls: Vec<McpCall>,
    web_searches: Vec<String>,
    plan: Vec<TodoEntry>,
    warnings: Vec<String>,
    errors: Vec<String>,
    reconnects: u32,
    unread: u64,
    strays: Vec<String>,
    last_event: Option<Timestamp>,
    /// Where the item of an id stands in its list.
    commands_by_id: HashMap<String, usize>,
    mcp_calls_by_id: HashMap<String, usize>,
}

/// The event that closed the turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terminal {
    /// It succeeded; the figure is as Codex reported it.
    Completed(Option<TokenUsage>),
    /// It failed, for the reason given.
    Failed(String),
}

/// A shell command of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShellCommand {
    /// The command line, with the shell in front.
    pub command: String,
    /// The end of what it printed.
    pub output_tail: String,
    /// How much it printed, in bytes.
    pub output_bytes: u64,
    /// Its exit code, if it ended.
    pub exit_code: Option<i64>,
    /// Where it stands.
    pub state: ItemState,
    /// When it began, or when it was first heard of.
    pub started_at: Timestamp,
    /// When it was complete.
    pub finished_at: Option<Timestamp>,
}

/// Where a command, or a call, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It runs.
    Open,
    /// It ended well.
    Completed,
    /// It ended with a failure.
    Failed,
    /// It was not allowed.
    Declined,
    /// The turn or the process ended while it ran. That happens in turns that succeed, too: Codex
    /// kills the command as it leaves.
    Abandoned,
}

/// A call of a tool of an MCP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct McpCall {
    /// The server's name.
    pub server: String,
    /// The tool's name.
    pub tool: String,
    /// What it was called with.
    pub arguments: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// Where it stands.
    pub state: ItemState,
}

impl ItemState {
    /// The state of an item that says it is complete. A word that nobody knows counts as complete: the
    /// item is over, and its exit code tells the rest.
    fn closed(status: &ItemStatus) -> Self {
        match status {
            ItemStatus::Failed => Self::Failed,
            ItemStatus::Declined => Self::Declined,
            ItemStatus::InProgress | ItemStatus::Completed | ItemStatus::Other(_) => Self::Completed,
        }
    }
}

impl Transcript {
    /// A transcript of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The transcript of a whole stdout, when nothing is known of when its bytes arrived. A time of day
    /// in it, at which a usage limit ends, is taken for the next one after `at`.
    pub fn read(stdout: &[u8], at: Timestamp) -> Self {
        let mut transcript = Self::new();
        let mut decoder = Decoder::new();
        for event in decoder.feed(stdout, at).iter().chain(decoder.finish(at).as_ref()) {
            transcript.push(event);
        }
        transcript.close();
        transcript
    }

    /// Takes the next event.
    pub fn push(&mut self, event: &Event) {
        self.last_event = Some(event.at);
        match &event.body {
            Body::ThreadStarted { thread_id } => self.started_thread = Some(thread_id.clone()),
            Body::TurnStarted => {
                self.turn_started = true;
                // One process runs one turn; should one run more, the last of them counts.
                self.terminal = None;
            }
            Body::ItemStarted(item) | Body::ItemUpdated(item) => self.item(item, false, event.at),
            Body::ItemCompleted(item) => self.item(item, true, event.at),
            Body::TurnCompleted { usage } => self.end_turn(event.at, Terminal::Completed(*usage)),
            Body::TurnFailed { message } => {
                self.end_turn(event.at, Terminal::Failed(message.clone()));
            }
            Body::Error { message } => {
                self.reconnects += u32::from(message.starts_with(RECONNECTING));
                self.errors.push(message.clone());
            }
            Body::Unparsed { text, .. } => self.stray(text),
            Body::Unknown { .. } | Body::TooLong { .. } => self.unread += 1,
        }
    }

    /// Says that no event will follow: what is still open was abandoned.
    pub fn close(&mut self) {
        let commands = self.commands.iter_mut().map(|command| &mut command.state);
        let calls = self.mcp_calls.iter_mut().map(|call| &mut call.state);
        for state in commands.chain(calls).filter(|state| **state == ItemState::Open) {
            *state = ItemState::Abandoned;
        }
    }

    fn stray(&mut self, text: &str) {
        self.unread += 1;
        if self.strays.len() < KEPT_STRAYS {
            self.strays.push(text.chars().take(KEPT_OF_STRAY).collect());
        }
    }

    fn end_turn(&mut self, at: Timestamp, terminal: Terminal) {
        self.terminal = Some((at, terminal));
        self.close();
    }

    fn item(&mut self, item: &Item, complete: bool, at: Timestamp) {
        match &item.kind {
            ItemKind::AgentMessage { text } if complete => self.messages.push(text.clone()),
            ItemKind::Command { command, output, exit_code, status } => {
                let entry = self.command(&item.id, command, at);
                entry.output_bytes = output.len() as u64;
                output_tail(output).clone_into(&mut entry.output_tail);
                entry.exit_code = *exit_code;
                if complete {
                    entry.state = ItemState::closed(status);
                    entry.finished_at = Some(at);
                }
            }
            // A change that was begun and then failed or was declined changed nothing.
            ItemKind::FileChange { changes, status } if complete && changed(status) => {
                self.file_changes.extend_from_slice(changes);
            }
            ItemKind::McpToolCall { server, tool, arguments, error, status, .. } => {
                let call = McpCall {
                    server: server.clone(),
                    tool: tool.clone(),
                    arguments: arguments.clone(),
                    error: error.clone(),
                    state: if complete { ItemState::closed(status) } else { ItemState::Open },
                };
                let at = *self.mcp_calls_by_id.entry(item.id.clone()).or_insert(self.mcp_calls.len());
                match self.mcp_calls.get_mut(at) {
                    Some(known) => *known = call,
                    None => self.mcp_calls.push(call),
                }
            }
            ItemKind::WebSearch { query } if complete => self.web_searches.push(query.clone()),
            ItemKind::TodoList { items } => self.plan.clone_from(items),
            ItemKind::Warning { message } => self.warnings.push(message.clone()),
            ItemKind::Unknown { .. } => self.unread += 1,
            ItemKind::AgentMessage { .. }
            | ItemKind::Reasoning { .. }
            | ItemKind::FileChange { .. }
            | ItemKind::WebSearch { .. } => (),
        }
    }

    fn command(&mut self, id: &str, command: &str, at: Timestamp) -> &mut ShellCommand {
        let index = *self.commands_by_id.entry(id.to_owned()).or_insert(self.commands.len());
        if index == self.commands.len() {
            self.commands.push(ShellCommand {
                command: command.to_owned(),
                output_tail: String::new(),
                output_bytes: 0,
                exit_code: None,
                state: ItemState::Open,
                started_at: at,
                finished_at: None,
            });
        }
        &mut self.commands[index]
    }

    /// The thread that Codex works on.
    pub fn thread_id(&self) -> Option<ThreadId> {
        self.started_thread.as_ref()?.parse().ok()
    }

    /// The thread that Codex works on, in its own words.
    pub fn started_thread(&self) -> Option<&str> {
        self.started_thread.as_deref()
    }

    /// Whether Codex works on another thread than it was asked to resume. Worth a look as soon as
    /// [`Transcript::started_thread`] is known: the sooner such a run is stopped, the better.
    pub fn is_on_wrong_thread(&self, requested: &ThreadId) -> bool {
        self.started_thread.is_some() && self.thread_id().as_ref() != Some(requested)
    }

    /// Whether the model began to work.
    pub fn turn_started(&self) -> bool {
        self.turn_started
    }

    /// The event that closed the turn, if it came.
    pub fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref().map(|(_, terminal)| terminal)
    }

    /// When the turn was closed.
    pub fn terminal_at(&self) -> Option<Timestamp> {
        self.terminal.as_ref().map(|(at, _)| *at)
    }

    /// The model's answer: its last message. There may be none in a turn that succeeded.
    pub fn answer(&self) -> Option<&str> {
        self.messages.last().map(String::as_str)
    }

    /// All messages of the model, in order.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Its commands, in the order in which they began. A command that Codex refused to run is not
    /// among them: there is no event for it.
    pub fn commands(&self) -> &[ShellCommand] {
        &self.commands
    }

    /// The changes that were made by patches, in order; a file may be named more than once.
    pub fn file_changes(&self) -> &[FileChange] {
        &self.file_changes
    }

    /// Calls of MCP tools, in the order in which they began.
    pub fn mcp_calls(&self) -> &[McpCall] {
        &self.mcp_calls
    }

    /// What was searched on the web.
    pub fn web_searches(&self) -> &[String] {
        &self.web_searches
    }

    /// The model's plan, as it was last sent.
    pub fn plan(&self) -> &[TodoEntry] {
        &self.plan
    }

    /// Warnings: unknown model, ignored settings and the like.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The messages of all `error` events, those about connecting again included.
    pub fn errors(&self) -> &[String] {
        &self.errors
    }

    /// How often Codex said that it connects again.
    pub fn reconnects(&self) -> u32 {
        self.reconnects
    }

    /// How many events and items were not understood.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// The first lines of stdout that were no JSON, shortened.
    pub fn strays(&self) -> &[String] {
        &self.strays
    }

    /// When the last event arrived.
    pub fn last_event(&self) -> Option<Timestamp> {
        self.last_event
    }

    /// What the run cost, if its turn was completed and Codex said so.
    pub fn usage(&self, context: &UsageContext) -> Option<RunUsage> {
        match self.terminal()? {
            Terminal::Completed(reported) => reported.map(|reported| context.read(reported)),
            Terminal::Failed(_) => None,
        }
    }
}

fn changed(status: &ItemStatus) -> bool {
    !matches!(status, ItemStatus::Failed | ItemStatus::Declined)
}

/// The end of a text, cut at a character.
fn output_tail(output: &str) -> &str {
    let mut start = output.len().saturating_sub(KEPT_OF_OUTPUT);
    while !output.is_char_boundary(start) {
        start += 1;
    }
    &output[start..]
}
