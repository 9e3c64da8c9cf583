//! The time in a corpus, which has nothing to do with that of its making.

use jiff::Timestamp;

/// When the first session of a corpus begins: 2026-01-05T07:00:00Z.
pub(crate) const BEGINNING: i64 = 1_767_596_400_000;

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Clock(pub(crate) i64);

impl Clock {
    pub(crate) fn pass(&mut self, millis: u64) {
        self.0 = self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX));
    }

    /// As Codex writes it: UTC, milliseconds.
    pub(crate) fn text(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// As the earlier tool's demo writes it: UTC, seconds.
    pub(crate) fn seconds(self) -> String {
        format!("{:.0}", self.timestamp())
    }

    /// The directory of a rollout that begins now, below `sessions`.
    pub(crate) fn day(self) -> String {
        self.timestamp().strftime("%Y/%m/%d").to_string()
    }

    /// The time in a rollout's file name.
    pub(crate) fn file_name(self) -> String {
        self.timestamp().strftime("%Y-%m-%dT%H-%M-%S").to_string()
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_forms_of_the_files() {
        let clock = Clock(BEGINNING + 7);
        assert_eq!(clock.text(), "2026-01-05T07:00:00.007Z");
        assert_eq!(clock.seconds(), "2026-01-05T07:00:00Z");
        assert_eq!(clock.day(), "2026/01/05");
        assert_eq!(clock.file_name(), "2026-01-05T07-00-00");
    }
}
