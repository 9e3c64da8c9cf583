//! Records of a rollout trace bundle: what 0.169.0 writes below `CODEX_ROLLOUT_TRACE_ROOT`.
//!
//! Most lines of `trace.jsonl` point to a payload in a file of its own, which holds an event, the call of a
//! tool, or a whole request to the model. A payload is read only when its line's kind can say something; where
//! it is gone, the line says what it can without.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use jiff::Timestamp;

use super::event::{self, text, token_counts};
use super::head::whole_line;
use super::json::{Broken, Raw};
use super::message::Message;
use super::{DecodeError, Problem, item, payload, trim};
use crate::lines::LINE_LIMIT;
use crate::record::{Body, Event, Item, Meta, Text};
use crate::spine::open_artifact;
use crate::{Place, Record};

/// No more memory than this is kept for the next payload.
const KEPT: usize = 1 << 20;

/// The payloads of a bundle, read one at a time.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    directory: Option<PathBuf>,
    current: Vec<u8>,
}

impl Payloads {
    pub(super) fn below(directory: PathBuf) -> Self {
        Self { directory: Some(directory), current: Vec::new() }
    }

    /// The payload that a reference points to. None if it is gone, too large, no JSON, or not in the bundle.
    fn load<'a>(&'a mut self, reference: Option<Raw<'_>>) -> Option<Raw<'a>> {
        let [path] = reference?.pick(["path"]).ok()?;
        let file = open_artifact(self.directory.as_deref()?, &path?.text()?).ok()?;
        self.read(file).ok()?;
        Raw::first(&self.current).ok()
    }

    fn read(&mut self, file: File) -> io::Result<()> {
        self.current.clear();
        self.current.shrink_to(KEPT);
        let limit = LINE_LIMIT as u64;
        if file.take(limit + 1).read_to_end(&mut self.current)? as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }
}

/// Decodes a line of `trace.jsonl`.
pub(super) fn bundle<'a>(
    line: &'a [u8],
    place: Place,
    payloads: &'a mut Payloads,
) -> Result<Record<'a>, DecodeError> {
    let (before, line) = trim(line);
    read(line, place, payloads).map_err(|error| error.behind(before))
}

fn read<'a>(line: &'a [u8], place: Place, payloads: &'a mut Payloads) -> Result<Record<'a>, DecodeError> {
    let [seq, time, turn, payload] =
        whole_line(line)?.pick(["seq", "wall_time_unix_ms", "codex_turn_id", "payload"])?;
    let Some(payload) = payload.filter(|payload| payload.is_object()) else {
        return Err(DecodeError { problem: Problem::NoType, byte: 0 });
    };
    let time = time.and_then(Raw::int).and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let body = body(payload, turn, payloads)?;
    Ok(Record { seq: seq.and_then(Raw::count).unwrap_or(place.line), time, place, body })
}

fn body<'a>(
    payload: Raw<'a>,
    turn: Option<Raw<'a>>,
    payloads: &'a mut Payloads,
) -> Result<Body<'a>, DecodeError> {
    let [kind] = payload.pick(["type"])?;
    let kind = text(kind);
    Ok(match &*kind {
        "thread_started" => thread_started(payload, payloads)?,
        "protocol_event_observed" => protocol_event(payload, text(turn), payloads)?,
        "codex_turn_started" => Body::Event { turn: text(turn), event: Event::TurnStarted },
        "inference_started" => request(payload, text(turn), payloads)?,
        "inference_completed" => response(payload, text(turn), payloads)?,
        "tool_call_started" => call(payload, text(turn), payloads)?,
        "tool_call_runtime_started" => runtime(payload, text(turn), payloads, Runtime::Started)?,
        "tool_call_runtime_ended" => runtime(payload, text(turn), payloads, Runtime::Ended)?,
        "tool_call_ended" => result(payload, text(turn), payloads)?,
        "thread_ended" => Body::Event { turn: Text::default(), event: Event::Shutdown },
        // Events and results tell the same, and more.
        "rollout_started"
        | "history_item_accepted"
        | "inference_failed"
        | "inference_cancelled"
        | "codex_turn_ended"
        | "rollout_ended"
        | "recording_completed" => Body::Nothing,
        _ => Body::Unknown { kind },
    })
}

