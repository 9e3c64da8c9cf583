//! Triggers by the calendar.

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::{TriggerError, find_time_zone};

/// The nicknames and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields in order, and what each takes. An expression of five fields has no second.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31, L for the last, 15W for the weekday nearest"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT (0 and 7 are Sunday), 5L for the last, 5#2 for the second"),
];

/// A cron expression in a time zone.
///
/// Five fields (minute, hour, day of month, month, day of week), six with the second first, or a
/// nickname such as `@daily`. When both day fields are restricted, a day matches when either does,
/// as in every cron.
///
/// # When the clocks change
///
/// A schedule that names hours (its hour field is anything but all 24) is about times of day:
///
/// - A time that the change skips comes at the first instant after the gap; several such times come
///   together, once.
/// - A time that the change repeats comes once, the first time round.
///
/// A schedule for every hour (`*/15 * * * *`) is about time that passes: in the gap there is nothing
/// to do, and both rounds of a repeated hour count.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: String,
    time_zone: TimeZone,
    // Boxed for its size: a few hundred bytes of bit sets.
    pattern: Box<croner::Cron>,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.time_zone == other.time_zone
    }
}

impl Cron {
    /// Reads `expression`, to be understood in `time_zone` (an IANA name such as `Europe/Berlin`).
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, TriggerError> {
        let pattern = Box::new(parse(expression)?);
        Ok(Self { expression: expression.trim().to_owned(), time_zone: find_time_zone(time_zone)?, pattern })
    }

    /// The expression as it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone's IANA name.
    pub fn time_zone(&self) -> &str {
        // `find_time_zone` lets no zone without a name through.
        self.time_zone.iana_name().unwrap_or("UTC")
    }

    /// See [`Trigger::next_after`](super::Trigger::next_after).
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if self.runs_every_hour() { self.next_instant(after) } else { self.next_time_of_day(after) }
    }

    fn runs_every_hour(&self) -> bool {
        self.pattern.pattern.hours.values().len() == 24
    }

    /// The next instant at which the clock on the wall shows a matching time.
    fn next_instant(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.time_zone.clone());
        let next = self.pattern.find_next_occurrence(&after, false).ok()?;
        Some(next.timestamp())
    }

    /// The instant of the next matching time of day.
    ///
    /// The search walks the calendar, where no time is missing or doubled, and asks for each match
    /// when it comes. That mapping never goes backwards, so the first match that comes after `after`
    /// is the one.
    fn next_time_of_day(&self, after: Timestamp) -> Option<Timestamp> {
        // Matches up to this one come at or before `after`. The reverse does not hold: in the second
        // round of a repeated hour, later ones may have come in the first.
        let mut time = self.time_zone.to_datetime(after);
        loop {
            time = self.pattern.find_next_occurrence(&time, false).ok()?;
            let comes = self.comes_at(time)?;
            if comes > after {
                return Some(comes);
            }
        }
    }

    /// When the time `time` of the calendar comes: the first time round if it is repeated, at the end
    /// of the gap if it is skipped.
    fn comes_at(&self, time: DateTime) -> Option<Timestamp> {
        let ambiguous = self.time_zone.to_ambiguous_timestamp(time);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { .. } => {
                // Read with the offset that is yet to come, a skipped time lies before the change.
                let before_the_gap = ambiguous.earlier().ok()?;
                let change = self.time_zone.following(before_the_gap).next()?;
                Some(change.timestamp())
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
        }
    }
}

/// Parses an expression, or says which field is wrong and why.
fn parse(expression: &str) -> Result<croner::Cron, TriggerError> {
    let given = expression.trim();
    let expanded = expand_nickname(given)?;
    let fields: Vec<&str> = expanded.split_whitespace().collect();
    let first = match fields.len() {
        5 => 1,
        6 => 0,
        found => {
            return Err(TriggerError::CronFieldCount { expression: given.to_owned(), found });
        }
    };
    for (position, (field, (name, takes))) in fields.iter().zip(&FIELDS[first..]).enumerate() {
        check_field(field, first + position).map_err(|problem| TriggerError::CronField {
            position: position + 1,
            name,
            text: (*field).to_owned(),
            problem,
            takes,
        })?;
    }
    let pattern = parser().parse(&fields.join(" ")).map_err(|error| TriggerError::CronExpression {
        expression: given.to_owned(),
        problem: plain(&error),
    })?;
    // No zone matters here: whether 30 February ever comes is a question to the calendar.
    match pattern.find_next_occurrence(&jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0), true) {
        Ok(_) => Ok(pattern),
        Err(_) => Err(TriggerError::CronNever { expression: given.to_owned() }),
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

fn expand_nickname(given: &str) -> Result<&str, TriggerError> {
    if !given.starts_with('@') {
        return Ok(given);
    }
    NICKNAMES
        .iter()
        .find(|(nickname, _)| nickname.eq_ignore_ascii_case(given))
        .map(|(_, expression)| *expression)
        .ok_or_else(|| TriggerError::CronNickname {
            given: given.to_owned(),
            known: NICKNAMES.map(|(nickname, _)| nickname).join(", "),
        })
}

/// Checks one field by itself, with every other field left open: the parser's errors do not say
/// which field they mean.
fn check_field(field: &str, index: usize) -> Result<(), String> {
    let mut fields = ["*"; FIELDS.len()];
    fields[index] = field;
    match parser().parse(&fields.join(" ")) {
        Ok(_) => Ok(()),
        Err(error) => Err(plain(&error)),
    }
}

/// The parser's message without its own name for the kind of error, as the middle of a sentence.
fn plain(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError;
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
