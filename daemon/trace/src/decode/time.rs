//! Times as the formats write them.

use jiff::Timestamp;

/// The minute of the time that was read last: nearly all of a file's lines are of the same one as the line before, so
/// only what may differ is read.
#[derive(Debug, Default)]
pub(super) struct Minute {
    /// What a time of that minute begins with, such as `"2026-03-02T08:00:`.
    begins: [u8; 18],
    /// When it began, in seconds since the epoch.
    start: i64,
}

impl Minute {
    /// Reads a quoted time of this minute with milliseconds. None for any other, which may be a time all the same.
    #[inline]
    pub(super) fn moment(&self, quoted: &[u8; 26]) -> Option<Timestamp> {
        let (begins, rest) = quoted.split_first_chunk()?;
        let &[s0, s1, b'.', f0, f1, f2, b'Z', b'"'] = rest else { return None };
        if *begins != self.begins {
            return None;
        }
        let (second, millis) = (digits(&[s0, s1])?, digits(&[f0, f1, f2])?);
        if second > 59 {
            return None;
        }
        Timestamp::new(self.start + i64::from(second), i32::try_from(millis).ok()? * 1_000_000).ok()
    }

    /// Reads a time that may be of another minute, which is the one from now on.
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<Timestamp> {
        let time = canonical(text);
        if let Some(time) = time
            && let Some(begins) = text.first_chunk::<17>()
        {
            self.begins[0] = b'"';
            self.begins[1..].copy_from_slice(begins);
            self.start = time.as_second() - time.as_second().rem_euclid(60);
        }
        time.or_else(|| parse(text))
    }
}

/// Reads RFC 3339. None for what is no time: a clock may say anything.
pub(super) fn parse(text: &[u8]) -> Option<Timestamp> {
    canonical(text).or_else(|| std::str::from_utf8(text).ok()?.trim().parse().ok())
}

/// Reads `2026-03-02T08:00:00Z` and `2026-03-02T08:00:00.014Z`, as nearly all records have it.
fn canonical(text: &[u8]) -> Option<Timestamp> {
    let (text, fraction) = match text.len() {
        20 => (text.strip_suffix(b"Z")?, 0),
        24 => {
            let (whole, fraction) = text.strip_suffix(b"Z")?.split_at_checked(19)?;
            (whole, digits(fraction.strip_prefix(b".")?)?)
        }
        _ => return None,
    };
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = text else {
        return None;
    };
    let (year, month, day) = (digits(&[y0, y1, y2, y3])?, digits(&[m0, m1])?, digits(&[d0, d1])?);
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[i0, i1])?, digits(&[s0, s1])?);
    // Whatever is rare (a leap second, a day that does not exist) is left to the calendar of the library.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) && !exists(year, month, day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_epoch(i64::from(year), i64::from(month), i64::from(day));
    let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
    Timestamp::new(seconds, i32::try_from(fraction).ok()? * 1_000_000).ok()
}

#[inline]
fn digits(text: &[u8]) -> Option<u32> {
    text.iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

fn exists(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=last).contains(&day)
}

/// Days from 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the day that comes
/// and goes is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_quick_way_says_what_the_library_says() {
        for day in 0..=365 * 420 / 7 {
            let time =
                Timestamp::from_millisecond(-11_676_096_000_000 + day * 7 * 86_400_000 + day * 997).unwrap();
            let text = format!("{time:.3}");
            assert_eq!(canonical(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn a_time_of_the_same_minute_is_read_as_any_other() {
        let mut minute = Minute::default();
        let quoted = |text: &str| format!("\"{text}\"").into_bytes().try_into().unwrap();
        for (before, text) in [
            ("2026-03-02T08:00:00.000Z", "2026-03-02T08:00:59.999Z"),
            ("2026-03-02T08:01:00Z", "2026-03-02T08:01:00.014Z"),
            ("1969-12-31T23:59:58.500Z", "1969-12-31T23:59:01.250Z"),
            ("0001-01-01T00:00:30.001Z", "0001-01-01T00:00:00.999Z"),
        ] {
            assert_eq!(minute.moment(&quoted(text)), None, "{text}: the minute is another");
            assert_eq!(minute.parse(before.as_bytes()), parse(before.as_bytes()));
            assert_eq!(minute.moment(&quoted(text)), Some(text.parse().unwrap()));
        }
        for other in [
            "0001-01-01T00:00:60.000Z",
            "0001-01-01T00:00:0x.000Z",
            "0001-01-01T00:00:00.0000",
            "0001-01-01T00:01:00.000Z",
        ] {
            assert_eq!(minute.moment(&quoted(other)), None, "{other}");
        }
    }

    #[test]
    fn all_usual_forms_are_times() {
        for (text, expected) in [
            ("2026-03-02T08:00:00Z", "2026-03-02T08:00:00Z"),
            ("2026-03-02T08:00:00.014Z", "2026-03-02T08:00:00.014Z"),
            ("2026-03-02T08:00:00.014159Z", "2026-03-02T08:00:00.014159Z"),
            ("2026-03-02T09:00:00+01:00", "2026-03-02T08:00:00Z"),
            (" 2026-03-02 08:00:00Z", "2026-03-02T08:00:00Z"),
            ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "Z",
            "yesterday",
            "2026-13-02T08:00:00Z",
            "2025-02-29T08:00:00Z",
            "2026-03-02T25:00:00Z",
            "2026-03-02T08:61:00Z",
            "0000-00-00T00:00:00Z",
            "2026-03-02T08:00:00.-14Z",
            "99999-01-01T00:00:00Z",
            "+026-03-02T08:00:00Z",
            "2026-03-02T08:00:00",
            "1767225600",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
