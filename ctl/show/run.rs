//! Runs, for programs and for people.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use spindle_client::v1::{Attempt, Event, Failure, Heartbeat, Run, RunDetail, RunState, Step, Usage};

use crate::error::CtlError;
use crate::show::table::{Cell, Table, Tone, short_id, short_ids};
use crate::show::template::TemplateView;
use crate::show::text::{clean, clean_bytes, shorten};
use crate::show::time::{local, relative, rfc3339, rough, seconds, timestamp};
use crate::show::{Out, parsed, size, some, word};

/// A run as scripts rely on it: names and meanings of these fields stay.
#[derive(Debug, Serialize)]
pub(crate) struct RunView<'a> {
    id: &'a str,
    kind: &'a str,
    name: Option<&'a str>,
    labels: BTreeMap<&'a str, &'a str>,
    state: String,
    exit_code: Option<i32>,
    signal: Option<i32>,
    created_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    failure: Option<FailureView<'a>>,
    waiting_for: Option<&'a str>,
    ending: bool,
    priority: i32,
    attempt: u32,
    parent_id: Option<&'a str>,
    schedule_id: Option<&'a str>,
    request_id: Option<&'a str>,
    heartbeat: Option<HeartbeatView>,
    usage: Option<UsageView>,
}

#[derive(Debug, Serialize)]
struct FailureView<'a> {
    kind: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

/// The sign of life of a run.
#[derive(Debug, Serialize)]
pub(crate) struct HeartbeatView {
    time: Option<String>,
    process_alive: bool,
    output_bytes: u64,
    last_output: Option<String>,
}

#[derive(Debug, Serialize)]
struct UsageView {
    user_seconds: Option<f64>,
    system_seconds: Option<f64>,
    max_rss_bytes: u64,
}

impl<'a> From<&'a Run> for RunView<'a> {
    fn from(run: &'a Run) -> Self {
        Self {
            id: &run.id,
            kind: &run.kind,
            name: some(&run.name),
            labels: run.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            state: state_word(run.state()),
            exit_code: run.exit_code,
            signal: run.signal,
            created_at: rfc3339(run.created_at.as_ref()),
            started_at: rfc3339(run.started_at.as_ref()),
            finished_at: rfc3339(run.finished_at.as_ref()),
            failure: run.failure.as_ref().map(FailureView::from),
            waiting_for: some(&run.waiting_for),
            ending: run.ending,
            priority: run.priority,
            attempt: run.attempt,
            parent_id: some(&run.parent_id),
            schedule_id: some(&run.schedule_id),
            request_id: some(&run.request_id),
            heartbeat: run.heartbeat.as_ref().map(HeartbeatView::from),
            usage: run.usage.as_ref().map(UsageView::from),
        }
    }
}

impl<'a> From<&'a Failure> for FailureView<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self { kind: &failure.kind, message: &failure.message, hint: some(&failure.hint) }
    }
}

impl From<&Heartbeat> for HeartbeatView {
    fn from(heartbeat: &Heartbeat) -> Self {
        Self {
            time: rfc3339(heartbeat.time.as_ref()),
            process_alive: heartbeat.process_alive,
            output_bytes: heartbeat.output_bytes,
            last_output: rfc3339(heartbeat.last_output.as_ref()),
        }
    }
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        Self {
            user_seconds: seconds(usage.user.as_ref()),
            system_seconds: seconds(usage.system.as_ref()),
            max_rss_bytes: usage.max_rss_bytes,
        }
    }
}

/// A run with all that is known about it.
#[derive(Debug, Serialize)]
pub(crate) struct DetailView<'a> {
    #[serde(flatten)]
    run: RunView<'a>,
    #[serde(flatten)]
    template: TemplateView<'a>,
    steps: Vec<StepView<'a>>,
    steps_dropped: u64,
    leases: &'a [String],
    output: serde_json::Value,
    directory: String,
}

#[derive(Debug, Serialize)]
struct StepView<'a> {
    name: &'a str,
    kind: &'a str,
    state: &'a str,
    attempts: Vec<AttemptView<'a>>,
    value: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct AttemptView<'a> {
    number: u32,
    state: &'a str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    started_at: Option<String>,
    finished_at: Option<String>,
    failure: Option<FailureView<'a>>,
    pid: Option<i32>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    usage: Option<UsageView>,
    directory: Option<String>,
}

