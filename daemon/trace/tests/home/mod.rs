//! A Codex home of a test.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trace::{Catalog, SessionId};

pub struct Home(TempDir);

pub fn id(text: &str) -> SessionId {
    text.parse().unwrap()
}

/// Asks until there is an answer.
pub fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs as a user whom file modes bind, which root is not.
pub fn as_somebody(act: impl FnOnce() + Send) {
    let run = move || {
        #[cfg(target_os = "linux")]
        if nix::unistd::geteuid().is_root() {
            // Of this thread and of those that it starts.
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        }
        act();
    };
    std::thread::scope(|scope| {
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::new(vec![self.root()])
    }

    pub fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn append(&self, below: &str, text: &str) {
        OpenOptions::new().append(true).open(self.path(below)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub fn segment(&self, thread: &str, index: u32, text: &str) {
        self.write(&format!("trace_spine/{thread}/segment-{index:03}.jsonl"), text);
    }

    pub fn append_segment(&self, thread: &str, index: u32, text: &str) {
        self.append(&format!("trace_spine/{thread}/segment-{index:03}.jsonl"), text);
    }

    pub fn rollout_path(&self, thread: &str) -> PathBuf {
        self.path(&format!("sessions/2026/03/02/rollout-2026-03-02T08-00-00-{thread}.jsonl"))
    }

    pub fn rollout(&self, thread: &str, text: &str) {
        self.write(&format!("sessions/2026/03/02/rollout-2026-03-02T08-00-00-{thread}.jsonl"), text);
    }

    /// Gives everything to the user of [`as_somebody`].
    pub fn for_all(&self) {
        let mut paths = vec![self.root()];
        while let Some(path) = paths.pop() {
            if nix::unistd::geteuid().is_root() {
                std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            }
            if path.is_dir() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }
}
