//! What to run, from the wire and back: `RunTemplate` and the engine's requests.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use engine::process::{AtOutputLimit, FirstSignal, Leftovers, OsText, StopLadder};
use engine::{
    After, Engine, FailureKind, LeaseKey, OnInterrupt, RetryPolicy, Secret, SecretSource, Start,
    StartOptions, Status as RunStatus, Variable, Workflow,
};
use exec::{Exec, ExecSpec};
use serde_json::{Value, json};
use spindle_client::environment;
use spindle_client::v1;
use tonic::Status;

use super::error::{from_run, invalid};
use super::view::state_of;

/// A workflow's kind with its spec.
pub(super) struct Asked {
    pub(super) kind: String,
    pub(super) spec: Value,
    pub(super) options: StartOptions,
}

/// Reads a template; ids in it are resolved.
pub(super) async fn read(engine: &Engine, template: Option<v1::RunTemplate>) -> Result<Asked, Status> {
    let template = template.ok_or_else(|| invalid("INVALID_SPEC", "the request has no template"))?;
    let mut options = read_options(engine, template.options.unwrap_or_default()).await?;
    let workflow =
        template.workflow.ok_or_else(|| invalid("INVALID_SPEC", "the template has no workflow"))?;
    let (kind, spec) = match workflow {
        v1::run_template::Workflow::Exec(exec) => (Exec::KIND.to_owned(), json!(read_exec(exec)?)),
        v1::run_template::Workflow::Autorun(autorun) => {
            let repo = os_text(autorun.repo);
            if let Some(label) = super::autorunner::repo_label_of(repo.clone()).await {
                options.labels.insert(super::autorunner::REPO_LABEL.to_owned(), label);
            }
            (autorunner::KIND.to_owned(), json!({ "repo": repo, "once": autorun.once }))
        }
        v1::run_template::Workflow::Other(other) => {
            let spec = serde_json::from_str(&other.json)
                .map_err(|error| invalid("INVALID_SPEC", format!("the spec is not JSON: {error}")))?;
            (other.kind, spec)
        }
    };
    Ok(Asked { kind, spec, options })
}

fn read_exec(exec: v1::ExecSpec) -> Result<ExecSpec, Status> {
    let mut spec = ExecSpec::new(exec.argv.into_iter().map(OsString::from_vec), OsString::from_vec(exec.cwd));
    spec.timeout = exec.timeout.map(|time| duration("timeout", time)).transpose()?;
    spec.idle_timeout = exec.idle_timeout.map(|time| duration("idle_timeout", time)).transpose()?;
    let drop_oldest = match v1::OutputPolicy::try_from(exec.output_policy) {
        Ok(policy) => policy == v1::OutputPolicy::DropOldest,
        Err(_) => return Err(invalid("INVALID_SPEC", "output_policy has an unknown value")),
    };
    spec.output = exec.max_output.map(|bytes| exec::output_limit(bytes, drop_oldest));
    let mut stop = StopLadder::default();
    if let Some(number) = exec.stop_signal {
        stop.first_signal = exec::first_signal(number).ok_or_else(|| {
            invalid(
                "INVALID_SPEC",
                format!("signal {number} cannot be the first of a stop; HUP, INT and TERM can"),
            )
        })?;
    }
    if let Some(grace) = exec.grace {
        stop.grace = duration("grace", grace)?;
    }
    spec.stop = stop;
    spec.leftovers = match v1::Leftovers::try_from(exec.leftovers) {
        Ok(v1::Leftovers::Unspecified | v1::Leftovers::Kill) => Leftovers::Kill,
        Ok(v1::Leftovers::Wait) => Leftovers::Wait,
        Ok(v1::Leftovers::Keep) => Leftovers::Keep,
        Err(_) => return Err(invalid("INVALID_SPEC", "leftovers has an unknown value")),
    };
    spec.stdin = exec.stdin.map(os_text);
    Ok(spec)
}

