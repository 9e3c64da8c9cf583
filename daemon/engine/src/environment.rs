//! The environment of a run's processes: captured, set, secret, and the markers.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use crate::failure::{Failure, FailureKind};
use crate::process::OsText;
use crate::process::record::RUN_MARKER;
use crate::run::{RunId, Secret, SecretSource, StartOptions, Variable};

/// Largest value of a secret, in bytes.
const SECRET_LIMIT: usize = 64 * 1024;

/// How long a command may take to print a secret.
const SECRET_TIME: Duration = Duration::from_secs(30);

/// The variables of a process: what the client had, then what was set on purpose, then secrets,
/// then what the workflow wants, then the marker. Later ones win. (The shim adds its own marker of
/// the attempt.)
pub(crate) async fn compose(
    options: &StartOptions,
    workflow: &[Variable],
    run: RunId,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: OsString, value: OsString| match all.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => all.push((name, value)),
    };
    for variable in options.environment.iter().chain(&options.env) {
        set(variable.name.clone().into(), variable.value.clone().into());
    }
    for secret in &options.secrets {
        let value = resolve(secret).await.map_err(|reason| {
            Failure::new(FailureKind::Other("secret".to_owned()), format!("secret {}: {reason}", secret.name))
                .with_hint("nothing was started; mend the source of the secret and resume the run")
        })?;
        set(secret.name.clone().into(), value);
    }
    for variable in workflow {
        set(variable.name.clone().into(), variable.value.clone().into());
    }
    set(RUN_MARKER.into(), run.to_string().into());
    Ok(all)
}

/// The value of a secret. Reasons never contain any part of it.
async fn resolve(secret: &Secret) -> Result<OsString, String> {
    match &secret.source {
        SecretSource::Env(name) => {
            std::env::var_os(name).ok_or_else(|| format!("the daemon's environment has no {name}"))
        }
        SecretSource::File(path) => {
            let bytes =
                tokio::fs::read(path).await.map_err(|error| format!("cannot read {path}: {error}"))?;
            trimmed(bytes)
        }
        SecretSource::Cmd(command) => {
            let output = tokio::process::Command::new("sh")
                .args(["-c", command])
                .stdin(std::process::Stdio::null())
                .kill_on_drop(true)
                .output();
            let output = tokio::time::timeout(SECRET_TIME, output)
                .await
                .map_err(|_| format!("its command took longer than {} s", SECRET_TIME.as_secs()))?
                .map_err(|error| format!("its command could not be started: {error}"))?;
            if !output.status.success() {
                return Err(format!("its command failed ({})", output.status));
            }
            trimmed(output.stdout)
        }
    }
}

fn trimmed(mut bytes: Vec<u8>) -> Result<OsString, String> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > SECRET_LIMIT {
        return Err(format!("it is longer than {SECRET_LIMIT} bytes"));
    }
    if bytes.contains(&0) {
        return Err("it contains a NUL byte, which no environment can hold".to_owned());
    }
    Ok(OsString::from_vec(bytes))
}

impl From<(&str, &str)> for Variable {
    fn from((name, value): (&str, &str)) -> Self {
        Self { name: name.to_owned(), value: OsText::from(value) }
    }
}
