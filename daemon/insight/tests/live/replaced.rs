//! Files that are no longer what they were.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use insight::{PageRequest, Phase, Retention};

use trace::output::sha256_hex;

use crate::lab::Lab;
use crate::spine::Spine;

#[test]
fn a_file_that_was_replaced_makes_the_session_anew_under_its_id() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "replaced", 100);
    spine.failing_turn(1);
    spine.failing_turn(2);
    lab.start();
    lab.read_all();
    assert_eq!(lab.signals(&spine.id).len(), 2);
    let mut changes = lab.insight().watch_signals(0).unwrap();

    let other = lab.home().join("elsewhere");
    fs::create_dir_all(&other).unwrap();
    let text = fs::read_to_string(spine.path()).unwrap();
    let shorter: Vec<&str> = text.lines().take(6).collect();
    fs::write(other.join("new"), shorter.join("\n") + "\n").unwrap();
    fs::rename(other.join("new"), spine.path()).unwrap();
    lab.read_all();

    assert_eq!(lab.signals(&spine.id).len(), 1);
    let told = lab.block_on(changes.next()).unwrap();
    let told: Vec<_> = told.iter().map(|change| (change.phase, change.category.as_str())).collect();
    assert_eq!(told, [(Phase::Withdrawn, "exec_failure")]);
}

#[test]
fn many_signals_that_say_much_can_be_withdrawn_at_once() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "wordy", 100);
    spine.ask(1, "please make it work");
    for call in 0..60 {
        // Nothing in it comes twice, so that packing does not make it less.
        let words: Vec<_> = (0..12).map(|word| sha256_hex(format!("{call} {word}").as_bytes())).collect();
        let (command, output) = (words[..6].join(" "), words[6..].join(" "));
        spine.run_saying(1, &format!("call_{call}"), &command, 2, &output);
    }
    spine.finish(1);
    lab.start();
    lab.read_all();
    let raised = lab.signals(&spine.id).len();
    assert!(raised >= 60, "{raised}");
    let text = fs::read_to_string(spine.path()).unwrap();
    let begun: Vec<&str> = text.lines().take(3).collect();
    fs::write(spine.path(), begun.join("\n") + "\n").unwrap();
    let first = lab.block_on(lab.insight().stats()).unwrap().last_change + 1;
    lab.read_all();
    assert_eq!(lab.signals(&spine.id).len(), 0);
    // As the log has them, not as they are remembered.
    lab.stop();
    lab.start();
    let mut changes = lab.insight().watch_signals(first).unwrap();
    let mut withdrawn = Vec::new();
    while withdrawn.len() < raised {
        withdrawn.extend(lab.block_on(changes.next()).unwrap());
    }
    assert!(withdrawn.iter().all(|change| change.phase == Phase::Withdrawn && change.signal.is_some()));
    assert!(withdrawn.iter().map(|change| change.number).eq(first..first + raised as u64));
}

#[test]
fn a_withdrawal_tells_what_was_withdrawn_also_after_a_restart() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "withdrawn", 100);
    spine.failing_turn(1);
    lab.start();
    lab.read_all();
    let raised = lab.signals(&spine.id).remove(0);
    let first = lab.insight().watch_signals(0).unwrap().position();
    let text = fs::read_to_string(spine.path()).unwrap();
    let begun: Vec<&str> = text.lines().take(3).collect();
    fs::write(spine.path(), begun.join("\n") + "\n").unwrap();
    lab.read_all();

    let withdrawn = |lab: &Lab| {
        let mut changes = lab.insight().watch_signals(first).unwrap();
        let change = lab.block_on(changes.next()).unwrap().remove(0);
        assert_eq!(change.phase, Phase::Withdrawn);
        change.signal.map(Arc::unwrap_or_clone)
    };
    assert_eq!(withdrawn(&lab).as_ref(), Some(&raised));
    lab.stop();
    lab.start();
    assert_eq!(withdrawn(&lab).as_ref(), Some(&raised));
}

