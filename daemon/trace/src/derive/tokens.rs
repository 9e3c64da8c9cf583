//! Tokens, and the requests to the model that use them.
//!
//! The same usage is told several times: `token_count` repeats the last one when a stream begins, and
//! 0.169.0 writes it as `token_usage_record` besides. The total of the thread tells new from old; where it
//! falls, or is just what the last request used, a new process has begun to count.

use serde::{Deserialize, Serialize};

use super::deriver::{At, Deriver};
use super::{Sink, What};
use crate::record::{Context, TokenCounts};
use crate::session::Stamp;

/// What the thread has used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// In processes that have ended.
    before: TokenCounts,
    /// In this one.
    total: TokenCounts,
}

impl Usage {
    /// Takes what is told, and gives what of it is new.
    fn take(&mut self, last: Option<TokenCounts>, total: Option<TokenCounts>) -> Option<TokenCounts> {
        let Some(total) = total else {
            let last = last?;
            self.total = plus(self.total, last);
            return Some(last);
        };
        if total == self.total {
            return None;
        }
        let fell = total.input < self.total.input || total.output < self.total.output;
        let begins = self.total != TokenCounts::default() && last == Some(total);
        if fell || begins {
            self.before = plus(self.before, self.total);
            self.total = TokenCounts::default();
        }
        let new = last.unwrap_or_else(|| minus(total, self.total));
        self.total = total;
        Some(new)
    }

    fn sum(&self) -> TokenCounts {
        plus(self.before, self.total)
    }
}

fn plus(a: TokenCounts, b: TokenCounts) -> TokenCounts {
    TokenCounts {
        input: a.input.saturating_add(b.input),
        cached_input: a.cached_input.saturating_add(b.cached_input),
        output: a.output.saturating_add(b.output),
        reasoning: a.reasoning.saturating_add(b.reasoning),
    }
}

fn minus(a: TokenCounts, b: TokenCounts) -> TokenCounts {
    TokenCounts {
        input: a.input.saturating_sub(b.input),
        cached_input: a.cached_input.saturating_sub(b.cached_input),
        output: a.output.saturating_sub(b.output),
        reasoning: a.reasoning.saturating_sub(b.reasoning),
    }
}

impl Deriver {
    /// `token_count`.
    pub(super) fn tokens(
        &mut self,
        at: &At<'_>,
        last: Option<TokenCounts>,
        total: Option<TokenCounts>,
        sink: &mut impl Sink,
    ) {
        let Some(new) = self.usage.take(last, total) else { return };
        self.session.tokens = self.usage.sum();
        if let Some(active) = self.turns.active_of(at) {
            active.row.tokens = plus(active.row.tokens, new);
            active.dirty = true;
        }
        self.tell(at, What::Tokens(new), sink);
    }

    /// `token_usage_record`: one for each request that was answered.
    pub(super) fn usage_record(
        &mut self,
        stamp: Stamp,
        turn: &str,
        last: TokenCounts,
        total: Option<TokenCounts>,
        sink: &mut impl Sink,
    ) {
        let at = self.at(stamp, turn, true, sink);
        // The first request of a turn was told by its context.
        let counted =
            self.turns.active_of(&at).is_some_and(|active| std::mem::take(&mut active.context_counts));
        if !counted {
            self.request(&at, sink);
        }
        self.tokens(&at, Some(last), total, sink);
    }

    /// `turn_context`: one for each request, or in 0.169.0's rollouts one for each turn.
    pub(super) fn context(&mut self, stamp: Stamp, context: &Context<'_>, sink: &mut impl Sink) {
        self.settings(context);
        let at = self.at(stamp, context.turn.as_deref().unwrap_or_default(), true, sink);
        // A record that names no turn is still about the running one.
        let at = At { turn: at.turn.or_else(|| self.turns.implied(at.turn_id)), ..at };
        let settings = &self.session;
        let known =
            (settings.model.clone(), settings.approval_policy.clone(), settings.sandbox_policy.clone());
        let rollout = self.rollout();
        if let Some(active) = self.turns.active_of(&at) {
            (active.row.model, active.row.approval_policy, active.row.sandbox_policy) = known;
            active.context_counts = rollout && context.turn.is_some();
            active.dirty = true;
        }
        self.request(&at, sink);
    }

    fn request(&mut self, at: &At<'_>, sink: &mut impl Sink) {
        self.session.counts.requests = self.session.counts.requests.saturating_add(1);
        if let Some(active) = self.turns.active_of(at) {
            active.row.requests = active.row.requests.saturating_add(1);
            active.dirty = true;
            active.rejected = false;
        }
        self.tell(at, What::Request, sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(input: u64, output: u64) -> TokenCounts {
        TokenCounts { input, output, ..TokenCounts::default() }
    }

    #[test]
    fn usage_that_is_told_again_is_counted_once() {
        let mut usage = Usage::default();
        assert_eq!(usage.take(Some(counts(100, 20)), Some(counts(100, 20))), Some(counts(100, 20)));
        assert_eq!(usage.take(Some(counts(100, 20)), Some(counts(100, 20))), None);
        assert_eq!(usage.take(None, None), None);
        assert_eq!(usage.take(Some(counts(100, 20)), Some(counts(200, 40))), Some(counts(100, 20)));
        assert_eq!(usage.sum(), counts(200, 40));
    }

    #[test]
    fn a_process_that_counts_from_the_beginning_is_added_to_the_earlier_ones() {
        let mut usage = Usage::default();
        usage.take(Some(counts(100, 20)), Some(counts(300, 60)));
        usage.take(Some(counts(100, 20)), Some(counts(100, 20)));
        assert_eq!(usage.sum(), counts(400, 80));
        usage.take(Some(counts(900, 90)), Some(counts(900, 90)));
        assert_eq!(usage.sum(), counts(1300, 170));
    }

    #[test]
    fn a_process_that_counts_on_is_not_counted_twice() {
        let mut usage = Usage::default();
        usage.take(Some(counts(300, 60)), Some(counts(300, 60)));
        usage.take(Some(counts(100, 20)), Some(counts(400, 80)));
        assert_eq!(usage.sum(), counts(400, 80));
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_no_harm() {
        let mut usage = Usage::default();
        usage.take(Some(counts(u64::MAX, u64::MAX)), Some(counts(u64::MAX, u64::MAX)));
        usage.take(Some(counts(u64::MAX, 1)), None);
        usage.take(None, Some(counts(1, 1)));
        assert_eq!(usage.sum().input, u64::MAX);
    }
}
