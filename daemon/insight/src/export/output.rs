//! The outputs of tool calls, read through from the files of their session: nothing of them is stored.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde_json::Value;
use trace::Place;
use trace::session::ToolCall;

use crate::view::FileView;

/// The longest record that is read for an output, in bytes. One record can hold an output three times over.
const RECORD_LIMIT: u32 = 64 << 20;

/// What a call wrote, cut to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// Its standard output, or all that it gave back where a format has no two streams.
    pub(super) stdout: Option<String>,
    /// Its standard error.
    pub(super) stderr: Option<String>,
    /// Whether there was more.
    pub(super) cut: bool,
}

/// The files of a session, opened as they are needed.
pub(super) struct Files<'a> {
    views: &'a [FileView],
    open: BTreeMap<u32, Option<File>>,
    limit: usize,
}

impl<'a> Files<'a> {
    /// Files whose outputs are cut to so many bytes.
    pub(super) fn new(views: &'a [FileView], limit: usize) -> Self {
        Self { views, open: BTreeMap::new(), limit }
    }

    /// What a call gave back; nothing where its record is gone, or is not what it was.
    pub(super) fn output(&mut self, call: &ToolCall) -> Output {
        if self.limit == 0 {
            return Output::default();
        }
        let record = call.closed.and_then(|stamp| self.record(stamp.place));
        record.and_then(|record| found(&record, &call.call_id)).unwrap_or_default().cut_to(self.limit)
    }

    fn record(&mut self, place: Place) -> Option<Value> {
        if place.len > RECORD_LIMIT {
            return None;
        }
        let views = self.views;
        let file = self.open.entry(place.file).or_insert_with(|| {
            let view = views.iter().find(|view| view.index == place.file)?;
            File::open(&view.path).ok()
        });
        let mut line = vec![0; usize::try_from(place.len).ok()?];
        file.as_ref()?.read_exact_at(&mut line, place.offset).ok()?;
        serde_json::from_slice(&line).ok()
    }
}

impl Output {
    fn cut_to(mut self, limit: usize) -> Self {
        for text in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            let end = text.floor_char_boundary(limit);
            self.cut |= end < text.len();
            text.truncate(end);
        }
        self
    }
}

/// The output in a record, if it is one of this call: the file may have been replaced since.
fn found(record: &Value, call: &str) -> Option<Output> {
    let payload = record.get("payload")?;
    // A spine's event, also with its fields nested; a rollout's item; an item of the model's input.
    let event = payload.get("msg");
    let nested = event.and_then(|event| event.get("payload"));
    let candidates = [nested, event, payload.get("item"), Some(payload)];
    let ids = ["call_id", "id"];
    let named = candidates
        .iter()
        .flatten()
        .any(|place| ids.iter().any(|id| place.get(id).and_then(Value::as_str) == Some(call)));
    if !named {
        return None;
    }
    candidates.into_iter().flatten().find_map(streams)
}

fn streams(place: &Value) -> Option<Output> {
    let text = |key: &str| place.get(key).and_then(Value::as_str).map(str::to_owned);
    let (stdout, stderr) = (text("stdout"), text("stderr"));
    if stdout.is_some() || stderr.is_some() {
        return Some(Output { stdout, stderr, cut: false });
    }
    let whole = text("aggregated_output").or_else(|| place.get("output").map(given_back)).or_else(|| {
        // The result of a tool of another server.
        place.get("result").map(Value::to_string)
    });
    whole.map(|stdout| Output { stdout: Some(stdout), stderr: None, cut: false })
}

/// What the model was given back: text, or JSON text with the output inside.
fn given_back(output: &Value) -> String {
    let Some(text) = output.as_str() else { return output.to_string() };
    let inner = serde_json::from_str::<Value>(text).ok();
    let inner = inner.as_ref().and_then(|inner| inner.get("output")).and_then(Value::as_str);
    inner.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn output(record: &Value) -> Option<(Option<String>, Option<String>)> {
        found(record, "call_1").map(|output| (output.stdout, output.stderr))
    }

    #[test]
    fn every_form_of_an_ended_call_gives_its_output() {
        let both = Some((Some("o".to_owned()), Some("e".to_owned())));
        let flat = json!({"payload": {"msg": {"call_id": "call_1", "stdout": "o", "stderr": "e"}}});
        assert_eq!(output(&flat), both);
        let nested =
            json!({"payload": {"msg": {"call_id": "call_1", "payload": {"stdout": "o", "stderr": "e"}}}});
        assert_eq!(output(&nested), both);
        let one = Some((Some("o".to_owned()), None));
        let item = json!({"payload": {"type": "item_completed", "item": {"id": "call_1", "aggregated_output": "o"}}});
        assert_eq!(output(&item), one);
        let given = json!({"payload": {"call_id": "call_1", "output": "{\"output\":\"o\",\"metadata\":{}}"}});
        assert_eq!(output(&given), one);
        let plain = json!({"payload": {"call_id": "call_1", "output": "o"}});
        assert_eq!(output(&plain), one);
    }

    #[test]
    fn a_record_of_another_call_gives_nothing() {
        let other = json!({"payload": {"msg": {"call_id": "call_2", "stdout": "o"}}});
        assert_eq!(output(&other), None);
        assert_eq!(output(&json!([])), None);
    }

    #[test]
    fn a_long_output_is_cut_between_characters() {
        let output =
            Output { stdout: Some("aéé".to_owned()), stderr: Some("ab".to_owned()), cut: false }.cut_to(2);
        assert_eq!(output, Output { stdout: Some("a".to_owned()), stderr: Some("ab".to_owned()), cut: true });
    }
}
