//! What the kernel tells of a process: memory and wake-ups.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

/// A number from a line `NAME: 123` or `NAME: 123 kB` of one of the kernel's files.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    number(&text, name).with_context(|| format!("{path} has no {name}"))
}

/// Bytes of memory that the process has resident, shared pages of its program included.
pub(crate) fn resident_bytes(pid: u32) -> Result<f64> {
    Ok(bytes(field(&format!("/proc/{pid}/status"), "VmRSS")?))
}

/// The most bytes that the process has ever had resident.
pub(crate) fn peak_bytes(pid: u32) -> Result<f64> {
    Ok(bytes(field(&format!("/proc/{pid}/status"), "VmHWM")?))
}

/// Bytes of resident memory that are backed by no file.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<f64> {
    Ok(bytes(field(&format!("/proc/{pid}/status"), "RssAnon")?))
}

/// Bytes that would be free if this process ended.
pub(crate) fn private_bytes(pid: u32) -> Result<f64> {
    let rollup = format!("/proc/{pid}/smaps_rollup");
    Ok(bytes(field(&rollup, "Private_Clean")? + field(&rollup, "Private_Dirty")?))
}

#[expect(clippy::cast_precision_loss, reason = "no process here comes near 2^52 KiB")]
fn bytes(kib: u64) -> f64 {
    (kib * 1024) as f64
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Result<u32> {
    Ok(u32::try_from(field(&format!("/proc/{pid}/status"), "PPid")?)?)
}

/// How often each thread of a process has gone to sleep, which is how often it was woken.
#[derive(Debug)]
pub(crate) struct Sleeps {
    pid: u32,
    by_thread: BTreeMap<String, u64>,
}

impl Sleeps {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut by_thread = BTreeMap::new();
        for entry in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let thread = entry?.file_name().to_string_lossy().into_owned();
            // A thread that ends in between counts no more.
            if let Ok(sleeps) = field(&format!("{tasks}/{thread}/status"), "voluntary_ctxt_switches") {
                by_thread.insert(thread, sleeps);
            }
        }
        Ok(Self { pid, by_thread })
    }

    /// How many there were since.
    pub(crate) fn since(&self) -> Result<u64> {
        let now = Self::of(self.pid)?;
        let before = |thread: &String| self.by_thread.get(thread).copied().unwrap_or_default();
        Ok(now.by_thread.iter().map(|(thread, sleeps)| sleeps.saturating_sub(before(thread))).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let text = "VmRSSx:\t7 kB\nVmRSS:\t  6248 kB\nnonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t14\n";
        assert_eq!(number(text, "VmRSS"), Some(6248));
        assert_eq!(number(text, "voluntary_ctxt_switches"), Some(14));
        assert_eq!(number(text, "RssAnon"), None);
    }
}
