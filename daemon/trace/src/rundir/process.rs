//! Whether a process of another tool lives.

use jiff::{SignedDuration, Timestamp};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// By how much clocks may differ between what the system says of a process and what its tool wrote.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// Whether a process lives; none for one on another host. One that began after its run started is another that got
/// the same number.
pub(super) fn is_alive(pid: u32, host: Option<&str>, run_started: Option<Timestamp>) -> Option<bool> {
    if host.is_some_and(|host| !is_here(host)) {
        return None;
    }
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Some(false) };
    match test_kill_process(number) {
        // It is somebody else's.
        Ok(()) | Err(Errno::PERM) => {}
        Err(_) => return Some(false),
    }
    let reused = match (started(pid), run_started) {
        (Some(process), Some(run)) => run.saturating_add(SLACK).is_ok_and(|latest| process > latest),
        _ => false,
    };
    Some(!reused && !is_dead(pid))
}

fn is_here(host: &str) -> bool {
    rustix::system::uname().nodename().to_bytes() == host.as_bytes()
}

/// Whether it has ended and only waits to be noticed by its parent.
fn is_dead(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

/// When a process began, where the system says it.
fn started(pid: u32) -> Option<Timestamp> {
    // Field 22 of proc(5); the first here is field 3.
    let ticks: u64 = stat(pid)?.get(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let since_boot = ticks.checked_div(rustix::param::clock_ticks_per_second())?;
    Timestamp::from_second(boot.checked_add(i64::try_from(since_boot).ok()?)?).ok()
}

/// The fields of a process's status after its name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn this_process_lives_and_one_with_its_number_from_before_does_not() {
        let now = Timestamp::now();
        assert_eq!(is_alive(std::process::id(), None, Some(now)), Some(true));
        if cfg!(target_os = "linux") {
            assert_eq!(is_alive(std::process::id(), None, Some(Timestamp::UNIX_EPOCH)), Some(false));
        }
    }

    #[test]
    fn a_process_that_ended_is_dead_before_and_after_its_parent_noticed() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let start = std::time::Instant::now();
        while cfg!(target_os = "linux") && is_alive(pid, None, None) == Some(true) {
            assert!(start.elapsed().as_secs() < 20);
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(is_alive(pid, None, None), Some(false));
    }

    #[test]
    fn of_another_host_nothing_is_known() {
        assert_eq!(is_alive(std::process::id(), Some("no-such-host.invalid"), None), None);
        assert_eq!(is_alive(0, None, None), Some(false));
        assert_eq!(is_alive(u32::MAX, None, None), Some(false));
    }
}
