//! Killing the shim after each of its steps.

use engine::process::shim::{DIE_AT, STEPS};
use engine::process::{Adoption, Ended, ExitStatus, Launch};

use crate::lab::Lab;

/// What is the truth when the shim died after a step.
#[derive(Debug, PartialEq)]
enum Truth {
    /// The program did not begin, and this is told.
    NothingRan,
    /// The program may have begun, and this is told.
    Lost,
    /// The end is told.
    Exited,
}

fn truth_after(step: &str) -> Truth {
    let place = |name| STEPS.iter().position(|step| *step == name).unwrap();
    let step = place(step);
    if step < place("process_named") {
        Truth::NothingRan
    } else if step < place("exit_named") {
        Truth::Lost
    } else {
        Truth::Exited
    }
}

/// Runs a child that counts its own runs and leaves two behind, with a shim that dies after this step.
async fn die_after(step: &str) {
    let lab = Lab::new().marked().env(DIE_AT, step);
    let script = "echo ran >> runs; echo up > up; sleep 1000 & setsid sleep 1000 & \
                  [ -e stopped ] && wait; exit 0";
    let launch = Launch {
        stop: engine::process::StopLadder {
            grace: std::time::Duration::ZERO,
            ..engine::process::StopLadder::default()
        },
        ..lab.script(script)
    };
    if step == "stop_sent" {
        std::fs::write(lab.path("stopped"), "").unwrap();
    }
    let process = lab.start(&launch).await;
    if step == "stop_sent" {
        lab.appears("up").await;
        process.stop();
    }
    let ended = process.wait().await.unwrap();
    let adopted = lab.adopt().await;

    let told = match (&ended, &adopted) {
        (Ended::NothingRan, Adoption::NothingRan) => Truth::NothingRan,
        (Ended::Lost(_), Adoption::Lost(_)) => Truth::Lost,
        (Ended::Exited(exit), Adoption::Exited(again)) => {
            assert_eq!(exit, again, "after {step}");
            assert_eq!(exit.status, ExitStatus::Code(0), "after {step}");
            Truth::Exited
        }
        other => panic!("two truths after {step}: {other:?}"),
    };
    assert_eq!(told, truth_after(step), "after {step}");

    let runs = std::fs::read_to_string(lab.path("runs")).unwrap_or_default().lines().count();
    match told {
        Truth::NothingRan => assert_eq!(runs, 0, "after {step}"),
        Truth::Lost => assert!(runs <= 1, "after {step}"),
        Truth::Exited => assert_eq!(runs, 1, "after {step}"),
    }
    crate::lab::until(|| lab.living().is_empty().then_some(())).await;
}

#[tokio::test]
async fn the_truth_survives_the_death_of_the_shim_after_every_step() {
    for step in STEPS {
        die_after(step).await;
    }
}

#[test]
fn each_step_is_marked_in_one_place() {
    // Or the test above would prove nothing about a step that is never taken.
    let code = include_str!("../../src/process/shim.rs");
    assert_eq!(code.matches("done(Step::").count(), STEPS.len());
}