#[test]
fn a_change_in_the_middle_that_keeps_size_and_ends_is_read_anew() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "edited", 100);
    for turn in 1..=3 {
        spine.failing_turn(turn);
    }
    let failures =
        |lab: &Lab| lab.signals(&spine.id).iter().filter(|signal| signal.category == "exec_failure").count();
    lab.start();
    lab.read_all();
    assert_eq!(failures(&lab), 3);

    let text = fs::read_to_string(spine.path()).unwrap();
    let middle = text.match_indices(r#""exit_code":2"#).nth(1).unwrap().0;
    let file = fs::File::options().write(true).open(spine.path()).unwrap();
    file.write_all_at(br#""exit_code":0"#, middle as u64).unwrap();
    // However coarse the file system's clock is.
    file.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
    lab.read_all();
    assert_eq!(failures(&lab), 2);

    // Once, and not with every look; and what is appended is read on from there.
    let bytes_read = |lab: &Lab| lab.block_on(lab.insight().stats()).unwrap().bytes_read;
    let read = bytes_read(&lab);
    lab.read_all();
    assert_eq!(bytes_read(&lab), read);
    let appended = text.lines().last().unwrap().to_owned() + "\n";
    let mut file = fs::File::options().append(true).open(spine.path()).unwrap();
    file.write_all(appended.as_bytes()).unwrap();
    lab.read_all();
    assert_eq!(bytes_read(&lab), read + appended.len() as u64);
}

#[test]
fn a_file_that_was_cut_and_written_anew_is_read_anew() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "rewritten", 100);
    spine.failing_turn(1);
    lab.start();
    lab.read_all();
    let text = fs::read_to_string(spine.path()).unwrap();
    // Longer than before, in the same file.
    let other = text.replace("make", "make everything") + &text.replace("call_1", "call_2");
    fs::write(spine.path(), other).unwrap();
    lab.read_all();
    let calls = lab.block_on(lab.insight().calls(&spine.id, PageRequest::default())).unwrap().items;
    assert_eq!(calls.len(), 2);
    assert!(calls[0].arguments.contains("make everything"), "{calls:?}");
}

#[test]
fn what_is_read_anew_is_news_only_if_it_has_just_happened() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "history", 100_000);
    spine.failing_turn(1);
    lab.start();
    lab.read_all();
    let mut changes = lab.insight().watch_signals(0).unwrap();
    let text = fs::read_to_string(spine.path()).unwrap();
    let other = text.replace("make", "make everything") + &text.replace("call_1", "call_2");
    // At once: a file that is cut first may be looked at in between.
    fs::File::options().write(true).open(spine.path()).unwrap().write_all(other.as_bytes()).unwrap();
    lab.read_all();
    let told = lab.block_on(changes.next()).unwrap();
    assert!(told.len() > 1 && told.iter().all(|change| !change.live), "{told:?}");

    spine.failing_turn(2);
    lab.read_all();
    let told = lab.block_on(changes.next()).unwrap();
    assert!(told.iter().all(|change| change.live), "what is appended is news again: {told:?}");
}

#[test]
fn a_segment_that_comes_late_puts_everything_in_order() {
    let mut lab = Lab::new();
    let mut whole = Spine::begin(&lab.home(), "late", 100);
    whole.failing_turn(1);
    whole.rotate();
    whole.failing_turn(2);
    whole.rotate();
    whole.failing_turn(3);
    let middle = whole.directory().join("segment-001.jsonl");
    let kept = fs::read(&middle).unwrap();
    fs::remove_file(&middle).unwrap();
    lab.start();
    lab.read_all();
    assert_eq!(lab.signals(&whole.id).len(), 2);
    fs::write(&middle, kept).unwrap();
    lab.read_all();
    let turns = lab.block_on(lab.insight().turns(&whole.id, PageRequest::default())).unwrap().items;
    assert_eq!(turns.iter().map(|turn| turn.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
}

#[test]
fn what_was_derived_stays_when_the_files_go() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "gone", 100);
    spine.failing_turn(1);
    lab.start();
    lab.read_all();
    let signal = lab.signals(&spine.id).remove(0);
    fs::remove_dir_all(spine.directory()).unwrap();
    lab.until(async |insight| insight.session("gone").await.unwrap().view.gone_at);
    let evidence = lab.block_on(lab.insight().evidence(&signal.id.0, 1000)).unwrap();
    assert!(evidence.records.iter().all(|record| record.content == insight::EvidenceContent::Gone));
    assert_eq!(lab.signals(&spine.id), [signal]);
}

#[test]
fn what_was_derived_goes_with_the_files_where_that_is_wanted() {
    let mut lab = Lab::new();
    lab.settings.retention = Retention::Drop;
    let mut spine = Spine::begin(&lab.home(), "gone", 100);
    spine.failing_turn(1);
    Spine::begin(&lab.home(), "other", 100);
    lab.start();
    lab.read_all();
    fs::remove_dir_all(spine.directory()).unwrap();
    lab.until(async |insight| insight.session("gone").await.err());
    assert_eq!(lab.read_all().sessions, 1);
}

#[test]
fn sessions_that_are_deleted_while_they_are_looked_at_leave_nothing_behind() {
    let mut lab = Lab::new();
    lab.settings.retention = Retention::Drop;
    let mut spines: Vec<Spine> =
        (0..24).map(|number| Spine::begin(&lab.home(), &format!("s{number:02}"), 10)).collect();
    for spine in &mut spines {
        spine.failing_turn(1);
    }
    lab.start();
    lab.read_all();
    for spine in &spines {
        fs::remove_dir_all(spine.directory()).unwrap();
    }
    lab.read_all();
    lab.until(async |insight| (insight.stats().await.unwrap().sessions == 0).then_some(()));
}
