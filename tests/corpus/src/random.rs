//! Chance that is the same on every machine and for ever.

use std::ops::RangeInclusive;

/// Random numbers from a seed: the generator called `SplitMix64`, spelled out here so that no library's change of mind
/// changes a corpus. Integers only, for the same reason.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, whose numbers do not depend on how many are drawn from this one.
    pub(crate) fn fork(&self, salt: u64) -> Self {
        let mut fork = Self(self.0 ^ salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
        Self(fork.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is at least 1. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn between(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// An index of something that has `length` parts.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// Yes in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A size with a long tail: about `median` in the middle, 4.5 times that on average, now and then
    /// some hundred times that, never more than `most`.
    pub(crate) fn long_tail(&mut self, median: u64, most: u64) -> u64 {
        let mut size = median / 2;
        for _ in 0..10 {
            if !self.percent(40) {
                break;
            }
            size *= 2;
        }
        (size + self.below(size * 2)).clamp(1, most)
    }

    /// `count` numbers within `range` that add up to `sum` exactly.
    ///
    /// # Panics
    ///
    /// If there are no such numbers.
    pub(crate) fn with_sum(&mut self, count: usize, range: RangeInclusive<u64>, sum: u64) -> Vec<u64> {
        let length = count as u64;
        assert!(
            (range.start() * length..=range.end() * length).contains(&sum),
            "no {count} of {range:?} make {sum}"
        );
        let mut numbers: Vec<u64> = (0..count).map(|_| self.between(range.clone())).collect();
        let mut now: u64 = numbers.iter().sum();
        while now != sum {
            let number = &mut numbers[self.index(count)];
            if now < sum && *number < *range.end() {
                *number += 1;
                now += 1;
            } else if now > sum && *number > *range.start() {
                *number -= 1;
                now -= 1;
            }
        }
        numbers
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }

    /// So many hexadecimal digits.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        let words = digits.div_ceil(16);
        let mut text: String =
            (0..words).map(|_| format!("{:016x}", self.next())).collect::<Vec<_>>().concat();
        text.truncate(digits);
        text
    }

    /// A thread id as Codex makes them: a UUID of version 7.
    pub(crate) fn uuid(&mut self, millis: i64) -> String {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.next().to_le_bytes());
        random[8..].copy_from_slice(&self.next().to_le_bytes()[..2]);
        let millis = u64::try_from(millis).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up_to_what_is_asked() {
        let mut random = Random::new(1);
        for (count, range, sum) in [(64, 2..=4, 190), (110, 2..=4, 330), (3, 1..=1, 3), (82, 3..=6, 369)] {
            let numbers = random.with_sum(count, range.clone(), sum);
            assert_eq!(numbers.iter().sum::<u64>(), sum);
            assert!(numbers.iter().all(|number| range.contains(number)), "{numbers:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_a_fork_others() {
        let draw = |mut random: Random| (0..4).map(|_| random.next()).collect::<Vec<_>>();
        assert_eq!(draw(Random::new(7)), draw(Random::new(7)));
        assert_ne!(draw(Random::new(7)), draw(Random::new(8)));
        assert_ne!(draw(Random::new(7)), draw(Random::new(7).fork(1)));
        assert_ne!(draw(Random::new(7).fork(1)), draw(Random::new(7).fork(2)));
    }
}
