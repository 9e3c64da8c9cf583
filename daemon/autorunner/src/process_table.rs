//! What the system's process table says about a pid that stands in a lock file.

use jiff::Timestamp;
use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::Pid;

/// A pid at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// No such process, or one that has ended and only waits to be reaped.
    Gone,
    /// It runs. A process of another user counts, too.
    Alive {
        /// When it started, to about a second, where the system tells.
        started: Option<Timestamp>,
    },
}

/// Looks a pid up.
pub(crate) fn look_up(pid: u32) -> ProcessState {
    // 0 and what does not fit would address groups.
    let Some(raw) = i32::try_from(pid).ok().filter(|raw| *raw > 0) else {
        return ProcessState::Gone;
    };
    match signal::kill(Pid::from_raw(raw), None) {
        Err(Errno::ESRCH) => ProcessState::Gone,
        _ => details(raw),
    }
}

#[cfg(target_os = "linux")]
fn details(pid: i32) -> ProcessState {
    use std::fs;

    let unknown = ProcessState::Alive { started: None };
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return unknown;
    };
    // The name stands in parentheses and may contain anything; the fields begin behind the last one.
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return unknown;
    };
    let fields: Vec<&str> = fields.split(' ').collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return ProcessState::Gone;
    }
    // Field 22 of the line is the start in clock ticks after boot; the state is field 3.
    let ticks = fields.get(19).and_then(|field| field.parse::<i64>().ok());
    let started = ticks.and_then(|ticks| {
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
        Timestamp::from_second(boot_time()? + ticks / per_second.max(1)).ok()
    });
    ProcessState::Alive { started }
}

#[cfg(target_os = "linux")]
fn boot_time() -> Option<i64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Elsewhere only the existence is known.
#[cfg(not(target_os = "linux"))]
fn details(_pid: i32) -> ProcessState {
    ProcessState::Alive { started: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_is_alive_and_started_before_now() {
        let ProcessState::Alive { started } = look_up(std::process::id()) else { panic!("not alive") };
        if cfg!(target_os = "linux") {
            let age = Timestamp::now().as_second() - started.unwrap().as_second();
            assert!((-2..24 * 3600).contains(&age), "{age} s");
        }
    }

    #[test]
    fn a_zombie_and_a_reaped_child_are_gone() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(matches!(look_up(child.id()), ProcessState::Alive { .. }));
        child.kill().unwrap();
        if cfg!(target_os = "linux") {
            // Not yet waited for: a zombie as soon as the kernel has carried out the kill.
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while look_up(child.id()) != ProcessState::Gone {
                assert!(std::time::Instant::now() < deadline, "still alive");
                std::thread::yield_now();
            }
        }
        child.wait().unwrap();
        assert_eq!(look_up(child.id()), ProcessState::Gone);
    }

    #[test]
    fn impossible_pids_are_gone() {
        assert_eq!(look_up(0), ProcessState::Gone);
        assert_eq!(look_up(u32::MAX), ProcessState::Gone);
    }
}