/// Reads the options that all workflows share.
pub(super) async fn read_options(engine: &Engine, options: v1::StartOptions) -> Result<StartOptions, Status> {
    let mut after = Vec::new();
    for one in options.after {
        let run = engine.resolve(&one.run).await.map_err(from_run)?;
        let mut outcomes = Vec::new();
        for outcome in one.outcomes {
            let status =
                v1::RunState::try_from(outcome).ok().and_then(state_of).filter(|status| status.is_ended());
            let text = "an outcome to start after must be succeeded, failed, canceled or interrupted";
            outcomes.push(status.ok_or_else(|| invalid("INVALID_SPEC", text))?);
        }
        if outcomes.is_empty() {
            outcomes.push(RunStatus::Succeeded);
        }
        after.push(After { run, outcomes });
    }
    let on_interrupt = match v1::OnInterrupt::try_from(options.on_interrupt) {
        Ok(v1::OnInterrupt::Unspecified) => None,
        Ok(v1::OnInterrupt::Resume) => Some(OnInterrupt::Resume),
        Ok(v1::OnInterrupt::Hold) => Some(OnInterrupt::Hold),
        Err(_) => return Err(invalid("INVALID_SPEC", "on_interrupt has an unknown value")),
    };
    let captured = options.environment.into_iter().filter(|variable| environment::is_allowed(&variable.name));
    Ok(StartOptions {
        name: options.name,
        labels: options.labels.into_iter().collect(),
        environment: captured.map(variable).collect(),
        env: options.env.into_iter().map(variable).collect(),
        secrets: options.secrets.into_iter().map(secret).collect::<Result<_, _>>()?,
        leases: options.leases.into_iter().map(LeaseKey).collect(),
        priority: options.priority,
        after,
        retry: options.retry.map(retry).transpose()?.unwrap_or_default(),
        on_interrupt,
    })
}

fn retry(policy: v1::RetryPolicy) -> Result<RetryPolicy, Status> {
    let default = RetryPolicy::default();
    Ok(RetryPolicy {
        attempts: policy.attempts.max(1),
        backoff: policy.backoff.map_or(Ok(default.backoff), |time| duration("backoff", time))?,
        max_backoff: policy
            .max_backoff
            .map_or(Ok(default.max_backoff), |time| duration("max_backoff", time))?,
        on: policy.on.into_iter().map(FailureKind::from).collect(),
    })
}

fn secret(secret: v1::SecretReference) -> Result<Secret, Status> {
    let source = match secret.source {
        Some(v1::secret_reference::Source::Env(name)) => SecretSource::Env(name),
        Some(v1::secret_reference::Source::File(path)) => SecretSource::File(path),
        Some(v1::secret_reference::Source::Cmd(command)) => SecretSource::Cmd(command),
        None => return Err(invalid("INVALID_SPEC", format!("the secret {} has no source", secret.name))),
    };
    Ok(Secret { name: secret.name, source })
}

fn variable(variable: v1::EnvironmentVariable) -> Variable {
    Variable { name: variable.name, value: os_text(variable.value) }
}

pub(super) fn os_text(bytes: Vec<u8>) -> OsText {
    OsText::from(OsString::from_vec(bytes))
}

fn duration(what: &str, time: prost_types::Duration) -> Result<Duration, Status> {
    let time = Duration::try_from(time)
        .map_err(|_| invalid("INVALID_SPEC", format!("{what} must not be negative")))?;
    if time.is_zero() && what != "grace" {
        return Err(invalid("INVALID_SPEC", format!("{what} must be longer than nothing")));
    }
    Ok(time)
}

