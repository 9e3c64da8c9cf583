//! The scenarios: what a directive's name makes the model do, step by step.
#![expect(clippy::unnecessary_wraps, reason = "all scripts have one signature, for the table")]

use crate::directive::{BadDirective, Parameters};
use crate::step::{Call, FaultKind, Message, Shell, Step};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) type Script = fn(&Parameters) -> Result<Vec<Step>, BadDirective>;

/// Name, what it does, and its script.
pub(crate) const SCENARIOS: &[(&str, &str, Script)] = &[
    ("message", "says something (text=)", message),
    ("json", "says a JSON document (json=)", json_document),
    ("shell", "runs a command, then says what it printed (cmd= think= text=)", shell),
    ("multi", "thinks, speaks and runs a command n times (n= cmd=, where {k} is the number)", multi),
    ("parallel", "makes n shell calls at once, which end in reverse order (n=)", parallel),
    ("patch", "adds a file by a patch (file= content=)", patch),
    ("plan", "makes a plan and ticks it off (only releases with a plan tool)", plan),
    ("tool", "calls a tool by its name (name= args=, a JSON object; text=)", tool),
    ("search", "searches the web, at the model's side (query=)", search),
    ("sleep", "runs a command that takes its time (secs= patience= text=)", sleep),
    ("loop", "runs a command n times, one after the other (n= secs= cmd=)", repeat),
    ("background", "leaves a command running when the turn ends (secs=)", background),
    ("escalate", "asks to leave the sandbox for a command (cmd= why= text=)", escalate),
    ("slow", "says something slowly (secs= chunks= text=)", slow),
    ("empty", "answers with nothing at all", empty),
    ("hang", "begins to answer and then says nothing (secs= times=)", hang),
    ("cut", "the stream ends early (how=eof|rst times=)", cut),
    (
        "cut-after-tool",
        "runs a command, then the stream ends early (cmd= how=eof|rst times=)",
        cut_after_tool,
    ),
    ("incomplete", "ends with response.incomplete (reason= times=)", incomplete),
    ("failed", "ends with response.failed (code= message= times=)", failed),
    ("http", "answers with an HTTP error (code= type= message= retry_after= times=)", http),
    ("limit", "the usage limit is reached (secs=, or at= in seconds since 1970, plan=)", limit),
];

fn message(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    Ok(vec![Step::say(p.text("text", "hello from the model server"))])
}

