//! What the rules say, and what of it is news.

use std::sync::Arc;

use super::{Live, Terms};
use crate::log::Past;
use crate::rules;
use crate::signal::{Signal, SignalId};
use crate::store::message::Numbered;
use crate::view::Phase;

/// A change of a signal, to be numbered and told.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) phase: Phase,
    pub(crate) ordinal: u32,
    pub(crate) signal: Arc<Signal>,
    pub(crate) live: bool,
    /// Whether it was told before: it has only changed.
    again: bool,
}

/// What became known of a session's signals at once.
pub(crate) enum Changes {
    /// Some of it is news.
    News(Vec<Change>),
    /// None of it is.
    Past(Past),
}

impl Changes {
    pub(super) fn of(changes: Vec<Change>, terms: &Terms) -> Self {
        if changes.iter().any(|change| change.live) {
            Self::News(changes)
        } else {
            Self::Past(Past::of(&changes, terms.now))
        }
    }

    /// How many signals have come to this.
    pub(crate) fn count(&self, phase: Phase) -> u64 {
        match self {
            Self::News(changes) => changes.iter().filter(|change| change.phase == phase).count() as u64,
            Self::Past(past) => past.count(phase),
        }
    }
}

impl Live {
    /// Takes what the rules said.
    pub(super) fn learn(&mut self, terms: &Terms) {
        let mut found = std::mem::take(&mut self.gathered.out.found);
        for found in found.drain(..) {
            match found {
                rules::Change::Raised(signal) => self.raise(*signal, terms),
                rules::Change::Withdrawn(id) => self.withdraw(&id, terms),
            }
        }
        // The allocation is used again.
        self.gathered.out.found = found;
    }

    fn raise(&mut self, signal: Signal, terms: &Terms) {
        let known = self.signals.get(&signal.id);
        if known.is_some_and(|known| *known.signal == signal) {
            return;
        }
        let ordinal = known.map_or_else(
            || {
                self.cursor.next_signal += 1;
                self.cursor.next_signal - 1
            },
            |known| known.ordinal,
        );
        let known = known.map(|known| Arc::clone(&known.signal));
        let numbered = Numbered { ordinal, signal: Arc::new(signal) };
        let signal = &numbered.signal;
        let former = self.former.remove(&signal.id);
        let before = known.or(former);
        let again = before.is_some();
        let changed = |before: &Signal| Signal { settled: signal.settled, ..before.clone() } != **signal;
        let live = self.is_news(signal, terms);
        let change = |phase| Change { phase, ordinal, signal: Arc::clone(signal), live, again };
        let raised = before.as_deref().is_none_or(changed).then(|| change(Phase::Raised));
        // What is final from the beginning is told as both, so that who waits for either hears of it.
        let settles = signal.settled && !before.is_some_and(|before| before.settled);
        let settled = settles.then(|| change(Phase::Settled));
        self.gathered.changes.extend(raised.into_iter().chain(settled));
        self.gathered.signals.insert(ordinal, Some(numbered.clone()));
        self.signals.insert(numbered.signal.id.clone(), numbered);
        self.gathered.any = true;
    }

    fn withdraw(&mut self, id: &SignalId, terms: &Terms) {
        let Some(Numbered { ordinal, signal }) = self.signals.remove(id) else { return };
        self.gathered.signals.insert(ordinal, None);
        self.gathered.any = true;
        // What nobody has heard of yet need not be taken back.
        let mut heard = true;
        self.gathered.changes.retain(|change| {
            let mine = change.signal.id == *id;
            heard &= !mine || change.again;
            !mine
        });
        if heard {
            self.tell_withdrawn(ordinal, signal, terms);
        }
    }

    /// Tells that a signal which was told is there no more.
    pub(super) fn tell_withdrawn(&mut self, ordinal: u32, signal: Arc<Signal>, terms: &Terms) {
        let live = self.is_news(&signal, terms);
        self.gathered.changes.push(Change { phase: Phase::Withdrawn, ordinal, signal, live, again: true });
    }

    /// Notes whether what was read is news, for when it settles: it will have aged by then, and the daemon may be
    /// another.
    pub(super) fn note_news(&mut self, terms: &Terms) {
        let read = self.gathered.records > 0;
        self.cursor.news |= read && (self.appended || terms.is_recent(self.pipeline.session().ended_at));
    }

    fn is_news(&self, signal: &Signal, terms: &Terms) -> bool {
        self.appended || (self.cursor.settled && self.cursor.news) || terms.is_recent(signal.at)
    }
}
