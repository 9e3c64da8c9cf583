//! What several rules need to know of a fact beyond the fact itself.

use serde::{Deserialize, Serialize};
use trace::record::ApprovalKind;
use trace::session::{Approval, CallOutcome, Stamp, ToolCall, TurnEnd};
use trace::{Fact, What};

use crate::rules::call::CallKind;
use crate::rules::revert_in_message::reverting_phrase;
use crate::rules::words::{clean, lower, tells_of_a_timeout};

/// A fact, with what earlier ones make of it.
pub(crate) struct Moment<'a> {
    /// The fact.
    pub(crate) fact: &'a Fact<'a>,
    /// The user said no.
    pub(crate) denial: Option<Denial<'a>>,
    /// The user went back on what the agent did.
    pub(crate) retreat: Option<Retreat>,
    /// Codex told of an error.
    pub(crate) trouble: Option<Trouble<'a>>,
}

/// The user said no.
pub(crate) struct Denial<'a> {
    pub(crate) kind: ApprovalKind,
    /// The turn whose request was denied.
    pub(crate) turn_id: &'a str,
    /// The call; empty when unknown.
    pub(crate) call_id: &'a str,
    /// The answer as the wire has it; none when only the end of the call tells of it.
    pub(crate) decision: Option<&'a str>,
    /// Why Codex had asked.
    pub(crate) reason: Option<&'a str>,
    /// The command, where it is one and known.
    pub(crate) command: Option<String>,
    /// The request, or the beginning of the call.
    pub(crate) asked: Option<Stamp>,
}

/// The user went back on what the agent did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retreat {
    Undo,
    Rollback,
    /// By words: which.
    Message(&'static str),
}

/// Codex told of an error: as an event, or as what ended a turn.
#[derive(Clone, Copy)]
pub(crate) struct Trouble<'a> {
    pub(crate) kind: TroubleKind,
    /// The words; empty when the end of a turn tells of it.
    pub(crate) message: &'a str,
    /// The tag.
    pub(crate) info: Option<&'a str>,
}

impl Trouble<'_> {
    /// What a sentence says of it.
    pub(crate) fn words(&self) -> &str {
        match (self.message, self.info) {
            ("", Some(info)) => info,
            ("", None) => "it said no more.",
            (message, _) => message,
        }
    }
}

/// Which rule an error is for: each is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    Timeout,
    /// The model's context was full.
    Context,
    Other,
}

/// What told of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Decision,
    End,
}

/// How many calls of each sort are remembered: the latest ones.
const CALLS: usize = 32;
/// How much of a command is remembered, in characters.
const COMMAND: usize = 200;

/// What is remembered of earlier facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Denied calls of which one word has been heard and the other not yet.
    denied: Vec<(u64, Word)>,
    /// Commands that have begun and not ended: the record of an answer does not say what it is about.
    open: Vec<(u64, String)>,
    /// The turn of the latest error.
    errored: Option<u64>,
    /// Undo was asked for, and Codex has not told of its end.
    undoing: bool,
    /// The agent has done or said something.
    agent_acted: bool,
}

impl Memory {
    /// Takes the next fact.
    pub(crate) fn moment<'a>(&mut self, fact: &'a Fact<'a>) -> Moment<'a> {
        let moment = Moment {
            fact,
            denial: self.denial(fact),
            retreat: self.retreat(fact),
            trouble: self.trouble(fact),
        };
        if matches!(fact.what, What::AgentSpoke { .. } | What::CallOpened(_) | What::CallClosed(_)) {
            self.agent_acted = true;
        }
        moment
    }

    /// A denial is told by its decision and by the end of the call; where no decision is on record, by the
    /// end alone. The first to tell of it counts.
    fn denial<'a>(&mut self, fact: &'a Fact<'a>) -> Option<Denial<'a>> {
        match fact.what {
            What::CallOpened(call) if CallKind::of(call) == CallKind::Exec && !call.arguments.is_empty() => {
                if self.open.len() >= CALLS {
                    self.open.remove(0);
                }
                self.open.push((digest(call.epoch, &call.call_id), clean(&call.arguments, COMMAND)));
                None
            }
            What::Decided(approval) if approval.approved == Some(false) && !is_implied(approval) => {
                let news = self.is_news(&approval.call_id, approval.epoch, Word::Decision);
                news.then(|| self.denied(approval))
            }
            What::CallClosed(call) => {
                let number = digest(call.epoch, &call.call_id);
                self.open.retain(|open| open.0 != number);
                let rejected = call.outcome == CallOutcome::Rejected
                    && self.is_news(&call.call_id, call.epoch, Word::End);
                rejected.then(|| ended_rejected(call))
            }
            _ => None,
        }
    }

