#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use proptest::prelude::*;
use std::process::Command;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    (dir, path)
}

fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn stale(path: &Path) -> StaleReason {
    match assess(path).unwrap() {
        Assessment::Stale { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn held(path: &Path) -> Evidence {
    match assess(path).unwrap() {
        Assessment::Held { evidence, .. } => evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_forms_are_read_and_the_json_line_is_written() {
    let bare = LockRecord { pid: 123, started_at: None, host: None };
    assert_eq!(LockRecord::parse(b"123\n"), Ok(bare));
    let record = LockRecord {
        pid: 7,
        started_at: Some("2025-12-09T10:00:01Z".parse().unwrap()),
        host: Some("box".into()),
    };
    let line = record.to_line();
    assert_eq!(line, "{\"pid\":7,\"started_at\":\"2025-12-09T10:00:01Z\",\"host\":\"box\"}\n");
    assert_eq!(LockRecord::parse(line.as_bytes()), Ok(record));
    let odd = LockRecord::parse(b"{\"pid\": 7, \"started_at\": \"yesterday\", \"x\": 1}").unwrap();
    assert_eq!((odd.pid, odd.started_at, odd.host), (7, None, None));
}

#[test]
fn what_names_nobody_is_stale() {
    let (_dir, path) = scratch();
    assert_eq!(assess(&path).unwrap(), Assessment::Free);
    for (content, reason) in [
        ("", StaleReason::Empty),
        (" \n", StaleReason::Empty),
        ("hello", StaleReason::Garbage),
        ("-1", StaleReason::Garbage),
        ("0", StaleReason::Garbage),
        ("{\"host\": \"x\"}", StaleReason::Garbage),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(stale(&path), reason, "{content:?}");
    }
}

#[test]
fn a_dead_process_a_younger_one_and_a_living_one_are_told_apart() {
    let (_dir, path) = scratch();
    fs::write(&path, dead_pid().to_string()).unwrap();
    assert_eq!(stale(&path), StaleReason::ProcessGone);

    fs::write(&path, std::process::id().to_string()).unwrap();
    assert_eq!(held(&path), Evidence::ProcessAlive);

    let mut record = LockRecord::of_this_process(Timestamp::now());
    fs::write(&path, record.to_line()).unwrap();
    assert_eq!(held(&path), Evidence::ProcessAlive);
    record.started_at = Some("2001-01-01T00:00:00Z".parse().unwrap());
    fs::write(&path, record.to_line()).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(stale(&path), StaleReason::PidReused);
    }
}

#[test]
fn a_lock_of_another_host_is_never_judged_dead() {
    let (_dir, path) = scratch();
    let record = LockRecord { pid: dead_pid(), started_at: None, host: Some("elsewhere".into()) };
    fs::write(&path, record.to_line()).unwrap();
    assert_eq!(held(&path), Evidence::OtherHost);
    let error = OwnedLock::acquire(&path, &LockRecord::of_this_process(Timestamp::now()));
    assert!(error.unwrap_err().to_string().contains("on elsewhere"));
    assert!(path.exists());
}

#[test]
fn a_taken_lock_is_refused_to_others_and_gone_after_release() {
    let (dir, path) = scratch();
    let record = LockRecord::of_this_process(Timestamp::now());
    let lock = OwnedLock::acquire(&path, &record).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), record.to_line());
    assert_eq!(held(&path), Evidence::OsLock);
    assert!(matches!(OwnedLock::acquire(&path, &record), Err(LockError::Held { .. })));
    // A refused starter must not take the owner's lock away.
    assert!(path.exists());
    assert_eq!(remove_stale(&path).unwrap(), assess(&path).unwrap());
    assert!(path.exists());
    assert_eq!(lock.release().unwrap(), Released::Removed);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_dropped_lock_stays_as_a_crash_would_leave_it() {
    let (_dir, path) = scratch();
    let mut record = LockRecord::of_this_process(Timestamp::now());
    record.pid = dead_pid();
    drop(OwnedLock::acquire(&path, &record).unwrap());
    assert_eq!(stale(&path), StaleReason::ProcessGone);
    let taken = OwnedLock::acquire(&path, &LockRecord::of_this_process(Timestamp::now()));
    assert_eq!(taken.unwrap().release().unwrap(), Released::Removed);
}

#[test]
fn only_our_own_file_is_released() {
    let (_dir, path) = scratch();
    let record = LockRecord::of_this_process(Timestamp::now());
    let lock = OwnedLock::acquire(&path, &record).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, record.to_line()).unwrap();
    assert_eq!(lock.release().unwrap(), Released::NotOurs);
    assert!(path.exists());

    fs::remove_file(&path).unwrap();
    let lock = OwnedLock::acquire(&path, &record).unwrap();
    fs::write(&path, "4711").unwrap();
    assert_eq!(lock.release().unwrap(), Released::NotOurs);

    fs::remove_file(&path).unwrap();
    let lock = OwnedLock::acquire(&path, &record).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(lock.release().unwrap(), Released::Gone);
}

#[test]
fn a_lock_that_somebody_removed_is_put_back_and_one_taken_over_is_not() {
    let (dir, path) = scratch();
    let record = LockRecord::of_this_process(Timestamp::now());
    let mut lock = OwnedLock::acquire(&path, &record).unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), Presence::InPlace);
    fs::remove_file(&path).unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), Presence::Restored);
    assert_eq!(held(&path), Evidence::OsLock);

    let foreign = dir.path().join("foreign");
    fs::write(&foreign, dead_pid().to_string()).unwrap();
    fs::rename(&foreign, &path).unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), Presence::Restored);

    // Rewritten where it stands, then replaced, by a living owner.
    let taken = Presence::TakenOver(Some(LockRecord { pid: 1, started_at: None, host: None }));
    fs::write(&path, "").unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), Presence::BeingRewritten);
    fs::write(&path, "1").unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), taken);
    fs::write(&foreign, "1").unwrap();
    fs::rename(&foreign, &path).unwrap();
    assert_eq!(lock.keep_in_place().unwrap(), taken);
    assert_eq!(lock.release().unwrap(), Released::NotOurs);
}

#[test]
fn of_many_starters_at_a_stale_lock_exactly_one_wins() {
    let (_dir, path) = scratch();
    for _ in 0..20 {
        fs::write(&path, "").unwrap();
        let record = LockRecord::of_this_process(Timestamp::now());
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let starters: Vec<_> =
                (0..8).map(|_| scope.spawn(|| OwnedLock::acquire(&path, &record))).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        let mut winners = outcomes.into_iter().filter_map(Result::ok);
        let winner = winners.next().expect("one wins");
        assert!(winners.next().is_none());
        assert_eq!(winner.release().unwrap(), Released::Removed);
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_judged(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = LockRecord::parse(&bytes);
    }

    #[test]
    fn a_record_reads_back(
        pid in 1..u32::MAX,
        seconds in proptest::option::of(0..4_000_000_000_i64),
        host in proptest::option::of("[a-z\"\\\\é.]{1,20}"),
    ) {
        let started_at = seconds.map(|seconds| Timestamp::from_second(seconds).unwrap());
        let record = LockRecord { pid, started_at, host };
        prop_assert_eq!(LockRecord::parse(record.to_line().as_bytes()), Ok(record));
    }
}
