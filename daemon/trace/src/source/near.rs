//! Finding the one rollout of a thread, without a look at everything.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Fence, Store, name};
use crate::SessionId;

/// Codex names days by the local time of its process, which is so far from UTC at the most.
const WEST: SignedDuration = SignedDuration::from_hours(12);
const EAST: SignedDuration = SignedDuration::from_hours(14);

/// The directories in which the rollout of a thread can lie: those of the days on which the thread can have begun,
/// which its id tells. None for an id that has no time in it.
pub(crate) fn days_of(home: &Path, thread: &SessionId) -> Vec<PathBuf> {
    let Some(began) = began(thread) else { return Vec::new() };
    let sessions = Store::Rollouts.below(home);
    let day = |shift: SignedDuration| {
        let date = began.checked_add(shift).ok()?.to_zoned(TimeZone::UTC).date();
        Some(sessions.join(date.strftime("%Y/%m/%d").to_string()))
    };
    let mut days: Vec<PathBuf> = [-WEST, SignedDuration::ZERO, EAST].into_iter().filter_map(day).collect();
    days.dedup();
    days
}

/// The rollout of a thread in the directory of its day.
pub(crate) fn rollout_near(home: &Path, thread: &SessionId) -> Option<PathBuf> {
    let fence = Fence::around(&Store::Rollouts.below(home));
    let found = days_of(home, thread).into_iter().find_map(|day| rollout_below(&day, thread, 0));
    found.filter(|path| fence.file(path).is_ok())
}

/// The rollout of a thread, wherever below a Codex home it lies; archived ones included.
pub(crate) fn rollout_anywhere(home: &Path, thread: &SessionId) -> Option<PathBuf> {
    let roots = [Store::Rollouts, Store::Archive].map(|store| store.below(home));
    rollout_near(home, thread).or_else(|| roots.iter().find_map(|root| rollout_below(root, thread, 3)))
}

/// The newest rollout of a thread, in directories by year, month and day.
fn rollout_below(directory: &Path, thread: &SessionId, depth: u32) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(directory).ok()?.flatten().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    entries.into_iter().find_map(|entry| {
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            return depth.checked_sub(1).and_then(|depth| rollout_below(&entry.path(), thread, depth));
        }
        let name = entry.file_name();
        let of_thread = name::rollout(name.to_str()?).is_some_and(|id| id == *thread);
        (kind.is_file() && of_thread).then(|| entry.path())
    })
}

/// When a thread began: a UUID of version 7 begins with the milliseconds since 1970, in 48 bits.
fn began(thread: &SessionId) -> Option<Timestamp> {
    let digits: String = thread.as_str().chars().filter(|char| *char != '-').collect();
    if digits.len() != 32 || digits.get(12..13) != Some("7") {
        return None;
    }
    let milliseconds = i64::from_str_radix(digits.get(..12)?, 16).ok()?;
    Timestamp::from_millisecond(milliseconds).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_thread_lies_in_the_day_of_its_id_whatever_the_time_zone() {
        // 2026-03-02T23:30:00Z, then 2026-03-02T08:00:00Z.
        let days = |id: &str| {
            let days = days_of(Path::new("/h"), &id.parse().unwrap());
            days.iter().map(|day| day.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            days("019cb0e3-1cc0-7000-8000-000000000000"),
            ["/h/sessions/2026/03/02", "/h/sessions/2026/03/03"]
        );
        assert_eq!(
            days("019cad8f-ac00-7000-8000-000000000000"),
            ["/h/sessions/2026/03/01", "/h/sessions/2026/03/02"]
        );
        assert!(days("019cad8f-ac00-4000-8000-000000000000").is_empty());
        assert!(days("thread-1").is_empty());
    }

    #[test]
    fn a_rollout_is_found_near_and_an_archived_one_anywhere() {
        let home = tempfile::tempdir().unwrap();
        let thread: SessionId = "019cad8f-ac00-7000-8000-000000000000".parse().unwrap();
        let put = |directory: &str| {
            let directory = home.path().join(directory);
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(format!("rollout-2026-03-02T08-00-00-{thread}.jsonl"));
            fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(rollout_anywhere(home.path(), &thread), None);
        let archived = put("archived_sessions");
        assert_eq!(rollout_near(home.path(), &thread), None);
        assert_eq!(rollout_anywhere(home.path(), &thread), Some(archived));
        let active = put("sessions/2026/03/02");
        assert_eq!(rollout_near(home.path(), &thread).as_ref(), Some(&active));
        assert_eq!(rollout_anywhere(home.path(), &thread), Some(active));
    }
}