impl<'a> DetailView<'a> {
    pub(crate) fn new(detail: &'a RunDetail, run: &'a Run) -> Self {
        Self {
            run: run.into(),
            template: TemplateView::from(detail.template.as_ref()),
            steps: detail.steps.iter().map(StepView::from).collect(),
            steps_dropped: detail.steps_dropped,
            leases: &detail.leases,
            output: parsed(&detail.output_json),
            directory: String::from_utf8_lossy(&detail.directory).into_owned(),
        }
    }
}

impl<'a> From<&'a Step> for StepView<'a> {
    fn from(step: &'a Step) -> Self {
        Self {
            name: &step.name,
            kind: &step.kind,
            state: &step.state,
            attempts: step.attempts.iter().map(AttemptView::from).collect(),
            value: parsed(&step.value_json),
        }
    }
}

impl<'a> From<&'a Attempt> for AttemptView<'a> {
    fn from(attempt: &'a Attempt) -> Self {
        let directory = String::from_utf8_lossy(&attempt.directory).into_owned();
        Self {
            number: attempt.number,
            state: &attempt.state,
            exit_code: attempt.exit_code,
            signal: attempt.signal,
            started_at: rfc3339(attempt.started_at.as_ref()),
            finished_at: rfc3339(attempt.finished_at.as_ref()),
            failure: attempt.failure.as_ref().map(FailureView::from),
            pid: attempt.pid,
            stdout_bytes: attempt.stdout_bytes,
            stderr_bytes: attempt.stderr_bytes,
            usage: attempt.usage.as_ref().map(UsageView::from),
            directory: Some(directory).filter(|path| !path.is_empty()),
        }
    }
}

/// An event as one JSON line.
#[derive(Debug, Serialize)]
pub(crate) struct EventView<'a> {
    seq: u64,
    time: Option<String>,
    run_id: Option<&'a str>,
    r#type: &'a str,
    data: serde_json::Value,
    token: &'a str,
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            seq: event.seq,
            time: rfc3339(event.time.as_ref()),
            run_id: some(&event.run_id),
            r#type: &event.r#type,
            data: parsed(&event.data_json),
            token: &event.token,
        }
    }
}

/// The word for a state, as every face shows it.
pub(crate) fn state_word(state: RunState) -> String {
    word(state.as_str_name(), "RUN_STATE_")
}

/// How a state looks to people.
pub(crate) fn tone(state: RunState) -> Tone {
    match state {
        RunState::Succeeded => Tone::Good,
        RunState::Failed | RunState::Interrupted => Tone::Bad,
        RunState::Running => Tone::Busy,
        RunState::Queued | RunState::Waiting | RunState::Canceled => Tone::Faint,
        RunState::Unspecified => Tone::Plain,
    }
}

/// The name of a signal, or its number where it has none.
pub(crate) fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// Longest name in a table, in characters: a hook is named by what it does, and would leave no room for the rest.
const NAME_LIMIT: usize = 30;

/// A page of runs as a table.
pub(crate) fn table(out: Out, runs: &[Run], now: Timestamp) -> Result<(), CtlError> {
    let length = short_ids(runs.iter().map(|run| run.id.as_str()));
    let mut table = Table::new(["ID", "STATE", "KIND", "NAME", "CREATED", "TOOK", "RESULT"]);
    for run in runs {
        let state = if run.ending { "ending".to_owned() } else { state_word(run.state()) };
        table.row([
            short_id(&run.id, length).into(),
            Cell::new(&state, tone(run.state())),
            run.kind.as_str().into(),
            Cell::new(&shorten(&clean(&run.name), NAME_LIMIT), Tone::Plain),
            relative(timestamp(run.created_at.as_ref()), now).into(),
            took(run, now).into(),
            result(run).into(),
        ]);
    }
    out.table(&table, "no runs")
}

/// How long a run has worked, or did.
fn took(run: &Run, now: Timestamp) -> String {
    let Some(started) = timestamp(run.started_at.as_ref()) else { return "-".to_owned() };
    rough(timestamp(run.finished_at.as_ref()).unwrap_or(now).duration_since(started))
}

