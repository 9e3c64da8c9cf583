//! Numbers that were there, to find those that come again.

use std::collections::BTreeMap;

/// How many ranges are remembered. An orderly session is one.
const RANGES: usize = 65_536;

/// A set of numbers, kept as ranges.
#[derive(Default)]
pub(super) struct Numbers {
    /// The last number of each range, by its first.
    ranges: BTreeMap<u64, u64>,
}

impl Numbers {
    /// Adds a number. False if it was there already.
    pub(super) fn add(&mut self, number: u64) -> bool {
        let before = self.ranges.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let first =
            before.filter(|(_, last)| last.checked_add(1) == Some(number)).map_or(number, |(first, _)| first);
        let after = number.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, after.unwrap_or(number));
        if self.ranges.len() > RANGES {
            // What is forgotten can only be taken for new.
            self.ranges.pop_first();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(prop_oneof![0_u64..40, Just(u64::MAX), Just(u64::MAX - 1)], 0..100)) {
            let mut set = BTreeSet::new();
            let mut ranges = Numbers::default();
            for number in numbers {
                prop_assert_eq!(ranges.add(number), set.insert(number));
            }
        }
    }
}
