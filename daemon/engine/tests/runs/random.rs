//! An engine that dies at random, again and again, under a mixed load.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use engine::{OnInterrupt, RunId};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lab::{Lab, note, script};

/// How often the engine dies.
const DEATHS: usize = 30;

/// A small generator: the seed of a failed test can be put in the place of the time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn busy(lab: &mut Lab) {
    let (root, options) = (lab.path(""), lab.options());
    let child_root = root.clone();
    lab.side(move |run, spec| {
        let root = child_root.clone();
        async move {
            let text = format!("echo child-{} >> count", spec.as_str().unwrap());
            run.process("work", script(&root, &text)).await.map(|_| json!("done"))
        }
    });
    lab.play(move |run, _| {
        let (root, options) = (root.clone(), options.clone());
        async move {
            let id = run.id();
            run.background("helper", script(&root, "sleep 1000"), |_| async {}).await?;
            let count = |what: String| script(&root, &format!("echo {what}-{id} >> count; sleep 0.01"));
            run.process("first", count("first".to_owned())).await?;
            let until =
                run.step("time", async { Ok(Timestamp::now() + SignedDuration::from_millis(20)) }).await?;
            run.sleep_until("pause", until).await?;
            run.emit("half", "test.half", Value::Null).await?;
            let child = run.child("child", "side", json!(id.to_string()), options).await?;
            assert_eq!((child.state.as_str(), child.output), ("succeeded", Some(json!("done"))));
            // The loop comes last: what is before it need not be visited again.
            for number in 0..3 {
                run.process(&format!("round {number}"), count(format!("round{number}"))).await?;
            }
            run.step("last", async {
                note(&root.join("last"), &id.to_string());
                Ok(())
            })
            .await?;
            Ok(Value::Null)
        }
    });
}

#[test]
fn whenever_the_engine_dies_every_run_comes_to_its_end_and_nothing_is_done_twice() {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    println!("seed: {seed}");
    let mut dice = Dice(u64::try_from(seed % u128::from(u64::MAX)).unwrap());
    let mut lab = Lab::new();
    lab.settings.slots = 3;
    busy(&mut lab);
    lab.open();
    let mut runs: Vec<RunId> = Vec::new();
    let mut last_event = 0;
    for _ in 0..DEATHS {
        for _ in 0..dice.throw(3) {
            let spec = json!({ "leases": [format!("one of {}", dice.throw(3))] });
            runs.push(lab.start_with(spec, |start| start.options.on_interrupt = Some(OnInterrupt::Resume)));
        }
        std::thread::sleep(Duration::from_millis(dice.throw(120)));
        let told = lab.engine().last_event();
        lab.reopen();
        assert!(lab.engine().last_event() >= told, "an event that was told is kept");
        assert!(lab.engine().last_event() > last_event);
        last_event = lab.engine().last_event();
    }
    for run in &runs {
        assert_eq!(lab.ends(*run, "succeeded").interruptions, 0);
    }
    lab.expect_nobody();

    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for line in lab.lines("count") {
        *counted.entry(line).or_default() += 1;
    }
    for run in &runs {
        for what in ["first", "child", "round0", "round1", "round2"] {
            assert_eq!(counted.remove(&format!("{what}-{run}")), Some(1), "{what} of {run}");
        }
        assert!(lab.lines("last").contains(&run.to_string()));
    }
    assert_eq!(counted, BTreeMap::new(), "nobody else has run anything");

    let events = super::events::history(&lab, 1);
    super::events::expect_contiguous(&events);
    assert_eq!(events[0].seq, 1);
    for kind in ["test.half", "run.finished"] {
        let told = events.iter().filter(|event| event.kind == kind).count();
        let runs = if kind == "test.half" { runs.len() } else { 2 * runs.len() };
        assert_eq!(told, runs, "{kind}");
    }
    assert!(lab.engine().leases().is_empty());
    assert_eq!(lab.engine().counts(), [0, 0, 0]);
}
