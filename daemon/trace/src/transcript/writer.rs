//! What is known while a transcript is read, and how it grows.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::told::{Told, Voice, Way};
use super::{Call, Entry, Head, Transcript, Usage, What, bounded};
use crate::session::{CallOutcome, Format, TurnEnd};
use crate::{Place, SessionId};

/// Where a record stands among the others.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) seq: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) place: Place,
    pub(super) turn_id: String,
}

/// A transcript that grows.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, learnt at another time")]
pub(super) struct Writer {
    format: Format,
    id: Option<SessionId>,
    pub(super) head: Head,
    entries: Vec<Entry>,
    /// The entries of the user's words that began a turn.
    opened: HashSet<usize>,
    calls: Vec<Call>,
    by_id: HashMap<(u32, String), usize>,
    told: Told,
    unreadable: u64,
    epoch: u32,
    begun: bool,
    context: u32,
    turn: Option<u32>,
    turns: u32,
    running: bool,
    /// Whether the format tells of the beginning of turns.
    tells_turns: bool,
    turn_id: String,
    /// What the turn began with, if that was the last record.
    opening: Option<Opening>,
    last_total: Option<Usage>,
    /// Whether requests have a record of their own, which `token_count` only repeats.
    has_usage_records: bool,
    /// What held when a process began, with the time of that: its record may stand later.
    at_beginnings: Vec<(Timestamp, What)>,
}

