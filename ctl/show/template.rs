//! What a run or a schedule was asked to do: its spec and its options.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use spindle_client::v1::run_template::Workflow;
use spindle_client::v1::secret_reference::Source;
use spindle_client::v1::{ExecSpec, RetryPolicy, RunTemplate, SecretReference, StartOptions};

use crate::show::run::state_word;
use crate::show::text::{clean, clean_bytes, command_line};
use crate::show::time::{exact, seconds};
use crate::show::{parsed, some, word};

/// The two halves of a template, as JSON shows them.
#[derive(Debug, Serialize)]
pub(crate) struct TemplateView<'a> {
    spec: Value,
    options: Value,
    #[serde(skip)]
    template: Option<&'a RunTemplate>,
}

impl<'a> From<Option<&'a RunTemplate>> for TemplateView<'a> {
    fn from(template: Option<&'a RunTemplate>) -> Self {
        let workflow = template.and_then(|template| template.workflow.as_ref());
        let options = template.and_then(|template| template.options.as_ref());
        Self {
            spec: workflow.map_or(Value::Null, spec),
            options: options.map_or(Value::Null, options_json),
            template,
        }
    }
}

impl TemplateView<'_> {
    /// The workflow's kind.
    pub(crate) fn kind(&self) -> &str {
        match self.template.and_then(|template| template.workflow.as_ref()) {
            Some(Workflow::Exec(_)) => "exec",
            Some(Workflow::Autorun(_)) => "autorun",
            Some(Workflow::Other(other)) => &other.kind,
            None => "",
        }
    }

    /// What it does, in one line.
    pub(crate) fn summary(&self) -> String {
        match self.template.and_then(|template| template.workflow.as_ref()) {
            Some(Workflow::Exec(exec)) => command_line(&exec.argv),
            Some(Workflow::Autorun(autorun)) => format!("autorun in {}", clean_bytes(&autorun.repo)),
            Some(Workflow::Other(other)) => clean(&other.json),
            None => String::new(),
        }
    }

    /// The parts worth a line each, for people.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("command", self.summary())];
        if let Some(Workflow::Exec(exec)) = self.template.and_then(|template| template.workflow.as_ref()) {
            let limit = |span: Option<&prost_types::Duration>| span.map_or_else(String::new, exact);
            pairs.push(("cwd", clean_bytes(&exec.cwd)));
            pairs.push(("timeout", limit(exec.timeout.as_ref())));
            pairs.push(("idle timeout", limit(exec.idle_timeout.as_ref())));
            pairs.push(("max output", exec.max_output.map_or_else(String::new, super::size)));
        }
        pairs
    }
}

fn spec(workflow: &Workflow) -> Value {
    match workflow {
        Workflow::Exec(exec) => exec_json(exec),
        Workflow::Autorun(autorun) => json!({ "repo": text(&autorun.repo), "once": autorun.once }),
        Workflow::Other(other) => parsed(&other.json),
    }
}

fn exec_json(exec: &ExecSpec) -> Value {
    json!({
        "argv": exec.argv.iter().map(|word| text(word)).collect::<Vec<_>>(),
        "cwd": text(&exec.cwd),
        "timeout_seconds": seconds(exec.timeout.as_ref()),
        "idle_timeout_seconds": seconds(exec.idle_timeout.as_ref()),
        "max_output": exec.max_output,
        "output_policy": word(exec.output_policy().as_str_name(), "OUTPUT_POLICY_"),
        "stop_signal": exec.stop_signal,
        "grace_seconds": seconds(exec.grace.as_ref()),
        "leftovers": word(exec.leftovers().as_str_name(), "LEFTOVERS_"),
        "stdin_bytes": exec.stdin.as_ref().map(Vec::len),
    })
}

fn options_json(options: &StartOptions) -> Value {
    let variables = |list: &[spindle_client::v1::EnvironmentVariable]| -> BTreeMap<String, String> {
        list.iter().map(|variable| (variable.name.clone(), text(&variable.value))).collect()
    };
    let after = options.after.iter().map(
        |after| json!({ "run": after.run, "outcomes": after.outcomes().map(state_word).collect::<Vec<_>>() }),
    );
    json!({
        "name": some(&options.name),
        "labels": options.labels.iter().collect::<BTreeMap<_, _>>(),
        "environment": variables(&options.environment),
        "env": variables(&options.env),
        "secrets": options.secrets.iter().map(secret).collect::<BTreeMap<_, _>>(),
        "leases": options.leases,
        "priority": options.priority,
        "after": after.collect::<Vec<_>>(),
        "retry": options.retry.as_ref().map(retry),
        "on_interrupt": word(options.on_interrupt().as_str_name(), "ON_INTERRUPT_"),
    })
}

fn secret(reference: &SecretReference) -> (String, String) {
    let source = match &reference.source {
        Some(Source::Env(name)) => format!("env:{name}"),
        Some(Source::File(path)) => format!("file:{path}"),
        Some(Source::Cmd(command)) => format!("cmd:{command}"),
        None => String::new(),
    };
    (reference.name.clone(), source)
}

fn retry(retry: &RetryPolicy) -> Value {
    json!({
        "attempts": retry.attempts,
        "backoff_seconds": seconds(retry.backoff.as_ref()),
        "max_backoff_seconds": seconds(retry.max_backoff.as_ref()),
        "on": retry.on,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_shows_its_words_and_its_limits() {
        let exec = ExecSpec {
            argv: vec![b"echo".to_vec(), vec![0xff]],
            cwd: b"/tmp".to_vec(),
            timeout: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            ..ExecSpec::default()
        };
        let template = RunTemplate { workflow: Some(Workflow::Exec(exec)), options: None };
        let view = TemplateView::from(Some(&template));
        assert_eq!(view.kind(), "exec");
        assert_eq!(view.spec["argv"], json!(["echo", "\u{fffd}"]));
        assert_eq!(view.spec["timeout_seconds"], 90.0);
        assert_eq!(view.spec["idle_timeout_seconds"], Value::Null);
    }

    #[test]
    fn a_secret_shows_only_where_it_is_found() {
        let reference =
            SecretReference { name: "API_KEY".into(), source: Some(Source::Env("MY_KEY".into())) };
        let options = StartOptions { secrets: vec![reference], ..StartOptions::default() };
        assert_eq!(options_json(&options)["secrets"], json!({ "API_KEY": "env:MY_KEY" }));
    }
}
