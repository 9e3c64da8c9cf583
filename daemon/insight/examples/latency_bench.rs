//! Measures how long it takes from a record's bytes being written to its signal being visible to a watcher:
//! `latency_bench DIRECTORY [SESSIONS] [PER_SECOND]`.
//!
//! All sessions are written at once, again and again; every third record makes a signal.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::clock::SystemClock;
use engine::process::{ShimCommand, Supervisor};
use engine::store::{Options, TableInfo, join_tables};
use engine::{Engine, Registry, Setup};
use insight::{Insight, Settings};
use serde_json::json;
use tokio_util::sync::CancellationToken;

static TABLES: &[TableInfo] =
    &join_tables::<{ engine::TABLES.len() + insight::TABLES.len() }>(&[engine::TABLES, insight::TABLES]);

const ROUNDS: u64 = 60;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().expect("DIRECTORY"));
    let sessions: u64 = arguments.next().map_or(200, |text| text.parse().unwrap());
    let per_second: u64 = arguments.next().map_or(400, |text| text.parse().unwrap());
    let home = root.join("codex");
    fs::create_dir_all(home.join("trace_spine")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = Engine::open(setup(&root.join("state"))).await.unwrap();
        let settings = Settings { homes: vec![home.clone()], ..Settings::default() };
        let insight = Insight::open(engine.clone(), settings).await.unwrap();
        let stop = CancellationToken::new();
        let running = {
            let (insight, stop) = (insight.clone(), stop.clone());
            tokio::spawn(async move { insight.run(stop).await })
        };
        let mut spines: Vec<_> = (0..sessions).map(|number| Spine::begin(&home, number)).collect();
        insight.ingest(None).done().await.unwrap();
        let written: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let mut changes = insight.watch_signals(0).unwrap();
        let writer = {
            let written = Arc::clone(&written);
            std::thread::spawn(move || {
                let pause = Duration::from_secs(1) / u32::try_from(per_second).unwrap();
                let begun = Instant::now();
                let mut count = 0_u32;
                for round in 0..ROUNDS {
                    for spine in &mut spines {
                        spine.write(round, &written);
                        count += 1;
                        std::thread::sleep((pause * count).saturating_sub(begun.elapsed()));
                    }
                }
                println!("wrote {count} commands in {:?}", begun.elapsed());
            })
        };
        let mut seen = Vec::new();
        while (seen.len() as u64) < sessions * ROUNDS {
            let changes = match tokio::time::timeout(Duration::from_secs(10), changes.next()).await {
                Ok(changes) => changes.unwrap(),
                Err(_) => break,
            };
            let now = Instant::now();
            for change in changes {
                let Some(call) = change.signal.and_then(|signal| signal.call_id) else { continue };
                if let Some(at) = written.lock().unwrap().remove(&call) {
                    seen.push(now - at);
                }
            }
        }
        writer.join().unwrap();
        seen.sort();
        let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize];
        println!(
            "{} signals: median {:?}, p90 {:?}, p99 {:?}, longest {:?}",
            seen.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
        println!("{:?}\n{:?}", insight.stats().await.unwrap(), engine.store_stats());
        stop.cancel();
        running.await.unwrap().unwrap();
        engine.close().await.unwrap();
    });
}

struct Spine {
    id: String,
    seq: u64,
    file: File,
}

impl Spine {
    fn begin(home: &Path, number: u64) -> Self {
        let id = format!("01930f5e-77aa-7c01-9b1d-{number:012x}");
        let directory = home.join("trace_spine").join(&id);
        fs::create_dir_all(&directory).unwrap();
        let file = OpenOptions::new().create(true).append(true).open(directory.join("segment-000.jsonl"));
        let mut spine = Self { id, seq: 0, file: file.unwrap() };
        let meta = json!({
            "id": spine.id, "timestamp": "2026-01-05T10:00:00Z", "cwd": "/repo", "originator": "codex_exec",
            "cli_version": "0.99.0", "source": "exec", "model_provider": "openai",
        });
        let text = spine.line("session_meta", &meta);
        spine.file.write_all(text.as_bytes()).unwrap();
        let text = spine.line(
            "submission",
            &json!({"id": "1", "op": {
                "type": "user_turn", "items": [{"type": "text", "text": "do it"}], "cwd": "/repo",
                "approval_policy": "never", "sandbox_policy": {"type": "read-only"}, "model": "gpt-5",
            }}),
        );
        spine.file.write_all(text.as_bytes()).unwrap();
        spine
    }

    fn line(&mut self, kind: &str, payload: &serde_json::Value) -> String {
        self.seq += 1;
        json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": self.id, "seq": self.seq,
            "timestamp": jiff::Timestamp::now(), "type": kind, "payload": payload,
        })
        .to_string()
            + "\n"
    }

    fn write(&mut self, round: u64, written: &Mutex<HashMap<String, Instant>>) {
        let call = format!("call_{}_{round}", self.id);
        let base = json!({
            "call_id": call, "turn_id": "1", "command": ["bash", "-lc", format!("make step-{round}")],
            "cwd": "/repo", "parsed_cmd": [], "source": "agent",
        });
        let mut begin = base.clone();
        begin["type"] = "exec_command_begin".into();
        let mut end = base;
        end["type"] = "exec_command_end".into();
        for (key, value) in [("exit_code", json!(2)), ("formatted_output", json!("error: it failed"))] {
            end[key] = value;
        }
        let text = self.line("event", &json!({"id": "1", "msg": begin}))
            + &self.line("event", &json!({"id": "1", "msg": {"type": "token_count", "info": null}}))
            + &self.line("event", &json!({"id": "1", "msg": end}));
        written.lock().unwrap().insert(call, Instant::now());
        self.file.write_all(text.as_bytes()).unwrap();
    }
}

fn setup(state: &Path) -> Setup {
    Setup {
        state_dir: state.to_owned(),
        settings: engine::Settings::default(),
        registry: Registry::default(),
        supervisor: Supervisor::new(ShimCommand { program: "/bin/false".into(), args: Vec::new() }, None),
        clock: Arc::new(SystemClock),
        on_end: Arc::new(|_| Vec::new()),
        tables: TABLES,
        store: Options::default(),
    }
}
