//! Finding and killing what a lost shim has left behind.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::platform::{self, ProcessInfo};
use super::record::{ATTEMPT_MARKER, Fate, ProcessRecord, Survivor, shown_command};

/// So long a process that was sent SIGKILL may take to go before it is reported as unkillable.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at what is left.
const PAUSE: Duration = Duration::from_millis(5);

/// Kills every process of an attempt whose shim is gone, and proves that none is left; says what was found.
///
/// A process belongs to the attempt when it has the attempt's marker in its environment, or when it is in the
/// session that the shim had opened. After a reboot nothing can be left, and nothing is touched.
pub(super) fn sweep(record: &ProcessRecord) -> io::Result<Vec<Survivor>> {
    if platform::boot_id()? != record.boot_id {
        return Ok(Vec::new());
    }
    let marker = format!("{ATTEMPT_MARKER}={}", record.attempt);
    let mut swept: Vec<Survivor> = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = members(record, &marker)?;
        if left.is_empty() {
            return Ok(swept);
        }
        for process in &left {
            if !swept.iter().any(|known| known.pid == process.id.pid) {
                let command = shown_command(&platform::command_line(process.id.pid));
                swept.push(Survivor { pid: process.id.pid, command, fate: Fate::Killed });
            }
            // One that has gone by itself in this moment is what we want; one that may not be killed shows in the
            // next look.
            let _ = platform::signal_exactly(process.id, Signal::KILL);
        }
        if Instant::now() > deadline {
            for survivor in &mut swept {
                if left.iter().any(|process| process.id.pid == survivor.pid) {
                    survivor.fate = Fate::Unkillable;
                }
            }
            return Ok(swept);
        }
        std::thread::sleep(PAUSE);
    }
}

fn members(record: &ProcessRecord, marker: &str) -> io::Result<Vec<ProcessInfo>> {
    let own = std::process::id();
    let mut all = platform::all_processes()?;
    // A session keeps its number as long as it has a member. If its leader's pid belongs to another process by now,
    // the shim's session has ended and the number means something else.
    let reused = all.iter().any(|process| process.id.pid == record.shim.pid && process.id != record.shim);
    all.retain(|process| {
        let in_session = !reused && process.session == record.shim.pid;
        !process.zombie
            && u32::try_from(process.id.pid) != Ok(own)
            && (in_session || platform::has_in_environment(process.id.pid, marker))
    });
    Ok(all)
}
