//! The handle.

use super::*;

#[tokio::test]
async fn names_are_unique_and_of_a_certain_form() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("nightly", daemon.hourly()).await;
    let refusal = async |name: &str| {
        let refused = daemon.handle.add(new_schedule(name, daemon.hourly())).await;
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refusal("nightly").await,
        "there is a schedule \"nightly\" already; remove it first, or choose another name"
    );
    for name in ["", "../etc", "-x", "a b", "a\n", &"a".repeat(65)] {
        assert!(refusal(name).await.contains("cannot be the name"), "{name:?}");
    }
    assert_eq!(daemon.handle.list().await.unwrap().schedules.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_added() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.host.change(|world| world.save_faults.push_back(Some(Fault::Lost)));
    let refused = daemon.handle.add(new_schedule("nightly", daemon.hourly())).await;
    assert!(matches!(refused, Err(ScheduleError::Host(_))));
    assert!(daemon.handle.list().await.unwrap().schedules.is_empty());
    daemon.add("nightly", daemon.hourly()).await;
}

#[tokio::test]
async fn a_time_in_the_past_is_refused() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let trigger = Trigger::At(at("2025-12-31T23:59:59Z"));
    let refused = daemon.handle.add(new_schedule("late", trigger)).await;
    assert_eq!(refused.unwrap_err().to_string(), "2025-12-31T23:59:59Z has passed already");
}

#[tokio::test]
async fn schedules_are_found_by_name_by_id_and_by_the_beginning_of_an_id() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let one = daemon.add("one", daemon.hourly()).await;
    let two = daemon.add("two", daemon.hourly()).await;
    let id = async |key: &str| daemon.handle.show(key).await.map(|schedule| schedule.id);

    assert_eq!(id("two").await, Ok(two.id));
    assert_eq!(id(&one.id.to_string()).await, Ok(one.id));
    assert_eq!(id(&one.id.simple().to_string()[..30]).await, Ok(one.id));
    // Both were made in the same millisecond.
    let shared = &one.id.to_string()[..8];
    assert_eq!(
        id(shared).await.unwrap_err().to_string(),
        format!("{shared:?} could be any of the schedules one, two")
    );
    for key in ["three", "", "-", "../x"] {
        let missing = ScheduleError::NotFound { key: key.to_owned() };
        assert_eq!(id(key).await, Err(missing));
    }

    // A name that looks like the beginning of an id is a name all the same.
    let named = daemon.add(shared, daemon.hourly()).await;
    assert_eq!(id(shared).await, Ok(named.id));
}

#[tokio::test]
async fn a_disabled_schedule_does_not_fire_and_an_enabled_one_goes_on_from_then() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add_with("hourly", daemon.hourly(), Missed::All, Overlap::Queue).await;
    let disabled = daemon.handle.disable("hourly").await.unwrap();
    assert_eq!((disabled.enabled, disabled.next_at), (false, None));
    daemon.advance(HOUR * 5).await;
    let enabled = daemon.handle.enable("hourly").await.unwrap();
    assert_eq!(enabled.next_at, Some(at("2026-01-01T06:00:00Z")));
    assert_eq!(daemon.handle.enable("hourly").await.unwrap(), enabled);
    daemon.advance(HOUR).await;
    assert_eq!(daemon.fired(), ["01 06:00"]);
}

#[tokio::test]
async fn a_schedule_can_be_run_now_even_if_disabled_and_a_repeated_request_runs_once() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    let added = daemon.add("hourly", daemon.hourly()).await;
    daemon.handle.disable("hourly").await.unwrap();
    let run = daemon.handle.run_now("hourly", "r1").await.unwrap();
    assert_eq!(daemon.handle.run_now("hourly", "r1").await, Ok(run));
    assert_ne!(daemon.handle.run_now("hourly", "r2").await, Ok(run));
    assert_eq!(daemon.fired(), ["command r1", "command r2"]);
    assert_eq!(daemon.show("hourly").await.next_at, None);
    daemon.host.look(|world| assert_eq!(world.runs[0].firing.lineage, [added.id]));
}

#[tokio::test]
async fn a_removed_schedule_is_gone_for_good() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let added = daemon.add("hourly", daemon.hourly()).await;
    let removed = daemon.handle.remove(&added.id.to_string()).await;
    assert_eq!(removed.as_deref(), Ok("hourly"));
    daemon.restart_after(HOUR).await;
    daemon.settle().await;
    assert!(daemon.fired().is_empty());
    assert!(daemon.handle.list().await.unwrap().schedules.is_empty());
}

#[tokio::test]
async fn upcoming_merges_all_schedules_by_time() {
    let daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.add("hourly", daemon.hourly()).await;
    daemon.add("once", Trigger::At(at("2026-01-01T01:30:00Z"))).await;
    let nightly = Cron::new("30 2 * * *", "UTC").unwrap();
    daemon.add("nightly", Trigger::Cron(nightly)).await;
    let upcoming = daemon.handle.upcoming(5).await.unwrap();
    let upcoming: Vec<_> =
        upcoming.iter().map(|firing| format!("{} {}", firing.at.strftime("%H:%M"), firing.name)).collect();
    let expected = ["01:00 hourly", "01:30 once", "02:00 hourly", "02:30 nightly", "03:00 hourly"];
    assert_eq!(upcoming, expected);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_understood_stops_nothing_and_is_kept_until_removed() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    let good = daemon.add("good", daemon.hourly()).await;
    let mut record = ScheduleRecord::from(&Schedule {
        id: Uuid::now_v7(),
        name: "gone".to_owned(),
        trigger: Trigger::Cron(Cron::new("@daily", "UTC").unwrap()),
        ..good
    });
    if let Some(record::TriggerRecord::Cron(cron)) = &mut record.trigger {
        cron.time_zone = "Atlantis/Capital".to_owned();
    }
    let id = Uuid::from_slice(&record.id).unwrap();
    daemon.host.put_record(id, &record);
    daemon.restart_after(HOUR).await;
    daemon.settle().await;

    assert_eq!(daemon.fired(), ["01 01:00"]);
    let listing = daemon.handle.list().await.unwrap();
    assert_eq!(listing.schedules.len(), 1);
    assert_eq!(listing.unreadable[0].name, "gone");
    let refusal = daemon.handle.show("gone").await.unwrap_err().to_string();
    assert!(refusal.contains("no time zone \"Atlantis/Capital\""), "{refusal}");
    assert_eq!(daemon.host.stored().schedules.len(), 2);

    daemon.handle.remove("gone").await.unwrap();
    assert_eq!(daemon.host.stored().schedules.len(), 1);
    assert!(daemon.handle.list().await.unwrap().unreadable.is_empty());
}

#[tokio::test]
async fn after_the_scheduler_has_stopped_its_handle_says_so() {
    let mut daemon = Daemon::start("2026-01-01T00:00:00Z");
    daemon.stop.cancel();
    within_deadline(&mut daemon.task).await.unwrap();
    assert_eq!(daemon.handle.list().await.unwrap_err(), ScheduleError::Stopped);
}
