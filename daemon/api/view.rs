//! Records of the engine, as the wire shows them.

use engine::{
    Attempt, Engine, Event, Failure, Heartbeat, LeaseView, Origin, Run, RunDetail, RunState, Status, Step,
    Usage,
};
use jiff::Timestamp;
use spindle_client::v1;

/// Values of steps are shortened beyond this.
const SHOWN_VALUE: usize = 4096;

pub(super) fn time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

pub(super) fn read_time(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

pub(super) fn state(status: Status) -> v1::RunState {
    match status {
        Status::Queued => v1::RunState::Queued,
        Status::Running => v1::RunState::Running,
        Status::Waiting => v1::RunState::Waiting,
        Status::Succeeded => v1::RunState::Succeeded,
        Status::Failed => v1::RunState::Failed,
        Status::Canceled => v1::RunState::Canceled,
        Status::Interrupted => v1::RunState::Interrupted,
    }
}

pub(super) fn state_of(wire: v1::RunState) -> Option<Status> {
    Status::ALL.into_iter().find(|status| state(*status) == wire)
}

/// A run as lists show it.
pub(super) fn run(engine: &Engine, run: &Run) -> v1::Run {
    let (mut parent_id, mut schedule_id) = (String::new(), String::new());
    match &run.origin {
        Origin::Client => {}
        Origin::Parent { run, .. } | Origin::Hook(run) => parent_id = run.to_string(),
        Origin::Schedule(id) => schedule_id = id.to_string(),
    }
    let beat = if run.state.is_ended() { None } else { engine.heartbeat(run.id) };
    v1::Run {
        id: run.id.to_string(),
        kind: run.kind.clone(),
        name: run.name.clone(),
        labels: run.labels.clone().into_iter().collect(),
        state: state(run.state.status()).into(),
        waiting_for: engine.waiting_for(run),
        created_at: Some(time(run.created_at)),
        started_at: run.started_at.map(time),
        finished_at: run.finished_at.map(time),
        exit_code: run.exit_code,
        signal: run.signal,
        failure: run.state.failure().map(failure),
        priority: run.priority,
        attempt: run.attempt,
        parent_id,
        schedule_id,
        request_id: run.request_id.clone().unwrap_or_default(),
        heartbeat: beat.map(heartbeat),
        usage: Some(usage(run.usage)),
        ending: matches!(run.state, RunState::Running { ending: Some(_) }),
    }
}

pub(super) fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure {
        kind: failure.kind.as_str().to_owned(),
        message: failure.message.clone(),
        hint: failure.hint.clone().unwrap_or_default(),
    }
}

pub(super) fn heartbeat(beat: Heartbeat) -> v1::Heartbeat {
    v1::Heartbeat {
        time: Some(time(beat.time)),
        process_alive: beat.process_alive,
        output_bytes: beat.output_bytes,
        last_output: beat.last_output.map(time),
    }
}

fn usage(usage: Usage) -> v1::Usage {
    v1::Usage {
        user: usage.user.try_into().ok(),
        system: usage.system.try_into().ok(),
        max_rss_bytes: usage.max_rss_bytes,
    }
}

/// A run with everything.
pub(super) fn detail(engine: &Engine, detail: &RunDetail) -> v1::RunDetail {
    let id = detail.run.id;
    v1::RunDetail {
        run: Some(run(engine, &detail.run)),
        template: Some(super::template::write(&detail.run.kind, &detail.start)),
        steps: detail.steps.iter().map(|one| step(engine, id, one)).collect(),
        leases: detail.run.leases.iter().map(|key| key.0.clone()).collect(),
        output_json: detail.run.output.as_ref().map(ToString::to_string).unwrap_or_default(),
        steps_dropped: detail.run.steps_dropped,
        directory: detail.directory.as_os_str().as_encoded_bytes().to_vec(),
    }
}

fn step(engine: &Engine, run: engine::RunId, step: &Step) -> v1::Step {
    let mut value_json = step.value.as_ref().map(ToString::to_string).unwrap_or_default();
    if value_json.len() > SHOWN_VALUE {
        value_json.truncate(value_json.floor_char_boundary(SHOWN_VALUE));
        value_json.push('…');
    }
    let is_process = matches!(step.kind, engine::StepKind::Process | engine::StepKind::Background);
    let show = |one: &Attempt| {
        let mut shown = attempt(one);
        if is_process {
            let directory = engine.attempt_directory(run, step, one.number);
            shown.directory = directory.as_os_str().as_encoded_bytes().to_vec();
        }
        shown
    };
    v1::Step {
        name: step.name.clone(),
        kind: step.kind.word().to_owned(),
        state: step.state.word().to_owned(),
        attempts: step.attempts.iter().map(show).collect(),
        value_json,
    }
}

fn attempt(attempt: &Attempt) -> v1::Attempt {
    v1::Attempt {
        number: attempt.number,
        state: attempt.state.word().to_owned(),
        started_at: Some(time(attempt.started_at)),
        finished_at: attempt.finished_at.map(time),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        failure: attempt.failure.as_ref().map(failure),
        usage: Some(usage(attempt.usage)),
        pid: attempt.pid,
        stdout_bytes: attempt.stdout_bytes,
        stderr_bytes: attempt.stderr_bytes,
        directory: Vec::new(),
    }
}

pub(super) fn event(engine: &Engine, event: &Event) -> v1::Event {
    v1::Event {
        seq: event.seq,
        time: Some(time(event.time)),
        run_id: event.run.map(|run| run.to_string()).unwrap_or_default(),
        r#type: event.kind.clone(),
        data_json: event.data.to_string(),
        token: engine.token(event.seq).to_string(),
    }
}

pub(super) fn lease(engine: &Engine, lease: &LeaseView) -> v1::Lease {
    v1::Lease {
        key: lease.key.0.clone(),
        run_id: lease.run.to_string(),
        taken_at: Some(time(lease.taken_at)),
        heartbeat: engine.heartbeat(lease.run).map(heartbeat),
        waiting_run_ids: lease.waiting.iter().map(ToString::to_string).collect(),
        holder_state: state(lease.holder_state).into(),
    }
}