/// The beginning of a thread: of the session itself, or of a sub-agent.
fn thread_started<'a>(payload: Raw<'a>, payloads: &'a mut Payloads) -> Result<Body<'a>, DecodeError> {
    let [thread, agent, metadata] = payload.pick(["thread_id", "agent_path", "metadata_payload"])?;
    if agent.and_then(Raw::text).is_some_and(|agent| agent != "/root") {
        let event = Event::Collaboration { call: Text::default(), thread: thread.and_then(Raw::text) };
        return Ok(Body::Event { turn: Text::default(), event });
    }
    let mut meta = Meta { id: thread.and_then(Raw::text), ..Meta::default() };
    if let Some(metadata) = payloads.load(metadata) {
        let [source, cwd, provider] = metadata.pick(["session_source", "cwd", "provider_name"])?;
        meta.source = source.map(payload::read_source).transpose()?.unwrap_or_default();
        meta.cwd = cwd.and_then(event::path);
        meta.model_provider = provider.and_then(Raw::text);
    }
    Ok(Body::Meta(Box::new(meta)))
}

fn protocol_event<'a>(
    payload: Raw<'a>,
    turn: Text<'a>,
    payloads: &'a mut Payloads,
) -> Result<Body<'a>, DecodeError> {
    let [kind, reference] = payload.pick(["event_type", "event_payload"])?;
    let kind = text(kind);
    let told_elsewhere = matches!(&*kind, "turn_started" | "task_started" | "shutdown_complete");
    if told_elsewhere || event::carries_nothing(kind.as_bytes()) {
        return Ok(Body::Nothing);
    }
    let mut message = match payloads.load(reference) {
        Some(event) => Message::whole(event),
        None => Message::whole(Raw::nothing()),
    };
    Ok(match event::event(&kind, &mut message)? {
        Some(event) => {
            let named = message.turn();
            Body::Event { turn: if named.is_empty() { turn } else { named }, event }
        }
        None => Body::Unknown { kind: format!("protocol_event_observed:{kind}").into() },
    })
}

/// A request to the model. If the user's words are the newest thing in it, they are what it says.
fn request<'a>(
    payload: Raw<'a>,
    turn: Text<'a>,
    payloads: &'a mut Payloads,
) -> Result<Body<'a>, DecodeError> {
    let [reference] = payload.pick(["request_payload"])?;
    let Some(request) = payloads.load(reference) else { return Ok(Body::Nothing) };
    let [input] = request.pick(["input"])?;
    let Some(newest) = input.and_then(|input| input.elements().last()) else { return Ok(Body::Nothing) };
    let [kind, role, content] = newest.pick(["type", "role", "content"])?;
    if text(kind) != "message" || text(role) != "user" {
        return Ok(Body::Nothing);
    }
    // No event tells them. A request that is repeated repeats them, which is noticed as with every event.
    let words = content.map(item::joined_text).unwrap_or_default();
    Ok(Body::Event { turn, event: Event::UserMessage(words) })
}

/// What the model answered: its tokens. Its words come with the events, its calls on lines of their own.
fn response<'a>(
    payload: Raw<'a>,
    turn: Text<'a>,
    payloads: &'a mut Payloads,
) -> Result<Body<'a>, DecodeError> {
    let [reference] = payload.pick(["response_payload"])?;
    let [usage] = match payloads.load(reference) {
        Some(response) => response.pick(["token_usage"])?,
        None => [None],
    };
    let last = usage.map(|usage| token_counts(usage.unread())).transpose()?;
    let last = last.and_then(|(counts, _)| counts).unwrap_or_default();
    Ok(Body::Tokens { turn, last, total: None })
}

