//! Which tools the client offers, and how a call is put to them.
//!
//! The name of the model and the release of the CLI decide what is on offer; the same scenario works
//! with all of it.

use crate::step::{Call, Shell};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

/// How long an old `shell` tool may take for a command that is to be waited for.
const LONG_ENOUGH: Duration = Duration::from_hours(24);

/// The tools of a request.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// Name (or, for a tool without one, its type) and whether it is a custom tool, whose input is
    /// free text.
    offered: Vec<(String, bool)>,
}

impl Tools {
    /// Reads `tools` and the `additional_tools` items of the `input`, where code mode announces its
    /// own.
    pub(crate) fn read(body: &Value) -> Self {
        let mut tools = Self::default();
        tools.collect(&body["tools"]);
        for item in body["input"].as_array().into_iter().flatten() {
            if item["type"] == "additional_tools" {
                tools.collect(&item["tools"]);
            }
        }
        tools
    }

    fn collect(&mut self, list: &Value) {
        for tool in list.as_array().into_iter().flatten() {
            let kind = tool["type"].as_str().unwrap_or_default();
            if kind == "namespace" {
                self.collect(&tool["tools"]);
            } else {
                let name = tool["name"].as_str().unwrap_or(kind);
                self.offered.push((name.to_owned(), kind == "custom"));
            }
        }
    }

    /// The names, in the order of the request.
    pub(crate) fn names(&self) -> Vec<String> {
        self.offered.iter().map(|(name, _)| name.clone()).collect()
    }

    fn offers(&self, wanted: &str) -> bool {
        self.offered.iter().any(|(name, _)| name == wanted)
    }

    fn offers_custom(&self, wanted: &str) -> bool {
        self.offered.iter().any(|(name, custom)| name == wanted && *custom)
    }

    /// The output items that make `calls`, all at once.
    ///
    /// In code mode the scripts of one response run one after the other, so commands that are to run
    /// side by side share a script.
    pub(crate) fn phrase_all(&self, calls: &[Call], call_id: impl Fn() -> String) -> Vec<Value> {
        let commands: Vec<&Shell> = calls.iter().filter_map(Call::as_shell).collect();
        if self.is_code_mode() && commands.len() > 1 && commands.len() == calls.len() {
            return vec![custom_call("exec", &side_by_side(&commands), &call_id())];
        }
        calls.iter().map(|call| self.phrase(call, &call_id())).collect()
    }

    fn is_code_mode(&self) -> bool {
        !self.offers("exec_command") && self.offers_custom("exec")
    }

    /// The output item that makes `call`.
    fn phrase(&self, call: &Call, call_id: &str) -> Value {
        match call {
            Call::Shell(shell) => self.phrase_shell(shell, call_id),
            Call::Patch(patch) => self.phrase_patch(patch, call_id),
            Call::Function { name, arguments } if self.is_code_mode() => {
                let script = format!("text(JSON.stringify(await tools.{name}({arguments})));\n");
                custom_call("exec", &script, call_id)
            }
            Call::Function { name, arguments } => function_call(name, arguments, call_id),
            Call::ServerSide(item) => item.clone(),
        }
    }

    fn phrase_shell(&self, shell: &Shell, call_id: &str) -> Value {
        if self.offers("exec_command") {
            function_call("exec_command", &exec_arguments(shell), call_id)
        } else if self.is_code_mode() {
            custom_call("exec", &side_by_side(&[shell]), call_id)
        } else if self.offers("shell_command") {
            function_call("shell_command", &shell_arguments(shell, &json!(shell.command)), call_id)
        } else {
            let words = json!(["bash", "-lc", shell.command]);
            function_call("shell", &shell_arguments(shell, &words), call_id)
        }
    }

    fn phrase_patch(&self, patch: &str, call_id: &str) -> Value {
        if self.offers_custom("apply_patch") {
            custom_call("apply_patch", patch, call_id)
        } else if self.offers("apply_patch") {
            function_call("apply_patch", &json!({"input": patch}), call_id)
        } else if self.offers_custom("exec") {
            let script = format!("text(await tools.apply_patch({}));\n", json!(patch));
            custom_call("exec", &script, call_id)
        } else {
            // The CLI recognises a command of this form and applies the patch itself.
            let command = Shell::new(format!("apply_patch <<'EOF'\n{patch}\nEOF"));
            self.phrase_shell(&command, call_id)
        }
    }
}

/// A call that waits for a command that `exec_command` left running.
pub(crate) fn keep_waiting(session: u64, call_id: &str) -> Value {
    let arguments = json!({"session_id": session, "chars": "", "yield_time_ms": 30_000});
    function_call("write_stdin", &arguments, call_id)
}

/// A code-mode script that runs the commands together and shows what they printed.
fn side_by_side(commands: &[&Shell]) -> String {
    let call = |shell: &&Shell| format!("tools.exec_command({})", exec_arguments(shell));
    let calls: Vec<String> = commands.iter().map(call).collect();
    format!(
        "const ran = await Promise.all([{}]);\ntext(ran.map(one => one.output).join(\"\"));\n",
        calls.join(", ")
    )
}

