//! The trigger `signal`: a schedule is set off by what becomes known of signals.

use std::sync::Arc;
use std::time::Duration;

use engine::schedule::{EventTrigger, EventView};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::log::Log;
use crate::rules::check_category;
use crate::signal::SignalType;
use crate::view::{Phase, SignalChange};

/// The longest window in which signals are counted.
const LONGEST_WINDOW: Duration = Duration::from_hours(7 * 24);

/// The trigger `signal`: a signal was raised or has settled, or so many of them within a time.
///
/// Its filter is an object with any of these keys; a signal must satisfy each that is given:
///
/// - `type`: `friction` or `delight`;
/// - `categories`: its category is one of these;
/// - `severity`: it is at least so severe;
/// - `phase`: `raised` (the default: at once, and it may be withdrawn later) or `settled`;
/// - `count` and `within` (seconds): the schedule is set off by the signal that makes it so many within the
///   time, in all sessions together but those of its own runs, and again only after there were fewer.
///
/// Nothing is kept for counting: the log of signals says at any time what happened, so a restart changes
/// nothing.
pub(crate) struct SignalTrigger {
    log: Arc<Log>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(rename = "type")]
    kind: Option<SignalType>,
    categories: Option<Vec<String>>,
    severity: Option<f64>,
    #[serde(default)]
    phase: Wanted,
    count: Option<u32>,
    within: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    #[default]
    Raised,
    Settled,
}

impl Filter {
    fn parse(filter: &Value) -> Result<Self, serde_json::Error> {
        if filter.is_null() { Ok(Self::default()) } else { Self::deserialize(filter) }
    }

    fn phase(&self) -> Phase {
        match self.phase {
            Wanted::Raised => Phase::Raised,
            Wanted::Settled => Phase::Settled,
        }
    }

    fn event(&self) -> &'static str {
        match self.phase {
            Wanted::Raised => "signal.raised",
            Wanted::Settled => "signal.settled",
        }
    }

    fn accepts(&self, kind: SignalType, category: &str, severity: f64) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.categories.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == category))
            && self.severity.is_none_or(|least| severity >= least)
    }

    /// Whether a change counts for a schedule: what has happened in sessions of its own runs does not.
    fn counts(&self, schedule: Uuid, change: &SignalChange) -> bool {
        change.live
            && !change.lineage.contains(&schedule)
            && change.phase == self.phase()
            && self.accepts(change.kind, &change.category, change.severity)
    }
}

impl SignalTrigger {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log }
    }

    /// Whether the change of this number is the one that makes it so many.
    fn completes(
        &self,
        schedule: Uuid,
        filter: &Filter,
        number: u64,
        count: usize,
        within: Duration,
    ) -> bool {
        let window = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
        let mut times = Vec::with_capacity(count + 1);
        for change in self.log.back_from(number) {
            let Ok(change) = change else { return false };
            if let Some(first) = times.first()
                && change.told_at.duration_since(*first).abs() > window.saturating_mul(2)
            {
                break;
            }
            if filter.counts(schedule, &change) {
                times.push(change.told_at);
                if times.len() > count {
                    break;
                }
            }
        }
        // `times` goes back from this change. So many are within the window that ends with it, and the one
        // before it did not already complete them.
        let within = |from: usize, to: usize| matches!((times.get(from), times.get(to)), (Some(later), Some(earlier)) if later.duration_since(*earlier) <= window);
        within(0, count - 1) && !within(1, count)
    }
}

impl EventTrigger for SignalTrigger {
    fn kind(&self) -> &'static str {
        "signal"
    }

    fn check(&self, filter: &Value) -> Result<(), String> {
        let filter = Filter::parse(filter).map_err(|error| error.to_string())?;
        if filter.categories.as_ref().is_some_and(Vec::is_empty) {
            return Err("`categories` is empty, so no signal would match".to_owned());
        }
        for category in filter.categories.iter().flatten() {
            check_category(category).map_err(|unknown| unknown.to_string())?;
        }
        if filter.severity.is_some_and(|severity| !(0.0..=1.0).contains(&severity)) {
            return Err("`severity` is from 0 to 1".to_owned());
        }
        match (filter.count, filter.within) {
            (None, None) => Ok(()),
            (Some(count), Some(within)) => {
                if !(1..=1000).contains(&count) {
                    return Err("`count` is from 1 to 1000".to_owned());
                }
                if !(within > 0.0 && within <= LONGEST_WINDOW.as_secs_f64()) {
                    return Err("`within` is in seconds, at most a week".to_owned());
                }
                Ok(())
            }
            _ => Err("`count` and `within` belong together".to_owned()),
        }
    }

    fn matches(&self, schedule: Uuid, filter: &Value, event: &EventView) -> bool {
        if !event.kind.starts_with("signal.") {
            return false;
        }
        let Ok(filter) = Filter::parse(filter) else { return false };
        if event.kind != filter.event() {
            return false;
        }
        let data = &event.data;
        let kind = SignalType::deserialize(&data["type"]);
        let (Ok(kind), Some(category), Some(severity), Some(number)) =
            (kind, data["category"].as_str(), data["severity"].as_f64(), data["number"].as_u64())
        else {
            return false;
        };
        if !filter.accepts(kind, category, severity) {
            return false;
        }
        match (filter.count, filter.within.map(Duration::try_from_secs_f64)) {
            (Some(count), Some(Ok(within))) if count > 1 => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.completes(schedule, &filter, number, count, within)
            }
            _ => true,
        }
    }
}
