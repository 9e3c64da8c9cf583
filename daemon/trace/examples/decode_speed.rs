//! How fast lines are decoded, beside a bare decode (envelope, and payload as raw JSON) of the same bytes.
//!
//! `cargo run --release -p trace --example decode_speed [FILE…]`: segments of a spine, or made-up ones.

#![allow(clippy::cast_precision_loss)]

use std::fmt::Write as _;
use std::hint::black_box;

use serde::Deserialize;
use serde_json::value::RawValue;
use trace::Body;
use trace::decode::Decoder;
use trace::lines::{Piece, Position, Splitter};
use trace::session::Format;

#[derive(Deserialize)]
struct Bare<'a> {
    schema_version: &'a str,
    thread_id: &'a str,
    seq: u64,
    timestamp: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    payload: &'a RawValue,
}

const ROUNDS: usize = 5;

fn main() -> std::io::Result<()> {
    let mut text = Vec::new();
    for path in std::env::args().skip(1) {
        text.extend(std::fs::read(path)?);
    }
    if text.is_empty() {
        text = made_up(64 << 20);
    }
    let lines = memchr::memchr_iter(b'\n', &text).count();
    println!(
        "{} MB, {lines} lines of {} bytes on average",
        text.len() / 1_000_000,
        text.len() / lines.max(1)
    );

    let (mut split, mut bare, mut decoded, mut busy) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        split = split.max(speed(&text, |_| 0).0);
        bare = bare.max(speed(&text, bare_decode).0);
        let mut decoder = Decoder::new(Format::Spine);
        let (speed, nothing) = speed(&text, |piece| full_decode(&mut decoder, piece));
        decoded = decoded.max(speed);
        busy = 1.0 - nothing as f64 / lines as f64;
    }
    println!("split only   {split:7.0} MB/s");
    println!("bare decode  {bare:7.0} MB/s");
    println!(
        "full decode  {decoded:7.0} MB/s, {:.2} of bare ({:.0} % of records say something)",
        decoded / bare,
        busy * 100.0
    );
    Ok(())
}

/// MB/s of the best way through the text, and the sum of what was given for each line.
fn speed(text: &[u8], mut take: impl FnMut(Piece<'_>) -> usize) -> (f64, usize) {
    let began = time_on_processor();
    let mut sum = 0;
    let mut splitter = Splitter::new(0, Position::default());
    for chunk in text.chunks(256 << 10) {
        splitter.feed(chunk, |piece| sum += take(piece));
    }
    (text.len() as f64 / 1e6 / (time_on_processor() - began), sum)
}

/// Seconds that this thread has had a processor, so that other work on the machine counts less.
fn time_on_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn bare_decode(piece: Piece<'_>) -> usize {
    let Piece::Line { bytes, .. } = piece else { return 0 };
    match serde_json::from_slice::<Bare<'_>>(bytes) {
        Ok(bare) => {
            black_box((bare.schema_version, bare.thread_id, bare.timestamp, bare.kind, bare.payload.get()));
            usize::from(bare.seq == 0)
        }
        // A torn line.
        Err(_) => 0,
    }
}

fn full_decode(decoder: &mut Decoder, piece: Piece<'_>) -> usize {
    let Piece::Line { place, bytes } = piece else { return 0 };
    match decoder.decode(bytes, place) {
        Ok(record) => usize::from(black_box(record).body == Body::Nothing),
        // A torn line.
        Err(_) => 0,
    }
}

/// Records as a working session has them: mostly outputs that stream, then what they end in.
fn made_up(size: usize) -> Vec<u8> {
    let mut text = String::new();
    let mut seq = 0_u64;
    let chunk = "Y29tcGlsaW5nIHNwaW5kbGUgdjAuMS4wICguL2RhZW1vbik".repeat(5);
    let output = "   Compiling one of many crates v1.2.3 (a \\\"quoted\\\" path)\\n".repeat(20);
    let prose =
        "The failing test expects the half-written line to wait, so I will look at the splitter. ".repeat(4);
    while text.len() < size {
        let turn = seq / 60;
        for kind in [
            "begin", "delta", "delta", "delta", "delta", "end", "words", "words", "words", "tokens",
            "context", "message",
        ] {
            seq += 1;
            let millis = seq % 1000;
            let second = seq / 1000 % 60;
            let _ = write!(
                text,
                r#"{{"schema_version":"codex_trace_spine_v1","thread_id":"01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11","seq":{seq},"timestamp":"2026-03-02T08:00:{second:02}.{millis:03}Z","type":"#,
            );
            let _ = match kind {
                "begin" => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"exec_command_begin","call_id":"call_{seq}","turn_id":"{turn}","command":["bash","-lc","cargo test -p trace"],"cwd":"/srv/app","parsed_cmd":[{{"type":"unknown","cmd":"cargo test -p trace"}}],"source":"agent"}}}}}}"#
                ),
                "delta" => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"exec_command_output_delta","call_id":"call_{seq}","stream":"stdout","chunk":"{chunk}"}}}}}}"#
                ),
                "end" => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"exec_command_end","call_id":"call_{seq}","turn_id":"{turn}","command":["bash","-lc","cargo test -p trace"],"cwd":"/srv/app","parsed_cmd":[{{"type":"unknown","cmd":"cargo test -p trace"}}],"source":"agent","stdout":"{output}","stderr":"","aggregated_output":"{output}","exit_code":0,"duration":{{"secs":3,"nanos":20000000}},"formatted_output":"{output}"}}}}}}"#
                ),
                "words" => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"agent_message_content_delta","thread_id":"01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11","turn_id":"{turn}","item_id":"msg_{seq}","delta":"{}"}}}}}}"#,
                    &prose[..40]
                ),
                "tokens" => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"token_count","info":{{"total_token_usage":{{"input_tokens":{seq},"cached_input_tokens":900,"output_tokens":77,"reasoning_output_tokens":20,"total_tokens":1200}},"last_token_usage":{{"input_tokens":1000,"cached_input_tokens":900,"output_tokens":77,"reasoning_output_tokens":20,"total_tokens":1200}},"model_context_window":258400}},"rate_limits":null}}}}}}"#
                ),
                "context" => write!(
                    text,
                    r#""turn_context","payload":{{"turn_id":"{turn}","context":{{"cwd":"/srv/app","approval_policy":"on-request","sandbox_policy":{{"type":"workspace-write","writable_roots":[],"network_access":false,"exclude_tmpdir_env_var":false,"exclude_slash_tmp":false}},"model":"gpt-5.2-codex","effort":"medium","summary":"auto","user_instructions":"{prose}"}}}}}}"#
                ),
                _ => write!(
                    text,
                    r#""event","payload":{{"id":"{turn}","msg":{{"type":"agent_message","message":"{prose}"}}}}}}"#
                ),
            };
            text.push('\n');
        }
    }
    text.into_bytes()
}
