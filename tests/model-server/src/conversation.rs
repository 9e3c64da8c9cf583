//! What a request says about the turn: its prompt, how far it has come, and the last tool's answer.
//!
//! The client sends the whole history with every request, so the server needs no memory of a turn:
//! the number of the step travels in the ids of the tool calls that the server made, and comes back
//! with their outputs. Parallel agents, retries and resumed threads therefore need no bookkeeping.

use serde_json::Value;
use uuid::Uuid;

const CALL_ID_PREFIX: &str = "call_step";

/// User-role messages that the client adds by itself begin like this; they are not the prompt.
const ADDED_BY_CLIENT: [&str; 8] = [
    "<environment_context>",
    "<user_instructions>",
    "<permissions",
    "<skill",
    "<model_switch>",
    "<turn_aborted>",
    "# AGENTS.md instructions",
    "Warning:",
];

/// The turn that a request belongs to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Conversation {
    /// The last message that a person wrote.
    pub(crate) prompt: String,
    /// The number of the step to play now; 0 is the first of the turn.
    pub(crate) step: usize,
    /// What the most recent tool call printed, empty at the start of a turn.
    pub(crate) last_output: String,
}

impl Conversation {
    /// Reads the `input` of a request.
    pub(crate) fn read(body: &Value) -> Self {
        if let Some(text) = body["input"].as_str() {
            return Self { prompt: text.to_owned(), ..Self::default() };
        }
        let items = body["input"].as_array().map_or(&[][..], Vec::as_slice);
        let Some(at) = items.iter().rposition(is_prompt) else {
            return Self::default();
        };
        let mut turn = Self { prompt: message_text(&items[at]), ..Self::default() };
        for item in &items[at + 1..] {
            if let Some(step) = step_answered_by(item) {
                turn.step = turn.step.max(step + 1);
                turn.last_output = output_text(&item["output"]);
            }
        }
        turn
    }

    /// The session that an `exec_command` call left running, if the last output reports one.
    pub(crate) fn running_session(&self) -> Option<u64> {
        let head = self.last_output.split("Output:").next()?;
        let (_, rest) = head.split_once("Process running with session ID ")?;
        rest.lines().next()?.trim().parse().ok()
    }
}

/// A new id for a tool call made in `step`.
pub(crate) fn call_id(step: usize) -> String {
    format!("{CALL_ID_PREFIX}{step}_{}", Uuid::now_v7().simple())
}

fn step_answered_by(item: &Value) -> Option<usize> {
    if !item["type"].as_str()?.ends_with("_call_output") {
        return None;
    }
    let (step, _) = item["call_id"].as_str()?.strip_prefix(CALL_ID_PREFIX)?.split_once('_')?;
    step.parse().ok()
}

fn is_prompt(item: &Value) -> bool {
    item["role"] == "user" && {
        let text = message_text(item);
        !ADDED_BY_CLIENT.iter().any(|start| text.trim_start().starts_with(start))
    }
}

fn message_text(item: &Value) -> String {
    match &item["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => joined_texts(parts),
        _ => String::new(),
    }
}

/// Tools answer with plain text, with JSON in a string (`{"output": …, "metadata": …}`), or with a
/// list of content parts.
fn output_text(output: &Value) -> String {
    match output {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) if fields.get("output").is_some_and(Value::is_string) => {
                fields["output"].as_str().unwrap_or_default().to_owned()
            }
            _ => text.clone(),
        },
        Value::Array(parts) => joined_texts(parts),
        other => other["content"].as_str().unwrap_or_default().to_owned(),
    }
}

fn joined_texts(parts: &[Value]) -> String {
    let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use serde_json::json;

    fn user(text: &str) -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
    }

    fn output(step: usize, text: &str) -> Value {
        json!({"type": "function_call_output", "call_id": call_id(step), "output": text})
    }

    #[test]
    fn the_prompt_is_the_last_message_that_a_person_wrote() {
        let body = json!({"input": [
            user("first"),
            user("<environment_context>\n<cwd>/</cwd></environment_context>"),
            user("second"),
            user("<turn_aborted>interrupted</turn_aborted>"),
        ]});
        assert_eq!(Conversation::read(&body).prompt, "second");
    }

    #[test]
    fn a_prompt_may_itself_begin_with_a_tag() {
        let body = json!({"input": [user("<TODO>\n- [ ] one\n</TODO>")]});
        assert!(Conversation::read(&body).prompt.starts_with("<TODO>"));
    }

    #[test]
    fn the_step_follows_the_latest_tool_output_of_this_turn_only() {
        let earlier = [user("one"), output(4, "old")];
        let now = [user("two"), output(0, "a"), output(1, "b"), output(1, "c")];
        let history = [&earlier[..], &now[..]].concat();
        let turn = Conversation::read(&json!({"input": history}));
        assert_eq!((turn.step, turn.last_output.as_str()), (2, "c"));
    }

    #[test]
    fn outputs_are_read_in_each_form_that_a_release_sends() {
        for form in [
            json!("hello"),
            json!(r#"{"output":"hello","metadata":{"exit_code":0}}"#),
            json!([{"type": "input_text", "text": "hello"}]),
            json!({"content": "hello"}),
        ] {
            assert_eq!(output_text(&form), "hello", "{form}");
        }
    }

    #[test]
    fn a_command_that_still_runs_is_known_by_its_session() {
        let reported = |text: &str| Conversation { last_output: text.to_owned(), ..Conversation::default() };
        let running = reported("Wall time: 0.5\nProcess running with session ID 77897\nOutput:\n");
        assert_eq!(running.running_session(), Some(77897));
        let printed = reported("Output:\nProcess running with session ID 1\n");
        assert_eq!(printed.running_session(), None, "what a command prints is not a report");
    }

    #[test]
    fn a_body_without_input_is_an_empty_turn() {
        assert_eq!(Conversation::read(&json!({})), Conversation::default());
    }
}
