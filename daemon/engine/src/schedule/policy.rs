//! What to do about occurrences that were missed, and about runs that would overlap.
//!
//! Pure functions: they are given everything that they decide on.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{ActiveRun, Trigger};

/// How late the latest occurrence may be taken up and still count as on time. It covers a restart of
/// the daemon.
pub const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// How many occurrences [`Missed::All`] makes up for at most: the latest ones.
pub const MOST_MADE_UP: usize = 100;

/// How many runs of one schedule [`Overlap::Queue`] lets wait or run at most.
pub const MOST_QUEUED: usize = 100;

/// Up to here missed occurrences are counted one by one.
const MOST_COUNTED: usize = 10_000;

/// What happens to occurrences that came while the daemon was down or the machine asleep.
/// The first is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Missed {
    /// The latest fires, and stands for them all.
    Once = 0,
    /// Each fires, oldest first; the latest [`MOST_MADE_UP`] of them. The overlap policy applies to
    /// each: with [`Overlap::Skip`], those that follow while the first runs are dropped.
    All = 1,
    /// They are forgotten.
    Skip = 2,
}

/// What happens when a schedule fires while an earlier run of it is still active.
/// The first is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Overlap {
    /// The firing is dropped.
    Skip = 0,
    /// The new run waits until the earlier ones have ended.
    Queue = 1,
    /// The earlier runs are cancelled, and the new one starts when they have ended.
    Replace = 2,
}

/// What is due of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The occurrences to fire, in order.
    pub fire: Vec<Timestamp>,
    /// Those that came and get no firing of their own.
    pub dropped: Option<Dropped>,
    /// The first occurrence that has not come yet.
    pub next: Option<Timestamp>,
}

/// A row of occurrences that get no firing of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// How many they are.
    pub count: u64,
    /// Whether `count` is exact; there are more of them if not.
    pub exact: bool,
    /// When the first of them came.
    pub first: Timestamp,
}

/// Decides what a schedule owes at `now`, given the time stored as its next.
///
/// An occurrence is on time when it is the latest that has come and is not older than [`ON_TIME`];
/// it fires under every policy. The others have been missed.
///
/// Nothing that comes before `next_at` is ever looked at, so a clock that was set back repeats
/// nothing: the schedule waits until its stored next time comes (again).
pub fn due(trigger: &Trigger, id: Uuid, next_at: Timestamp, now: Timestamp, missed: Missed) -> Due {
    if next_at > now {
        return Due { fire: Vec::new(), dropped: None, next: Some(next_at) };
    }
    let most = match missed {
        Missed::Once | Missed::Skip => 1,
        Missed::All => MOST_MADE_UP,
    };
    let Past { mut latest, count, exact } = past(trigger, id, next_at, now, most);
    let next = trigger.next_after(id, latest.back().copied().unwrap_or(now));
    if missed == Missed::Skip {
        latest.retain(|time| now.duration_since(*time) <= ON_TIME);
    }
    let dropped = count - latest.len() as u64;
    Due {
        fire: latest.into(),
        dropped: (dropped > 0).then_some(Dropped { count: dropped, exact, first: next_at }),
        next,
    }
}

/// The occurrences from some time up to now.
struct Past {
    /// The last few of them, in order.
    latest: VecDeque<Timestamp>,
    /// How many they are in all, if `exact`; else there are more.
    count: u64,
    exact: bool,
}

