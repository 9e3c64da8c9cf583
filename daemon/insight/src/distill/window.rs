//! Which part of a session a task is made of.

use serde::{Deserialize, Serialize};
use trace::transcript::{Entry, Transcript, What};

use super::DistillError;
use crate::Signal;

/// What a task is to be made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// The turns in which something happened; the whole session where a signal is about that.
    Signal(Box<Signal>),
    /// Records by their numbers, both included.
    Records {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// User turns by their numbers from 0, both included.
    Turns {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
    },
}

/// A part of a transcript: indexes of its first and last entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Window {
    pub(super) fn entries(self, transcript: &Transcript) -> impl Iterator<Item = (usize, &Entry)> {
        let (first, last) = (self.first, self.last);
        transcript.entries.iter().enumerate().filter(move |(index, _)| (first..=last).contains(index))
    }

    /// The settings under which the work of the window begins: the last ones that are told before the agent does or
    /// says anything in it, as the settings of a turn stand behind its beginning. What is not told by then is what the
    /// session names first.
    pub(super) fn settings(self, transcript: &Transcript) -> InForce<'_> {
        let opens = |what: &What| {
            matches!(
                what,
                What::EpochBegan
                    | What::TurnBegan
                    | What::Context { .. }
                    | What::User(_)
                    | What::Git { .. }
                    | What::DiffFile { .. }
            )
        };
        let begins = self.entries(transcript).find(|(_, entry)| !opens(&entry.what));
        let begins = begins.map_or(self.last.saturating_add(1), |(index, _)| index);
        let mut settings = InForce::default();
        for entry in transcript.entries.iter().take(begins) {
            if let What::Context { model, approval_policy, sandbox_policy, .. } = &entry.what {
                settings.model = model.as_deref().or(settings.model);
                settings.approval_policy = approval_policy.as_deref().or(settings.approval_policy);
                settings.sandbox_policy = sandbox_policy.as_deref().or(settings.sandbox_policy);
            }
        }
        let head = &transcript.head;
        InForce {
            model: settings.model.or(head.model.as_deref()),
            approval_policy: settings.approval_policy.or(head.approval_policy.as_deref()),
            sandbox_policy: settings.sandbox_policy.or(head.sandbox_policy.as_deref()),
        }
    }
}

/// Settings that were in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InForce<'a> {
    pub(super) model: Option<&'a str>,
    pub(super) approval_policy: Option<&'a str>,
    pub(super) sandbox_policy: Option<&'a str>,
}

/// How many turns a signal's window grows by in search of a verifier.
const GROWTH: u32 = 3;

/// The windows to be tried, the best first: the first one with a verifier is taken, else the very first.
pub(super) fn windows(transcript: &Transcript, selection: &Selection) -> Result<Vec<Window>, DistillError> {
    let windows = match selection {
        Selection::Records { first, last } => {
            vec![
                span(transcript, |entry| (*first..=*last).contains(&entry.seq))
                    .ok_or(DistillError::NothingThere)?,
            ]
        }
        Selection::Turns { first, last } => {
            let inside = |entry: &Entry| entry.turn.is_some_and(|turn| (*first..=*last).contains(&turn));
            vec![span(transcript, inside).ok_or(DistillError::NothingThere)?]
        }
        Selection::Signal(signal) => of_signal(transcript, signal)?,
    };
    Ok(windows.into_iter().map(|window| within_one_context(transcript, window)).collect())
}

fn of_signal(transcript: &Transcript, signal: &Signal) -> Result<Vec<Window>, DistillError> {
    let about: Vec<&Entry> = transcript.entries.iter().filter(|entry| concerns(signal, entry)).collect();
    let turns: Vec<u32> = about.iter().filter_map(|entry| entry.turn).collect();
    let (Some(first), Some(last)) = (turns.iter().min(), turns.iter().max()) else {
        return whole_session(transcript);
    };
    // The trouble is in these turns; how it ended may be in one of the next.
    let context = about.iter().rev().find(|entry| entry.turn.is_some()).map(|entry| entry.context);
    let same_context = |turn: u32| {
        transcript
            .entries
            .iter()
            .filter(|entry| entry.turn == Some(turn))
            .all(|entry| Some(entry.context) == context)
    };
    let mut windows = Vec::new();
    for more in 0..=GROWTH {
        let until = last.saturating_add(more);
        if more > 0 && !same_context(until) {
            break;
        }
        let inside = |entry: &Entry| entry.turn.is_some_and(|turn| (*first..=until).contains(&turn));
        windows.extend(span(transcript, inside));
    }
    windows.dedup();
    if windows.is_empty() { Err(DistillError::NothingThere) } else { Ok(windows) }
}

/// Whether a signal is about a record.
fn concerns(signal: &Signal, entry: &Entry) -> bool {
    if signal.places.iter().any(|place| (place.file, place.line) == (entry.place.file, entry.place.line)) {
        return true;
    }
    if entry.epoch != signal.epoch {
        return false;
    }
    match (signal.seq_start, &signal.turn_id) {
        (Some(first), _) => (first..=signal.seq_end.unwrap_or(first)).contains(&entry.seq),
        (None, Some(turn)) => !turn.is_empty() && *turn == entry.turn_id,
        (None, None) => false,
    }
}

/// For what is about a session as a whole: its contexts, the last first, since that is where it ended.
fn whole_session(transcript: &Transcript) -> Result<Vec<Window>, DistillError> {
    let last = transcript.entries.last().ok_or(DistillError::NothingThere)?.context;
    let windows: Vec<Window> = (0..=last)
        .rev()
        .filter_map(|context| span(transcript, |entry| entry.context == context && entry.turn.is_some()))
        .collect();
    if windows.is_empty() { Err(DistillError::NothingThere) } else { Ok(windows) }
}

fn span(transcript: &Transcript, inside: impl Fn(&Entry) -> bool) -> Option<Window> {
    let first = transcript.entries.iter().position(&inside)?;
    let last = transcript.entries.iter().rposition(&inside)?;
    Some(Window { first, last })
}

/// What came before a compaction was made with another history: a window begins behind it, if the user said
/// anything there.
fn within_one_context(transcript: &Transcript, window: Window) -> Window {
    let boundary =
        window.entries(transcript).filter(|(_, entry)| matches!(entry.what, What::Compacted { .. }));
    let Some((boundary, _)) = boundary.last() else { return window };
    let speaks = |(index, entry): &(usize, &Entry)| *index > boundary && matches!(entry.what, What::User(_));
    match window.entries(transcript).find(speaks) {
        Some((first, _)) => Window { first, last: window.last },
        None => Window { first: window.first, last: boundary.saturating_sub(1).max(window.first) },
    }
}

/// The user's words in a window; those that it begins in the middle of, if it has none of its own.
pub(super) fn words(transcript: &Transcript, window: Window) -> Vec<String> {
    let said = |entry: &Entry| match &entry.what {
        What::User(text) => Some(text.trim().to_owned()),
        _ => None,
    };
    let own: Vec<String> = window.entries(transcript).filter_map(|(_, entry)| said(entry)).collect();
    let before = || transcript.entries.iter().take(window.first).rev();
    let context = transcript.entries.get(window.first).map(|entry| entry.context);
    let short: usize = own.iter().map(String::len).sum();
    // `continue` is no task: what it continues is.
    if own.is_empty() || short < 40 {
        let earlier = before().filter(|entry| Some(entry.context) == context).find_map(said);
        return earlier.into_iter().chain(own).collect();
    }
    own
}
