//! The rule set `compat`: what an earlier tool finds in a spine, with all its quirks.
//!
//! It is for comparing with that tool's results, nothing else: it misses denials by `abort`, undo and
//! rollback, counts a denied command as a failure too, counts requests to the model as turns, takes the word
//! "cancel" for a wish to take something back, and puts denials into turns that never were. [`crate::rules`]
//! is what to use.
//!
//! It reads whole spines of any dialect, line by line as JSON, in the order of `seq`; live sessions and
//! rollouts are not for it. Quirks that are kept:
//!
//! - a line that is no JSON is passed over; one that is JSON but no object loses the whole spine;
//! - missing fields have values: number 0, empty payload;
//! - an event's fields are those of `payload` within it, if that is there and not empty, and then only those:
//!   a call's id beside it is not seen;
//! - a denial's turn is the id of the submission that carries it;
//! - ops `undo` and `thread_rollback` are looked for under names that Codex does not write, and never found.

mod json;
mod record;
mod rules;

use trace::{Place, SessionId};

use crate::Signal;
use record::{Kept, Seen};

/// What was found in a spine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The signals, in the order of the rules.
    pub signals: Vec<Signal>,
    /// What was counted on the way.
    pub counts: Counts,
    /// Lines that are no JSON.
    pub unreadable: u64,
}

/// What that tool counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `turn_context` records: requests to the model, in what Codex writes.
    pub turns: u64,
    /// Commands and patches that began.
    pub calls: u64,
    /// Compaction boundaries.
    pub compactions: u64,
    /// Requests for approval.
    pub approval_requests: u64,
    /// Answers `denied`.
    pub denials: u64,
}

/// The spine is lost for that tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {} of file {} is JSON but no object; the earlier tool reads nothing of such a spine", .0.line, .0.file)]
pub struct Lost(Place);

/// Finds the signals of a spine, given all its lines in the order of its segments.
pub fn read<L: AsRef<[u8]>>(
    session: &SessionId,
    lines: impl IntoIterator<Item = (Place, L)>,
) -> Result<Report, Lost> {
    let mut report = Report::default();
    let mut kept = Vec::new();
    for (place, line) in lines {
        let line = line.as_ref();
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Some(value) = json::read(line) else {
            report.unreadable = report.unreadable.saturating_add(1);
            continue;
        };
        if !value.is_object() {
            return Err(Lost(place));
        }
        if let Some(record) = Kept::of(&value, place) {
            count(&mut report.counts, &record.seen);
            kept.push(record);
        }
    }
    // Stable: what has the same number stays in the order of the file.
    kept.sort_by_key(|record| record.seq);
    report.signals = rules::find(session, &kept, report.counts);
    Ok(report)
}

fn count(counts: &mut Counts, seen: &Seen) {
    let number = match seen {
        Seen::TurnContext => &mut counts.turns,
        Seen::CallBegan => &mut counts.calls,
        Seen::Compaction => &mut counts.compactions,
        Seen::ApprovalRequest => &mut counts.approval_requests,
        Seen::DeniedExec | Seen::DeniedPatch => &mut counts.denials,
        _ => return,
    };
    *number = number.saturating_add(1);
}
