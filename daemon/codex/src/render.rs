//! Events as lines of text, for a log that people read.
//!
//! The lines follow what Codex prints without `--json`, as far as tools depend on it: the model's last
//! message comes once more after the line `tokens used` and the number below it, and earlier tools cut
//! the log there to find it.

use crate::item::{ChangeKind, ItemStatus};
use crate::{Body, Event, FileChange, Item, ItemKind, TokenUsage, UsageContext, plain_text};

/// Renders the events of one run, in the order in which they arrived.
#[derive(Debug, Clone, Default)]
pub struct Renderer {
    usage: UsageContext,
    last_message: Option<String>,
    /// The id of the command whose `$` line was the last of its kind: the output that follows is
    /// taken to be its.
    last_command: Option<String>,
}

impl Renderer {
    /// A renderer for one run. The context makes the tokens shown those of this run; where they cannot
    /// be told, those of the thread are shown.
    pub fn new(usage: UsageContext) -> Self {
        Self { usage, last_message: None, last_command: None }
    }

    /// The lines of one event, without newlines and control characters; there may be none.
    pub fn render(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        match &event.body {
            Body::ThreadStarted { thread_id } => {
                lines.push(format!("thread {}", plain_text(thread_id)));
            }
            Body::ItemStarted(item) => self.started(item, &mut lines),
            // Only plans are updated, and they are shown whole when they are complete.
            Body::TurnStarted | Body::ItemUpdated(_) => (),
            Body::ItemCompleted(item) => self.completed(item, &mut lines),
            Body::TurnCompleted { usage } => self.turn_completed(*usage, &mut lines),
            Body::TurnFailed { message } => push("failed: ", message, &mut lines),
            Body::Error { message } => push("error: ", message, &mut lines),
            Body::Unknown { name, raw } => {
                push(&format!("event {name:?}: "), &raw.to_string(), &mut lines);
            }
            Body::Unparsed { text, .. } => push("", text, &mut lines),
            Body::TooLong { length, .. } => {
                lines.push(format!("an event of {length} bytes was skipped"));
            }
        }
        lines
    }

    fn started(&mut self, item: &Item, lines: &mut Vec<String>) {
        match &item.kind {
            ItemKind::Command { command, .. } => self.announce(&item.id, command, lines),
            ItemKind::McpToolCall { server, tool, arguments, .. } => {
                push("", &format!("{server}.{tool}({arguments})"), lines);
            }
            _ => (),
        }
    }

    fn announce(&mut self, id: &str, command: &str, lines: &mut Vec<String>) {
        push("$ ", command, lines);
        self.last_command = Some(id.to_owned());
    }

    fn completed(&mut self, item: &Item, lines: &mut Vec<String>) {
        match &item.kind {
            ItemKind::AgentMessage { text } => {
                self.last_message = Some(text.clone());
                lines.push("codex".to_owned());
                push("", text, lines);
            }
            ItemKind::Reasoning { text } => {
                lines.push("thinking".to_owned());
                push("", text, lines);
            }
            ItemKind::Command { command, output, exit_code, status } => {
                // Commands may run side by side; say again whose output this is.
                if self.last_command.as_ref() != Some(&item.id) {
                    self.announce(&item.id, command, lines);
                }
                push("", output, lines);
                lines.extend(command_end(*exit_code, status));
            }
            ItemKind::FileChange { changes, status } => {
                lines.extend(changes.iter().map(|change| file_change(change, status)));
            }
            ItemKind::McpToolCall { server, tool, error, status, .. } => match error {
                Some(error) => push(&format!("{server}.{tool} failed: "), error, lines),
                None => push("", &format!("{server}.{tool} {}", word(status)), lines),
            },
            ItemKind::WebSearch { query } => push("searched the web: ", query, lines),
            ItemKind::TodoList { items } => {
                for entry in items {
                    push(if entry.completed { "[x] " } else { "[ ] " }, &entry.text, lines);
                }
            }
            ItemKind::Warning { message } => push("warning: ", message, lines),
            ItemKind::Unknown { name, raw } => {
                push(&format!("item {name:?}: "), &raw.to_string(), lines);
            }
        }
    }

    fn turn_completed(&self, reported: Option<TokenUsage>, lines: &mut Vec<String>) {
        if let Some(reported) = reported {
            let usage = self.usage.read(reported);
            lines.push("tokens used".to_owned());
            lines.push(with_separators(usage.run.or(usage.thread).unwrap_or(reported).total()));
        }
        push("", self.last_message.as_deref().unwrap_or_default(), lines);
    }
}

/// The text's lines, the first with something in front of it.
fn push(before: &str, text: &str, lines: &mut Vec<String>) {
    let text = format!("{before}{text}");
    lines.extend(plain_text(text.trim_end()).lines().map(|line| line.trim_end().to_owned()));
}

fn command_end(exit_code: Option<i64>, status: &ItemStatus) -> Option<String> {
    match (exit_code, status) {
        (Some(0), _) | (None, ItemStatus::Completed) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, status) => Some(word(status).to_owned()),
    }
}

fn file_change(change: &FileChange, status: &ItemStatus) -> String {
    let kind = match &change.kind {
        ChangeKind::Add => "A",
        ChangeKind::Delete => "D",
        ChangeKind::Update => "M",
        ChangeKind::Other(other) => other,
    };
    let fate = match status {
        ItemStatus::Completed => String::new(),
        other => format!(" ({})", word(other)),
    };
    plain_text(&format!("{kind} {}{fate}", change.path)).replace('\n', " ")
}

fn word(status: &ItemStatus) -> &str {
    match status {
        ItemStatus::InProgress => "in progress",
        ItemStatus::Completed => "completed",
        ItemStatus::Failed => "failed",
        ItemStatus::Declined => "declined",
        ItemStatus::Other(other) => other,
    }
}

/// `1234567` as `1,234,567`, as Codex writes it.
fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
