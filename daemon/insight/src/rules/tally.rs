//! A count of moments, and where they stand.

use serde::{Deserialize, Serialize};
use trace::session::Stamp;
use trace::{Fact, Place};

/// How many places a signal can have.
const PLACES: usize = 16;

/// A count of moments with the first, the last, and the places of the first few between them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    count: u64,
    epoch: u32,
    first: Option<Stamp>,
    last: Option<Stamp>,
    between: Vec<Place>,
}

impl Tally {
    /// One more.
    pub(crate) fn add(&mut self, fact: &Fact<'_>) {
        self.count = self.count.saturating_add(1);
        match (&self.first, &self.last) {
            (None, _) => {
                self.epoch = fact.epoch;
                self.first = Some(fact.at);
            }
            (Some(_), Some(last)) if self.count > 2 && self.between.len() < PLACES - 2 => {
                self.between.push(last.place);
            }
            _ => {}
        }
        self.last = Some(fact.at);
    }

    /// One more, of which only the first and last place matter.
    pub(crate) fn extend(&mut self, fact: &Fact<'_>) {
        self.count = self.count.saturating_add(1);
        if self.first.is_none() {
            self.epoch = fact.epoch;
            self.first = Some(fact.at);
        }
        self.last = Some(fact.at);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The epoch of the first.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn first(&self) -> Option<&Stamp> {
        self.first.as_ref()
    }

    pub(crate) fn last(&self) -> Option<&Stamp> {
        self.last.as_ref()
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.first.iter().map(|first| first.place).collect();
        places.extend(&self.between);
        places.extend(self.last.iter().map(|last| last.place));
        places.dedup();
        places
    }
}
