//! Epochs: process runs of Codex over one thread.
//!
//! Turn ids count from 0 again after a resume, so nothing of an earlier epoch is ever joined with a later one.
//! A spine marks the beginning with `session_configured`. A rollout marks nothing: that a turn begins while
//! another one has not ended, or that turns begin to have ids or cease to (another version of Codex took the
//! thread up), are the signs that it leaves.

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::{Sink, What};
use crate::record::Context;
use crate::session::{Stamp, TurnEnd};

/// The running epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Epoch {
    pub number: u32,
    pub began: bool,
    /// `session_configured` was seen.
    pub configured: bool,
    /// Something was done in it.
    pub used: bool,
}

impl Deriver {
    /// The first record of the session, whatever it is.
    pub(super) fn begin_epoch(&mut self, stamp: Stamp, sink: &mut impl Sink) {
        self.epoch.began = true;
        self.session.counts.epochs = self.session.counts.epochs.saturating_add(1);
        self.tell(&At { stamp, turn_id: "", turn: None }, What::EpochBegan, sink);
    }

    /// `session_configured`: the epoch that the metadata before it began, or a new one.
    pub(super) fn configured(&mut self, stamp: Stamp, context: &Context<'_>, sink: &mut impl Sink) {
        if self.epoch.configured || self.epoch.used {
            self.next_epoch(stamp, sink);
        }
        self.epoch.configured = true;
        self.settings(context);
    }

    /// What was open will never end.
    pub(super) fn next_epoch(&mut self, stamp: Stamp, sink: &mut impl Sink) {
        let ended = self.worked.unwrap_or(stamp);
        self.end_turn(stamp, ended, TurnEnd::Cut, sink);
        self.expire_all(stamp, sink);
        self.calls.forget(sink);
        self.turns.forget();
        self.review = false;
        self.session.closed = false;
        self.epoch = Epoch { number: self.epoch.number.saturating_add(1), ..Epoch::default() };
        self.begin_epoch(stamp, sink);
    }
}
