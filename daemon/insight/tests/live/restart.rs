//! A daemon that comes back.

use std::fs;
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::spine::Spine;

/// Ten thousand take an unoptimised build half a minute.
const SESSIONS: u64 = if cfg!(debug_assertions) { 1500 } else { 10_000 };

#[test]
fn nothing_is_read_twice_after_a_restart() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "again", 100);
    spine.failing_turn(1);
    lab.start();
    lab.read_all();
    let before = lab.dump();
    lab.stop();
    lab.start();
    lab.read_all();
    let stats = lab.block_on(lab.insight().stats()).unwrap();
    assert_eq!((stats.bytes_read, stats.signals_raised, stats.last_change), (0, 0, 2), "{stats:?}");
    assert_eq!(lab.dump(), before);
    spine.failing_turn(2);
    lab.read_all();
    assert_eq!(lab.signals(&spine.id).len(), 2);
}

#[test]
fn a_session_of_days_ago_is_read_from_its_beginning_when_it_goes_on_and_one_of_today_is_read_on() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::ZERO;
    let mut sessions = [("old", 3 * 86_400), ("young", 100)].map(|(id, seconds_ago)| {
        let mut spine = Spine::begin(&lab.home(), id, seconds_ago);
        spine.failing_turn(1);
        spine
    });
    let length = |spine: &Spine| fs::metadata(spine.path()).unwrap().len();
    lab.start();
    lab.read_all();
    lab.until_settled();
    lab.stop();
    let known = length(&sessions[1]);
    for spine in &mut sessions {
        spine.failing_turn(2);
    }
    lab.start();
    lab.read_all();
    let [old, young] = &sessions;
    let stats = lab.block_on(lab.insight().stats()).unwrap();
    assert_eq!(stats.bytes_read, length(old) + length(young) - known);
    // Signals that were found before are not news.
    assert_eq!(stats.signals_raised, 2);
    for spine in &sessions {
        assert_eq!(lab.signals(&spine.id).len(), 2, "{}", spine.id);
    }

    // That happens once: it may be on its way here, a part at a time.
    let known = length(&sessions[0]);
    sessions[0].failing_turn(3);
    lab.read_all();
    let read = lab.block_on(lab.insight().stats()).unwrap().bytes_read - stats.bytes_read;
    assert_eq!(read, length(&sessions[0]) - known);
}

#[test]
fn a_rollout_that_was_archived_while_nobody_looked_is_known_by_its_new_place() {
    let mut lab = Lab::new();
    let name = "rollout-2026-03-02T08-00-00-01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11.jsonl";
    let line = r#"{"timestamp":"2026-03-02T08:00:00Z","type":"event_msg","payload":{"type":"user_message","message":"hello"}}"#;
    let (day, archive) = (lab.home().join("sessions/2026/03/02"), lab.home().join("archived_sessions"));
    fs::create_dir_all(&day).unwrap();
    fs::create_dir_all(&archive).unwrap();
    fs::write(day.join(name), format!("{line}\n")).unwrap();
    lab.start();
    lab.read_all();
    lab.stop();
    fs::rename(day.join(name), archive.join(name)).unwrap();
    lab.start();
    lab.read_all();
    let source = lab.block_on(lab.insight().source("01930f5e")).unwrap();
    assert_eq!(source.files, [archive.join(name)]);
    assert_eq!(lab.block_on(lab.insight().stats()).unwrap().bytes_read, 0);
}

#[test]
fn thousands_of_sessions_are_taken_up_by_a_stat_each() {
    let mut lab = Lab::new();
    for number in 0..SESSIONS {
        let mut spine = Spine::begin(&lab.home(), &format!("s{number:05}"), 100_000 + number.cast_signed());
        spine.ask(1, "hello");
        spine.shut_down();
    }
    lab.settings.settle_after = Duration::ZERO;
    lab.start();
    let begun = Instant::now();
    assert_eq!(lab.read_all().sessions, SESSIONS);
    eprintln!("cold: {:?}", begun.elapsed());
    lab.until_settled();
    lab.stop();
    let begun = Instant::now();
    lab.start();
    eprintln!("opened: {:?}", begun.elapsed());
    lab.read_all();
    eprintln!("taken up: {:?}", begun.elapsed());
    let stats = lab.block_on(lab.insight().stats()).unwrap();
    assert_eq!((stats.sessions, stats.bytes_read, stats.commits), (SESSIONS, 0, 0));
}
