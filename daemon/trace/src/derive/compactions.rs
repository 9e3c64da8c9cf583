//! Compactions: where the context of the model begins anew.

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::words::{id, name};
use super::{Sink, What};
use crate::record::Compaction;
use crate::session::{CompactionRow, Row, Stamp};

/// The compactions so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Compactions {
    /// How many: also the number of the context that holds now.
    pub count: u32,
    /// What told of the last one, while the other kind may still tell of the same one.
    told_by: Option<ToldBy>,
}

/// The two kinds of records that tell of a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ToldBy {
    Boundary,
    Event,
}

impl Deriver {
    /// `compaction_boundary`, or a rollout's `compacted`.
    pub(super) fn compaction(&mut self, stamp: Stamp, compaction: &Compaction<'_>, sink: &mut impl Sink) {
        let turn = compaction.turn.as_deref().unwrap_or_default();
        let at = self.at(stamp, turn, false, sink);
        let at = At { turn: at.turn.or(self.turns.active_ordinal()), ..at };
        if self.compactions.told_by == Some(ToldBy::Event) {
            self.compactions.told_by = None;
            return;
        }
        self.compactions.told_by = Some(ToldBy::Boundary);
        self.compacted(&at, name(compaction.kind.as_deref()), sink);
    }

    /// `context_compacted`.
    pub(super) fn context_compacted(&mut self, at: &At<'_>, sink: &mut impl Sink) {
        if self.compactions.told_by == Some(ToldBy::Boundary) {
            self.compactions.told_by = None;
            return;
        }
        self.compactions.told_by = Some(ToldBy::Event);
        self.compacted(at, None, sink);
    }

    fn compacted(&mut self, at: &At<'_>, kind: Option<String>, sink: &mut impl Sink) {
        let row = CompactionRow {
            ordinal: self.compactions.count,
            epoch: self.epoch.number,
            at: at.stamp,
            turn_id: id(self.turn_id(at)).to_owned(),
            kind,
        };
        self.compactions.count = self.compactions.count.saturating_add(1);
        self.session.counts.compactions = self.session.counts.compactions.saturating_add(1);
        self.tell(at, What::Compacted(&row), sink);
        sink.row(Row::Compaction(row));
    }

    /// The agent goes on: what is told of a compaction from here on is another one.
    pub(super) fn compaction_is_over(&mut self) {
        self.compactions.told_by = None;
    }
}
