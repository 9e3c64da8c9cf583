//! What is written is seen.

use std::fs;
use std::time::Duration;

use insight::{InsightError, PageRequest, Phase, SessionFilter, SignalChange, SignalFilter, SignalStream};

use crate::lab::Lab;
use crate::spine::Spine;

#[test]
fn a_failed_command_is_a_signal_while_the_session_is_written() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    let mut changes = lab.insight().watch_signals(0).unwrap();
    let mut spine = Spine::begin(&lab.home(), "live-1", 10);
    spine.failing_turn(1);
    let change = lab.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap().remove(0)
    });
    assert_eq!(
        (change.phase, change.category.as_str(), change.live, change.number),
        (Phase::Raised, "exec_failure", true, 1)
    );
    assert_eq!(change.signal.unwrap().call_id.as_deref(), Some("call_1"));
    let evidence = lab.block_on(lab.insight().evidence(&change.id.0, 1 << 20)).unwrap();
    assert!(evidence.records.iter().any(|record| format!("{:?}", record.content).contains("Bytes")));
}

#[test]
fn who_follows_is_told_of_the_past_as_well_as_of_what_is_news_in_one_order() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    let mut following = lab.insight().watch_signals(0).unwrap();
    let told = |changes: &mut SignalStream| {
        lab.block_on(async {
            let last = lab.insight().stats().await.unwrap().last_change;
            let mut told = Vec::new();
            while changes.position() <= last {
                let next = tokio::time::timeout(Duration::from_secs(10), changes.next());
                told.extend(next.await.unwrap().unwrap());
            }
            told
        })
    };
    let (elsewhere, mut seen) = (tempfile::tempdir().unwrap(), Vec::new());
    for number in 0..3 {
        let mut past = Spine::begin(elsewhere.path(), &format!("past-{number}"), 7200);
        past.failing_turn(1);
        let place = lab.home().join("trace_spine").join(past.id.as_str());
        fs::rename(past.directory(), place).unwrap();
        lab.read_all();
        // Now and then at once, and now and then only when more has come.
        if number > 0 {
            seen.extend(told(&mut following));
        }
        Spine::begin(&lab.home(), &format!("live-{number}"), 10).failing_turn(1);
        lab.read_all();
        seen.extend(told(&mut following));
    }
    let last = following.position() - 1;
    assert!(seen.iter().map(|change| change.number).eq(1..=last), "{seen:?}");
    assert!(seen.iter().all(|change| change.signal.is_some()));
    let of_sessions = |live| seen.iter().filter(move |change| change.live == live);
    assert!(of_sessions(true).all(|change| change.session.as_str().starts_with("live")));
    assert!(of_sessions(false).all(|change| change.session.as_str().starts_with("past")));
    assert!(of_sessions(true).count() >= 3 && of_sessions(false).count() >= 3, "{seen:?}");
    let again = told(&mut lab.insight().watch_signals(1).unwrap());
    let order = |changes: &[SignalChange]| -> Vec<_> {
        changes.iter().map(|change| (change.number, change.id.clone(), change.phase, change.live)).collect()
    };
    assert_eq!(order(&again), order(&seen));
}

#[test]
fn a_change_of_another_log_is_not_waited_for() {
    let mut lab = Lab::new();
    lab.start();
    assert!(lab.insight().watch_signals(1).is_ok(), "it is the next one");
    let refused = lab.insight().watch_signals(2).err();
    assert!(matches!(refused, Some(InsightError::Ahead { wanted: 2, newest: 0 })), "{refused:?}");
}

#[test]
fn a_half_written_last_line_waits_for_its_end() {
    let mut lab = Lab::new();
    lab.start();
    let mut spine = Spine::begin(&lab.home(), "half", 10);
    let line = spine.line("submission", &serde_json::json!({"id": "1", "op": {"type": "undo"}}));
    let (first, rest) = line.split_at(40);
    spine.raw(first);
    assert_eq!(lab.read_all().records, 1);
    spine.raw(rest);
    assert_eq!(lab.read_all().records, 1);
    spine.raw("\n");
    let done = lab.read_all();
    assert_eq!((done.records, done.findings), (2, 0));
}

#[test]
fn what_cannot_be_read_is_listed_with_its_line_and_the_rest_is_read() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "torn", 10);
    spine.raw("{\"seq\": 2, \"type\"\n");
    spine.raw("no json\n");
    spine.failing_turn(1);
    lab.start();
    let done = lab.read_all();
    assert_eq!((done.sessions, done.findings), (1, 2));
    let findings = lab.block_on(lab.insight().findings(None, PageRequest::default())).unwrap().items;
    let lines: Vec<_> = findings.iter().map(|finding| (finding.place.line, finding.code.as_str())).collect();
    assert_eq!(lines, [(2, "broken_json"), (3, "not_an_object")]);
    assert_eq!(findings[0].path, spine.path());
    assert!(lab.categories(&spine.id).contains(&"exec_failure".to_owned()));
}

