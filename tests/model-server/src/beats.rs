//! A step in the words of the wire: the events of a Responses stream, and what happens between them.

use crate::conversation::{Conversation, call_id};
use crate::step::{FaultKind, Message, Step};
use crate::tools::{Tools, item_id, keep_waiting};
use serde_json::{Value, json};
use std::time::Duration;

/// One beat of a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Beat {
    /// A server-sent event: its name, and data that repeats the name as `type`.
    Event { name: &'static str, data: Value },
    /// Nothing for a while.
    Pause(Duration),
    /// The connection breaks.
    Reset,
}

/// What a reset must wait for: data still in the sender's buffer would be lost with the connection.
const UNTIL_DELIVERED: Duration = Duration::from_millis(50);

/// Writes down the stream for `step`. HTTP faults never get this far.
pub(crate) fn compose(
    step: &Step,
    fault: Option<&FaultKind>,
    turn: &Conversation,
    tools: &Tools,
) -> Vec<Beat> {
    let mut score = Score::begin();
    match fault {
        Some(FaultKind::Silence(duration)) => {
            score.beats.push(Beat::Pause(*duration));
            return score.beats;
        }
        Some(FaultKind::Failed { code, message }) => {
            score.end("response.failed", "failed", json!({"error": {"code": code, "message": message}}));
            return score.beats;
        }
        _ => {}
    }
    if let Some(summary) = &step.reasoning {
        score.reasoning(summary);
    }
    let is_cut = matches!(fault, Some(FaultKind::CutOff | FaultKind::Reset));
    if let Some(message) = &step.message {
        let text = message.text.replace("{last_output}", turn.last_output.trim());
        score.message(message, &text, !is_cut);
    }
    for item in tools.phrase_all(&step.calls, || call_id(turn.step)) {
        score.item(item);
    }
    match fault {
        Some(FaultKind::CutOff) => {}
        Some(FaultKind::Reset) => score.beats.extend([Beat::Pause(UNTIL_DELIVERED), Beat::Reset]),
        Some(FaultKind::Incomplete { reason }) => {
            score.end("response.incomplete", "incomplete", json!({"incomplete_details": {"reason": reason}}));
        }
        _ => score.end("response.completed", "completed", json!({})),
    }
    score.beats
}

/// A stream that asks once more for a command that is still running; the turn stays at its step.
pub(crate) fn compose_wait(session: u64, turn: &Conversation) -> Vec<Beat> {
    let mut score = Score::begin();
    score.item(keep_waiting(session, &call_id(turn.step.saturating_sub(1))));
    score.end("response.completed", "completed", json!({}));
    score.beats
}

/// A stream in the making.
struct Score {
    beats: Vec<Beat>,
    response: String,
    output: Vec<Value>,
}

impl Score {
    fn begin() -> Self {
        let mut score = Self { beats: Vec::new(), response: item_id("resp"), output: Vec::new() };
        let response = score.response("in_progress");
        score.event("response.created", json!({"response": response}));
        score
    }

    fn event(&mut self, name: &'static str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.beats.len());
        self.beats.push(Beat::Event { name, data });
    }

    fn response(&self, status: &str) -> Value {
        json!({"id": self.response, "object": "response", "status": status, "output": self.output})
    }

    /// Ends the stream. The tokens are made up, and the same for every response, so that sums can be
    /// checked.
    fn end(&mut self, name: &'static str, status: &str, extra: Value) {
        let mut response = self.response(status);
        response["usage"] = json!({
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 120,
        });
        if let Value::Object(extra) = extra {
            for (key, value) in extra {
                response[key] = value;
            }
        }
        self.event(name, json!({"response": response}));
    }

    fn item(&mut self, item: Value) {
        let at = self.output.len();
        self.event("response.output_item.added", json!({"output_index": at, "item": item}));
        self.event("response.output_item.done", json!({"output_index": at, "item": item}));
        self.output.push(item);
    }

    fn reasoning(&mut self, summary: &str) {
        self.item(json!({
            "type": "reasoning", "id": item_id("rs"),
            "summary": [{"type": "summary_text", "text": summary}],
            "encrypted_content": "bm90aGluZw==",
        }));
    }

