//! What a transcript makes of events.

#![allow(clippy::unwrap_used)]

use codex::{Decoder, ItemState, ThreadId, Transcript, UsageContext};
use jiff::Timestamp;

const ID: &str = "01a1fafb-4c87-7a22-8307-df19e86425a2";

fn read(lines: &[&str]) -> Transcript {
    Transcript::read(lines.join("\n").as_bytes(), Timestamp::UNIX_EPOCH)
}

fn command(event: &str, id: &str, status: &str, output: &str) -> String {
    serde_json::json!({"type": event, "item": {
        "id": id, "type": "command_execution", "command": format!("run {id}"),
        "aggregated_output": output, "exit_code": null, "status": status,
    }})
    .to_string()
}

fn message(text: &str) -> String {
    serde_json::json!({"type": "item.completed", "item": {"id": "m", "type": "agent_message", "text": text}})
        .to_string()
}

#[test]
fn the_last_message_is_the_answer() {
    let transcript = read(&[&message("looking"), &message("done"), r#"{"type":"turn.completed"}"#]);
    assert_eq!(transcript.answer(), Some("done"));
    assert_eq!(transcript.messages(), ["looking", "done"]);
}

#[test]
fn commands_that_run_side_by_side_are_kept_apart() {
    let transcript = read(&[
        &command("item.started", "a", "in_progress", ""),
        &command("item.started", "b", "in_progress", ""),
        &command("item.completed", "b", "failed", "from b"),
        &command("item.completed", "a", "completed", "from a"),
    ]);
    let seen: Vec<_> = transcript
        .commands()
        .iter()
        .map(|command| (command.command.as_str(), command.output_tail.as_str(), command.state))
        .collect();
    let expected = [("run a", "from a", ItemState::Completed), ("run b", "from b", ItemState::Failed)];
    assert_eq!(seen, expected);
}

#[test]
fn a_command_that_still_runs_when_the_turn_ends_was_abandoned() {
    let started = command("item.started", "a", "in_progress", "");
    for end in [&[r#"{"type":"turn.completed"}"#][..], &[]] {
        let lines: Vec<&str> = [started.as_str()].into_iter().chain(end.iter().copied()).collect();
        assert_eq!(read(&lines).commands()[0].state, ItemState::Abandoned);
    }
}

#[test]
fn commands_carry_the_times_at_which_their_events_arrived() {
    let mut decoder = Decoder::new();
    let mut transcript = Transcript::new();
    for (second, line) in [
        (1, command("item.started", "a", "in_progress", "")),
        (9, command("item.completed", "a", "completed", "")),
    ] {
        let at = Timestamp::from_second(second).unwrap();
        decoder.feed(format!("{line}\n").as_bytes(), at).iter().for_each(|event| transcript.push(event));
    }
    let [command] = transcript.commands() else { panic!("one command") };
    assert_eq!(command.started_at.as_second(), 1);
    assert_eq!(command.finished_at.map(Timestamp::as_second), Some(9));
}

#[test]
fn of_a_long_output_the_end_is_kept_and_its_length() {
    let output = format!("{}end", "ä".repeat(10_000));
    let transcript = read(&[&command("item.completed", "a", "completed", &output)]);
    let [command] = transcript.commands() else { panic!("one command") };
    assert_eq!(command.output_bytes, 20_003);
    assert!(command.output_tail.ends_with("end") && command.output_tail.len() <= 4096);
}

#[test]
fn a_patch_that_was_declined_changed_nothing() {
    let change = |event: &str, status: &str| {
        serde_json::json!({"type": event, "item": {"id": "a", "type": "file_change", "status": status,
            "changes": [{"path": "/repo/new.txt", "kind": "add"}]}})
        .to_string()
    };
    let declined = read(&[&change("item.started", "in_progress"), &change("item.completed", "declined")]);
    assert!(declined.file_changes().is_empty());
    let made = read(&[&change("item.started", "in_progress"), &change("item.completed", "completed")]);
    assert_eq!(made.file_changes().len(), 1);
}

#[test]
fn a_call_of_an_mcp_tool_is_one_call_from_start_to_end() {
    let call = |event: &str, status: &str, error: &str| {
        format!(
            r#"{{"type":"{event}","item":{{"id":"item_0","type":"mcp_tool_call","server":"echo","tool":"say","arguments":{{"text":"hi"}},"result":null,"error":{error},"status":"{status}"}}}}"#
        )
    };
    let started = call("item.started", "in_progress", "null");
    let completed = read(&[&started, &call("item.completed", "completed", "null")]);
    let [one] = completed.mcp_calls() else { panic!("one call: {completed:?}") };
    assert_eq!((one.server.as_str(), one.tool.as_str(), one.state), ("echo", "say", ItemState::Completed));
    assert_eq!(one.arguments["text"], "hi");
    let failed = read(&[&started, &call("item.completed", "failed", r#"{"message":"no such tool"}"#)]);
    assert_eq!(failed.mcp_calls()[0].error.as_deref(), Some("no such tool"));
    assert_eq!(read(&[&started]).mcp_calls()[0].state, ItemState::Abandoned);
}

#[test]
fn connecting_again_is_counted_and_ends_nothing() {
    let transcript = read(&[
        r#"{"type":"error","message":"Reconnecting... 1/2"}"#,
        r#"{"type":"error","message":"Reconnecting... waiting for network (x)"}"#,
        r#"{"type":"error","message":"something else"}"#,
    ]);
    assert_eq!((transcript.reconnects(), transcript.errors().len()), (2, 3));
    assert_eq!(transcript.terminal(), None);
}

#[test]
fn another_thread_than_the_one_asked_for_is_noticed_at_the_first_event() {
    let requested: ThreadId = ID.parse().unwrap();
    let start = |id: &str| format!(r#"{{"type":"thread.started","thread_id":"{id}"}}"#);
    assert!(!read(&[]).is_on_wrong_thread(&requested));
    assert!(!read(&[&start(ID)]).is_on_wrong_thread(&requested));
    assert!(read(&[&start("01a1fafb-0000-7a22-8307-df19e86425a2")]).is_on_wrong_thread(&requested));
    assert!(read(&[&start("my-thread")]).is_on_wrong_thread(&requested));
}

#[test]
fn a_failed_turn_has_no_usage() {
    let context = UsageContext::default();
    let failed = read(&[r#"{"type":"turn.failed","error":{"message":"x"},"usage":{"input_tokens":1}}"#]);
    assert_eq!(failed.usage(&context), None);
    let completed = read(&[r#"{"type":"turn.completed","usage":{"input_tokens":7,"output_tokens":2}}"#]);
    assert_eq!(completed.usage(&context).unwrap().run.unwrap().total(), 9);
}

#[test]
fn what_was_not_understood_is_counted() {
    let transcript = read(&["hello", "{}", r#"{"type":"item.completed","item":{"type":"x"}}"#]);
    assert_eq!(transcript.unread(), 3);
    assert_eq!(transcript.strays(), ["hello"]);
}
