//! Processes beside the others.

use engine::{RunContext, StepKind, StepState};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lab::{Lab, failed, kill_9, note, script, wait_for};

/// A helper that notes its pid, beside a wait for a word.
fn lab() -> Lab {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run: RunContext, spec| {
        let root = root.clone();
        async move {
            let text = "echo $$ $PPID >> log; exec sleep 1000";
            run.background("helper", script(&root, text), |_| async {}).await?;
            run.sleep_until("word", Timestamp::MAX).await?;
            let first = run.step("count", async {
                note(&root.join("tries"), "try");
                Ok(std::fs::read_to_string(root.join("tries")).unwrap().lines().count() == 1)
            });
            if first.await? && spec == json!("fails") {
                return Err(failed("as asked"));
            }
            Ok(Value::Null)
        }
    });
    lab.open();
    lab
}

#[test]
fn it_is_stopped_when_the_workflow_has_returned() {
    let lab = lab();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    lab.expect_nobody();
    let helper = lab.detail(run).steps.remove(0);
    assert_eq!((helper.kind, helper.state), (StepKind::Background, StepState::Succeeded));
}

#[test]
fn it_is_adopted_after_a_restart() {
    let mut lab = lab();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.reopen();
    lab.reopen();
    wait_for(|| lab.engine().heartbeat(run).is_some_and(|beat| beat.process_alive));
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
    assert_eq!(lab.lines("log").len(), 1);
    lab.expect_nobody();
}

#[test]
fn it_is_started_again_when_its_run_is_resumed() {
    let lab = lab();
    let run = lab.start(json!("fails"));
    lab.grows("log", 1);
    lab.block(lab.engine().cancel(run, "for now")).unwrap();
    lab.ends(run, "canceled");
    lab.expect_nobody();
    lab.block(lab.engine().resume(run)).unwrap();
    lab.grows("log", 2);
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "failed");
    lab.expect_nobody();
}

#[test]
fn its_loss_is_no_interruption_now_or_after_restarts() {
    let mut lab = lab();
    let run = lab.start(Value::Null);
    lab.grows("log", 1);
    lab.reaches(run, "waiting");
    lab.kill();
    for pid in lab.living() {
        kill_9(pid);
    }
    lab.open();
    wait_for(|| lab.detail(run).steps[0].state == StepState::Interrupted);
    lab.reopen();
    lab.block(lab.engine().tell(run, "on")).unwrap();
    lab.ends(run, "succeeded");
}
