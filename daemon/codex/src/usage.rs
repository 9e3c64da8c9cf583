//! What a run cost in tokens.
//!
//! Codex reports one figure at the end of a turn, and releases differ in what it means: 0.75.0
//! counts the process, 0.169.0 the whole thread with all earlier turns. So the cost of a resumed run
//! is a difference, and needs the figure of the run before. A run that is killed reports nothing; what
//! it used is counted with the next run of the thread.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Version;

/// A count of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// Everything that was sent to the model, cached or not.
    pub input_tokens: u64,
    /// The part of the input that the service had in its cache.
    pub cached_input_tokens: u64,
    /// The part of the input that the service put into its cache; old releases do not say.
    pub cache_write_input_tokens: Option<u64>,
    /// Everything the model wrote.
    pub output_tokens: u64,
    /// The part of the output that was thinking; old releases do not say.
    pub reasoning_output_tokens: Option<u64>,
}

impl TokenUsage {
    pub(crate) fn decode(raw: &Value) -> Option<Self> {
        raw.is_object().then(|| {
            let count = |key: &str| raw.get(key).and_then(Value::as_u64);
            Self {
                input_tokens: count("input_tokens").unwrap_or_default(),
                cached_input_tokens: count("cached_input_tokens").unwrap_or_default(),
                cache_write_input_tokens: count("cache_write_input_tokens"),
                output_tokens: count("output_tokens").unwrap_or_default(),
                reasoning_output_tokens: count("reasoning_output_tokens"),
            }
        })
    }

    /// What Codex itself shows as "tokens used": input that was not cached, and output.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_sub(self.cached_input_tokens).saturating_add(self.output_tokens)
    }

    /// What was used since an earlier count of the same thread; `None` if this count is not a
    /// continuation of that one.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        self.combine(earlier, u64::checked_sub)
    }

    fn plus(&self, other: &Self) -> Option<Self> {
        self.combine(other, u64::checked_add)
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        // A count that one of the two lacks is lacking in the result; that is no reason to give up.
        let optional = |one: Option<u64>, two: Option<u64>| match one.zip(two) {
            Some((one, two)) => with(one, two).map(Some),
            None => Some(None),
        };
        Some(Self {
            input_tokens: with(self.input_tokens, other.input_tokens)?,
            cached_input_tokens: with(self.cached_input_tokens, other.cached_input_tokens)?,
            cache_write_input_tokens: optional(
                self.cache_write_input_tokens,
                other.cache_write_input_tokens,
            )?,
            output_tokens: with(self.output_tokens, other.output_tokens)?,
            reasoning_output_tokens: optional(self.reasoning_output_tokens, other.reasoning_output_tokens)?,
        })
    }
}

/// What is needed to understand a reported figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageContext {
    /// The release, if it is known.
    pub version: Option<Version>,
    /// Whether the run resumed a thread.
    pub resumed: bool,
    /// [`RunUsage::thread`] of the run before on the same thread, if it is known.
    pub baseline: Option<TokenUsage>,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUsage {
    /// This run alone; `None` if it cannot be told from the rest of the thread.
    pub run: Option<TokenUsage>,
    /// The whole thread up to now; the baseline of the next run on it. `None` if earlier runs are not
    /// known.
    pub thread: Option<TokenUsage>,
    /// How the figures were come by.
    pub basis: UsageBasis,
}

/// How the figures of a [`RunUsage`] were come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageBasis {
    /// The thread began with this run, so there is only one figure.
    NewThread,
    /// The release counts the process; the thread is the sum.
    PerProcess,
    /// The release counts the thread; the run is the difference to the baseline.
    Difference,
    /// The release counts the thread, and nobody knows what came before this run.
    NoBaseline,
}

