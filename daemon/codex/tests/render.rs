//! The text log.

#![allow(clippy::unwrap_used)]

use codex::{Decoder, Renderer, TokenUsage, UsageContext, Version};
use jiff::Timestamp;
use serde_json::{Value, json};

fn render(context: UsageContext, events: &[Value]) -> String {
    let mut renderer = Renderer::new(context);
    let stdout = events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
    let events = Decoder::new().feed(stdout.as_bytes(), Timestamp::UNIX_EPOCH);
    events.iter().flat_map(|event| renderer.render(event)).map(|line| line + "\n").collect()
}

fn item(event: &str, item: &Value) -> Value {
    json!({"type": event, "item": item})
}

fn command(event: &str, id: &str, output: &str, exit_code: Option<i64>) -> Value {
    let status = if exit_code == Some(0) { "completed" } else { "failed" };
    item(
        event,
        &json!({"id": id, "type": "command_execution", "command": format!("run {id}"),
        "aggregated_output": output, "exit_code": exit_code, "status": status}),
    )
}

fn message(text: &str) -> Value {
    item("item.completed", &json!({"id": "m", "type": "agent_message", "text": text}))
}

#[test]
fn a_turn_reads_as_codex_prints_it() {
    let text = render(
        UsageContext::default(),
        &[
            json!({"type": "thread.started", "thread_id": "01a1"}),
            json!({"type": "turn.started"}),
            item("item.completed", &json!({"type": "reasoning", "text": "**Looking**"})),
            command("item.started", "a", "", None),
            command("item.completed", "a", "one\ntwo\n", Some(3)),
            item(
                "item.completed",
                &json!({"type": "file_change", "status": "completed",
                "changes": [{"path": "/r/x", "kind": "update"}, {"path": "/r/y", "kind": "add"}]}),
            ),
            json!({"type": "error", "message": "Reconnecting... 1/2"}),
            message("All done.\nReally."),
            json!({"type": "turn.completed", "usage": {"input_tokens": 1_234_000, "cached_input_tokens": 0, "output_tokens": 567}}),
        ],
    );
    let expected = "\
thread 01a1
thinking
**Looking**
$ run a
one
two
exit code 3
M /r/x
A /r/y
error: Reconnecting... 1/2
codex
All done.
Really.
tokens used
1,234,567
All done.
Really.
";
    assert_eq!(text, expected);
}

#[test]
fn output_that_comes_out_of_order_says_whose_it_is() {
    let text = render(
        UsageContext::default(),
        &[
            command("item.started", "a", "", None),
            command("item.started", "b", "", None),
            command("item.completed", "b", "from b", Some(0)),
            command("item.completed", "a", "from a", Some(0)),
        ],
    );
    assert_eq!(text, "$ run a\n$ run b\nfrom b\n$ run a\nfrom a\n");
}

#[test]
fn a_failed_turn_says_why_and_shows_no_tokens() {
    let text = render(
        UsageContext::default(),
        &[message("half"), json!({"type": "turn.failed", "error": {"message": "no\nluck"}})],
    );
    assert_eq!(text, "codex\nhalf\nfailed: no\nluck\n");
}

#[test]
fn the_tokens_are_those_of_the_run() {
    let baseline = TokenUsage { input_tokens: 300, output_tokens: 60, ..TokenUsage::default() };
    let context =
        UsageContext { version: Some(Version::NEWEST_KNOWN), resumed: true, baseline: Some(baseline) };
    let text = render(
        context,
        &[json!({"type": "turn.completed", "usage": {"input_tokens": 400, "output_tokens": 80}})],
    );
    assert_eq!(text, "tokens used\n120\n");
}

#[test]
fn control_sequences_never_reach_the_log() {
    let text = render(
        UsageContext::default(),
        &[
            command("item.completed", "a", "\u{1b}[31mred\u{1b}[0m\r\n\u{8}\tend", Some(0)),
            message("\u{1b}]0;title\u{7}hi"),
        ],
    );
    assert_eq!(text, "$ run a\nred\n\tend\ncodex\nhi\n");
}

#[test]
fn what_is_not_understood_is_shown_as_it_is() {
    let text = render(
        UsageContext::default(),
        &[
            json!({"type": "turn.paused"}),
            item("item.completed", &json!({"type": "hologram"})),
            json!("stray"),
        ],
    );
    let expected = "event \"turn.paused\": {\"type\":\"turn.paused\"}\nitem \"hologram\": {\"type\":\"hologram\"}\n\"stray\"\n";
    assert_eq!(text, expected);
}