/// Lists the occurrences from `first` (which is one) to `now`, and keeps the latest `most`.
fn past(trigger: &Trigger, id: Uuid, first: Timestamp, now: Timestamp, most: usize) -> Past {
    let until_now = |from: Option<Timestamp>| {
        std::iter::successors(from, |time| trigger.next_after(id, *time)).take_while(|time| *time <= now)
    };
    let keep_latest = |times: &mut dyn Iterator<Item = Timestamp>| {
        let mut latest = VecDeque::with_capacity(most);
        let mut count = 0;
        for time in times {
            if latest.len() == most {
                latest.pop_front();
            }
            latest.push_back(time);
            count += 1;
        }
        (latest, count)
    };

    let (latest, count) = keep_latest(&mut until_now(Some(first)).take(MOST_COUNTED));
    if count < MOST_COUNTED as u64 {
        return Past { latest, count, exact: true };
    }
    // A long absence of a frequent schedule. Rather than walk through all of it, look back from now,
    // twice as far each time, until enough is in view.
    let mut back = SignedDuration::from_mins(1);
    loop {
        let from = now.saturating_sub(back).map_or(first, |from| from.max(first));
        let (latest, seen) = keep_latest(&mut until_now(trigger.next_after(id, from)));
        if seen >= most as u64 || from == first {
            return Past { latest, count, exact: false };
        }
        back = back.saturating_mul(2);
    }
}

/// What to do with a firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Start its run.
    Start,
    /// Drop it, because this run is active.
    Skip(Uuid),
    /// Start its run, to wait for this one.
    Queue(Uuid),
    /// Cancel these runs, then start its run, to wait for the last of them.
    Replace {
        /// The runs to cancel.
        cancel: Vec<Uuid>,
        /// The run to wait for.
        after: Uuid,
    },
}