/// What a turn begins with in a spine that tells no beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// Its context; its words are still to come.
    Context,
    /// Its words; the id that records about it have is still to come.
    Words,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            id: None,
            head: Head::default(),
            entries: Vec::new(),
            opened: HashSet::new(),
            calls: Vec::new(),
            by_id: HashMap::new(),
            told: Told::default(),
            unreadable: 0,
            epoch: 0,
            begun: false,
            context: 0,
            turn: None,
            turns: 0,
            running: false,
            tells_turns: false,
            turn_id: String::new(),
            opening: None,
            last_total: None,
            has_usage_records: false,
            at_beginnings: Vec::new(),
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn unreadable(&mut self) {
        self.unreadable = self.unreadable.saturating_add(1);
    }

    /// The id of the session: the first that is one.
    pub(super) fn named(&mut self, id: Option<&str>) {
        if self.id.is_none() {
            self.id = id.and_then(|id| id.parse().ok());
        }
    }

    pub(super) fn push(&mut self, at: &At, what: What) {
        self.opening = None;
        let turn_id = if at.turn_id.is_empty() { self.turn_id.clone() } else { at.turn_id.clone() };
        self.entries.push(Entry {
            seq: at.seq,
            time: at.time,
            place: at.place,
            epoch: self.epoch,
            context: self.context,
            turn: self.turn,
            turn_id,
            what,
        });
    }

    /// What held from a moment on, which was the beginning of a process.
    pub(super) fn push_at_beginning(&mut self, time: Timestamp, what: What) {
        self.at_beginnings.push((time, what));
    }

    /// This is a spine that has not told of a turn's beginning, as Codex itself always does.
    fn tells_no_turns(&self) -> bool {
        self.format == Format::Spine && !self.tells_turns
    }

    /// Words that the user submits. They begin a turn unless one is running, or one with their id, or one whose
    /// context came first.
    pub(super) fn submitted(&mut self, at: &At, id: &str, text: &str) {
        let known = !id.is_empty() && id == self.turn_id;
        if !self.tells_no_turns() || text.trim().is_empty() {
            self.say(at, Voice::User, Way::Submission, text);
        } else if self.told.is_news(Voice::User, Way::Submission, text) {
            if self.turn.is_some() && (known || self.opening == Some(Opening::Context)) {
                self.push(at, What::User(bounded(text.to_owned())));
                return;
            }
            self.open_turn();
            id.clone_into(&mut self.turn_id);
            self.opened.insert(self.entries.len());
            self.push(at, What::User(bounded(text.to_owned())));
            self.opening = Some(Opening::Words);
        }
    }

    /// A context under a new id is the next turn's, or that of the words before it.
    fn names_turn(&mut self, id: &str) -> Option<Opening> {
        if !self.tells_no_turns() || id.is_empty() || id == self.turn_id {
            return None;
        }
        id.clone_into(&mut self.turn_id);
        if self.opening == Some(Opening::Words) {
            if let Some(words) = self.entries.last_mut() {
                id.clone_into(&mut words.turn_id);
            }
            return None;
        }
        self.open_turn();
        Some(Opening::Context)
    }

    /// Words. Those of the user begin a turn unless one is running.
    pub(super) fn say(&mut self, at: &At, voice: Voice, way: Way, text: &str) {
        if text.trim().is_empty() || !self.told.is_news(voice, way, text) {
            return;
        }
        let text = bounded(text.to_owned());
        // A message to a running turn is put into it, where turns are told of at all.
        let opens = voice == Voice::User && (!self.running || !self.tells_turns);
        if opens {
            self.open_turn();
            self.opened.insert(self.entries.len());
            if self.tells_no_turns() && !at.turn_id.is_empty() {
                self.turn_id.clone_from(&at.turn_id);
            }
        }
        self.push(
            at,
            match voice {
                Voice::User => What::User(text),
                Voice::Agent => What::Agent(text),
                Voice::Reasoning => What::Reasoning(text),
            },
        );
        self.opening = opens.then_some(Opening::Words);
    }

    fn open_turn(&mut self) {
        self.turn = Some(self.turns);
        self.turns = self.turns.saturating_add(1);
        self.running = true;
    }

    pub(super) fn turn_began(&mut self, at: &At) {
        // Words that came before belong to the turn that now begins.
        let spoken =
            self.running && self.entries.last().is_some_and(|entry| matches!(entry.what, What::User(_)));
        if !spoken && !at.turn_id.starts_with("auto-compact") {
            self.open_turn();
        }
        self.running = true;
        self.tells_turns = true;
        self.turn_id.clone_from(&at.turn_id);
        self.push(at, What::TurnBegan);
    }

    pub(super) fn turn_ended(&mut self, at: &At, end: TurnEnd) {
        self.push(at, What::TurnEnded(end));
        self.running = false;
    }

    /// Codex began to run on the thread, for the first time or again.
    pub(super) fn epoch_began(&mut self, at: &At) {
        if self.begun {
            self.epoch = self.epoch.saturating_add(1);
            self.running = false;
            self.last_total = None;
        }
        self.begun = true;
        self.push(at, What::EpochBegan);
    }

    pub(super) fn context(&mut self, at: &At, settings: &Settings) {
        let head = &mut self.head;
        for (known, new) in [
            (&mut head.model, &settings.model),
            (&mut head.cwd, &settings.cwd),
            (&mut head.approval_policy, &settings.approval_policy),
            (&mut head.sandbox_policy, &settings.sandbox_policy),
        ] {
            if known.is_none() {
                known.clone_from(new);
            }
        }
        let opening = self.names_turn(&at.turn_id);
        let Settings { model, effort, approval_policy, sandbox_policy, .. } = settings.clone();
        self.push(at, What::Context { model, effort, approval_policy, sandbox_policy });
        self.opening = opening;
    }

    /// The tokens of a request, once.
    pub(super) fn tokens(&mut self, at: &At, own_record: bool, last: Usage, total: Option<Usage>) {
        if own_record {
            self.has_usage_records = true;
        } else if self.has_usage_records || (total.is_some() && total == self.last_total) {
            return;
        }
        self.last_total = total;
        self.push(at, What::Tokens { last, total });
    }

    pub(super) fn compacted(&mut self, at: &At, summary: Option<String>, history: Vec<super::Said>) {
        self.push(at, What::Compacted { summary, history });
        self.context = self.context.saturating_add(1);
    }

    /// The call of this id in this epoch, opened now if it is new.
    pub(super) fn call(&mut self, at: &At, id: &str, tool: &str) -> &mut Call {
        let key = (self.epoch, id.to_owned());
        let index = if let Some(index) = self.by_id.get(&key) {
            *index
        } else {
            let index = self.calls.len();
            self.by_id.insert(key, index);
            self.calls.push(Call {
                id: id.to_owned(),
                epoch: self.epoch,
                tool: tool.to_owned(),
                arguments: Map::new(),
                command: Vec::new(),
                cwd: None,
                source: None,
                changes: Vec::new(),
                opened: at.seq,
                closed: None,
                outcome: CallOutcome::Open,
                exit_code: None,
                duration_ms: None,
                output: String::new(),
            });
            self.push(at, What::CallOpened(index));
            index
        };
        &mut self.calls[index]
    }

    /// The call's end. A second telling only adds what the first did not know.
    pub(super) fn close(&mut self, at: &At, id: &str, tool: &str, end: CallEnd) {
        let call = self.call(at, id, tool);
        let first = call.closed.is_none();
        call.closed.get_or_insert(at.seq);
        call.exit_code = call.exit_code.or(end.exit_code);
        call.duration_ms = call.duration_ms.or(end.duration_ms);
        if call.output.is_empty() {
            call.output = bounded(end.output);
        }
        if first || call.outcome == CallOutcome::Open {
            call.outcome = end.outcome;
        }
        if first && let Some(index) = self.by_id.get(&(self.epoch, id.to_owned())).copied() {
            self.push(at, What::CallClosed(index));
        }
    }

    /// The end of a call that has been opened before.
    pub(super) fn close_known(&mut self, at: &At, id: &str, end: CallEnd) {
        if self.by_id.contains_key(&(self.epoch, id.to_owned())) {
            self.close(at, id, "", end);
        }
    }

    /// What was read, if it says whose it is.
    pub(super) fn finish(mut self) -> Option<Transcript> {
        self.drop_additions();
        let mut transcript = Transcript {
            id: self.id?,
            format: self.format,
            head: self.head,
            entries: self.entries,
            calls: self.calls,
            unreadable: self.unreadable,
        };
        for (time, what) in self.at_beginnings {
            transcript.insert_beginning(time, what);
        }
        Some(transcript)
    }

    /// Removes what Codex added to the model's input in the user's name: items of a speaker whose own words are
    /// told by events. Turns that they seemed to begin are no turns.
    fn drop_additions(&mut self) {
        let mut no_turns = 0_u32;
        let mut at = 0;
        let opened = std::mem::take(&mut self.opened);
        let told = &self.told;
        self.entries.retain_mut(|entry| {
            let opens = opened.contains(&at);
            at += 1;
            let alone = match &entry.what {
                What::User(text) => told.is_item_alone(Voice::User, text),
                What::Agent(text) => told.is_item_alone(Voice::Agent, text),
                What::Reasoning(text) => told.is_item_alone(Voice::Reasoning, text),
                _ => false,
            };
            no_turns += u32::from(alone && opens);
            entry.turn = entry.turn.map(|turn| turn.saturating_sub(no_turns));
            !alone
        });
    }
}