fn call<'a>(payload: Raw<'a>, turn: Text<'a>, payloads: &'a mut Payloads) -> Result<Body<'a>, DecodeError> {
    let [id, visible, summary, reference] =
        payload.pick(["tool_call_id", "model_visible_call_id", "summary", "invocation_payload"])?;
    let [label, preview] =
        summary.map_or(Ok([None; 2]), |summary| summary.pick(["label", "input_preview"]))?;
    let [name, inner] = match payloads.load(reference) {
        Some(invocation) => invocation.pick(["tool_name", "payload"])?,
        None => [None; 2],
    };
    let [arguments, input] = inner.map_or(Ok([None; 2]), |inner| inner.pick(["arguments", "input"]))?;
    let arguments = [arguments, input, preview].into_iter().flatten().find_map(Raw::text).unwrap_or_default();
    let call = visible.and_then(Raw::text).unwrap_or_else(|| text(id));
    Ok(Body::Item { turn, item: Item::Call { call, name: text(name.or(label)), arguments } })
}

/// Which end of a tool's run a line tells of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runtime {
    Started,
    Ended,
}

/// The run of a tool: its payload is the event of a command or patch, without its type.
fn runtime<'a>(
    payload: Raw<'a>,
    turn: Text<'a>,
    payloads: &'a mut Payloads,
    which: Runtime,
) -> Result<Body<'a>, DecodeError> {
    let [reference] = payload.pick(["runtime_payload"])?;
    let Some(run) = payloads.load(reference) else { return Ok(Body::Nothing) };
    let [command, changes] = run.pick(["command", "changes"])?;
    let kind = match (command, changes, which) {
        (Some(_), _, Runtime::Started) => "exec_command_begin",
        (Some(_), _, Runtime::Ended) => "exec_command_end",
        (None, Some(_), Runtime::Started) => "patch_apply_begin",
        (None, Some(_), Runtime::Ended) => "patch_apply_end",
        (None, None, _) => return Ok(Body::Nothing),
    };
    let event = event::event(kind, &mut Message::whole(run))?;
    Ok(event.map_or(Body::Nothing, |event| Body::Event { turn, event }))
}

/// What a tool gave back to the model.
fn result<'a>(payload: Raw<'a>, turn: Text<'a>, payloads: &'a mut Payloads) -> Result<Body<'a>, DecodeError> {
    let [id, reference] = payload.pick(["tool_call_id", "result_payload"])?;
    let returned = match payloads.load(reference) {
        Some(result) => response_item(result)?,
        None => None,
    };
    let Some((kind, returned)) = returned else {
        let item = Item::Output { call: text(id), exit_code: None, duration_ms: None, head: Text::default() };
        return Ok(Body::Item { turn, item });
    };
    Ok(about(turn, item::item(kind, &mut Message::whole(returned))?))
}

fn response_item(result: Raw<'_>) -> Result<Option<(Text<'_>, Raw<'_>)>, Broken> {
    let [item] = result.pick(["response_item"])?;
    let Some(item) = item else { return Ok(None) };
    let [kind] = item.pick(["type"])?;
    Ok(Some((text(kind), item)))
}

