//! What starts a schedule, and when it does so next.

mod cron;
mod every;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use serde_json::Value;
use uuid::Uuid;

pub use cron::Cron;
pub use every::{Every, SHORTEST_INTERVAL};

/// What starts a schedule.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// At the times of the calendar that a cron expression names.
    Cron(Cron),
    /// Again and again, a fixed time apart.
    Every(Every),
    /// Once, at this time.
    At(Timestamp),
    /// Whenever something happens.
    Event {
        /// The kind of event trigger, such as `run.finished`; see
        /// [`EventTriggers`](super::EventTriggers).
        kind: String,
        /// Which events of the kind; its form is for the kind to say.
        filter: Value,
    },
}

impl Trigger {
    /// The first time after `after`, exclusive, at which the trigger is due for the schedule `id`;
    /// `None` when there is none any more, and always for events.
    ///
    /// A pure function: a daemon that was restarted computes the same times, jitter included. The
    /// times of a trigger identify its occurrences, so no two occurrences share one.
    pub fn next_after(&self, id: Uuid, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(after),
            Self::Every(every) => every.next_after(id, after),
            Self::At(time) => Some(*time).filter(|time| *time > after),
            Self::Event { .. } => None,
        }
    }

    /// Whether the trigger waits for events rather than for a time.
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Event { .. })
    }
}

/// Why a trigger was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// The number of fields is neither five nor six.
    #[error(
        "the cron expression {expression:?} has {found} fields; it takes five (minute hour \
         day-of-month month day-of-week), or six with the second first"
    )]
    CronFieldCount {
        /// What was given.
        expression: String,
        /// How many fields it has.
        found: usize,
    },
    /// One field says something impossible.
    #[error("field {position} ({name}) of the cron expression is {text:?}: {problem}; it takes {takes}")]
    CronField {
        /// The field's place, counted from 1.
        position: usize,
        /// What the field stands for.
        name: &'static str,
        /// The field as given.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// What the field may hold.
        takes: &'static str,
    },
    /// A word after `@` that means nothing to us.
    #[error("{given:?} is not known; the nicknames are {known}")]
    CronNickname {
        /// What was given.
        given: String,
        /// The nicknames that exist.
        known: String,
    },
    /// The expression as a whole was refused.
    #[error("the cron expression {expression:?} is not valid: {problem}")]
    CronExpression {
        /// What was given.
        expression: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Every field is fine, but no day satisfies them all (30 February).
    #[error("the cron expression {expression:?} never comes true")]
    CronNever {
        /// What was given.
        expression: String,
    },
    /// The time zone database has no such zone.
    #[error("there is no time zone {given:?}{}", did_you_mean(near))]
    UnknownTimeZone {
        /// What was given.
        given: String,
        /// Zones with names like it, best first.
        near: Vec<String>,
    },
    /// Text that is not a length of time.
    #[error("{given:?} is not a length of time ({problem}); write 90s, 15m, 1h30m or 2d")]
    UnreadableDuration {
        /// What was given.
        given: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An interval that would keep the daemon busy with nothing else.
    #[error("an interval of {given:#} is too short; the shortest is {SHORTEST_INTERVAL:#}")]
    IntervalTooShort {
        /// What was given.
        given: SignedDuration,
    },
    /// A jitter that is negative, or could carry one occurrence past the next.
    #[error(
        "a jitter of {jitter:#} does not fit an interval of {interval:#}; it must be between zero and the interval"
    )]
    JitterOutOfRange {
        /// What was given.
        jitter: SignedDuration,
        /// The interval it was given with.
        interval: SignedDuration,
    },
    /// A single time that has passed already.
    #[error("{time} has passed already")]
    InThePast {
        /// What was given.
        time: Timestamp,
    },
    /// No such event trigger is registered.
    #[error("there is no event trigger {given:?}; there are {known}")]
    UnknownEventKind {
        /// What was given.
        given: String,
        /// The kinds that exist.
        known: String,
    },
    /// The event trigger refused the filter.
    #[error("the filter of the event trigger {kind:?} is not valid: {problem}")]
    Filter {
        /// The trigger's kind.
        kind: String,
        /// What is wrong with the filter.
        problem: String,
    },
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() {
        "; use a name of the IANA database such as Europe/Berlin".to_owned()
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

/// Reads a length of time as people write it: `90s`, `15m`, `1h 30m`, `2d` (a day is 24 hours).
pub fn parse_duration(text: &str) -> Result<SignedDuration, TriggerError> {
    let unreadable = |problem: &dyn std::fmt::Display| TriggerError::UnreadableDuration {
        given: text.to_owned(),
        problem: problem.to_string(),
    };
    let span: jiff::Span = text.trim().parse().map_err(|error| unreadable(&error))?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| unreadable(&error))
}

/// Finds a time zone by its IANA name, whatever its case.
fn find_time_zone(name: &str) -> Result<TimeZone, TriggerError> {
    let zone = jiff::tz::db().get(name).ok();
    // A zone without a name could not be stored.
    zone.filter(|zone| zone.iana_name().is_some()).ok_or_else(|| TriggerError::UnknownTimeZone {
        given: name.to_owned(),
        near: similar_time_zones(name),
    })
}

/// Up to five zones whose name, or whose city, is like `name`.
fn similar_time_zones(name: &str) -> Vec<String> {
    /// Below this, names have little more than a few letters in common.
    const ALIKE: f64 = 0.84;

    let wanted = name.to_lowercase().replace(' ', "_");
    let mut scored: Vec<(f64, String)> = jiff::tz::db()
        .available()
        .map(|zone| zone.as_str().to_owned())
        .map(|zone| {
            let lower = zone.to_lowercase();
            let city = lower.rsplit('/').next().unwrap_or(&lower);
            let score = strsim::jaro_winkler(&wanted, &lower).max(strsim::jaro_winkler(&wanted, city));
            (score, zone)
        })
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
    scored.into_iter().take(5).map(|(_, zone)| zone).collect()
}

#[cfg(test)]
mod tests;