/// How a call ended.
#[derive(Debug, Default)]
pub(super) struct CallEnd {
    pub(super) outcome: CallOutcome,
    pub(super) exit_code: Option<i64>,
    pub(super) duration_ms: Option<u64>,
    pub(super) output: String,
}

impl CallEnd {
    /// The outcome that a command's exit code and words tell.
    pub(super) fn of_command(exit_code: Option<i64>, status: Option<&str>, output: String) -> Self {
        let head = output.trim_start();
        let outcome = if status == Some("declined") || says_rejected(head) {
            CallOutcome::Rejected
        } else if exit_code == Some(124) || head.starts_with("command timed out") {
            CallOutcome::TimedOut
        } else if exit_code == Some(-1) || head.starts_with("execution error") {
            CallOutcome::Broken
        } else {
            match (exit_code, status) {
                (Some(0), _) | (None, Some("completed")) => CallOutcome::Succeeded,
                (Some(_), _) | (None, Some("failed")) => CallOutcome::Failed,
                (None, _) => CallOutcome::Open,
            }
        };
        Self { outcome, exit_code, duration_ms: None, output }
    }

    /// The outcome of a patch or another tool.
    pub(super) fn of_tool(success: bool, status: Option<&str>, output: String) -> Self {
        let outcome = if status == Some("declined") || says_rejected(output.trim_start()) {
            CallOutcome::Rejected
        } else if success && status != Some("failed") {
            CallOutcome::Succeeded
        } else {
            CallOutcome::Failed
        };
        Self { outcome, exit_code: None, duration_ms: None, output }
    }
}

fn says_rejected(head: &str) -> bool {
    ["exec command rejected by user", "patch rejected by user", "rejected by user"]
        .iter()
        .any(|words| head.starts_with(words))
}

/// The settings of a request or a turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) cwd: Option<String>,
    pub(super) approval_policy: Option<String>,
    pub(super) sandbox_policy: Option<String>,
    pub(super) model: Option<String>,
    pub(super) effort: Option<String>,
}

impl Settings {
    pub(super) fn of(fields: &Map<String, Value>) -> Self {
        Self {
            cwd: string(fields, "cwd"),
            approval_policy: tag(fields.get("approval_policy")),
            sandbox_policy: tag(fields.get("sandbox_policy")),
            model: string(fields, "model"),
            effort: string(fields, "effort"),
        }
    }
}

/// A field that is a text.
pub(super) fn string(fields: &Map<String, Value>, key: &str) -> Option<String> {
    fields.get(key)?.as_str().map(str::to_owned)
}

/// A text, or the `type` of an object, or the only key of one.
pub(super) fn tag(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            string(fields, "type").or_else(|| fields.keys().next().filter(|_| fields.len() == 1).cloned())
        }
        _ => None,
    }
}

/// A time in RFC 3339.
pub(super) fn time(fields: &Map<String, Value>) -> Option<Timestamp> {
    fields.get("timestamp")?.as_str()?.parse().ok()
}

/// `{"secs": …, "nanos": …}` in milliseconds.
pub(super) fn duration(value: Option<&Value>) -> Option<u64> {
    let fields = value?.as_object()?;
    let seconds = fields.get("secs")?.as_u64()?;
    let nanos = fields.get("nanos").and_then(Value::as_u64).unwrap_or(0);
    seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

/// The numbers of tokens in an object that has Codex's names for them.
pub(super) fn tokens(value: Option<&Value>) -> Option<Usage> {
    let fields = value?.as_object()?;
    let number = |key: &str| fields.get(key).and_then(Value::as_u64);
    Some(Usage {
        input: number("input_tokens"),
        cached_input: number("cached_input_tokens"),
        output: number("output_tokens"),
        reasoning: number("reasoning_output_tokens"),
    })
}

/// The words of a command: a list, or a text for the shell.
pub(super) fn command(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(script)) => vec!["bash".to_owned(), "-lc".to_owned(), script.clone()],
        _ => Vec::new(),
    }
}

/// A directory; a `file://` URL has become a path.
pub(super) fn directory(fields: &Map<String, Value>, key: &str) -> Option<String> {
    let text = fields.get(key)?.as_str()?;
    Some(text.strip_prefix("file://").unwrap_or(text).to_owned())
}
