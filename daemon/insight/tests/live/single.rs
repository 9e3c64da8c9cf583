//! Single sessions that are read because somebody names them.

use std::time::Duration;

use insight::{InsightError, PageRequest, SessionFilter};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::spine::Spine;

fn known(lab: &Lab) -> Vec<String> {
    let page =
        lab.block_on(lab.insight().sessions(SessionFilter::default(), PageRequest::default())).unwrap();
    page.items.into_iter().map(|view| view.session.id.to_string()).collect()
}

#[test]
fn a_session_of_a_home_that_is_not_watched_is_read_alone_also_after_a_restart() {
    let elsewhere = TempDir::new().unwrap();
    let mut wanted = Spine::begin(elsewhere.path(), "wanted", 10);
    wanted.failing_turn(1);
    Spine::begin(elsewhere.path(), "unwanted", 10).failing_turn(1);
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::from_hours(1);
    lab.start();
    let read = lab.read_at(wanted.directory()).unwrap();
    assert_eq!((read.sessions, read.signals), (1, 1));
    assert_eq!(known(&lab), ["wanted"]);

    // It has yet to settle, so that its home is looked at again.
    wanted.failing_turn(2);
    lab.kill();
    lab.start();
    lab.until(async |insight| {
        (insight.session("wanted").await.unwrap().view.friction.values().sum::<u32>() == 2).then_some(())
    });
    assert_eq!(known(&lab), ["wanted"]);
    let read = lab.read_at(&wanted.path()).unwrap();
    assert_eq!((read.sessions, read.signals), (1, 2));
    assert_eq!(lab.read_at(elsewhere.path()).unwrap().sessions, 2);
}

#[test]
fn a_path_within_a_watched_home_is_counted_alone_and_stays_watched() {
    let mut lab = Lab::new();
    lab.start();
    lab.read_all();
    let mut one = Spine::begin(&lab.home(), "one", 10);
    Spine::begin(&lab.home(), "two", 10).failing_turn(1);
    one.failing_turn(1);
    let link = lab.state_dir().join("link");
    std::os::unix::fs::symlink(lab.home(), &link).unwrap();
    for path in [one.directory().to_owned(), link.join("trace_spine/one/segment-000.jsonl")] {
        let read = lab.read_at(&path).unwrap();
        assert_eq!((read.sessions, read.signals), (1, 1), "{path:?}");
    }
    let view = lab.block_on(lab.insight().session("one")).unwrap().view;
    assert_eq!(view.home, lab.home());
    one.failing_turn(2);
    lab.until(async |insight| {
        (insight.session("one").await.unwrap().view.friction.values().sum::<u32>() == 2).then_some(())
    });
}

#[test]
fn a_path_that_leads_to_no_session_is_refused() {
    let mut lab = Lab::new();
    lab.start();
    let loose = lab.state_dir().join("rollout-2026-03-02T08-00-00-a.jsonl");
    std::fs::write(&loose, "{}\n").unwrap();
    for nowhere in [loose.as_path(), "/nowhere".as_ref()] {
        assert!(matches!(lab.read_at(nowhere), Err(InsightError::Homeless { path }) if path == nowhere));
    }
    let nothing = lab.home().join("sessions/2026");
    assert!(matches!(lab.read_at(&nothing), Err(InsightError::Nothing { path }) if path == nothing));
}