    fn denied<'a>(&self, approval: &'a Approval) -> Denial<'a> {
        let number = digest(approval.epoch, &approval.call_id);
        let open = self.open.iter().find(|open| open.0 == number && approval.kind == ApprovalKind::Exec);
        Denial {
            kind: approval.kind,
            turn_id: &approval.turn_id,
            call_id: &approval.call_id,
            decision: approval.decision.as_deref(),
            reason: approval.reason.as_deref(),
            command: open.map(|open| open.1.clone()),
            asked: approval.requested,
        }
    }

    /// Remembers that a denial was told of in this way, unless it had been told of in the other.
    fn is_news(&mut self, call: &str, epoch: u32, word: Word) -> bool {
        if call.is_empty() {
            return true;
        }
        let call = digest(epoch, call);
        if let Some(index) = self.denied.iter().position(|known| known.0 == call && known.1 != word) {
            self.denied.remove(index);
            return false;
        }
        if self.denied.len() >= CALLS {
            self.denied.remove(0);
        }
        self.denied.push((call, word));
        true
    }

    fn retreat(&mut self, fact: &Fact<'_>) -> Option<Retreat> {
        match fact.what {
            What::Undo { success: None } => {
                self.undoing = true;
                Some(Retreat::Undo)
            }
            What::Undo { success: Some(_) } => (!std::mem::take(&mut self.undoing)).then_some(Retreat::Undo),
            What::Rollback { .. } => Some(Retreat::Rollback),
            What::UserSpoke { text } if self.agent_acted => reverting_phrase(text).map(Retreat::Message),
            _ => None,
        }
    }

    fn trouble<'a>(&mut self, fact: &'a Fact<'a>) -> Option<Trouble<'a>> {
        match &fact.what {
            What::Error { message, info } => {
                self.errored = Some(digest(fact.epoch, fact.turn_id));
                Some(trouble(message, *info))
            }
            What::TurnEnded(ended) => match &ended.end {
                TurnEnd::Failed { info } if self.errored != Some(digest(fact.epoch, fact.turn_id)) => {
                    Some(trouble("", info.as_deref()))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// A decision that is on no record and was concluded from the end of its call, which tells more.
fn is_implied(approval: &Approval) -> bool {
    approval.requested.is_none() && approval.decision.as_deref() == Some("declined")
}

fn ended_rejected(call: &ToolCall) -> Denial<'_> {
    let kind = CallKind::of(call);
    Denial {
        kind: if kind == CallKind::Patch { ApprovalKind::Patch } else { ApprovalKind::Exec },
        turn_id: &call.turn_id,
        call_id: &call.call_id,
        decision: None,
        reason: None,
        command: match kind {
            CallKind::Exec => Some(clean(&call.arguments, COMMAND)).filter(|command| !command.is_empty()),
            CallKind::Other => Some(clean(&call.tool, COMMAND)),
            CallKind::Patch => None,
        },
        asked: Some(call.opened),
    }
}

fn trouble<'a>(message: &'a str, info: Option<&'a str>) -> Trouble<'a> {
    let kind = if info == Some("context_window_exceeded") || tells_of_a_full_context(message) {
        TroubleKind::Context
    } else if tells_of_a_timeout(message) {
        TroubleKind::Timeout
    } else {
        TroubleKind::Other
    };
    Trouble { kind, message, info }
}

/// Whether a message tells that the model's context was full.
pub(crate) fn tells_of_a_full_context(message: &str) -> bool {
    let message = lower(message);
    message.contains("context window") || message.contains("context length")
}

/// A number that stands for a text of an epoch (FNV-1a): state is kept small, and the same in every version.
pub(crate) fn digest(epoch: u32, text: &str) -> u64 {
    let bytes = epoch.to_le_bytes().into_iter().chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
