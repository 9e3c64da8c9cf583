//! The server as a client on the wire sees it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use model_server::{ModelServer, Options, StartError};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Posts a request with `prompt` and gives the connection, from which the answer can be read.
fn post(server: &ModelServer, prompt: &str) -> TcpStream {
    let body = serde_json::json!({
        "model": "gpt-5.5", "stream": true, "prompt_cache_key": "thread-1",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}],
        "tools": [{"type": "function", "name": "exec_command"}],
    });
    send(server, &body.to_string())
}

fn send(server: &ModelServer, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "POST /v1/responses HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn start(default: &str) -> ModelServer {
    ModelServer::start(Options { default: default.to_owned(), ..Options::default() }).unwrap()
}

#[test]
fn a_stream_is_framed_as_server_sent_events() {
    let server = ModelServer::start(Options {
        headers: vec![("x-codex-primary-used-percent".to_owned(), "42".to_owned())],
        ..Options::default()
    })
    .unwrap();
    let text = answer(post(&server, "mock:message text=hi"));
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("x-codex-primary-used-percent: 42"), "{text}");
    assert!(text.contains("event: response.created\ndata: {"), "{text}");
    assert!(text.contains("\n\n"), "events end with an empty line: {text}");
}

#[test]
fn an_http_fault_carries_its_status_and_retry_after() {
    let text = answer(post(&start("message"), "mock:http code=429 retry_after=7"));
    assert!(text.starts_with("HTTP/1.1 429 "), "{text}");
    assert!(text.contains("retry-after: 7\r\n"), "{text}");
}

#[test]
fn a_fault_with_times_ends_for_a_repeated_request_of_the_same_thread() {
    let server = start("message");
    let statuses: Vec<String> =
        (0..3).map(|_| answer(post(&server, "mock:http code=500 times=2"))[9..12].to_owned()).collect();
    assert_eq!(statuses, ["500", "500", "200"]);
    let attempts: Vec<u32> = server.requests().iter().map(|request| request.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[test]
fn a_reset_is_seen_as_a_reset_and_not_as_an_end() {
    let server = start("message");
    let mut stream = post(&server, "mock:cut how=rst");
    let mut received = Vec::new();
    let error = stream.read_to_end(&mut received).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let received = String::from_utf8_lossy(&received);
    assert!(received.contains("response.output_text.delta"), "{received}");
}

#[test]
fn a_mistaken_directive_is_refused_with_its_reason() {
    let server = start("message");
    let text = answer(post(&server, "mock:nonsense"));
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("nonsense"), "{text}");
    assert!(server.requests()[0].faulty);
}

#[test]
fn what_is_not_json_is_refused() {
    assert!(answer(send(&start("message"), "hello")).starts_with("HTTP/1.1 400 "));
}

#[test]
fn requests_are_remembered_and_logged() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let options = Options { log: Some(log.clone()), ..Options::default() };
    let server = ModelServer::start(options).unwrap();
    answer(post(&server, "do it"));
    let request = &server.requests()[0];
    assert_eq!((request.prompt.as_str(), request.thread.as_deref()), ("do it", Some("thread-1")));
    assert_eq!((request.scenario.as_str(), request.step), ("message", 0));
    assert_eq!(request.body["model"], "gpt-5.5");
    let logged: serde_json::Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    assert_eq!((&logged["prompt"], logged.get("body")), (&"do it".into(), None));
}

#[test]
fn a_default_that_is_no_scenario_does_not_start() {
    let options = Options { default: "nonsense".to_owned(), ..Options::default() };
    assert!(matches!(ModelServer::start(options), Err(StartError::Default { .. })));
}

#[test]
fn a_taken_port_is_named() {
    let server = start("message");
    let port = server.url().rsplit(':').next().unwrap().parse().unwrap();
    let second = ModelServer::start(Options { port, ..Options::default() });
    assert!(matches!(second, Err(StartError::Listen { port: refused, .. }) if refused == port));
}

#[test]
fn dropping_a_server_ends_its_streams() {
    let server = start("message");
    let mut stream = post(&server, "mock:hang");
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    drop(server);
    // The end may come as an end of file or as a reset; a stream still held open would time out.
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
