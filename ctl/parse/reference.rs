//! Arguments that name something else: a secret's source, a run to wait for,
//! a lease; and the retry policy.

use std::path::Path;
use std::time::Duration;

use spindle_client::v1::secret_reference::Source;
use spindle_client::v1::{AfterRun, RetryPolicy, RunState, SecretReference};

use crate::parse::duration;
use crate::show::time::span_to_wire;

/// "NAME=env:VARIABLE", "NAME=file:PATH" or "NAME=cmd:COMMAND".
pub(crate) fn secret(text: &str) -> Result<SecretReference, String> {
    // The value is not repeated: somebody may have typed the secret itself.
    const FORM: &str = "a secret is NAME=env:VARIABLE, NAME=file:PATH or NAME=cmd:COMMAND";
    let (name, source) = text.split_once('=').ok_or(FORM)?;
    let (scheme, rest) = source.split_once(':').ok_or(FORM)?;
    if name.is_empty() || rest.is_empty() {
        return Err(FORM.to_owned());
    }
    let source = match scheme {
        "env" => Source::Env(rest.to_owned()),
        "file" => Source::File(absolute(rest)?),
        "cmd" => Source::Cmd(rest.to_owned()),
        _ => return Err(FORM.to_owned()),
    };
    Ok(SecretReference { name: name.to_owned(), source: Some(source) })
}

fn absolute(path: &str) -> Result<String, String> {
    let path = std::path::absolute(Path::new(path)).map_err(|error| error.to_string())?;
    path.into_os_string().into_string().map_err(|path| format!("the path {} is not UTF-8", path.display()))
}

/// "ID", "ID:succeeded", "ID:failed" (whatever is not success) or "ID:any".
pub(crate) fn after(text: &str) -> Result<AfterRun, String> {
    const UNSUCCESSFUL: [RunState; 3] = [RunState::Failed, RunState::Canceled, RunState::Interrupted];
    let (run, outcome) = text.split_once(':').unwrap_or((text, "succeeded"));
    if run.is_empty() {
        return Err("it begins with the id of a run".to_owned());
    }
    let outcomes = match outcome {
        "succeeded" => vec![RunState::Succeeded],
        "failed" => UNSUCCESSFUL.to_vec(),
        "any" => [&[RunState::Succeeded][..], &UNSUCCESSFUL].concat(),
        _ => return Err(format!("{outcome:?} is no outcome; write succeeded, failed or any")),
    };
    Ok(AfterRun { run: run.to_owned(), outcomes: outcomes.into_iter().map(i32::from).collect() })
}

/// A resource to hold, such as "gpu:0". The path of "repo:PATH" is made
/// absolute, for the daemon has another current directory.
pub(crate) fn lease(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("repo", path)) if !path.is_empty() => Ok(format!("repo:{}", absolute(path)?)),
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not of the form KIND:NAME, such as gpu:0")),
    }
}

/// How often and after which pauses a failed run is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retry {
    again: u32,
    backoff: Option<Duration>,
    longest: Option<Duration>,
    on: Vec<String>,
}

impl From<Retry> for RetryPolicy {
    fn from(retry: Retry) -> Self {
        Self {
            // The wire counts the first attempt too.
            attempts: retry.again + 1,
            backoff: retry.backoff.map(span_to_wire),
            max_backoff: retry.longest.map(span_to_wire),
            on: retry.on,
        }
    }
}

/// `N[,backoff=DURATION][,max=DURATION][,on=KIND+KIND…]`.
pub(crate) fn retry(text: &str) -> Result<Retry, String> {
    let mut parts = text.split(',');
    let again = parts.next().unwrap_or_default();
    let again = again.parse().ok().filter(|again| (1..=1000).contains(again)).ok_or_else(|| {
        format!("{again:?} is no number of tries from 1 to 1000; write such as 3,backoff=2s")
    })?;
    let mut retry = Retry { again, backoff: None, longest: None, on: Vec::new() };
    for part in parts {
        match part.split_once('=') {
            Some(("backoff", span)) => retry.backoff = Some(duration(span)?),
            Some(("max", span)) => retry.longest = Some(duration(span)?),
            Some(("on", kinds)) => retry.on = kinds.split('+').map(str::to_owned).collect(),
            _ => return Err(format!("{part:?} is none of backoff=DURATION, max=DURATION, on=KIND+KIND")),
        }
    }
    Ok(retry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_secret_names_its_source() {
        assert_eq!(secret("K=env:V").unwrap().source, Some(Source::Env("V".into())));
        assert_eq!(
            secret("K=cmd:pass show a=b:c").unwrap().source,
            Some(Source::Cmd("pass show a=b:c".into()))
        );
        assert_eq!(secret("K=file:/etc/key").unwrap().source, Some(Source::File("/etc/key".into())));
        let Some(Source::File(path)) = secret("K=file:key").unwrap().source else { panic!("no file") };
        assert!(Path::new(&path).is_absolute());
    }

    #[test]
    fn a_secret_typed_by_mistake_is_not_repeated() {
        for text in ["K=hunter2", "K=vault:hunter2", "K", "=env:V", "K=env:"] {
            assert!(!secret(text).unwrap_err().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn after_asks_for_success_unless_told_otherwise() {
        let outcomes = |text| after(text).unwrap().outcomes().collect::<Vec<_>>();
        assert_eq!(outcomes("0193"), [RunState::Succeeded]);
        assert_eq!(outcomes("0193:succeeded"), [RunState::Succeeded]);
        assert_eq!(outcomes("0193:failed").len(), 3);
        assert_eq!(outcomes("0193:any").len(), 4);
        assert!(after("0193:maybe").is_err() && after(":any").is_err());
    }

    #[test]
    fn a_retry_counts_the_tries_after_the_first() {
        let policy = RetryPolicy::from(retry("3,backoff=2s,max=1m,on=exit+timeout").unwrap());
        assert_eq!(policy.attempts, 4);
        assert_eq!(policy.backoff.unwrap().seconds, 2);
        assert_eq!(policy.max_backoff.unwrap().seconds, 60);
        assert_eq!(policy.on, ["exit", "timeout"]);
        for text in ["", "0", "x", "3,backoff", "3,backoff=soon", "3,often=yes"] {
            assert!(retry(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lease_on_a_repository_is_absolute() {
        assert_eq!(lease("gpu:0").unwrap(), "gpu:0");
        assert!(Path::new(lease("repo:.").unwrap().strip_prefix("repo:").unwrap()).is_absolute());
        assert!(lease("gpu").is_err() && lease(":0").is_err());
    }
}
