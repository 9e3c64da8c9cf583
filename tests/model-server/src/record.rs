//! What the server has been asked.

use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many requests are remembered, with their bodies.
const MAX_REMEMBERED: usize = 256;

/// A request that the server has answered, for assertions and for the log.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// When it came, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The thread of the client.
    pub thread: Option<String>,
    /// The model asked for.
    pub model: Option<String>,
    /// The scenario that was played; empty when the directive was refused.
    pub scenario: String,
    /// Which step of it, from 0.
    pub step: usize,
    /// How often the same request has come from this thread, this time included.
    pub attempt: u32,
    /// Whether the answer was a fault.
    pub faulty: bool,
    /// The prompt of the turn.
    pub prompt: String,
    /// The names of the tools on offer.
    pub tools: Vec<String>,
    /// The whole request; not in the log.
    #[serde(skip)]
    pub body: Value,
}

/// What has been asked so far.
#[derive(Debug)]
pub(crate) struct Record {
    requests: VecDeque<ReceivedRequest>,
    /// How often each request came, by a hash of thread and history.
    attempts: HashMap<u64, u32>,
    log: Option<File>,
}

impl Record {
    /// An empty record that also goes to `log`.
    pub(crate) fn new(log: Option<File>) -> Self {
        Self { requests: VecDeque::new(), attempts: HashMap::new(), log }
    }

    /// The remembered requests, oldest first.
    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.iter().cloned().collect()
    }

    /// Counts a request and gives the number of times that it has come.
    pub(crate) fn count(&mut self, thread: Option<&str>, body: &Value) -> u32 {
        let mut hasher = DefaultHasher::new();
        (thread, body["input"].to_string()).hash(&mut hasher);
        let count = self.attempts.entry(hasher.finish()).or_default();
        *count += 1;
        *count
    }

    pub(crate) fn remember(&mut self, request: ReceivedRequest) {
        if let Some(log) = &mut self.log {
            let line = serde_json::to_string(&request).unwrap_or_default();
            if let Err(error) = writeln!(log, "{line}") {
                eprintln!("model-server: cannot write to the request log: {error}");
            }
        }
        if self.requests.len() == MAX_REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}

/// The present, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
