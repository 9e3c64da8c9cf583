//! The names of segments.

use std::fmt;

/// What a name such as `segment-007.jsonl` says.
///
/// Codex pads the number to three digits, and more when it must; other tools pad less. So the number counts, and the
/// digits are kept only to find the file again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentName {
    /// The segment's number.
    pub index: u32,
    digits: u8,
}

impl SegmentName {
    /// The name that Codex gives to a segment.
    pub fn of(index: u32) -> Self {
        Self { index, digits: 3.max(u8::try_from(index.to_string().len()).unwrap_or(u8::MAX)) }
    }

    /// Reads a file name; none for one that names no segment.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(PREFIX)?.strip_suffix(".jsonl")?;
        let index = number(digits)?;
        Some(Self { index, digits: u8::try_from(digits.len()).unwrap_or(u8::MAX) })
    }

    /// Whether Codex would name the segment so.
    pub fn is_proper(self) -> bool {
        self == Self::of(self.index)
    }

    /// The name of the segment's meta file.
    pub fn meta(self) -> String {
        format!("{PREFIX}{:0width$}.meta.json", self.index, width = usize::from(self.digits))
    }

    /// Whether a name is that of a meta file.
    pub(crate) fn is_meta(name: &str) -> bool {
        let digits = || name.strip_prefix(PREFIX)?.strip_suffix(".meta.json");
        digits().and_then(number).is_some()
    }

    /// What to order names by: of two with one number, the one that Codex would write comes first.
    pub(crate) fn order(self) -> (u32, bool, u8) {
        (self.index, !self.is_proper(), self.digits)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:0width$}.jsonl", self.index, width = usize::from(self.digits))
    }
}

const PREFIX: &str = "segment-";

fn number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn segments_are_known_by_number_and_their_names_come_back() {
        for (name, index, proper) in [
            ("segment-000.jsonl", 0, true),
            ("segment-1000.jsonl", 1000, true),
            ("segment-7.jsonl", 7, false),
            ("segment-0007.jsonl", 7, false),
        ] {
            let found = SegmentName::parse(name).unwrap();
            assert_eq!((found.index, found.to_string().as_str(), found.is_proper()), (index, name, proper));
            assert!(SegmentName::is_meta(&found.meta()));
        }
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            "segment-.jsonl",
            "segment-00a.jsonl",
            "segment-+01.jsonl",
            "segment--01.jsonl",
            "segment-000.jsonl.bak",
            "segment-001.meta.json",
            "segment-9999999999.jsonl",
            "Segment-001.jsonl",
            "",
        ] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
