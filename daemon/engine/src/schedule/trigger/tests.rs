//! The times at which triggers come due, and what is said about triggers that are wrong.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The first `count` times of a cron expression after `after`, as the wall clock of the zone shows
/// them, with their offset.
fn wall_times(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let trigger = Trigger::Cron(Cron::new(expression, zone).unwrap());
    let zone = TimeZone::get(zone).unwrap();
    let next = |time| trigger.next_after(Uuid::nil(), time);
    std::iter::successors(next(at(after)), |time| next(*time))
        .take(count)
        .map(|time| time.to_zoned(zone.clone()).strftime("%d %H:%M:%S %:z").to_string())
        .collect()
}

fn refusal(expression: &str) -> String {
    Cron::new(expression, "UTC").unwrap_err().to_string()
}

// Europe/Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on
// 25 October 2026.

#[test]
fn a_time_in_the_gap_comes_once_at_the_first_instant_after_it() {
    assert_eq!(
        wall_times("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        ["28 02:30:00 +01:00", "29 03:00:00 +02:00", "30 02:30:00 +02:00"]
    );
}

#[test]
fn several_times_in_the_gap_and_one_at_its_end_come_together_once() {
    assert_eq!(
        wall_times("*/20 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 4),
        ["29 03:00:00 +02:00", "29 03:20:00 +02:00", "29 03:40:00 +02:00", "30 02:00:00 +02:00"]
    );
}

#[test]
fn a_repeated_time_comes_once_the_first_time_round() {
    assert_eq!(
        wall_times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["25 02:30:00 +02:00", "26 02:30:00 +01:00"]
    );
}

#[test]
fn asking_in_the_second_round_of_a_repeated_hour_does_not_find_the_first_round_again() {
    // 02:15 the second time round; 02:30 has come already, 03:30 has not.
    assert_eq!(
        wall_times("30 2,3 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", 2),
        ["25 03:30:00 +01:00", "26 02:30:00 +01:00"]
    );
}

#[test]
fn a_schedule_for_every_hour_follows_the_time_that_passes() {
    assert_eq!(
        wall_times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["29 01:30:00 +01:00", "29 03:30:00 +02:00"]
    );
    assert_eq!(
        wall_times("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
        ["25 02:30:00 +02:00", "25 02:30:00 +01:00", "25 03:30:00 +01:00"]
    );
}

#[test]
fn new_york_changes_on_its_own_days() {
    assert_eq!(
        wall_times("15 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", 2),
        ["08 03:00:00 -04:00", "09 02:15:00 -04:00"]
    );
    assert_eq!(
        wall_times("15 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2),
        ["01 01:15:00 -04:00", "02 01:15:00 -05:00"]
    );
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    // From 02:00 to 02:30 on 4 October 2026, from 02:00 back to 01:30 on 5 April 2026.
    assert_eq!(
        wall_times("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 2),
        ["04 02:30:00 +11:00", "05 02:15:00 +11:00"]
    );
    assert_eq!(
        wall_times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
        ["05 01:45:00 +11:00", "06 01:45:00 +10:30"]
    );
    assert_eq!(
        wall_times("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:29:00Z", 5),
        [
            "05 01:30:00 +11:00",
            "05 01:45:00 +11:00",
            "05 01:30:00 +10:30",
            "05 01:45:00 +10:30",
            "05 02:00:00 +10:30"
        ]
    );
}

#[test]
fn a_zone_without_daylight_saving_has_the_same_times_all_year() {
    for start in ["2026-03-28T18:00:00Z", "2026-10-24T18:00:00Z"] {
        let times = wall_times("30 2 * * *", "Asia/Kolkata", start, 30);
        assert!(times.iter().all(|time| time.ends_with("02:30:00 +05:30")), "{times:?}");
    }
}

#[test]
fn a_midnight_that_is_skipped_comes_at_one_o_clock() {
    assert_eq!(
        wall_times("@daily", "Asia/Beirut", "2026-03-28T12:00:00Z", 2),
        ["29 01:00:00 +03:00", "30 00:00:00 +03:00"]
    );
}

#[test]
fn a_day_that_is_skipped_comes_at_the_start_of_the_next() {
    // Samoa had no 30 December 2011.
    assert_eq!(
        wall_times("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
        ["29 12:00:00 -10:00", "31 00:00:00 +14:00", "31 12:00:00 +14:00"]
    );
}

#[test]
fn nicknames_seconds_names_and_both_day_fields_are_understood() {
    let first = |expression| wall_times(expression, "UTC", "2026-01-01T00:00:00Z", 2);
    assert_eq!(first("@hourly"), ["01 01:00:00 +00:00", "01 02:00:00 +00:00"]);
    assert_eq!(first("@Daily"), ["02 00:00:00 +00:00", "03 00:00:00 +00:00"]);
    assert_eq!(first("*/30 * * * * *"), ["01 00:00:30 +00:00", "01 00:01:00 +00:00"]);
    assert_eq!(first("0 9 * JAN MON"), ["05 09:00:00 +00:00", "12 09:00:00 +00:00"]);
    // The 4th or a Saturday, whichever comes.
    assert_eq!(first("0 0 4 * 6"), ["03 00:00:00 +00:00", "04 00:00:00 +00:00"]);
}

#[test]
fn a_wrong_expression_is_told_by_field() {
    assert_eq!(
        refusal("0 25 * * *"),
        "field 2 (hour) of the cron expression is \"25\": number out of bounds; it takes 0-23"
    );
    assert!(refusal("61 0 0 * * *").starts_with("field 1 (second) of"));
    assert!(refusal("0 0 * FOO *").starts_with("field 4 (month) of the cron expression is \"FOO\": "));
    assert!(refusal("0 0 32 * *").starts_with("field 3 (day of month) of"));
    assert!(refusal("0 0 * * 1-9").starts_with("field 5 (day of week) of"));
    assert!(refusal("* * * *").contains("has 4 fields; it takes five"));
    assert!(refusal("* * * * * * 2030").contains("has 7 fields"));
    assert!(refusal("").contains("has 0 fields"));
    assert_eq!(
        refusal("@reboot"),
        "\"@reboot\" is not known; the nicknames are @yearly, @annually, @monthly, @weekly, @daily, \
         @midnight, @hourly"
    );
    assert_eq!(refusal("0 0 30 2 *"), "the cron expression \"0 0 30 2 *\" never comes true");
}

#[test]
fn an_unknown_time_zone_is_answered_with_names_like_it() {
    let near = |zone: &str| match Cron::new("@daily", zone).unwrap_err() {
        TriggerError::UnknownTimeZone { near, .. } => near,
        other => panic!("{other}"),
    };
    assert_eq!(near("Europe/Berln")[0], "Europe/Berlin");
    assert_eq!(near("berlin")[0], "Europe/Berlin");
    assert_eq!(near("new york")[0], "America/New_York");
    assert!(near("+02:00").is_empty());
    assert_eq!(Cron::new("@daily", "europe/berlin").unwrap().time_zone(), "Europe/Berlin");
}

#[test]
fn a_single_time_comes_once() {
    let time = at("2026-05-01T00:00:00Z");
    let trigger = Trigger::At(time);
    assert_eq!(trigger.next_after(Uuid::nil(), at("2026-04-01T00:00:00Z")), Some(time));
    assert_eq!(trigger.next_after(Uuid::nil(), time), None);
}

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1h 5s", 3605)] {
        assert_eq!(parse_duration(text).unwrap(), SignedDuration::from_secs(seconds), "{text}");
    }
    for text in ["", "5", "soon", "1month"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    let field = |choices: &[&'static str]| prop::sample::select(choices.to_vec());
    let zone = field(&[
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Beirut",
        "Pacific/Apia",
    ]);
    let minute = field(&["0", "30", "*/20", "15,45", "*"]);
    let hour = field(&["*", "2", "1,2,3", "0", "*/2", "23"]);
    let day = field(&["* * *", "* * SUN", "1 * *", "L * *", "29-31 3,10,12 *"]);
    let cron = (minute, hour, day, zone).prop_map(|(minute, hour, day, zone)| {
        Trigger::Cron(Cron::new(&format!("{minute} {hour} {day}"), zone).unwrap())
    });
    let every = (1..100_000i64, 0..=100i64).prop_map(|(seconds, share)| {
        let interval = SignedDuration::from_secs(seconds);
        let jitter = SignedDuration::from_millis(seconds * share * 10);
        Trigger::Every(Every::new(interval, jitter, Timestamp::UNIX_EPOCH).unwrap())
    });
    prop_oneof![3 => cron, 1 => every]
}

/// Times of the years 2011 to 2026, more often than not near a change of the clocks.
fn any_time() -> impl Strategy<Value = Timestamp> {
    let changes = prop::sample::select(vec![
        "2011-12-30T10:00:00Z", // Apia leaves out a day
        "2026-03-08T07:00:00Z", // New York
        "2026-03-28T22:00:00Z", // Beirut
        "2026-03-29T01:00:00Z", // Berlin
        "2026-04-04T15:00:00Z", // Lord Howe
        "2026-10-03T15:30:00Z",
        "2026-10-25T01:00:00Z",
        "2026-11-01T06:00:00Z",
    ]);
    let hours = -10_800_000_000i64..10_800_000_000; // three, in microseconds
    let near = (changes, hours).prop_map(|(change, micros)| at(change) + SignedDuration::from_micros(micros));
    let anywhere =
        (1_300_000_000..1_790_000_000i64).prop_map(|second| Timestamp::from_second(second).unwrap());
    prop_oneof![3 => near, 1 => anywhere]
}

proptest! {
    /// The next time does not depend on when one asks, as long as it has not come.
    #[test]
    fn asking_at_any_moment_before_the_next_time_finds_it(
        trigger in any_trigger(),
        start in any_time(),
        per_mille in 0..1000i64,
    ) {
        let id = Uuid::from_u128(7);
        let next = trigger.next_after(id, start).unwrap();
        prop_assert!(next > start);
        let part = next.duration_since(start).as_nanos() * i128::from(per_mille) / 1000;
        let later = start + SignedDuration::from_nanos_i128(part);
        prop_assert_eq!(trigger.next_after(id, later), Some(next));
        let just_before = next - SignedDuration::from_nanos(1);
        prop_assert_eq!(trigger.next_after(id, just_before), Some(next));
        prop_assert!(trigger.next_after(id, next).is_none_or(|after| after > next));
    }
}
