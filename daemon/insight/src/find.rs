//! Sessions and signals by the beginning of their ids.

use std::ops::Bound;
use std::sync::Arc;

use engine::store::Order;
use trace::SessionId;
use trace::session::Format;

use crate::batch;
use crate::query::{Query, Result};
use crate::signal::{RuleSet, Signal, SignalId};
use crate::store::message::{Numbered, format_of};
use crate::store::page::{self, Kind};
use crate::store::tables::Sessions;
use crate::view::InsightError;

/// How many candidates an ambiguous beginning is answered with.
const SHOWN: usize = 5;

impl Query<'_> {
    /// The id that a text stands for.
    pub(crate) fn resolve(&self, text: &str) -> Result<SessionId> {
        let missing = || InsightError::NoSession(text.chars().take(160).collect());
        let exact: SessionId = text.parse().map_err(|_| missing())?;
        if self.reader.get::<Sessions>(&text.to_owned())?.is_some() {
            return Ok(exact);
        }
        let mut candidates = Vec::new();
        for key in self.reader.keys::<Sessions>(text.to_owned().., Order::Ascending) {
            let key = key?;
            if !key.starts_with(text) || candidates.len() == SHOWN {
                break;
            }
            candidates.extend(key.parse::<SessionId>().ok());
        }
        if candidates.len() > 1 {
            let candidates = candidates.iter().map(ToString::to_string).collect();
            return Err(InsightError::Ambiguous { prefix: text.to_owned(), candidates });
        }
        candidates.pop().ok_or_else(missing)
    }

    /// The signal that a text stands for, by either rule set.
    pub(crate) fn signal(&self, text: &str) -> Result<Signal> {
        let rules = SignalId::rules_of(text);
        let mut wanted = Wanted { text, rules, found: Vec::new() };
        if !text.starts_with("sig_") {
            return wanted.only();
        }
        let least = SignalId::shortest(rules);
        if text.len() < least {
            return Err(InsightError::ShortSignal { id: text.to_owned(), least, rules });
        }
        match rules {
            RuleSet::V1 => self.look_among_stored(&mut wanted)?,
            RuleSet::Compat => self.look_among_compat(&mut wanted)?,
        }
        wanted.only()
    }

    fn look_among_stored(&self, wanted: &mut Wanted<'_>) -> Result<()> {
        for row in self.in_order(Bound::Unbounded) {
            let ((_, id), row) = row?;
            if row.friction.is_empty() && row.delight.is_empty() {
                continue;
            }
            let Ok(session) = id.parse::<SessionId>() else { continue };
            for numbered in page::rows::<Numbered>(self.reader, &session, Kind::Signals, 0) {
                if wanted.look(Arc::unwrap_or_clone(numbered?.signal)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What the rule set `compat` finds is stored nowhere: the files of the sessions are read that the id can be of. A
    /// beginning that leaves open which they are is too short: all spines would have to be read for it.
    fn look_among_compat(&self, wanted: &mut Wanted<'_>) -> Result<()> {
        for row in self.in_order(Bound::Unbounded) {
            let ((_, id), row) = row?;
            let Ok(session) = id.parse::<SessionId>() else { continue };
            let of_another = !wanted.text.starts_with(&SignalId::beginning_in_compat(&session));
            if of_another || format_of(row.format) != Format::Spine {
                continue;
            }
            let (_, cursor) = self.known(&session)?;
            if batch::compat(&session, &cursor).into_iter().any(|signal| wanted.look(signal)) {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// A signal that is looked for.
struct Wanted<'a> {
    text: &'a str,
    rules: RuleSet,
    found: Vec<Signal>,
}

impl Wanted<'_> {
    /// Takes a signal whose id fits; true when no other needs to be looked at.
    fn look(&mut self, signal: Signal) -> bool {
        if signal.id.0 == self.text {
            self.found = vec![signal];
            return true;
        }
        if self.found.len() < SHOWN && signal.id.0.starts_with(self.text) {
            self.found.push(signal);
        }
        false
    }

    fn only(mut self) -> Result<Signal> {
        if self.found.len() > 1 {
            let candidates = self.found.into_iter().map(|signal| signal.id.0).collect();
            return Err(InsightError::Ambiguous { prefix: self.text.to_owned(), candidates });
        }
        let id = || self.text.chars().take(80).collect();
        self.found.pop().ok_or_else(|| InsightError::NoSignal { id: id(), rules: self.rules })
    }
}