/// An item with the turn that its line names.
fn about<'a>(turn: Text<'a>, body: Body<'a>) -> Body<'a> {
    match body {
        Body::Item { item, .. } => Body::Item { turn, item },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::Decoder;
    use super::*;
    use crate::record::{Source, TokenCounts};

    /// A bundle whose only payload is `payloads/1.json`.
    fn decode(payload: &str, file: Option<&str>) -> String {
        let directory = tempfile::tempdir().unwrap();
        if let Some(file) = file {
            std::fs::create_dir(directory.path().join("payloads")).unwrap();
            std::fs::write(directory.path().join("payloads/1.json"), file).unwrap();
        }
        let line = format!(
            r#"{{"schema_version":2,"seq":9,"wall_time_unix_ms":1795212455569,"rollout_id":"r","thread_id":"t","codex_turn_id":"u","payload":{payload}}}"#
        );
        let mut decoder = Decoder::bundle(directory.path().to_owned());
        let record = decoder.decode(line.as_bytes(), Place::default()).unwrap();
        assert_eq!((record.seq, record.time.unwrap().as_millisecond()), (9, 1_795_212_455_569));
        format!("{:?}", record.body)
    }

    const REFERENCE: &str = r#"{"raw_payload_id":"raw_payload:1","path":"payloads/1.json"}"#;

    fn shown(body: &Body<'_>) -> String {
        format!("{body:?}")
    }

    #[test]
    fn the_thread_begins_with_its_metadata() {
        let started = format!(
            r#"{{"type":"thread_started","thread_id":"t","agent_path":"/root","metadata_payload":{REFERENCE}}}"#
        );
        let file =
            r#"{ "thread_id": "t", "session_source": "exec", "cwd": "/srv/app", "provider_name": "openai" }"#;
        let meta = Meta {
            id: Some("t".into()),
            cwd: Some("/srv/app".into()),
            source: Source::Named("exec".into()),
            model_provider: Some("openai".into()),
            ..Meta::default()
        };
        assert_eq!(decode(&started, Some(file)), shown(&Body::Meta(Box::new(meta))));
    }

    #[test]
    fn an_event_is_read_from_its_payload_and_without_it_says_what_it_can() {
        let ended = format!(
            r#"{{"type":"protocol_event_observed","event_type":"turn_complete","event_payload":{REFERENCE}}}"#
        );
        let file =
            "{\n  \"type\": \"task_complete\",\n  \"turn_id\": \"v\",\n  \"last_agent_message\": \"done\"\n}";
        let complete = |turn: &'static str, last_message| Body::Event {
            turn: turn.into(),
            event: Event::TurnComplete { last_message, error: None },
        };
        assert_eq!(decode(&ended, Some(file)), shown(&complete("v", Some("done".into()))));
        assert_eq!(decode(&ended, None), shown(&complete("u", None)));
        assert_eq!(decode(&ended, Some("{ torn")), shown(&complete("u", None)));
    }

    #[test]
    fn a_payload_outside_of_the_bundle_is_not_read() {
        let path = std::env::temp_dir().join("payload.json");
        for path in ["../payload.json", path.to_str().unwrap()] {
            let text = format!(
                r#"{{"type":"protocol_event_observed","event_type":"warning","event_payload":{{"path":"{path}"}}}}"#
            );
            let nothing = Body::Event { turn: "u".into(), event: Event::Warning(Text::default()) };
            assert_eq!(decode(&text, None), shown(&nothing));
        }
    }

    #[test]
    fn a_call_goes_from_the_model_through_its_run_to_the_output() {
        let started = format!(
            r#"{{"type":"tool_call_started","tool_call_id":"c","model_visible_call_id":"c","kind":{{"type":"exec_command"}},"summary":{{"label":"exec_command","input_preview":"{{\"cmd\""}},"invocation_payload":{REFERENCE}}}"#
        );
        let file =
            r#"{"tool_name":"exec_command","payload":{"type":"function","arguments":"{\"cmd\":\"ls\"}"}}"#;
        let call = |arguments: &'static str| Body::Item {
            turn: "u".into(),
            item: Item::Call { call: "c".into(), name: "exec_command".into(), arguments: arguments.into() },
        };
        assert_eq!(decode(&started, Some(file)), shown(&call(r#"{"cmd":"ls"}"#)));
        assert_eq!(decode(&started, None), shown(&call(r#"{"cmd""#)));

        let run = r#"{"call_id":"c","turn_id":"u","command":["ls"],"cwd":"/srv","aggregated_output":"no","exit_code":2,"duration":{"secs":0,"nanos":49620507},"status":"failed"}"#;
        let began = decode(
            &format!(
                r#"{{"type":"tool_call_runtime_started","tool_call_id":"c","runtime_payload":{REFERENCE}}}"#
            ),
            Some(run),
        );
        assert!(began.contains("ExecBegin(Exec { call: \"c\""), "{began}");
        let ended = decode(
            &format!(
                r#"{{"type":"tool_call_runtime_ended","tool_call_id":"c","status":"completed","runtime_payload":{REFERENCE}}}"#
            ),
            Some(run),
        );
        assert!(
            ended.contains(
                "exit_code: Some(2), duration_ms: Some(49), head: \"no\", status: Some(\"failed\")"
            ),
            "{ended}"
        );

        let result = r#"{"type":"direct_response","response_item":{"type":"function_call_output","call_id":"c","output":"Exit code: 2\nOutput:\nno"}}"#;
        let output =
            Item::Output { call: "c".into(), exit_code: Some(2), duration_ms: None, head: "no".into() };
        assert_eq!(
            decode(
                &format!(
                    r#"{{"type":"tool_call_ended","tool_call_id":"c","status":"completed","result_payload":{REFERENCE}}}"#
                ),
                Some(result)
            ),
            shown(&Body::Item { turn: "u".into(), item: output })
        );
    }

    #[test]
    fn requests_tell_the_users_words_and_answers_their_tokens() {
        let asked = format!(r#"{{"type":"inference_started","model":"m","request_payload":{REFERENCE}}}"#);
        let words = r#"{"model":"m","input":[{"type":"message","role":"developer","content":[]},{"type":"message","role":"user","content":[{"type":"input_text","text":"do it"}]}]}"#;
        let said = Event::UserMessage("do it".into());
        assert_eq!(decode(&asked, Some(words)), shown(&Body::Event { turn: "u".into(), event: said }));
        let later =
            r#"{"input":[{"type":"message","role":"user"},{"type":"function_call_output","call_id":"c"}]}"#;
        assert_eq!(decode(&asked, Some(later)), shown(&Body::Nothing));

        let answered = format!(r#"{{"type":"inference_completed","response_payload":{REFERENCE}}}"#);
        let last = TokenCounts { input: 100, output: 20, ..TokenCounts::default() };
        assert_eq!(
            decode(
                &answered,
                Some(r#"{"token_usage":{"input_tokens":100,"output_tokens":20},"output_items":[]}"#)
            ),
            shown(&Body::Tokens { turn: "u".into(), last, total: None })
        );
    }

    #[test]
    fn a_patch_is_told_by_its_changes() {
        let run = r#"{"call_id":"c","stdout":"ok","stderr":"","success":true,"changes":{"/a":{"type":"add"}},"status":"completed"}"#;
        let ended = decode(
            &format!(
                r#"{{"type":"tool_call_runtime_ended","tool_call_id":"c","runtime_payload":{REFERENCE}}}"#
            ),
            Some(run),
        );
        assert!(ended.contains("PatchEnd") && ended.contains("success: true"), "{ended}");
    }

    #[test]
    fn turns_threads_and_kinds_without_payload() {
        let event = |turn: &'static str, event| shown(&Body::Event { turn: turn.into(), event });
        assert_eq!(decode(r#"{"type":"codex_turn_started"}"#, None), event("u", Event::TurnStarted));
        assert_eq!(
            decode(r#"{"type":"thread_ended","status":"completed"}"#, None),
            event("", Event::Shutdown)
        );
        assert_eq!(decode(r#"{"type":"recording_completed"}"#, None), shown(&Body::Nothing));
        assert_eq!(
            decode(r#"{"type":"brand_new"}"#, None),
            shown(&Body::Unknown { kind: "brand_new".into() })
        );
    }
}