/// What came of a run, or what it waits for, in a few words.
fn result(run: &Run) -> String {
    if let Some(failure) = &run.failure {
        return match (failure.kind.as_str(), run.exit_code, run.signal) {
            ("exit", Some(code), _) => format!("exit {code}"),
            ("signal", _, Some(signal)) => signal_name(signal),
            (kind, ..) if failure.message.is_empty() => kind.to_owned(),
            (kind, ..) => format!("{kind}: {}", failure.message),
        };
    }
    run.waiting_for.clone()
}

/// One line that says how a run ended.
pub(crate) fn verdict(run: &Run) -> String {
    let result = Some(clean(&result(run))).filter(|result| !result.is_empty());
    let result = result.map_or_else(String::new, |result| format!(": {result}"));
    let span = timestamp(run.started_at.as_ref()).zip(timestamp(run.finished_at.as_ref()));
    let after =
        span.map_or_else(String::new, |(from, to)| format!(" (after {})", rough(to.duration_since(from))));
    format!("run {} {}{result}{after}", run.id, state_word(run.state()))
}

/// Everything about a run, for people.
pub(crate) fn detail(out: Out, detail: &RunDetail, run: &Run, now: Timestamp) -> Result<(), CtlError> {
    let time = |wire: Option<&prost_types::Timestamp>| {
        timestamp(wire)
            .map_or_else(String::new, |time| format!("{} ({})", local(Some(time)), relative(Some(time), now)))
    };
    let number = |value: Option<i32>| value.map_or_else(String::new, |code| code.to_string());
    let failure = run.failure.as_ref();
    let labels: BTreeMap<_, _> = run.labels.iter().collect();
    let labels: Vec<String> = labels.iter().map(|(key, value)| clean(&format!("{key}={value}"))).collect();
    let mut pairs = vec![
        ("id", run.id.clone()),
        ("kind", clean(&run.kind)),
        ("name", clean(&run.name)),
        ("labels", labels.join(" ")),
        ("state", out.paint(&state_word(run.state()), tone(run.state()))),
        ("waiting for", clean(&run.waiting_for)),
        ("created", time(run.created_at.as_ref())),
        ("started", time(run.started_at.as_ref())),
        ("finished", time(run.finished_at.as_ref())),
        ("took", run.started_at.as_ref().map_or_else(String::new, |_| took(run, now))),
        ("exit code", number(run.exit_code)),
        ("signal", run.signal.map_or_else(String::new, signal_name)),
        ("failure", failure.map_or_else(String::new, |f| clean(&format!("{}: {}", f.kind, f.message)))),
        ("hint", failure.map_or_else(String::new, |f| clean(&f.hint))),
        ("attempt", if run.attempt > 1 { run.attempt.to_string() } else { String::new() }),
        ("output", run.heartbeat.as_ref().map_or_else(String::new, |beat| size(beat.output_bytes))),
        ("memory", memory(run)),
        ("leases", clean(&detail.leases.join(" "))),
        ("parent", run.parent_id.clone()),
        ("schedule", run.schedule_id.clone()),
        ("directory", clean_bytes(&detail.directory)),
    ];
    pairs.extend(TemplateView::from(detail.template.as_ref()).pairs());
    out.pairs(&pairs)?;
    if !detail.steps.is_empty() {
        out.line("")?;
        steps(out, detail, now)?;
    }
    Ok(())
}

/// The most memory that its processes had; nothing before the first has ended.
fn memory(run: &Run) -> String {
    let most = run.usage.as_ref().map_or(0, |usage| usage.max_rss_bytes);
    if most == 0 { String::new() } else { size(most) }
}

fn steps(out: Out, detail: &RunDetail, now: Timestamp) -> Result<(), CtlError> {
    let mut table = Table::new(["STEP", "KIND", "STATE", "ATTEMPTS", "TOOK", "RESULT"]);
    for step in &detail.steps {
        let last = step.attempts.last();
        let took = last.and_then(|attempt| {
            let started = timestamp(attempt.started_at.as_ref())?;
            Some(rough(timestamp(attempt.finished_at.as_ref()).unwrap_or(now).duration_since(started)))
        });
        let result = last.and_then(|attempt| attempt.failure.as_ref());
        table.row([
            step.name.as_str().into(),
            step.kind.as_str().into(),
            Cell::new(&step.state, step_tone(&step.state)),
            step.attempts.len().to_string().into(),
            took.unwrap_or_default().into(),
            result.map_or_else(String::new, |f| format!("{}: {}", f.kind, f.message)).into(),
        ]);
    }
    out.table(&table, "no steps")
}

