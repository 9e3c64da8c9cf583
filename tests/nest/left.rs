//! Which processes belong to a nest: those that name its directory in their arguments or their environment.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A process of a nest.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// Its id.
    pub(crate) pid: i32,
    /// Its command line.
    #[expect(dead_code, reason = "shown when a test fails")]
    command: String,
}

/// All processes of the nest in this directory. Zombies have neither arguments nor environment.
pub(super) fn processes_of(root: &Path) -> Vec<Leftover> {
    let mark = root.as_os_str().as_bytes();
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        // One that has gone between two looks reads as empty.
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let ours = [&command, &environment]
            .into_iter()
            .any(|text| text.windows(mark.len()).any(|part| part == mark));
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        ours.then_some(Leftover { pid, command })
    })
    .collect()
}

/// Whether a process lives: it is there, and is no zombie.
pub(crate) fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
