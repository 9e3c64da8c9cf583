//! Triggers that come a fixed time apart.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::TriggerError;

/// The shortest interval that is accepted.
pub const SHORTEST_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// Again and again, a fixed time apart.
///
/// Occurrence number *k* (from 0) is due at `anchor + k · interval`, plus its jitter. The phase
/// therefore hangs on the anchor alone: neither a restart nor a late firing shifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    interval: SignedDuration,
    jitter: SignedDuration,
    anchor: Timestamp,
}

impl Every {
    /// Every `interval` from `anchor` on, each time up to `jitter` later.
    ///
    /// The delay differs from occurrence to occurrence but is a pure function of the schedule's id
    /// and the occurrence. It is a whole number of milliseconds, below `jitter`; `jitter` must not
    /// exceed the interval, so that occurrences keep their order.
    pub fn new(
        interval: SignedDuration,
        jitter: SignedDuration,
        anchor: Timestamp,
    ) -> Result<Self, TriggerError> {
        if interval < SHORTEST_INTERVAL {
            return Err(TriggerError::IntervalTooShort { given: interval });
        }
        if jitter.is_negative() || jitter > interval {
            return Err(TriggerError::JitterOutOfRange { jitter, interval });
        }
        Ok(Self { interval, jitter, anchor })
    }

    /// The time from one occurrence to the next.
    pub fn interval(&self) -> SignedDuration {
        self.interval
    }

    /// The longest delay of an occurrence, exclusive; zero for none.
    pub fn jitter(&self) -> SignedDuration {
        self.jitter
    }

    /// When occurrence number 0 is due.
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// See [`Trigger::next_after`](super::Trigger::next_after).
    pub(super) fn next_after(&self, id: Uuid, after: Timestamp) -> Option<Timestamp> {
        let elapsed = after.duration_since(self.anchor).as_nanos();
        // The occurrence whose interval `after` lies in: its jitter may still carry it past
        // `after`, and if not, the one behind it is certainly later.
        let current = elapsed.div_euclid(self.interval.as_nanos()).max(0);
        [current, current + 1].into_iter().filter_map(|number| self.due(id, number)).find(|due| *due > after)
    }

    /// When occurrence `number` is due; `None` beyond the end of the calendar.
    fn due(&self, id: Uuid, number: i128) -> Option<Timestamp> {
        let offset = number.checked_mul(self.interval.as_nanos())?;
        let nanos = self.anchor.as_nanosecond().checked_add(offset)?;
        let nominal = Timestamp::from_nanosecond(nanos).ok()?;
        nominal.checked_add(self.delay(id, nominal)).ok()
    }

    /// The jitter of the occurrence that is nominally due at `nominal`.
    ///
    /// From a hash rather than a random source, so that it is the same after a restart, and from
    /// one whose definition is fixed, so that it is the same after an upgrade.
    fn delay(&self, id: Uuid, nominal: Timestamp) -> SignedDuration {
        let Ok(range @ 1..) = u64::try_from(self.jitter.as_millis()) else {
            return SignedDuration::ZERO;
        };
        let digest = Sha256::new()
            .chain_update(id.as_bytes())
            .chain_update(nominal.as_nanosecond().to_be_bytes())
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        let millis = u64::from_be_bytes(first) % range;
        SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ID: Uuid = Uuid::from_u128(0x0199_8f6e_57a1_7c3d_8000_0000_0000_0001);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(every: &Every, id: Uuid, after: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(every.next_after(id, after), |time| every.next_after(id, *time))
            .take(count)
            .collect()
    }

    #[test]
    fn the_phase_hangs_on_the_anchor_and_not_on_the_time_of_asking() {
        let every =
            Every::new(SignedDuration::from_mins(10), SignedDuration::ZERO, at("2026-01-01T00:03:00Z"))
                .unwrap();
        assert_eq!(
            times(&every, ID, at("2026-01-01T00:15:59Z"), 2),
            [at("2026-01-01T00:23:00Z"), at("2026-01-01T00:33:00Z")]
        );
        assert_eq!(every.next_after(ID, at("2026-01-01T00:23:00Z")), Some(at("2026-01-01T00:33:00Z")));
    }

    #[test]
    fn an_anchor_in_the_future_is_the_first_occurrence() {
        let anchor = at("2026-01-02T00:00:00Z");
        let every = Every::new(SignedDuration::from_mins(10), SignedDuration::ZERO, anchor).unwrap();
        assert_eq!(every.next_after(ID, at("2026-01-01T00:00:00Z")), Some(anchor));
    }

    #[test]
    fn jitter_is_the_same_on_every_asking_and_differs_between_schedules() {
        let anchor = at("2026-01-01T00:00:00Z");
        let hour = SignedDuration::from_hours(1);
        let every = Every::new(hour, hour, anchor).unwrap();
        let first = times(&every, ID, anchor, 50);
        assert_eq!(first, times(&every, ID, anchor, 50));
        assert_ne!(first, times(&every, Uuid::from_u128(2), anchor, 50));

        // Pinned, because a restarted or upgraded daemon must arrive at the same time.
        assert_eq!(first[0].to_string(), "2026-01-01T00:03:48.121Z");
    }

    #[test]
    fn each_occurrence_keeps_its_place_whatever_its_jitter() {
        let anchor = at("2026-01-01T00:00:00Z");
        let hour = SignedDuration::from_hours(1);
        let every = Every::new(hour, hour, anchor).unwrap();
        let mut start = anchor - SignedDuration::from_nanos(1);
        for time in times(&every, ID, start, 500) {
            let nominal = start + SignedDuration::from_nanos(1);
            assert!((nominal..nominal + hour).contains(&time));
            start += hour;
        }
    }

    #[test]
    fn intervals_and_jitters_out_of_range_are_refused() {
        let anchor = at("2026-01-01T00:00:00Z");
        let second = SignedDuration::from_secs(1);
        let refusal = |interval, jitter| Every::new(interval, jitter, anchor).unwrap_err().to_string();
        assert_eq!(
            refusal(SignedDuration::from_millis(999), SignedDuration::ZERO),
            "an interval of 999ms is too short; the shortest is 1s"
        );
        assert_eq!(
            refusal(second * 60, second * 61),
            "a jitter of 1m 1s does not fit an interval of 1m; it must be between zero and the interval"
        );
        assert!(Every::new(second, -second, anchor).is_err());
    }
}
