//! Firing by the clock.

use super::*;

#[tokio::test]
async fn a_schedule_fires_at_each_of_its_times_and_stores_where_it_stands() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let added = daemon.add("hourly", daemon.hourly()).await;
    assert_eq!(added.next_at, Some(at("2026-01-01T01:00:00Z")));

    daemon.advance(MINUTE * 59).await;
    assert!(daemon.fired().is_empty());
    daemon.advance(MINUTE).await;
    daemon.advance(HOUR).await;
    assert_eq!(daemon.fired(), ["01 01:00", "01 02:00"]);

    let stored = daemon.host.stored_schedule("hourly");
    assert_eq!(stored, daemon.show("hourly").await);
    assert_eq!(stored.next_at, Some(at("2026-01-01T03:00:00Z")));
    assert_eq!(stored.last_at, Some(at("2026-01-01T02:00:00Z")));
    assert_eq!(stored.last_run, daemon.host.look(|world| Some(world.runs[1].id)));
    assert_eq!(stored.counts.fired, 2);
    assert_eq!(stored.start, new_schedule("hourly", daemon.hourly()).start);
}

#[tokio::test]
async fn a_single_time_fires_once_and_leaves_nothing_to_come() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = Trigger::At(at("2026-01-01T00:30:00.000000001Z"));
    daemon.add("once", trigger).await;
    daemon.advance(HOUR).await;
    daemon.advance(HOUR * 24).await;
    assert_eq!(daemon.fired(), ["01 00:30"]);
    assert_eq!(daemon.show("once").await.next_at, None);
}

#[tokio::test]
async fn a_nightly_schedule_fires_once_per_night_when_the_clocks_change() {
    for start in ["2026-03-28T00:00:00Z", "2026-10-24T00:00:00Z"] {
        let daemon = Daemon::start(start);
        let cron = Cron::new("30 2 * * *", "Europe/Berlin").unwrap();
        daemon.add("nightly", Trigger::Cron(cron)).await;
        for _ in 0..4 * 72 {
            daemon.advance(MINUTE * 15).await;
        }
        assert_eq!(daemon.fired().len(), 3, "{:?}", daemon.fired());
    }
}

#[tokio::test]
async fn a_clock_set_back_repeats_nothing() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("hourly", daemon.hourly()).await;
    daemon.advance(HOUR * 2).await;
    for back in [SignedDuration::from_secs(1), MINUTE * 90, HOUR * 24] {
        let before = daemon.clock.now();
        daemon.advance(-back).await;
        daemon.advance(back / 2).await;
        daemon.clock.set(before);
        daemon.settle().await;
    }
    assert_eq!(daemon.fired(), ["01 02:00"]);
    daemon.advance(HOUR).await;
    assert_eq!(daemon.fired(), ["01 02:00", "01 03:00"]);
}

#[tokio::test]
async fn a_clock_set_forwards_is_an_absence_like_any_other() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let (all, skip) = (Missed::All, Missed::Skip);
    daemon.add_with("all", daemon.hourly(), all, Overlap::Queue).await;
    daemon.add_with("skip", daemon.hourly(), skip, Overlap::Queue).await;
    daemon.advance(HOUR * 3 + MINUTE * 30).await;
    assert_eq!(daemon.fired(), ["01 01:00", "01 02:00", "01 03:00"]);
    assert_eq!(daemon.show("skip").await.counts.missed, 3);
}

async fn fired_after_downtime(missed: Missed) -> Daemon {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = daemon.hourly();
    daemon.add_with("hourly", trigger, missed, Overlap::Queue).await;
    daemon.restart_after(HOUR * 3 + MINUTE * 30).await;
    daemon.settle().await;
    daemon.advance(MINUTE * 30).await;
    daemon
}

fn missed(count: u64) -> Notice {
    Notice::Missed(policy::Dropped { count, exact: true, first: at("2026-01-01T01:00:00Z") })
}