/// A stored start, as the template that it came from. Secrets are references; nothing more of them
/// is stored.
pub(super) fn write(kind: &str, start: &Start) -> v1::RunTemplate {
    let workflow = if kind == Exec::KIND
        && let Ok(spec) = serde_json::from_value::<ExecSpec>(start.spec.clone())
    {
        v1::run_template::Workflow::Exec(write_exec(spec))
    } else if kind == autorunner::KIND {
        v1::run_template::Workflow::Autorun(v1::AutorunSpec {
            repo: serde_json::from_value::<OsText>(start.spec["repo"].clone())
                .map(|repo| repo.as_bytes().to_vec())
                .unwrap_or_default(),
            once: start.spec["once"].as_bool().unwrap_or_default(),
        })
    } else {
        v1::run_template::Workflow::Other(v1::JsonSpec {
            kind: kind.to_owned(),
            json: start.spec.to_string(),
        })
    };
    v1::RunTemplate { workflow: Some(workflow), options: Some(write_options(&start.options)) }
}

fn write_exec(spec: ExecSpec) -> v1::ExecSpec {
    let policy = spec.output.map(|limit| match limit.then {
        AtOutputLimit::Stop => v1::OutputPolicy::Stop,
        AtOutputLimit::DropOldest => v1::OutputPolicy::DropOldest,
    });
    v1::ExecSpec {
        argv: spec.argv.iter().map(|text| text.as_bytes().to_vec()).collect(),
        cwd: spec.cwd.as_bytes().to_vec(),
        timeout: spec.timeout.and_then(|time| time.try_into().ok()),
        idle_timeout: spec.idle_timeout.and_then(|time| time.try_into().ok()),
        max_output: spec.output.map(|limit| limit.bytes),
        output_policy: policy.unwrap_or_default().into(),
        stop_signal: Some(match spec.stop.first_signal {
            FirstSignal::Hup => 1,
            FirstSignal::Int => 2,
            FirstSignal::Term => 15,
            FirstSignal::Usr1 => nix::sys::signal::Signal::SIGUSR1 as i32,
        }),
        grace: spec.stop.grace.try_into().ok(),
        leftovers: match spec.leftovers {
            Leftovers::Kill => v1::Leftovers::Kill,
            Leftovers::Wait => v1::Leftovers::Wait,
            Leftovers::Keep => v1::Leftovers::Keep,
        }
        .into(),
        stdin: spec.stdin.map(|input| input.as_bytes().to_vec()),
    }
}

fn write_options(options: &StartOptions) -> v1::StartOptions {
    let write_variable = |variable: &Variable| v1::EnvironmentVariable {
        name: variable.name.clone(),
        value: variable.value.as_bytes().to_vec(),
    };
    v1::StartOptions {
        name: options.name.clone(),
        labels: options.labels.clone().into_iter().collect(),
        environment: options.environment.iter().map(write_variable).collect(),
        env: options.env.iter().map(write_variable).collect(),
        secrets: options.secrets.iter().map(write_secret).collect(),
        leases: options.leases.iter().map(|key| key.0.clone()).collect(),
        priority: options.priority,
        after: options.after.iter().map(write_after).collect(),
        retry: Some(v1::RetryPolicy {
            attempts: options.retry.attempts,
            backoff: options.retry.backoff.try_into().ok(),
            max_backoff: options.retry.max_backoff.try_into().ok(),
            on: options.retry.on.iter().map(|kind| kind.as_str().to_owned()).collect(),
        }),
        on_interrupt: match options.on_interrupt {
            None => v1::OnInterrupt::Unspecified,
            Some(OnInterrupt::Resume) => v1::OnInterrupt::Resume,
            Some(OnInterrupt::Hold) => v1::OnInterrupt::Hold,
        }
        .into(),
    }
}

fn write_secret(secret: &Secret) -> v1::SecretReference {
    let source = match secret.source.clone() {
        SecretSource::Env(name) => v1::secret_reference::Source::Env(name),
        SecretSource::File(path) => v1::secret_reference::Source::File(path),
        SecretSource::Cmd(command) => v1::secret_reference::Source::Cmd(command),
    };
    v1::SecretReference { name: secret.name.clone(), source: Some(source) }
}

fn write_after(after: &After) -> v1::AfterRun {
    v1::AfterRun {
        run: after.run.to_string(),
        outcomes: after.outcomes.iter().map(|status| super::view::state(*status).into()).collect(),
    }
}
