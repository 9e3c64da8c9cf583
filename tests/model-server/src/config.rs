//! The configuration that ties the CLI to the model server.

/// The text of a `config.toml` with which the Codex CLI talks to the server at `url` (such as
/// `http://127.0.0.1:8080`) and to nobody else.
///
/// Retries and the idle timeout are short, so that a test of a failure takes seconds. Everything
/// that would reach for the network (update check, analytics, plugins, apps) is off, and so is the
/// unlimited wait for a connection of the newer releases. Older releases ignore what they do not
/// know.
///
/// The sandbox does not open `/tmp`: a CLI that is killed in a sandboxed command leaves empty
/// directories (`.git` among them) in every directory that the sandbox could write to, and a
/// `/tmp/.git` makes older releases believe that all of `/tmp` is a repository.
#[must_use]
pub fn codex_config(url: &str) -> String {
    format!(
        r#"model = "gpt-5.5"
model_provider = "spindle-test"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]
plugins = false
apps = false
unbounded_connection_retries = false

[sandbox_workspace_write]
exclude_slash_tmp = true

[model_providers.spindle-test]
name = "spindle-test"
base_url = "{url}/v1"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 2
stream_idle_timeout_ms = 3000
"#
    )
}
