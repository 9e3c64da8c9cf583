//! What the real Codex CLI writes of approvals that were given and denied over its app-server, as Spindle reads it.
//! Skipped when the CLI is not installed (not in CI).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod nest;

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use model_server::{ModelServer, Options, Release, Scratch};
use nest::{Nest, object};
use serde_json::{Value, json};

/// A `codex app-server`, spoken to as an editor would.
struct AppServer {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    requests: u64,
}

impl AppServer {
    fn start(codex: &std::path::Path, scratch: &Scratch) -> Self {
        let mut command = scratch.command(codex);
        command.arg("app-server").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self { process, input, output, requests: 0 };
        let client = json!({"name": "test", "title": "Test", "version": "0"});
        server.call("initialize", &json!({"clientInfo": client}));
        server.send(&json!({"method": "initialized"}));
        server
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    fn receive(&mut self) -> Value {
        let line = self.output.next().expect("the app-server is there").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"id": id, "method": method, "params": params}));
        loop {
            let message = self.receive();
            if message["id"] == id && message.get("method").is_none() {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Plays a turn, and answers each request for approval with this decision. Gives how many there were.
    fn turn(&mut self, thread: &str, text: &str, decision: &str) -> usize {
        let input = json!([{"type": "text", "text": text}]);
        self.call("turn/start", &json!({"threadId": thread, "input": input}));
        let mut asked = 0;
        loop {
            let message = self.receive();
            match message["method"].as_str() {
                Some("item/commandExecution/requestApproval" | "item/fileChange/requestApproval") => {
                    asked += 1;
                    self.send(&json!({"id": message["id"], "result": {"decision": decision}}));
                }
                Some("turn/completed") => return asked,
                _ => {}
            }
        }
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn what_was_denied_is_a_denial_and_what_was_granted_none(release: Release) {
    let Some(codex) = release.binary_or_skip() else { return };
    let model = ModelServer::start(Options::default()).unwrap();
    let scratch = Scratch::new(model.url()).unwrap();
    let mut server = AppServer::start(&codex, &scratch);
    let settings =
        json!({"cwd": scratch.repo(), "approvalPolicy": "untrusted", "sandbox": "workspace-write"});
    let thread = server.call("thread/start", &settings)["thread"]["id"].as_str().unwrap().to_owned();
    let granted = r#"mock:shell cmd="touch granted""#;
    assert_eq!(server.turn(&thread, granted, "accept"), 1);
    let denied = r#"mock:shell cmd="touch denied""#;
    assert_eq!(server.turn(&thread, denied, "decline"), 1);
    drop(server);
    assert!(scratch.repo().join("granted").exists() && !scratch.repo().join("denied").exists());

    let mut nest = Nest::empty();
    nest.set("CODEX_HOME", scratch.codex_home().to_str().unwrap());
    nest.start().await;
    object(&nest.spindle(["--json", "trace", "ingest", "--wait"]));
    let calls = object(&nest.spindle(["--json", "trace", "calls", &thread]));
    let calls = calls["calls"].as_array().unwrap();
    let outcomes: Vec<_> = calls.iter().map(|call| call["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["succeeded", "rejected"], "{calls:?}");

    let signals = object(&nest.spindle(["--json", "trace", "signals", "--session", &thread]));
    let signals = signals["signals"].as_array().unwrap();
    let denials: Vec<_> = signals.iter().filter(|signal| signal["category"] == "denial_exec").collect();
    assert_eq!(denials.len(), 1, "{signals:?}");
    assert_eq!(denials[0]["call_id"], calls[1]["call_id"]);
    assert!(!signals.iter().any(|signal| signal["call_id"] == calls[0]["call_id"]), "{signals:?}");
}

#[tokio::test]
async fn real_codex_of_the_current_release_leaves_a_denial_in_its_rollout() {
    what_was_denied_is_a_denial_and_what_was_granted_none(Release::Current).await;
}

#[tokio::test]
async fn real_codex_of_the_oldest_release_leaves_a_denial_in_its_rollout() {
    what_was_denied_is_a_denial_and_what_was_granted_none(Release::Oldest).await;
}
