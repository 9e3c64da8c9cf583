//! Whatever happens to the daemon, what has to fire fires, and nothing fires twice.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const START: &str = "2026-03-28T20:00:00Z"; // a few hours before Europe/Berlin changes its clocks

#[derive(Debug, Clone)]
enum Step {
    /// Time passes.
    Pass(SignedDuration),
    /// The daemon is killed and started again after this time.
    Down(SignedDuration),
    /// The next start of a run goes wrong.
    FaultyStart(Fault),
    /// The next storing of a schedule goes wrong.
    FaultySave(Fault),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Lost),
        Just(Fault::Unacknowledged),
        Just(Fault::CrashBefore),
        Just(Fault::CrashAfter),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let minutes = || (0..150i64).prop_map(SignedDuration::from_mins);
    prop_oneof![
        3 => minutes().prop_map(Step::Pass),
        2 => minutes().prop_map(Step::Down),
        2 => fault().prop_map(Step::FaultyStart),
        1 => fault().prop_map(Step::FaultySave),
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    let expressions = prop::sample::select(vec![
        "*/20 * * * *",
        "30 2 * * *",
        "*/25 1-3 * * *",
        "0 2,3 * * *",
        "15 30 */2 * * *",
    ]);
    let zones = prop::sample::select(vec!["Europe/Berlin", "America/New_York", "UTC"]);
    let cron = (expressions, zones)
        .prop_map(|(expression, zone)| Trigger::Cron(Cron::new(expression, zone).unwrap()));
    let every = (20..200i64, 0..=100i64, 0..500i64).prop_map(|(interval, share, offset)| {
        let interval = SignedDuration::from_secs(interval * 60 + offset);
        let jitter = SignedDuration::from_secs(interval.as_secs() * share / 100);
        let anchor = at(START) + SignedDuration::from_secs(offset);
        Trigger::Every(Every::new(interval, jitter, anchor).unwrap())
    });
    let once =
        (1..1000i64).prop_map(|minutes| Trigger::At(at(START) + MINUTE * i32::try_from(minutes).unwrap()));
    prop_oneof![4 => cron, 4 => every, 1 => once]
}

/// The occurrences up to `end` that got a run; panics if one got two.
fn occurrences(daemon: &Daemon, end: Timestamp) -> BTreeSet<Timestamp> {
    let mut seen = BTreeSet::new();
    daemon.host.look(|world| {
        for run in &world.runs {
            let Cause::Time(time) = run.firing.cause else {
                panic!("{run:?}");
            };
            assert!(seen.insert(time), "{time} fired twice");
        }
    });
    seen.retain(|time| *time <= end);
    seen
}

/// Waits until everything due has been done; a daemon that dies on the way is started again.
async fn settle(daemon: &mut Daemon) {
    loop {
        let died = tokio::select! {
            biased;
            () = within_deadline(daemon.host.crashed()) => true,
            () = daemon.settle() => false,
        };
        if !died {
            return;
        }
        daemon.restart_after(SignedDuration::ZERO).await;
    }
}

async fn disturbed(daemon: &mut Daemon, steps: &[Step]) -> Timestamp {
    for step in steps {
        match step {
            Step::Pass(time) => daemon.clock.advance(*time),
            Step::Down(time) => daemon.restart_after(*time).await,
            Step::FaultyStart(fault) => {
                daemon.host.change(|world| world.fire_faults.push_back(Some(fault.clone())));
            }
            Step::FaultySave(fault) => {
                daemon.host.change(|world| world.save_faults.push_back(Some(fault.clone())));
            }
        }
        settle(daemon).await;
    }
    let end = daemon.clock.now();
    // What failed at the last moment is still tried again, after its pause.
    daemon.host.change(|world| {
        world.fire_faults.clear();
        world.save_faults.clear();
    });
    daemon.clock.advance(MINUTE * 6);
    settle(daemon).await;
    end
}

async fn undisturbed(daemon: &Daemon, end: Timestamp) {
    while let Some(next) = daemon.handle.upcoming(1).await.unwrap().first()
        && next.at <= end
    {
        daemon.clock.set(next.at);
        daemon.settle().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn under_all_a_life_full_of_crashes_fires_what_an_undisturbed_one_fires(
        trigger in trigger(),
        // So few that not even all of them together miss more than are made up for.
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut hard = Daemon::start(START);
            let schedule = hard.add_with("it", trigger, Missed::All, Overlap::Queue).await;
            let easy_host = MemoryHost::new();
            easy_host.put_record(schedule.id, &ScheduleRecord::from(&schedule));
            let easy = Daemon::start_in(easy_host, at(START), EventTriggers::default());

            let end = disturbed(&mut hard, &steps).await;
            undisturbed(&easy, end).await;
            assert_eq!(occurrences(&hard, end), occurrences(&easy, end));
        });
    }
}

#[tokio::test]
async fn at_each_crash_point_of_a_start_the_occurrence_gets_exactly_one_run() {
    for fault in [Fault::Lost, Fault::Unacknowledged, Fault::CrashBefore, Fault::CrashAfter] {
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
            let trigger = daemon.hourly();
            daemon.add_with("hourly", trigger, Missed::Once, overlap).await;
            daemon.host.change(|world| world.fire_faults.push_back(Some(fault.clone())));
            daemon.clock.advance(HOUR);
            settle(&mut daemon).await;
            daemon.clock.advance(MINUTE);
            settle(&mut daemon).await;
            // Once more, to see that nothing was left behind.
            daemon.restart_after(MINUTE).await;
            settle(&mut daemon).await;

            assert_eq!(daemon.fired(), ["01 01:00"], "{fault:?} {overlap:?}");
            let stored = daemon.host.stored_schedule("hourly");
            assert_eq!((stored.pending, stored.last_error), (None, None));
            assert_eq!((stored.counts.fired, stored.counts.skipped), (1, 0), "{fault:?} {overlap:?}");
            daemon.host.look(|world| assert_eq!(world.runs[0].cancel_reason, None));
        }
    }
}