    /// A message that is not `finished` lacks its last event, as if the stream had stopped in it.
    fn message(&mut self, message: &Message, text: &str, finished: bool) {
        let at = self.output.len();
        let id = item_id("msg");
        let item = |status: &str, content: Value| json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content});
        self.event(
            "response.output_item.added",
            json!({"output_index": at, "item": item("in_progress", json!([]))}),
        );
        for chunk in chunks(text, message.chunks) {
            let delta = json!({"item_id": id, "output_index": at, "content_index": 0, "delta": chunk});
            self.event("response.output_text.delta", delta);
            if !message.pause.is_zero() {
                self.beats.push(Beat::Pause(message.pause));
            }
        }
        if finished {
            let whole = item("completed", json!([{"type": "output_text", "text": text, "annotations": []}]));
            self.event("response.output_item.done", json!({"output_index": at, "item": whole}));
            self.output.push(whole);
        }
    }
}

/// Cuts a text into at most `count` pieces of about the same number of characters.
fn chunks(text: &str, count: u32) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let count = usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let size = characters.len().div_ceil(count).max(1);
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::directive::Directive;
    use crate::scenario::Scenario;

    fn stream(directive: &str) -> Vec<Beat> {
        let steps = Scenario::scripted(&Directive::parse(directive).unwrap()).unwrap();
        let step = &steps[0];
        let fault = step.fault.as_ref().map(|fault| &fault.kind);
        let turn = Conversation { last_output: "seen\n".to_owned(), ..Conversation::default() };
        let offered = json!({"tools": [{"type": "function", "name": "exec_command"}]});
        compose(step, fault, &turn, &Tools::read(&offered))
    }

    fn names(beats: &[Beat]) -> Vec<&'static str> {
        let name = |beat: &Beat| match beat {
            Beat::Event { name, data } => {
                assert_eq!(data["type"], *name, "the data repeats the name");
                name
            }
            Beat::Pause(_) => "(pause)",
            Beat::Reset => "(reset)",
        };
        beats.iter().map(name).collect()
    }

    fn last_response(beats: &[Beat]) -> &Value {
        match beats.last() {
            Some(Beat::Event { data, .. }) => &data["response"],
            other => panic!("no event at the end: {other:?}"),
        }
    }

    #[test]
    fn a_message_is_announced_streamed_and_completed() {
        let beats = stream("message text='you saw: {last_output}'");
        assert_eq!(
            names(&beats),
            [
                "response.created",
                "response.output_item.added",
                "response.output_text.delta",
                "response.output_item.done",
                "response.completed",
            ]
        );
        assert_eq!(last_response(&beats)["output"][0]["content"][0]["text"], "you saw: seen");
    }

    #[test]
    fn a_tool_call_carries_the_number_of_its_step() {
        let beats = stream("shell cmd=ls");
        let call = &last_response(&beats)["output"][0];
        assert!(call["call_id"].as_str().unwrap().starts_with("call_step0_"));
    }

    #[test]
    fn a_slow_message_pauses_after_each_piece_and_loses_nothing() {
        let beats = stream("slow text='größer als gedacht' chunks=4 secs=2");
        let pauses: Vec<_> = beats.iter().filter(|beat| matches!(beat, Beat::Pause(_))).collect();
        assert_eq!(pauses, [&Beat::Pause(Duration::from_millis(500)); 4]);
        let delta = |beat: &Beat| match beat {
            Beat::Event { name: "response.output_text.delta", data } => {
                data["delta"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        assert_eq!(beats.iter().filter_map(delta).collect::<String>(), "größer als gedacht");
    }

    #[test]
    fn a_cut_stream_stops_inside_the_message() {
        let cut = names(&stream("cut"));
        assert_eq!(cut, ["response.created", "response.output_item.added", "response.output_text.delta"]);
        assert_eq!(names(&stream("cut how=rst"))[3..], ["(pause)", "(reset)"]);
    }

    #[test]
    fn failures_say_why() {
        let failed = stream("failed code=context_length_exceeded message=full");
        assert_eq!(
            last_response(&failed)["error"],
            json!({"code": "context_length_exceeded", "message": "full"})
        );
        let incomplete = stream("incomplete reason=max_output_tokens");
        assert_eq!(last_response(&incomplete)["incomplete_details"]["reason"], "max_output_tokens");
    }

    #[test]
    fn silence_comes_after_the_stream_has_begun() {
        assert_eq!(names(&stream("hang secs=9")), ["response.created", "(pause)"]);
    }

    #[test]
    fn sequence_numbers_rise() {
        let beats = stream("multi");
        let numbers: Vec<u64> = beats
            .iter()
            .filter_map(|beat| match beat {
                Beat::Event { data, .. } => data["sequence_number"].as_u64(),
                _ => None,
            })
            .collect();
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers[0] == 0, "{numbers:?}");
    }
}