fn exec_arguments(shell: &Shell) -> Value {
    let mut arguments = json!({"cmd": shell.command});
    if let Some(patience) = shell.patience {
        arguments["yield_time_ms"] = json!(milliseconds(patience));
    }
    add_escalation(&mut arguments, shell);
    arguments
}

/// The older tools kill a command at `timeout_ms`: patience is not a time limit there.
fn shell_arguments(shell: &Shell, command: &Value) -> Value {
    let mut arguments = json!({"command": command});
    if shell.until_done {
        arguments["timeout_ms"] = json!(milliseconds(LONG_ENOUGH));
    }
    add_escalation(&mut arguments, shell);
    arguments
}

fn add_escalation(arguments: &mut Value, shell: &Shell) {
    if let Some(why) = &shell.escalate {
        arguments["sandbox_permissions"] = json!("require_escalated");
        arguments["justification"] = json!(why);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn function_call(name: &str, arguments: &Value, call_id: &str) -> Value {
    json!({
        "type": "function_call", "id": item_id("fc"), "call_id": call_id, "name": name,
        "arguments": arguments.to_string(),
    })
}

fn custom_call(name: &str, input: &str, call_id: &str) -> Value {
    json!({
        "type": "custom_tool_call", "id": item_id("ctc"), "call_id": call_id, "name": name,
        "status": "completed", "input": input,
    })
}

/// A fresh id for an output item of a kind.
pub(crate) fn item_id(kind: &str) -> String {
    format!("{kind}_{}", Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn offering(tools: &Value) -> Tools {
        Tools::read(&json!({"tools": tools}))
    }

    fn arguments(item: &Value) -> Value {
        serde_json::from_str(item["arguments"].as_str().unwrap()).unwrap()
    }

    fn shell(command: &str) -> Call {
        Call::Shell(Shell::new(command))
    }

    #[test]
    fn a_command_goes_to_exec_command_where_there_is_one() {
        let tools = offering(&json!([{"type": "function", "name": "exec_command"}, {"type": "web_search"}]));
        let item = tools.phrase(&shell("ls"), "call_1");
        assert_eq!((&item["type"], &item["call_id"]), (&json!("function_call"), &json!("call_1")));
        assert_eq!(arguments(&item), json!({"cmd": "ls"}));
        assert_eq!(tools.names(), ["exec_command", "web_search"]);
    }

    #[test]
    fn a_command_goes_to_the_shell_tool_of_older_releases_as_words() {
        let item = offering(&json!([{"type": "function", "name": "shell"}])).phrase(&shell("ls -l"), "c");
        assert_eq!(arguments(&item), json!({"command": ["bash", "-lc", "ls -l"]}));
    }

    #[test]
    fn in_code_mode_a_command_is_a_line_of_javascript() {
        let body =
            json!({"input": [{"type": "additional_tools", "tools": [{"type": "custom", "name": "exec"}]}]});
        let item = Tools::read(&body).phrase(&shell("echo \"hi\""), "c");
        assert_eq!((&item["type"], &item["name"]), (&json!("custom_tool_call"), &json!("exec")));
        assert!(item["input"].as_str().unwrap().contains(r#"tools.exec_command({"cmd":"echo \"hi\""})"#));
    }

    #[test]
    fn in_code_mode_commands_at_once_share_a_script() {
        let tools = offering(&json!([{"type": "custom", "name": "exec"}]));
        let items = tools.phrase_all(&[shell("a"), shell("b")], || "c".to_owned());
        assert_eq!(items.len(), 1);
        let script = items[0]["input"].as_str().unwrap();
        assert!(script.contains(r#"[tools.exec_command({"cmd":"a"}), tools.exec_command({"cmd":"b"})]"#));
    }

    #[test]
    fn a_patch_goes_to_apply_patch_or_through_the_shell() {
        let patch = Call::Patch("*** Begin Patch\n*** End Patch".into());
        let custom = offering(&json!([{"type": "custom", "name": "apply_patch"}])).phrase(&patch, "c");
        assert_eq!(custom["input"], "*** Begin Patch\n*** End Patch");
        let by_shell = offering(&json!([{"type": "function", "name": "shell"}])).phrase(&patch, "c");
        assert!(
            arguments(&by_shell)["command"][2]
                .as_str()
                .unwrap()
                .starts_with("apply_patch <<'EOF'\n*** Begin")
        );
    }

    #[test]
    fn leaving_the_sandbox_is_asked_for_with_a_reason() {
        let call = Call::Shell(Shell { escalate: Some("why".into()), ..Shell::new("id") });
        let item = offering(&json!([{"type": "function", "name": "exec_command"}])).phrase(&call, "c");
        assert_eq!(arguments(&item)["sandbox_permissions"], "require_escalated");
        assert_eq!(arguments(&item)["justification"], "why");
    }
}
