//! The content of a lock file, in both of its forms.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::format_time;

/// The content of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockRecord {
    /// The owner.
    pub pid: u32,
    /// When the lock was taken, unless the file has the bare form.
    pub started_at: Option<Timestamp>,
    /// On which machine, unless the file has the bare form.
    pub host: Option<String>,
}

/// The JSON form as it stands in the file. Times are texts here: one in a form that we do not know
/// must not turn a held lock into garbage.
#[derive(Serialize, Deserialize)]
struct Line {
    pid: u32,
    #[serde(default)]
    started_at: Option<String>,
    #[serde(default)]
    host: Option<String>,
}

/// Why a lock file names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRecord {
    Empty,
    Garbage,
}

impl LockRecord {
    /// The record of this process, taken now.
    pub fn of_this_process(now: Timestamp) -> Self {
        Self { pid: std::process::id(), started_at: Some(now), host: own_host() }
    }

    /// The line for the file.
    pub fn to_line(&self) -> String {
        let line =
            Line { pid: self.pid, started_at: self.started_at.map(format_time), host: self.host.clone() };
        // A number and two texts always have a JSON form; the bare one would do, too.
        let line = serde_json::to_string(&line).unwrap_or_else(|_| self.pid.to_string());
        format!("{line}\n")
    }

    pub(super) fn parse(content: &[u8]) -> Result<Self, NoRecord> {
        let text = String::from_utf8_lossy(content);
        let text = text.trim();
        if text.is_empty() {
            return Err(NoRecord::Empty);
        }
        let record = if let Ok(pid) = text.parse() {
            Self { pid, started_at: None, host: None }
        } else {
            let line: Line = serde_json::from_str(text).map_err(|_| NoRecord::Garbage)?;
            let started_at = line.started_at.and_then(|time| time.parse().ok());
            Self { pid: line.pid, started_at, host: line.host.filter(|host| !host.is_empty()) }
        };
        if record.pid == 0 { Err(NoRecord::Garbage) } else { Ok(record) }
    }
}

impl fmt::Display for LockRecord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {}", self.pid)?;
        if let Some(host) = &self.host {
            write!(out, " on {host}")?;
        }
        match self.started_at {
            Some(at) => write!(out, ", since {}", format_time(at)),
            None => Ok(()),
        }
    }
}

/// The name of this machine, as it stands in lock files.
pub(super) fn own_host() -> Option<String> {
    nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned())
}
