//! The descendants that outlive the child: who they are, and what becomes of them.
//!
//! The shim is a subreaper, so every orphan among them becomes its own child. When it has no child left, it has no
//! descendant left: that is the proof, and in the usual case it costs one system call.

use std::collections::BTreeMap;

use rustix::process::Signal;

use super::super::platform::{self, ProcessInfo};
use super::super::record::{Exit, Fate, ProcessId, Survivor, shown_command};

/// What is known of the processes that were there after the child had ended, or when it had to be killed.
#[derive(Default)]
pub(super) struct Leftovers {
    /// By pid; what was seen first under a pid stays.
    seen: BTreeMap<i32, Seen>,
    not_listed: u64,
}

struct Seen {
    id: ProcessId,
    command: String,
    /// Whether SIGKILL was sent to it.
    killed: bool,
}

impl Leftovers {
    /// Looks who is there now and remembers them.
    pub(super) fn look(&mut self) -> Vec<ProcessInfo> {
        let mut found = platform::descendants();
        found.retain(|process| !process.zombie);
        for process in &found {
            if self.seen.contains_key(&process.id.pid) {
                continue;
            }
            if self.seen.len() == Exit::MAX_SURVIVORS {
                self.not_listed += 1;
                continue;
            }
            let command = shown_command(&platform::command_line(process.id.pid));
            self.seen.insert(process.id.pid, Seen { id: process.id, command, killed: false });
        }
        found
    }

    /// Sends a signal to everyone who is there now.
    pub(super) fn signal(&mut self, signal: Signal) {
        for process in self.look() {
            // Who has just gone needs no signal, and who may not be signalled shows up at the end.
            let sent = platform::signal_exactly(process.id, signal).is_ok();
            if signal != Signal::KILL {
                // One that is stopped could not act on it.
                let _ = platform::signal_exactly(process.id, Signal::CONT);
            } else if let Some(seen) = self.seen.get_mut(&process.id.pid) {
                seen.killed |= sent;
            }
        }
    }

    /// The list for the exit record, without the child itself. Those who are still alive have the given fate.
    pub(super) fn survivors(self, child: i32, alive: Fate) -> (Vec<Survivor>, u64) {
        let listed = self.seen.into_values().filter(|seen| seen.id.pid != child).map(|seen| {
            let lives =
                platform::process_info(seen.id.pid).is_some_and(|now| now.id == seen.id && !now.zombie);
            let fate = match (lives, seen.killed) {
                (true, _) => alive,
                (false, true) => Fate::Killed,
                (false, false) => Fate::Ended,
            };
            Survivor { pid: seen.id.pid, command: seen.command, fate }
        });
        (listed.collect(), self.not_listed)
    }
}
