//! What people type: durations, sizes, times, and pairs of all sorts.
//!
//! Each function is a value parser for clap; its error is the rest of a
//! sentence that clap begins.

mod reference;

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use nix::sys::signal::Signal;

pub(crate) use reference::{Retry, after, lease, retry, secret};

/// "90s", "10m", "1h30m", "2d", or a plain number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write such as 90s, 10m, 1h30m or 2d");
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let span: Span = if plain { format!("{text}s") } else { text.to_owned() }.parse().map_err(|_| wrong())?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let span = Duration::try_from(span).map_err(|_| format!("{text:?} lies in the past"))?;
    if span.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(span)
}

/// "500", "64k", "10MB", "1GiB": K, M, G and KiB, MiB, GiB count by 1024;
/// KB, MB, GB by 1000, as GNU tools do.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write such as 500, 64K, 10MB or 1GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is larger than any disk"))
}

/// A point in time: RFC 3339, or a local date and time ("2026-11-21 14:00").
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time; write such as 2026-11-21T14:00:00Z or \"2026-11-21 14:00\"");
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let local: DateTime = text.parse().map_err(|_| wrong())?;
    local.to_zoned(TimeZone::system()).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
}

/// A point in time, or how long ago it was ("2h").
pub(crate) fn past(text: &str) -> Result<Timestamp, String> {
    match duration(text) {
        Ok(span) => Timestamp::now().checked_sub(span).map_err(|_| format!("{text:?} is before all time")),
        Err(_) => time(text).map_err(|wrong| format!("{wrong}, or how long ago: 2h, 3d")),
    }
}

/// A point in time, or how soon it is ("+10m").
pub(crate) fn future(text: &str) -> Result<Timestamp, String> {
    match text.strip_prefix('+') {
        Some(span) => {
            Timestamp::now().checked_add(duration(span)?).map_err(|_| format!("{text:?} is after all time"))
        }
        None => time(text).map_err(|wrong| format!("{wrong}, or how soon: +10m")),
    }
}

/// "KEY=VALUE", split at the first equals sign.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

/// A signal by name, with or without SIG, or by number.
pub(crate) fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number)
            .map(|signal| signal as i32)
            .map_err(|_| format!("there is no signal {number}"));
    }
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse::<Signal>()
        .map(|signal| signal as i32)
        .map_err(|_| format!("there is no signal {text:?}; write such as INT, TERM or HUP"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "soon", "10 parsecs", "-5m", "0", "0s", "1mo"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_count_by_1000_or_1024_as_gnu_tools_do() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("64k", 65_536),
            ("10MB", 10_000_000),
            ("10MiB", 10_485_760),
            ("10M", 10_485_760),
            ("1 GiB", 1 << 30),
            ("2b", 2),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "1.5G", "-1", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_rfc_3339_or_local() {
        assert_eq!(time("2026-11-21T14:00:00Z").unwrap().to_string(), "2026-11-21T14:00:00Z");
        assert_eq!(time("2026-11-21T14:00:00+02:00").unwrap().to_string(), "2026-11-21T12:00:00Z");
        assert!(time("2026-11-21 14:00").is_ok());
        assert!(time("2026-11-21").is_ok());
        assert!(time("tomorrow").is_err());
    }

    #[test]
    fn the_past_and_the_future_can_be_relative() {
        assert!(past("2h").unwrap() < Timestamp::now());
        assert!(future("+2h").unwrap() > Timestamp::now());
        assert!(future("2h").is_err());
    }

    #[test]
    fn a_pair_splits_at_the_first_equals_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(pair("A="), Ok(("A".into(), String::new())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }

    #[test]
    fn a_signal_has_a_name_or_a_number() {
        for text in ["INT", "sigint", "SIGINT", "2"] {
            assert_eq!(signal(text), Ok(2), "{text}");
        }
        assert!(signal("NOPE").is_err() && signal("0").is_err() && signal("999").is_err());
    }
}