#[tokio::test]
async fn after_downtime_once_makes_up_with_one_run() {
    let daemon = fired_after_downtime(Missed::Once).await;
    assert_eq!(daemon.fired(), ["01 03:00", "01 04:00"]);
    assert_eq!(daemon.notices(), [missed(2)]);
    assert_eq!(daemon.show("hourly").await.counts.missed, 2);
}

#[tokio::test]
async fn after_downtime_all_makes_up_for_each_in_order() {
    let daemon = fired_after_downtime(Missed::All).await;
    assert_eq!(daemon.fired(), ["01 01:00", "01 02:00", "01 03:00", "01 04:00"]);
    assert_eq!(daemon.notices(), []);
}

#[tokio::test]
async fn after_downtime_skip_goes_on_with_the_next() {
    let daemon = fired_after_downtime(Missed::Skip).await;
    assert_eq!(daemon.fired(), ["01 04:00"]);
    assert_eq!(daemon.notices(), [missed(3)]);
}

async fn two_firings(overlap: Overlap) -> Daemon {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add_with("hourly", daemon.hourly(), Missed::Once, overlap).await;
    daemon.advance(HOUR).await;
    daemon.advance(HOUR).await;
    daemon
}

fn first_run(daemon: &Daemon) -> Uuid {
    daemon.host.look(|world| world.runs[0].id)
}

#[tokio::test]
async fn overlap_skip_drops_the_firing_and_tells_it() {
    let daemon = two_firings(Overlap::Skip).await;
    assert_eq!(daemon.fired(), ["01 01:00"]);
    let skipped =
        Notice::Skipped { cause: Cause::Time(at("2026-01-01T02:00:00Z")), active: first_run(&daemon) };
    assert_eq!(daemon.notices(), [skipped]);
    let stored = daemon.host.stored_schedule("hourly");
    assert_eq!(stored.counts.skipped, 1);
    assert_eq!(daemon.show("hourly").await, stored);

    daemon.host.finish(first_run(&daemon), RunOutcome::Succeeded);
    daemon.advance(HOUR).await;
    assert_eq!(daemon.fired(), ["01 01:00", "01 03:00"]);
}

#[tokio::test]
async fn overlap_queue_lines_runs_up_one_behind_the_other() {
    let daemon = two_firings(Overlap::Queue).await;
    daemon.advance(HOUR).await;
    daemon.host.look(|world| {
        let after: Vec<_> = world.runs.iter().map(|run| run.firing.after).collect();
        assert_eq!(after, [None, Some(world.runs[0].id), Some(world.runs[1].id)]);
        assert!(world.runs.iter().all(|run| run.cancel_reason.is_none()));
    });
}

#[tokio::test]
async fn overlap_replace_cancels_the_earlier_run_and_waits_for_its_end() {
    let daemon = two_firings(Overlap::Replace).await;
    daemon.host.look(|world| {
        let reason = world.runs[0].cancel_reason.as_deref();
        assert_eq!(reason, Some("replaced by the next run of schedule hourly"));
        assert_eq!(world.runs[1].firing.after, Some(world.runs[0].id));
        assert_eq!(world.runs[1].cancel_reason, None);
    });
}

#[tokio::test]
async fn a_failed_start_is_stored_told_once_and_tried_again_until_it_succeeds() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("hourly", daemon.hourly()).await;
    daemon.host.change(|world| {
        world.fire_faults.extend([Some(Fault::Lost), Some(Fault::Lost)]);
    });
    daemon.advance(HOUR).await;

    let stored = daemon.host.stored_schedule("hourly");
    assert_eq!(stored.pending, Some(at("2026-01-01T01:00:00Z")));
    assert_eq!(stored.last_error.as_deref(), Some("the store does not answer"));
    let failed = Notice::Failed {
        cause: Cause::Time(at("2026-01-01T01:00:00Z")),
        problem: "the store does not answer".to_owned(),
    };
    assert_eq!(daemon.notices(), std::slice::from_ref(&failed));

    // After one second and after two more.
    daemon.advance(SignedDuration::from_secs(1)).await;
    assert!(daemon.fired().is_empty());
    daemon.advance(SignedDuration::from_secs(1)).await;
    assert!(daemon.fired().is_empty());
    daemon.advance(SignedDuration::from_secs(1)).await;
    assert_eq!(daemon.fired(), ["01 01:00"]);
    assert_eq!(daemon.notices(), [failed]);
    let stored = daemon.host.stored_schedule("hourly");
    assert_eq!((stored.pending, stored.last_error), (None, None));
    assert_eq!(stored.counts.fired, 1);
}