impl UsageContext {
    /// Understands a reported figure.
    pub fn read(&self, reported: TokenUsage) -> RunUsage {
        if !self.resumed {
            return RunUsage { run: Some(reported), thread: Some(reported), basis: UsageBasis::NewThread };
        }
        if !self.counts_threads(&reported) {
            let thread = self.baseline.and_then(|earlier| reported.plus(&earlier));
            return RunUsage { run: Some(reported), thread, basis: UsageBasis::PerProcess };
        }
        let run = self.baseline.and_then(|earlier| reported.since(&earlier));
        let basis = if run.is_some() { UsageBasis::Difference } else { UsageBasis::NoBaseline };
        RunUsage { run, thread: Some(reported), basis }
    }

    /// Whether the release counts the whole thread. Where between the two tested releases this
    /// changed is not known; there, and without a version, the form tells: the newer counting came
    /// with more fields. A figure below the baseline cannot be that of the thread, but neither does
    /// that make it the run's: then the run's stays unknown.
    fn counts_threads(&self, reported: &TokenUsage) -> bool {
        match self.version {
            Some(version) if version <= Version::OLDEST_KNOWN => false,
            Some(version) if version >= Version::NEWEST_KNOWN => true,
            _ => reported.reasoning_output_tokens.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn old(input: u64, output: u64) -> TokenUsage {
        let raw = json!({"input_tokens": input, "cached_input_tokens": 0, "output_tokens": output});
        TokenUsage::decode(&raw).unwrap()
    }

    fn new(input: u64, output: u64) -> TokenUsage {
        let raw = json!({"input_tokens": input, "output_tokens": output, "reasoning_output_tokens": 0});
        TokenUsage::decode(&raw).unwrap()
    }

    fn context(version: Option<Version>, baseline: Option<TokenUsage>) -> UsageContext {
        UsageContext { version, resumed: true, baseline }
    }

    #[test]
    fn a_new_thread_costs_what_is_reported() {
        for version in [None, Some(Version::OLDEST_KNOWN), Some(Version::NEWEST_KNOWN)] {
            let usage = UsageContext { version, resumed: false, baseline: None }.read(new(100, 20));
            assert_eq!((usage.run, usage.thread), (Some(new(100, 20)), Some(new(100, 20))));
        }
    }

    #[test]
    fn a_release_that_counts_threads_needs_a_difference() {
        let usage = context(Some(Version::NEWEST_KNOWN), Some(new(300, 60))).read(new(400, 80));
        assert_eq!((usage.run, usage.thread), (Some(new(100, 20)), Some(new(400, 80))));
        assert_eq!(usage.basis, UsageBasis::Difference);
    }

    #[test]
    fn a_release_that_counts_processes_needs_a_sum() {
        let usage = context(Some(Version::OLDEST_KNOWN), Some(old(300, 60))).read(old(100, 20));
        assert_eq!((usage.run, usage.thread), (Some(old(100, 20)), Some(old(400, 80))));
        assert_eq!(usage.basis, UsageBasis::PerProcess);
    }

    #[test]
    fn without_a_version_the_form_of_the_figure_tells() {
        let usage = context(None, Some(new(300, 60))).read(new(400, 80));
        assert_eq!(usage.run, Some(new(100, 20)));
        let usage = context(None, Some(old(300, 60))).read(old(400, 80));
        assert_eq!(usage.run, Some(old(400, 80)));
    }

    #[test]
    fn without_a_usable_baseline_the_cost_of_the_run_is_unknown_rather_than_wrong() {
        for baseline in [None, Some(new(900, 900))] {
            let usage = context(Some(Version::NEWEST_KNOWN), baseline).read(new(400, 80));
            assert_eq!(usage.run, None);
            assert_eq!((usage.thread, usage.basis), (Some(new(400, 80)), UsageBasis::NoBaseline));
        }
    }

    #[test]
    fn the_total_leaves_cached_input_out_as_codex_does() {
        let raw = json!({"input_tokens": 1000, "cached_input_tokens": 900, "output_tokens": 34});
        assert_eq!(TokenUsage::decode(&raw).unwrap().total(), 134);
    }
}
