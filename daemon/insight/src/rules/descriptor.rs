//! What a rule says of itself: the source of its documentation.

use crate::signal::SignalType;

/// What a rule says of itself. docs/signals.md is made of these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descriptor {
    /// The category of its signals.
    pub category: &'static str,
    /// Friction or delight.
    pub kind: SignalType,
    /// The severity that its signals have unless `grading` says otherwise.
    pub severity: f64,
    /// When its signals come and whether they can go.
    pub reach: Reach,
    /// What raises a signal.
    pub trigger: &'static str,
    /// How much of it there must be.
    pub threshold: &'static str,
    /// When severity or confidence differ from the usual; empty for never.
    pub grading: &'static str,
    /// What the evidence holds, beside the places of the records.
    pub evidence: &'static str,
}

/// When signals come and whether they can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// About one moment: raised with its record, and final at once.
    Moment,
    /// About several moments: raised when there are enough of them, and raised again under the same id
    /// with every further one. Nothing later disproves it.
    Growing,
    /// About the whole session: raised as soon as it holds, withdrawn when it no longer does, final when the
    /// session settles.
    Session,
}

/// Defines the descriptor of a rule, with a documentation comment that says the same.
macro_rules! descriptor {
    (
        $(#[$doc:meta])*
        $name:ident = $category:literal, $kind:ident, $severity:literal, $reach:ident;
        trigger: $trigger:literal,
        threshold: $threshold:literal,
        grading: $grading:literal,
        evidence: $evidence:literal $(,)?
    ) => {
        $(#[$doc])*
        #[doc = ""]
        #[doc = concat!("- Trigger: ", $trigger)]
        #[doc = concat!("- Threshold: ", $threshold)]
        #[doc = concat!("- Severity: ", $severity, ". ", $grading)]
        #[doc = concat!("- Evidence: ", $evidence)]
        pub(crate) const $name: $crate::rules::Descriptor = $crate::rules::Descriptor {
            category: $category,
            kind: $crate::signal::SignalType::$kind,
            severity: $severity,
            reach: $crate::rules::Reach::$reach,
            trigger: $trigger,
            threshold: $threshold,
            grading: $grading,
            evidence: $evidence,
        };
    };
}
pub(crate) use descriptor;