/// Decides about a firing while the runs `active` of its schedule, oldest first, have not ended.
///
/// A run that carries the firing's own `request_id` shows that it has been started before, only that
/// nobody heard of it; starting it again finds that run.
pub fn overlap(policy: Overlap, active: &[ActiveRun], request_id: &str) -> Decision {
    if active.iter().any(|run| run.request_id == request_id) {
        return Decision::Start;
    }
    let Some(newest) = active.last().map(|run| run.id) else {
        return Decision::Start;
    };
    match policy {
        Overlap::Skip => Decision::Skip(newest),
        Overlap::Queue if active.len() >= MOST_QUEUED => Decision::Skip(newest),
        Overlap::Queue => Decision::Queue(newest),
        Overlap::Replace => {
            Decision::Replace { cancel: active.iter().map(|run| run.id).collect(), after: newest }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Cron, Every};
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn every(interval: SignedDuration) -> Trigger {
        let anchor = at("2026-01-01T00:00:00Z");
        Trigger::Every(Every::new(interval, SignedDuration::ZERO, anchor).unwrap())
    }

    fn hourly_due(now: &str, missed: Missed) -> Due {
        let next_at = at("2026-01-01T01:00:00Z");
        due(&every(SignedDuration::from_hours(1)), Uuid::nil(), next_at, at(now), missed)
    }

    #[test]
    fn nothing_is_due_before_its_time_even_if_the_clock_went_back_a_year() {
        for now in ["2026-01-01T00:59:59Z", "2025-01-01T00:00:00Z"] {
            let due = hourly_due(now, Missed::All);
            assert_eq!((due.fire, due.dropped), (vec![], None));
            assert_eq!(due.next, Some(at("2026-01-01T01:00:00Z")));
        }
    }

    #[test]
    fn an_occurrence_on_time_fires_under_every_policy() {
        for missed in [Missed::Once, Missed::All, Missed::Skip] {
            let due = hourly_due("2026-01-01T01:01:00Z", missed);
            assert_eq!(due.fire, [at("2026-01-01T01:00:00Z")], "{missed:?}");
            assert_eq!(due.dropped, None);
            assert_eq!(due.next, Some(at("2026-01-01T02:00:00Z")));
        }
    }

    #[test]
    fn after_an_absence_each_policy_does_what_it_says() {
        let now = "2026-01-01T03:30:00Z";
        let dropped = |count| Some(Dropped { count, exact: true, first: at("2026-01-01T01:00:00Z") });
        let next = Some(at("2026-01-01T04:00:00Z"));

        let once = hourly_due(now, Missed::Once);
        assert_eq!(once.fire, [at("2026-01-01T03:00:00Z")]);
        assert_eq!((once.dropped, once.next), (dropped(2), next));

        let all = hourly_due(now, Missed::All);
        let hours = ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z"];
        assert_eq!(all.fire, hours.map(at));
        assert_eq!((all.dropped, all.next), (None, next));

        let skip = hourly_due(now, Missed::Skip);
        assert_eq!(skip.fire, []);
        assert_eq!((skip.dropped, skip.next), (dropped(3), next));
    }

    #[test]
    fn skip_still_fires_the_one_that_is_on_time_after_an_absence() {
        let due = hourly_due("2026-01-01T03:00:30Z", Missed::Skip);
        assert_eq!(due.fire, [at("2026-01-01T03:00:00Z")]);
        assert_eq!(due.dropped.unwrap().count, 2);
    }

    #[test]
    fn all_makes_up_for_the_latest_hundred_and_tells_how_many_it_dropped() {
        let due = hourly_due("2026-01-08T00:00:00Z", Missed::All);
        assert_eq!(due.fire.len(), MOST_MADE_UP);
        assert_eq!(due.fire.last(), Some(&at("2026-01-08T00:00:00Z")));
        assert_eq!(due.dropped.unwrap().count, 7 * 24 - 100);
    }

    #[test]
    fn ten_years_of_a_schedule_for_every_second_are_not_walked_through() {
        let now = at("2036-01-01T00:00:00Z");
        let next_at = at("2026-01-01T00:00:01Z");
        for trigger in [
            every(SignedDuration::from_secs(1)),
            Trigger::Cron(Cron::new("* * * * * *", "Europe/Berlin").unwrap()),
        ] {
            let due = due(&trigger, Uuid::nil(), next_at, now, Missed::All);
            assert_eq!(due.fire.len(), MOST_MADE_UP);
            assert_eq!(due.fire.last(), Some(&now));
            assert_eq!(due.next, Some(at("2036-01-01T00:00:01Z")));
            assert!(!due.dropped.unwrap().exact);
        }
    }

    #[test]
    fn the_latest_are_found_however_far_back_they_are() {
        let cron = Cron::new("* * 2 * * *", "UTC").unwrap();
        let (next_at, now) = (at("2026-01-01T02:00:00Z"), at("2026-01-11T01:00:00Z"));
        let due = due(&Trigger::Cron(cron), Uuid::nil(), next_at, now, Missed::All);
        assert_eq!(due.fire.len(), MOST_MADE_UP);
        assert_eq!(due.fire.last(), Some(&at("2026-01-10T02:59:59Z")));
        assert_eq!(due.next, Some(at("2026-01-11T02:00:00Z")));
    }

    fn active(count: u128) -> Vec<ActiveRun> {
        let run = |number| ActiveRun { id: Uuid::from_u128(number), request_id: format!("request {number}") };
        (1..=count).map(run).collect()
    }

    #[test]
    fn without_an_active_run_every_policy_starts() {
        for policy in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            assert_eq!(overlap(policy, &[], "new"), Decision::Start);
        }
    }

    #[test]
    fn with_active_runs_each_policy_does_what_it_says() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(overlap(Overlap::Skip, &active(2), "new"), Decision::Skip(second));
        assert_eq!(overlap(Overlap::Queue, &active(2), "new"), Decision::Queue(second));
        assert_eq!(
            overlap(Overlap::Replace, &active(2), "new"),
            Decision::Replace { cancel: vec![first, second], after: second }
        );
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let newest = Uuid::from_u128(MOST_QUEUED as u128);
        assert_eq!(overlap(Overlap::Queue, &active(MOST_QUEUED as u128), "new"), Decision::Skip(newest));
    }

    #[test]
    fn a_firing_does_not_get_in_its_own_way() {
        for policy in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            assert_eq!(overlap(policy, &active(2), "request 1"), Decision::Start);
        }
    }
}
