//! Run ids and the prefixes that people type.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of a run: a UUIDv7, so that ids sort by the time of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A new id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people may type for an id: the whole of it or a prefix. Everything that comes from
/// outside goes through this type before it gets near a path or the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPrefix {
    first: Uuid,
    last: Uuid,
}

/// The text is no id and no prefix of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id: {reason}")]
pub struct InvalidId {
    /// The text, cut after 60 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl IdPrefix {
    /// The ids that begin with this prefix, as a range of keys.
    pub fn range(&self) -> RangeInclusive<Uuid> {
        self.first..=self.last
    }

    /// The id, if the prefix is a whole one.
    pub fn whole(&self) -> Option<Uuid> {
        (self.first == self.last).then_some(self.first)
    }
}

impl FromStr for IdPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = |reason| InvalidId { text: text.chars().take(60).collect(), reason };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        let (mut first, mut last, mut digits) = (0_u128, u128::MAX, 0_u32);
        for (position, char) in text.chars().enumerate() {
            // Dashes may stand only where a UUID has them.
            if char == '-' && matches!(position, 8 | 13 | 18 | 23) {
                continue;
            }
            let digit =
                char.to_digit(16).ok_or_else(|| invalid("ids have hexadecimal digits and dashes only"))?;
            digits += 1;
            if digits > 32 {
                return Err(invalid("it is longer than an id"));
            }
            let shift = 128 - 4 * digits;
            let mask = 0xf_u128 << shift;
            let digit = u128::from(digit) << shift;
            first = (first & !mask) | digit;
            last = (last & !mask) | digit;
        }
        Ok(Self { first: Uuid::from_u128(first), last: Uuid::from_u128(last) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_whole_id_is_its_own_range() {
        let id = RunId::generate();
        let prefix: IdPrefix = id.to_string().parse().unwrap();
        assert_eq!(prefix.whole(), Some(id.0));
        let undashed: IdPrefix = id.0.simple().to_string().parse().unwrap();
        assert_eq!(undashed, prefix);
    }

    #[test]
    fn a_prefix_spans_the_ids_that_begin_with_it() {
        let prefix: IdPrefix = "019a1b2c-3".parse().unwrap();
        let inside = Uuid::parse_str("019a1b2c-3fff-7000-8000-000000000000").unwrap();
        let outside = Uuid::parse_str("019a1b2c-4000-7000-8000-000000000000").unwrap();
        assert!(prefix.range().contains(&inside));
        assert!(!prefix.range().contains(&outside));
        assert_eq!(prefix.whole(), None);
    }

    #[test]
    fn what_is_no_id_is_refused_before_it_gets_near_a_path() {
        for text in ["", "..", "../etc", "019a/..", "019a\n", "019a\0", "xyz", "-", "019a1-b2c", "ä"] {
            assert!(text.parse::<IdPrefix>().is_err(), "{text:?}");
        }
        assert!("0".repeat(33).parse::<IdPrefix>().is_err());
        let error = "z".repeat(10_000_000).parse::<IdPrefix>().unwrap_err();
        assert_eq!(error.text.len(), 60);
    }
}
