//! Times and durations: exact for programs, in a glance for people.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The wire's time as a point in time. Absent and impossible ones are none.
pub(crate) fn timestamp(wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    wire.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

/// RFC 3339, in UTC.
pub(crate) fn rfc3339(wire: Option<&prost_types::Timestamp>) -> Option<String> {
    timestamp(wire).map(|time| time.to_string())
}

/// A point in time for the wire.
pub(crate) fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// A wire duration in seconds.
#[expect(clippy::cast_precision_loss, reason = "a span of seconds far below 2^52")]
pub(crate) fn seconds(wire: Option<&prost_types::Duration>) -> Option<f64> {
    wire.map(|span| span.seconds as f64 + f64::from(span.nanos) / 1e9)
}

/// A duration for the wire.
pub(crate) fn span_to_wire(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A wire duration for people, to the last digit: "1h 30m", "90ms".
pub(crate) fn exact(wire: &prost_types::Duration) -> String {
    format!("{:#}", SignedDuration::new(wire.seconds, wire.nanos))
}

/// "3m ago", "in 2h", "now"; "-" for none.
pub(crate) fn relative(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let ahead = time.duration_since(now);
    if ahead.abs() < SignedDuration::from_secs(1) {
        return "now".to_owned();
    }
    if ahead.is_negative() { format!("{} ago", rough(ahead.abs())) } else { format!("in {}", rough(ahead)) }
}

/// A local time for people, to the second.
pub(crate) fn local(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A duration in its two largest units: "1h 4m", "3.2s", "12ms".
pub(crate) fn rough(span: SignedDuration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis / 100),
        10..60 => format!("{seconds}s"),
        60..600 => format!("{minutes}m {}s", seconds % 60),
        600..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        86_400..864_000 => format!("{days}d {}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_time_on_the_wire_becomes_rfc_3339() {
        let wire = prost_types::Timestamp { seconds: 1_795_260_614, nanos: 120_000_000 };
        assert_eq!(rfc3339(Some(&wire)).as_deref(), Some("2026-11-21T11:30:14.12Z"));
        assert_eq!(rfc3339(None), None);
        let impossible = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(rfc3339(Some(&impossible)), None);
        assert_eq!(to_wire(timestamp(Some(&wire)).unwrap()), wire);
    }

    #[test]
    fn people_see_how_long_ago_or_how_soon() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let at = |text: &str| Some(text.parse().unwrap());
        assert_eq!(relative(at("2026-11-21T11:57:00Z"), now), "3m 0s ago");
        assert_eq!(relative(at("2026-11-22T14:00:00Z"), now), "in 1d 2h");
        assert_eq!(relative(at("2026-11-21T12:00:00.4Z"), now), "now");
        assert_eq!(relative(None, now), "-");
    }

    #[test]
    fn a_duration_shows_two_units() {
        for (millis, words) in [
            (12, "12ms"),
            (3_250, "3.2s"),
            (59_000, "59s"),
            (3_599_000, "59m"),
            (3_840_000, "1h 4m"),
            (86_400_000 * 12, "12d"),
        ] {
            assert_eq!(rough(SignedDuration::from_millis(millis)), words);
        }
    }

    #[test]
    fn a_limit_is_shown_as_it_would_be_typed() {
        let shown = |seconds, nanos| exact(&prost_types::Duration { seconds, nanos });
        assert_eq!([shown(3600, 0), shown(90, 0), shown(0, 500_000_000)], ["1h", "1m 30s", "500ms"]);
    }
}
