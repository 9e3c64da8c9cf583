//! Spines that are recorded while their rollouts grow.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use trace::recording::{Bell, CaughtUp, GitState, Live, Moment, RecordingError, record_rollout};
use trace::session::Format;
use trace::spine::segments;
use trace::verify::{Level, verify};
use trace::{Catalog, SessionId};

use crate::rollouts::{new_meta, new_turn, old_meta};
use crate::scene::{THREAD, rollout_lines};

/// The day of [`THREAD`].
const DAY: &str = "sessions/2024/11/09";

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn live(&self) -> Live {
        Live::new(self.0.path(), thread())
    }

    fn rollout(&self) -> PathBuf {
        self.0.path().join(DAY).join(format!("rollout-2024-11-09T05-00-00-{THREAD}.jsonl"))
    }

    fn append(&self, text: &str) {
        fs::create_dir_all(self.0.path().join(DAY)).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(self.rollout()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn spine(&self) -> PathBuf {
        self.0.path().join("trace_spine").join(THREAD)
    }

    /// The numbers of all records.
    fn seqs(&self) -> Vec<u64> {
        let segments = segments(&self.spine()).unwrap_or_default();
        let text: String =
            segments.iter().map(|segment| fs::read_to_string(&segment.path).unwrap()).collect();
        let number =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
        text.lines().map(number).collect()
    }

    fn has_no_errors(&self) {
        let errors: Vec<_> =
            verify(&self.spine()).into_iter().filter(|finding| finding.level == Level::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let seqs = self.seqs();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");
    }
}

fn thread() -> SessionId {
    THREAD.parse().unwrap()
}

fn lines() -> Vec<String> {
    let mut records = vec![new_meta()];
    for turn in ["t1", "t2", "t3"] {
        records.extend(new_turn(turn, "go on"));
    }
    rollout_lines(true, &records).iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_spine_grows_with_its_rollout() {
    let home = Home::new();
    let mut live = home.live();
    assert_eq!(live.catch_up(true).unwrap(), CaughtUp::Nothing);
    assert!(!home.spine().exists());
    let mut before = 0;
    for line in lines() {
        // The half of a line is waited for.
        let (half, rest) = line.split_at(line.len() / 2);
        home.append(half);
        let caught_up = live.catch_up(false).unwrap();
        assert_eq!((home.seqs().len(), caught_up == CaughtUp::Nothing), (before, before == 0));
        // There is nothing yet that says whose spine it is.
        if before == 0 {
            live.git(&GitState { patch: Some(b"+1".into()), ..GitState::default() }, "1", Moment::Begin)
                .unwrap();
            assert!(!home.spine().exists());
        }
        home.append(rest);
        assert_eq!(live.catch_up(false).unwrap(), CaughtUp::Recorded);
        before = home.seqs().len();
    }
    assert!(before > lines().len());
    assert_eq!(live.rollout(), Some(&*home.rollout()));
    live.close().unwrap();
    home.has_no_errors();
}

#[test]
fn a_recording_that_dies_is_gone_on_with_wherever_it_was() {
    let home = Home::new();
    for line in lines() {
        home.append(&line);
        // Never closed, like that of a daemon that is killed.
        home.live().catch_up(false).unwrap();
    }
    home.live().catch_up(false).unwrap();
    let undisturbed = Home::new();
    undisturbed.append(&lines().concat());
    record_rollout(&undisturbed.rollout(), &undisturbed.0.path().join("trace_spine")).unwrap();
    assert_eq!(home.seqs(), undisturbed.seqs());
    home.has_no_errors();
}

#[test]
fn a_rollout_that_is_archived_while_it_is_recorded_is_recorded_to_its_end() {
    let home = Home::new();
    let (mut live, lines) = (home.live(), lines());
    home.append(&lines[0]);
    live.catch_up(false).unwrap();
    home.append(&lines[1..].concat());
    let archive = home.0.path().join("archived_sessions");
    fs::create_dir(&archive).unwrap();
    fs::rename(home.rollout(), archive.join(home.rollout().file_name().unwrap())).unwrap();
    live.catch_up(false).unwrap();
    let recorded = live.close().unwrap().unwrap();
    assert_eq!(recorded.last_seq, home.seqs().len() as u64);
    home.has_no_errors();
    // And one that lies there from the beginning is found by a thorough look.
    fs::remove_dir_all(home.spine()).unwrap();
    assert_eq!(home.live().catch_up(false).unwrap(), CaughtUp::Nothing);
    assert_eq!(home.live().catch_up(true).unwrap(), CaughtUp::Recorded);
    assert_eq!(home.seqs().len() as u64, recorded.last_seq);
}

#[test]
fn what_was_recorded_of_a_rollout_that_is_rewritten_stays() {
    for replace in [true, false] {
        let home = Home::new();
        let mut live = home.live();
        home.append(&lines().concat());
        live.catch_up(false).unwrap();
        let seqs = home.seqs();
        if replace {
            fs::remove_file(home.rollout()).unwrap();
            home.append("{}\n");
        } else {
            fs::write(home.rollout(), "{}\n").unwrap();
        }
        let error = live.catch_up(false).unwrap_err();
        assert!(matches!(error, RecordingError::Rewritten(_)), "{error}");
        assert_eq!(home.seqs(), seqs);
    }
}

#[test]
fn a_spine_that_is_heard_of_before_its_rollout_is_not_read_for_it() {
    let home = Home::new();
    home.append(&lines().concat());
    let mut live = home.live();
    live.catch_up(false).unwrap();
    // Nothing was scanned yet.
    let catalog = Catalog::new(vec![home.0.path().to_owned()]);
    let source = catalog.look(&thread()).unwrap();
    assert_eq!((source.format, source.files[0].path.clone()), (Format::Rollout, home.rollout()));
    fs::remove_file(home.rollout()).unwrap();
    let source = catalog.look(&thread()).unwrap();
    assert_eq!(source.format, Format::Spine);
}

/// Waits for the bell.
fn rings(heard: &mpsc::Receiver<()>) {
    heard.recv_timeout(Duration::from_secs(20)).expect("the bell does not ring");
    while heard.try_recv().is_ok() {}
}

#[test]
fn the_bell_rings_from_the_first_directory_to_the_last_line() {
    let home = Home::new();
    let bell = Bell::new();
    let (ring, heard) = mpsc::channel();
    let listening = bell.listen(home.0.path(), &thread(), move || ring.send(()).unwrap_or_default());
    let mut path = home.0.path().to_owned();
    assert!(listening.watch(None));
    for part in Path::new(DAY) {
        path.push(part);
        fs::create_dir(&path).unwrap();
        rings(&heard);
        listening.watch(None);
    }
    home.append(&lines()[0]);
    rings(&heard);
    listening.watch(Some(&home.rollout()));
    home.append(&lines()[1]);
    rings(&heard);
    // The rollouts of other threads are none of its business.
    fs::write(path.join("rollout-2024-11-09T05-00-00-01930f5e-99bb-7c01-9b1d-2f0f6a0c4e22.jsonl"), "")
        .unwrap();
    home.append(&lines()[2]);
    rings(&heard);
    drop(listening);
    assert!(heard.recv().is_err(), "nobody is left to ring for");
}

#[test]
fn a_rollout_of_a_thread_without_a_time_is_heard_of_by_its_root() {
    let home = Home::new();
    let odd: SessionId = "01930f5e-77aa-4c01-9b1d-2f0f6a0c4e11".parse().unwrap();
    let (ring, heard) = mpsc::channel();
    let listening = Bell::new().listen(home.0.path(), &odd, move || ring.send(()).unwrap_or_default());
    listening.watch(None);
    fs::create_dir(home.0.path().join("sessions")).unwrap();
    rings(&heard);
    let mut live = Live::new(home.0.path(), odd.clone());
    home.append(&(rollout_lines(false, &[old_meta()]).concat() + "\n"));
    fs::rename(
        home.rollout(),
        home.rollout().with_file_name(format!("rollout-2024-11-09T05-00-00-{odd}.jsonl")),
    )
    .unwrap();
    assert_eq!(live.catch_up(false).unwrap(), CaughtUp::Nothing);
    assert_eq!(live.catch_up(true).unwrap(), CaughtUp::Recorded);
}