#[tokio::test]
async fn the_very_occurrence_that_failed_is_tried_again_though_later_ones_have_come() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = daemon.hourly();
    daemon.add_with("hourly", trigger, Missed::Skip, Overlap::Queue).await;
    daemon.host.change(|world| world.fire_faults.push_back(Some(Fault::Lost)));
    daemon.advance(HOUR).await;
    daemon.restart_after(HOUR * 2).await;
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["01 01:00", "01 03:00"]);
}

#[tokio::test]
async fn a_pause_after_a_failure_ends_when_the_clock_is_set_back() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = daemon.hourly();
    daemon.add("hourly", trigger).await;
    daemon.host.change(|world| world.fire_faults.push_back(Some(Fault::Lost)));
    daemon.advance(HOUR).await;
    daemon.clock.advance(-HOUR * 24);
    // Whatever makes the scheduler look at the clock again, it does not wait for a day.
    daemon.handle.list().await.unwrap();
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["01 01:00"]);
    daemon.restart_after(SignedDuration::ZERO).await;
    daemon.settle().await;
    assert_eq!(daemon.fired(), ["01 01:00"]);
}

#[tokio::test]
async fn a_refused_start_is_told_and_the_schedule_goes_on() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("hourly", daemon.hourly()).await;
    daemon.host.change(|world| world.fire_faults.push_back(Some(Fault::Refused)));
    daemon.advance(HOUR).await;
    let refused = Notice::Refused {
        cause: Cause::Time(at("2026-01-01T01:00:00Z")),
        problem: "no such workflow".to_owned(),
    };
    assert_eq!(daemon.notices(), [refused]);
    let stored = daemon.host.stored_schedule("hourly");
    assert!(stored.enabled);
    assert_eq!(stored.last_error.as_deref(), Some("no such workflow"));
    assert_eq!(stored.counts.fired, 0);

    daemon.advance(HOUR).await;
    assert_eq!(daemon.fired(), ["01 02:00"]);
    assert_eq!(daemon.show("hourly").await.last_error, None);
}

#[tokio::test]
async fn missed_occurrences_are_told_even_if_storing_that_fails_at_first() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = daemon.hourly();
    daemon.add_with("hourly", trigger, Missed::Skip, Overlap::Queue).await;
    daemon.host.change(|world| world.save_faults.push_back(Some(Fault::Lost)));
    daemon.restart_after(HOUR * 3 + MINUTE * 30).await;
    daemon.settle().await;
    assert_eq!(daemon.notices(), []);
    daemon.advance(MINUTE).await;
    assert_eq!(daemon.notices(), [missed(3)]);
    assert_eq!(daemon.host.stored_schedule("hourly").counts.missed, 3);
}

#[tokio::test]
async fn what_could_not_be_told_while_the_store_was_out_of_order_is_told_afterwards() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = daemon.hourly();
    daemon.add("hourly", trigger).await;
    daemon.host.change(|world| {
        world.fire_faults.extend(vec![Some(Fault::Lost); 3]);
        world.save_faults.extend(vec![Some(Fault::Lost); 3]);
    });
    daemon.restart_after(HOUR * 3).await;
    for _ in 0..10 {
        daemon.advance(SignedDuration::from_secs(1)).await;
    }
    let failed = Notice::Failed {
        cause: Cause::Time(at("2026-01-01T03:00:00Z")),
        problem: "the store does not answer".to_owned(),
    };
    assert_eq!(daemon.notices(), [missed(2), failed]);
    assert_eq!(daemon.fired(), ["01 03:00"]);
}