fn step_tone(state: &str) -> Tone {
    match state {
        "succeeded" => Tone::Good,
        "failed" | "interrupted" => Tone::Bad,
        "running" => Tone::Busy,
        _ => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds: 1_795_260_600 + seconds, nanos: 0 }
    }

    fn failed() -> Run {
        Run {
            id: "01934f2a-7b3c-7d1e-8f00-0123456789ab".into(),
            kind: "exec".into(),
            state: RunState::Failed.into(),
            exit_code: Some(3),
            created_at: Some(at(0)),
            started_at: Some(at(1)),
            finished_at: Some(at(3)),
            failure: Some(Failure {
                kind: "exit".into(),
                message: "exited with 3".into(),
                ..Failure::default()
            }),
            attempt: 1,
            labels: [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
            ..Run::default()
        }
    }

    #[test]
    fn a_run_is_one_object_with_nulls_for_what_is_absent() {
        let json = serde_json::to_string(&RunView::from(&failed())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"01934f2a-7b3c-7d1e-8f00-0123456789ab","kind":"exec","name":null,"#,
                r#""labels":{"a":"1","b":"2"},"state":"failed","exit_code":3,"signal":null,"#,
                r#""created_at":"2026-11-21T11:30:00Z","started_at":"2026-11-21T11:30:01Z","#,
                r#""finished_at":"2026-11-21T11:30:03Z","#,
                r#""failure":{"kind":"exit","message":"exited with 3","hint":null},"waiting_for":null,"#,
                r#""ending":false,"priority":0,"attempt":1,"parent_id":null,"schedule_id":null,"#,
                r#""request_id":null,"heartbeat":null,"usage":null}"#
            )
        );
    }

    #[test]
    fn every_state_has_its_word() {
        let words: Vec<String> =
            (1..=7).map(|number| state_word(RunState::try_from(number).unwrap())).collect();
        assert_eq!(words, ["queued", "running", "waiting", "succeeded", "failed", "canceled", "interrupted"]);
    }

    #[test]
    fn a_detail_adds_spec_steps_and_leases() {
        let step = Step {
            name: "exec".into(),
            kind: "process".into(),
            state: "failed".into(),
            attempts: vec![Attempt { number: 1, state: "failed".into(), pid: Some(7), ..Attempt::default() }],
            value_json: String::new(),
        };
        let detail = RunDetail { steps: vec![step], leases: vec!["gpu:0".into()], ..RunDetail::default() };
        let run = failed();
        let json = serde_json::to_value(DetailView::new(&detail, &run)).unwrap();
        assert_eq!(json["id"], run.id.as_str());
        assert_eq!(json["steps"][0]["attempts"][0]["pid"], 7);
        assert_eq!(json["steps"][0]["name"], "exec");
        assert_eq!(json["leases"], serde_json::json!(["gpu:0"]));
        assert!(json.as_object().unwrap().contains_key("spec"));
    }

    #[test]
    fn an_event_is_one_line_with_its_data_unpacked() {
        let event = Event {
            seq: 7,
            time: Some(at(0)),
            r#type: "run.created".into(),
            data_json: r#"{"kind":"exec"}"#.into(),
            token: "t-7".into(),
            ..Event::default()
        };
        assert_eq!(
            serde_json::to_string(&EventView::from(&event)).unwrap(),
            r#"{"seq":7,"time":"2026-11-21T11:30:00Z","run_id":null,"type":"run.created","data":{"kind":"exec"},"token":"t-7"}"#
        );
    }

    #[test]
    fn the_verdict_says_how_it_ended_and_after_how_long() {
        assert_eq!(
            verdict(&failed()),
            "run 01934f2a-7b3c-7d1e-8f00-0123456789ab failed: exit 3 (after 2.0s)"
        );
    }
}
