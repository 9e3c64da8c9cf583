//! Schedules over the deaths of the daemon.

use engine::schedule::{EventTriggers, Missed, NewSchedule, Overlap, Start, Trigger};
use engine::{Filter, Origin};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::lab::{Lab, until};

/// Adds a schedule that starts a run of kind `side` when one of kind `play` has ended. The daemon dies before it
/// has noted how far its schedules have seen events.
fn add_and_die(lab: &mut Lab) {
    lab.block(async {
        let (scheduler, handle) = lab.engine().schedules(EventTriggers::default()).await.unwrap();
        let running = tokio::spawn(scheduler.run(CancellationToken::new()));
        let filter = json!({ "workflows": ["play"] });
        let new = NewSchedule {
            name: "after".to_owned(),
            trigger: Trigger::Event { kind: "run.finished".to_owned(), filter },
            start: Start { workflow: "side".to_owned(), spec: Value::Null, ..Start::default() },
            overlap: Overlap::Queue,
            missed: Missed::Once,
            enabled: true,
        };
        handle.add(new).await.unwrap();
        running.abort();
        let _ = running.await;
    });
}

#[test]
fn an_event_that_nobody_saw_before_the_first_daemon_died_sets_off_its_schedule_under_the_next() {
    let mut lab = Lab::playing(|_, _| async { Ok(Value::Null) });
    add_and_die(&mut lab);
    let run = lab.start(Value::Null);
    lab.ends(run, "succeeded");
    lab.reopen();
    let stop = CancellationToken::new();
    lab.block(async {
        let (scheduler, _handle) = lab.engine().schedules(EventTriggers::default()).await.unwrap();
        let running = tokio::spawn(scheduler.run(stop.clone()));
        until(async || {
            let runs = lab.engine().list(Filter::default(), 10, None).await.unwrap().runs;
            runs.iter().any(|run| run.kind == "side" && !matches!(run.origin, Origin::Client))
        })
        .await;
        stop.cancel();
        running.await.unwrap();
    });
}
