//! Many runs.

use serde_json::{Value, json};

use super::lab::Lab;
use engine::ProcessSpec;
use engine::process::Launch;

fn all_succeed(lab: &Lab, number: usize) {
    let engine = lab.engine();
    let start = lab.ask("play", json!({ "label": "same" }));
    lab.block(async {
        let mut runs = Vec::new();
        for _ in 0..number {
            runs.push(engine.start(start.clone()).await.unwrap().id);
        }
        for run in runs {
            assert_eq!(engine.wait(run).await.unwrap().state.word(), "succeeded");
        }
    });
    assert_eq!(lab.engine().counts(), [0, 0, 0]);
    super::events::expect_contiguous(&super::events::history(lab, 1));
}

#[test]
fn a_thousand_runs_of_a_process_all_succeed() {
    let mut lab = Lab::new();
    let root = lab.path("");
    lab.play(move |run, _| {
        let spec = ProcessSpec::new(Launch::new("true", &*root));
        async move { run.process("true", spec).await.map(|_| Value::Null) }
    });
    lab.open();
    all_succeed(&lab, 1000);
    lab.expect_nobody();
}

#[test]
fn a_thousand_runs_of_code_all_succeed() {
    let mut lab = Lab::new();
    lab.play(|run, _| async move { run.step("one", async { Ok(json!(1)) }).await });
    lab.open();
    all_succeed(&lab, 1000);
    lab.reopen();
    let page = lab.block(lab.engine().list(engine::Filter::default(), 10, None)).unwrap();
    assert_eq!(page.runs.len(), 10);
}
