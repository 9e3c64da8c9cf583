//! What a name says: rollouts, what lies beside segments, and the directories of days.

use std::path::Path;

use crate::SessionId;
use crate::spine::SegmentName;

/// Whether the name is one that belongs to a spine without being a segment: a meta file or the artifacts.
pub(crate) fn beside_segments(name: &str) -> bool {
    name == "artifacts" || SegmentName::is_meta(name)
}

/// The thread of a rollout, from `rollout-YYYY-MM-DDTHH-MM-SS-<thread id>.jsonl`.
///
/// A time of another shape is accepted where the name ends in a UUID, which is then the thread.
pub(crate) fn rollout(name: &str) -> Option<SessionId> {
    let rest = name.strip_prefix("rollout-")?.strip_suffix(".jsonl")?;
    let id = match rest.split_at_checked(TIME.len()) {
        Some((time, id)) if fits(time, TIME) => id.strip_prefix('-')?,
        _ => rest.get(rest.len().checked_sub(UUID.len())?..).filter(|id| fits(id, UUID))?,
    };
    id.parse().ok()
}

/// Whether a path has the name of a rollout.
pub(super) fn is_rollout(path: &Path) -> bool {
    path.file_name().and_then(|name| rollout(name.to_str()?)).is_some()
}

/// The file of a rollout trace bundle that holds its events.
pub(crate) const BUNDLE_EVENTS: &str = "trace.jsonl";

/// The thread of a rollout trace bundle, from the name of its directory, `trace-<trace id>-<thread id>`.
pub(crate) fn bundle(name: &str) -> Option<SessionId> {
    let rest = name.strip_prefix("trace-")?;
    let id = rest.get(rest.len().checked_sub(UUID.len())?..).filter(|id| fits(id, UUID))?;
    id.parse().ok()
}

/// Whether a directory below `sessions` can be a year, a month or a day.
pub(crate) fn part_of_date(name: &str) -> bool {
    matches!(name.len(), 2 | 4) && name.bytes().all(|byte| byte.is_ascii_digit())
}

const TIME: &str = "dddd-dd-ddTdd-dd-dd";
const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// Whether a text has a shape: `d` is a digit, `x` a hexadecimal digit, all else itself.
fn fits(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_spine_is_more_than_its_segments() {
        assert!(beside_segments("segment-003.meta.json") && beside_segments("artifacts"));
        assert!(!beside_segments("notes.txt"));
    }

    #[test]
    fn a_bundle_names_its_thread() {
        let uuid = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
        let name = format!("trace-1fed7b2e-6ecb-4573-9f3b-97e4d6b84bcd-{uuid}");
        assert_eq!(bundle(&name).unwrap().as_str(), uuid);
        for name in ["trace-", "trace-x", uuid, "trace-01930f5e-77aa-7c01-9b1d-2f0f6a0c4e1"] {
            assert_eq!(bundle(name), None, "{name}");
        }
    }

    #[test]
    fn a_rollout_names_its_thread() {
        let uuid = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";
        assert_eq!(rollout(&format!("rollout-2026-03-02T08-00-00-{uuid}.jsonl")).unwrap().as_str(), uuid);
        assert_eq!(rollout(&format!("rollout-1772438400-{uuid}.jsonl")).unwrap().as_str(), uuid);
        assert_eq!(rollout("rollout-2026-03-02T08-00-00-thread.1.jsonl").unwrap().as_str(), "thread.1");
        for name in [
            "rollout-.jsonl",
            "rollout-2026-03-02T08-00-00.jsonl",
            "rollout-2026-03-02T08-00-00-.jsonl",
            "rollout-é.jsonl",
        ] {
            assert_eq!(rollout(name), None, "{name}");
        }
    }
}
