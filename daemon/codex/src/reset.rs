//! The times in messages such as "try again at 10:39 PM" and "try again in 3 days 2 hours".
//!
//! Codex writes a time of day when it is on the same day, and else a date with it, both in its local
//! time zone; other releases, and rate limits, say how long it takes.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// A reset that is not further back than this is the one that is meant: messages leave the seconds
/// out, and take a moment to arrive.
const SLACK: SignedDuration = SignedDuration::from_mins(2);

/// The longest wait that is believed.
const LONGEST_WAIT: f64 = 400.0 * 86_400.0;

/// How many words a date with a time has, at most.
const WORDS_OF_A_TIME: usize = 6;

/// When the message says one may try again. `now` is when the message was written.
pub(crate) fn reset_time(message: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(wait) = wait_of(message) {
        return now.checked_add(wait).ok();
    }
    let (_, rest) = split_ignoring_case(message, "try again at ")?;
    let words: Vec<&str> = rest.split_whitespace().take(WORDS_OF_A_TIME).collect();
    // What follows the time is unknown, so the longest run of words that is a time counts.
    (1..=words.len())
        .rev()
        .find_map(|count| moment(words[..count].join(" ").trim_end_matches(['.', ',', ';']), now, zone))
}

/// How long the message says to wait: `1.5s`, `20ms`, `1m30s`, `3 days 2 hours`.
pub(crate) fn wait_of(message: &str) -> Option<SignedDuration> {
    let (_, mut rest) = split_ignoring_case(message, "try again in ")?;
    let mut seconds = None;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
        let (number, after) = split_while(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_while(after.trim_start(), char::is_alphabetic);
        let Some(part) = number.parse::<f64>().ok().zip(seconds_of(unit)).map(|(number, unit)| number * unit)
        else {
            break;
        };
        seconds = Some(seconds.unwrap_or(0.0) + part);
        rest = after;
    }
    seconds
        .filter(|seconds| *seconds <= LONGEST_WAIT)
        .and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok())
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 7.0 * 86_400.0,
        _ => return None,
    })
}

fn moment(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let in_zone = |moment: DateTime| moment.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    if let Ok(date) = DateTime::strptime("%b %d, %Y %I:%M %p", without_ordinal(text)) {
        return in_zone(date);
    }
    let time =
        ["%I:%M %p", "%I:%M%p", "%H:%M"].into_iter().find_map(|format| Time::strptime(format, text).ok())?;
    let today = now.to_zoned(zone.clone()).date();
    let moment = in_zone(today.to_datetime(time))?;
    if moment >= now - SLACK {
        return Some(moment);
    }
    in_zone(today.checked_add(1.day()).ok()?.to_datetime(time))
}

/// `Nov 24th, 2026` without the `th`.
fn without_ordinal(text: &str) -> String {
    let Some((day, rest)) = text.split_once(',') else {
        return text.to_owned();
    };
    let day = ["st", "nd", "rd", "th"].into_iter().find_map(|suffix| day.strip_suffix(suffix)).unwrap_or(day);
    format!("{day},{rest}")
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn split_ignoring_case<'a>(text: &'a str, needle: &str) -> Option<(&'a str, &'a str)> {
    let at = text
        .as_bytes()
        .windows(needle.len())
        .position(|window| window.eq_ignore_ascii_case(needle.as_bytes()))?;
    // The needle is ASCII, so both ends are character boundaries.
    Some((&text[..at], &text[at + needle.len()..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reset(message: &str, now: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).unwrap();
        let reset = reset_time(message, now.parse().unwrap(), &zone)?;
        Some(reset.to_zoned(zone).to_string())
    }

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let at =
            |now| reset("purchase more credits or try again at 10:39 PM.", now, "Europe/Berlin").unwrap();
        assert_eq!(at("2026-11-20T18:00:00Z"), "2026-11-20T22:39:00+01:00[Europe/Berlin]");
        assert_eq!(at("2026-11-20T22:30:00Z"), "2026-11-21T22:39:00+01:00[Europe/Berlin]");
    }

    #[test]
    fn a_time_that_passed_in_this_minute_is_not_tomorrow() {
        let at = reset("Try again at 10:39 PM.", "2026-11-20T22:39:40Z", "UTC").unwrap();
        assert_eq!(at, "2026-11-20T22:39:00+00:00[UTC]");
    }

    #[test]
    fn a_date_with_an_ordinal_is_read() {
        for day in ["Nov 24th, 2026 1:05 AM", "nov 24, 2026 01:05 am"] {
            let at = reset(&format!("or try again at {day}."), "2026-11-20T12:00:00Z", "America/New_York")
                .unwrap();
            assert_eq!(at, "2026-11-24T01:05:00-05:00[America/New_York]");
        }
    }

    #[test]
    fn a_wait_is_added_to_the_time_of_the_message() {
        let at = |message: &str| reset(message, "2026-11-20T12:00:00Z", "UTC").unwrap();
        assert_eq!(at("Try again in 3 days 2 hours."), "2026-11-23T14:00:00+00:00[UTC]");
        assert_eq!(
            at("try again in 1 hour, 2 minutes and 3 seconds or so"),
            "2026-11-20T13:02:03+00:00[UTC]"
        );
    }

    #[test]
    fn waits_come_in_many_units() {
        let wait = |text: &str| wait_of(&format!("Please try again in {text}"));
        assert_eq!(wait("1.5s."), Some(SignedDuration::from_millis(1500)));
        assert_eq!(wait("20ms."), Some(SignedDuration::from_millis(20)));
        assert_eq!(wait("1m30s"), Some(SignedDuration::from_secs(90)));
        assert_eq!(wait("35 seconds."), Some(SignedDuration::from_secs(35)));
    }

    #[test]
    fn what_is_no_time_gives_none() {
        for text in [
            "",
            "try again at",
            "try again at the weekend",
            "try again at 25:99 PM",
            "try again in a moment",
            "try again in 1e999 days",
            "try again in 99999999999999 days",
            "try again in . s",
            "TRY AGAIN IN ä",
        ] {
            assert_eq!(reset(text, "2026-11-20T12:00:00Z", "UTC"), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_is_read_all_the_same() {
        let at = reset("try again at 2:30 AM", "2026-03-29T00:00:00Z", "Europe/Berlin").unwrap();
        assert_eq!(at, "2026-03-29T03:30:00+02:00[Europe/Berlin]");
    }
}