#[test]
fn a_session_goes_on_in_the_next_segment() {
    let mut lab = Lab::new();
    lab.start();
    let mut spine = Spine::begin(&lab.home(), "rotated", 10);
    spine.failing_turn(1);
    lab.read_all();
    spine.rotate();
    spine.failing_turn(2);
    assert_eq!(lab.read_all().findings, 0);
    let detail = lab.block_on(lab.insight().session("rot")).unwrap();
    assert_eq!((detail.files.len(), detail.gaps, detail.view.session.counts.turns), (2, 0, 2));
    assert_eq!(detail.view.friction["exec_failure"], 2);
}

#[test]
fn a_session_may_have_hundreds_of_segments() {
    let mut lab = Lab::new();
    let mut spine = Spine::begin(&lab.home(), "segments", 100);
    for turn in 1..=300 {
        spine.rotate();
        spine.failing_turn(turn);
    }
    lab.start();
    let done = lab.read_all();
    assert_eq!((done.sessions, done.findings), (1, 0));
    let counted = |lab: &Lab| {
        let detail = lab.block_on(lab.insight().session("seg")).unwrap();
        (
            detail.files.len(),
            detail.view.session.counts.turns,
            detail.view.friction["exec_failure"],
            detail.gaps,
        )
    };
    assert_eq!(counted(&lab), (301, 300, 300, 0));

    // A daemon that comes back goes on in the last of them.
    lab.stop();
    spine.failing_turn(301);
    lab.start();
    lab.read_all();
    assert_eq!(counted(&lab), (301, 301, 301, 0));
    let read = lab.block_on(lab.insight().stats()).unwrap().bytes_read;
    assert!(read <= fs::metadata(spine.path()).unwrap().len(), "{read} bytes were read");
    let mut signals = lab.signals(&spine.id);
    signals.sort_by_key(|signal| signal.seq_start);
    for signal in [&signals[0], &signals[150], &signals[300]] {
        let evidence = lab.block_on(lab.insight().evidence(&signal.id.0, 1 << 20)).unwrap();
        assert!(evidence.records.iter().any(|record| format!("{:?}", record.content).contains("Bytes")));
    }

    // Its directory goes and comes back.
    let elsewhere = lab.home().join("elsewhere");
    fs::rename(spine.directory(), &elsewhere).unwrap();
    lab.read_all();
    fs::rename(&elsewhere, spine.directory()).unwrap();
    lab.read_all();
    assert_eq!(counted(&lab), (301, 301, 301, 0));
}

#[test]
fn a_session_settles_when_it_is_idle() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_millis(300);
    lab.start();
    let mut spine = Spine::begin(&lab.home(), "idle", 0);
    spine.failing_turn(1);
    lab.until_settled();
    assert!(lab.signals(&spine.id).iter().all(|signal| signal.settled));
    assert!(lab.block_on(lab.insight().session("idle")).unwrap().view.settled);
}

#[test]
fn a_session_of_long_ago_has_settled_though_its_files_are_new() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_mins(10);
    let mut copied = Spine::begin(&lab.home(), "copied", 3600);
    copied.failing_turn(1);
    let mut today = Spine::begin(&lab.home(), "today", 30);
    today.failing_turn(1);
    lab.start();
    lab.read_all();
    let settled = |id| lab.block_on(lab.insight().session(id)).unwrap().view.settled;
    assert_eq!((settled("copied"), settled("today")), (true, false));
    // It can go on all the same.
    copied.failing_turn(2);
    lab.read_all();
    assert_eq!(lab.signals(&copied.id).iter().filter(|signal| signal.category == "exec_failure").count(), 2);
}

#[test]
fn lists_come_in_pages_and_filters_choose() {
    let mut lab = Lab::new();
    for number in 0..25 {
        let mut spine = Spine::begin(&lab.home(), &format!("s{number:02}"), 1000 + number);
        for turn in 1..=4 {
            spine.failing_turn(turn);
        }
    }
    lab.start();
    lab.read_all();
    let insight = lab.insight();
    let (mut signals, mut token, mut pages) = (Vec::new(), String::new(), 0);
    while pages == 0 || !token.is_empty() {
        let request = PageRequest { size: 7, token };
        let filter = SignalFilter {
            sessions: SessionFilter {
                categories: vec!["exec_failure".to_owned()],
                ..SessionFilter::default()
            },
            ..SignalFilter::default()
        };
        let page = lab.block_on(insight.signals(filter, request)).unwrap();
        signals.extend(page.items.into_iter().map(|signal| signal.id));
        token = page.next;
        pages += 1;
    }
    assert_eq!((signals.len(), pages), (100, 15));
    signals.sort();
    signals.dedup();
    assert_eq!(signals.len(), 100);
    let report = lab.block_on(insight.report(SessionFilter::default())).unwrap();
    assert_eq!((report.sessions, report.friction["exec_failure"]), (25, 100));
    let none = SessionFilter { model: Some("other".to_owned()), ..SessionFilter::default() };
    assert!(lab.block_on(insight.sessions(none, PageRequest::default())).unwrap().items.is_empty());
}