fn json_document(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    Ok(vec![Step::say(p.text("json", r#"{"answer":"42","ok":true}"#))])
}

fn shell(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let call = Step::shell(p.text("cmd", "echo hello"));
    Ok(vec![
        Step { reasoning: p.get("think").map(str::to_owned), ..call },
        Step::say(p.text("text", "the command printed: {last_output}")),
    ])
}

fn multi(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let n = p.number("n", 3)?;
    let round = |k: u32| Step {
        reasoning: Some(format!("**Step {k} of {n}**")),
        message: Some(Message::whole(format!("working on step {k}"))),
        ..Step::shell(p.text("cmd", "echo step-{k}").replace("{k}", &k.to_string()))
    };
    let mut steps: Vec<Step> = (1..=n).map(round).collect();
    steps.push(Step::say(format!("all {n} steps are done")));
    Ok(steps)
}

fn parallel(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let n = p.number("n", 2)?;
    let call = |k: u32| Call::Shell(Shell::new(format!("sleep 0.{}; echo call-{k}", (n - k) * 2)));
    Ok(vec![
        Step { calls: (0..n).map(call).collect(), ..Step::default() },
        Step::say(format!("{n} commands ran")),
    ])
}

fn patch(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let patch = add_file_patch(p.text("file", "patched.txt"), p.text("content", "written by a patch"));
    Ok(vec![Step::call(Call::Patch(patch)), Step::say("patch applied")])
}

/// A patch that creates a file, or replaces it.
pub(crate) fn add_file_patch(path: &str, content: &str) -> String {
    let mut patch = format!("*** Begin Patch\n*** Add File: {path}\n");
    for line in content.lines() {
        patch.push('+');
        patch.push_str(line);
        patch.push('\n');
    }
    patch.push_str("*** End Patch");
    patch
}

fn plan(_: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let update = |state: &str| {
        let plan = json!({"plan": [{"step": "look", "status": state}, {"step": "write", "status": state}]});
        Step::call(Call::Function { name: "update_plan".to_owned(), arguments: plan })
    };
    Ok(vec![update("pending"), update("completed"), Step::say("planned")])
}

fn tool(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let text = p.text("args", "{}");
    let not_json =
        || BadDirective::Value { key: "args".to_owned(), value: text.to_owned(), wanted: "a JSON document" };
    let arguments = serde_json::from_str(text).map_err(|_| not_json())?;
    let name = p.text("name", "no_such_tool").to_owned();
    Ok(vec![
        Step::call(Call::Function { name, arguments }),
        Step::say(p.text("text", "the tool said: {last_output}")),
    ])
}

fn search(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let action = json!({"type": "search", "query": p.text("query", "rust daemon")});
    let call = json!({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action});
    Ok(vec![Step { message: Some(Message::whole("searched")), ..Step::call(Call::ServerSide(call)) }])
}

fn sleep(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let seconds = p.seconds("secs", 30)?.as_secs_f64();
    let command = Shell {
        patience: Some(p.seconds("patience", 30)?),
        until_done: true,
        ..Shell::new(format!("sleep {seconds}; echo slept"))
    };
    Ok(vec![Step::call(Call::Shell(command)), Step::say(p.text("text", "slept: {last_output}"))])
}

fn repeat(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let pause = format!("sleep {}", p.seconds("secs", 1)?.as_secs_f64());
    let mut steps = Vec::new();
    for _ in 0..p.number("n", 100)? {
        steps.push(Step::shell(p.text("cmd", &pause)));
    }
    steps.push(Step::say("loop finished"));
    Ok(steps)
}

fn background(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let seconds = p.seconds("secs", 60)?.as_secs_f64();
    let command =
        Shell { patience: Some(Duration::from_millis(500)), ..Shell::new(format!("sleep {seconds}")) };
    Ok(vec![
        Step::call(Call::Shell(command)),
        Step::say(p.text("text", "left a command running: {last_output}")),
    ])
}

fn escalate(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let why = p.text("why", "the model wants to leave the sandbox");
    let command = Shell { escalate: Some(why.to_owned()), ..Shell::new(p.text("cmd", "echo escalated")) };
    Ok(vec![Step::call(Call::Shell(command)), Step::say(p.text("text", "after asking: {last_output}"))])
}

fn slow(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let chunks = p.number("chunks", 10)?.max(1);
    let words: Vec<String> = (0..chunks).map(|k| format!("word{k}")).collect();
    let message = Message {
        text: p.text("text", &words.join(" ")).to_owned(),
        chunks,
        pause: p.seconds("secs", 5)? / chunks,
    };
    Ok(vec![Step { message: Some(message), ..Step::default() }])
}

fn empty(_: &Parameters) -> Result<Vec<Step>, BadDirective> {
    Ok(vec![Step::default()])
}

fn hang(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let silence = FaultKind::Silence(p.seconds("secs", 3600)?);
    Ok(vec![Step::say("back again").failing(silence, p.optional_number("times")?)])
}

fn cut(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let text = p.text("text", "this text arrives, then the stream ends");
    Ok(vec![Step::say(text).failing(way_to_cut(p)?, p.optional_number("times")?)])
}

fn cut_after_tool(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let mut steps = vec![Step::shell(p.text("cmd", "echo before-the-cut"))];
    steps.append(&mut cut(p)?);
    Ok(steps)
}

fn way_to_cut(p: &Parameters) -> Result<FaultKind, BadDirective> {
    match p.text("how", "eof") {
        "eof" => Ok(FaultKind::CutOff),
        "rst" => Ok(FaultKind::Reset),
        other => {
            Err(BadDirective::Value { key: "how".to_owned(), value: other.to_owned(), wanted: "eof or rst" })
        }
    }
}

fn incomplete(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let reason = p.text("reason", "max_output_tokens").to_owned();
    Ok(vec![Step::say("partial").failing(FaultKind::Incomplete { reason }, p.optional_number("times")?)])
}

fn failed(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let code = p.text("code", "server_error").to_owned();
    let message = p.text("message", "the model failed").to_owned();
    let fault = FaultKind::Failed { code, message };
    Ok(vec![Step::say("recovered after response.failed").failing(fault, p.optional_number("times")?)])
}

fn http(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let not_an_error = || BadDirective::Value {
        key: "code".to_owned(),
        value: p.text("code", "").to_owned(),
        wanted: "an HTTP status from 400 to 599",
    };
    let status = u16::try_from(p.number("code", 500)?).ok().filter(|code| (400..600).contains(code));
    let status = status.ok_or_else(not_an_error)?;
    let usual_type = if status >= 500 { "server_error" } else { "invalid_request_error" };
    let says = format!("model server HTTP {status}");
    let body = json!({"error": {
        "type": p.text("type", usual_type), "code": null, "message": p.text("message", &says),
    }});
    let fault = FaultKind::Http { status, body, retry_after: p.get("retry_after").map(str::to_owned) };
    Ok(vec![Step::say(format!("recovered after HTTP {status}")).failing(fault, p.optional_number("times")?)])
}

fn limit(p: &Parameters) -> Result<Vec<Step>, BadDirective> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = match p.optional_number("at")? {
        Some(at) => Duration::from_secs(at.into()).saturating_sub(now),
        None => p.seconds("secs", 3600)?,
    };
    let body = json!({"error": {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": p.text("plan", "plus"),
        "resets_at": (now + left).as_secs(),
        "resets_in_seconds": left.as_secs(),
    }});
    let fault = FaultKind::Http { status: 429, body, retry_after: None };
    Ok(vec![Step::say("the limit is lifted").failing(fault, p.optional_number("times")?)])
}
