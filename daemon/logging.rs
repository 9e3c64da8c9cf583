//! The daemon's log: on standard error, which in the background is a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::config::{LogFormat, LogLevel};

/// A larger log file is put aside when the daemon starts.
const ROTATE_AT: u64 = 10 << 20;

/// How many log files that were put aside are kept.
const KEPT: u32 = 3;

/// The running log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Log {
    /// Begins logging to standard error. To be called once.
    pub(crate) fn begin(level: &LogLevel, format: LogFormat) -> Self {
        let (filter, handle) = reload::Layer::new(level.filter());
        let lines = fmt::layer().with_writer(io::stderr);
        let lines = match format {
            LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self { filter: handle }
    }

    /// Logs at another level from now on.
    pub(crate) fn set_level(&self, level: &LogLevel) {
        if let Err(error) = self.filter.reload(level.filter()) {
            tracing::warn!(%error, "the level of the log could not be changed");
        }
    }
}

/// Opens the log file of a daemon in the background; a large one is put aside first. The state directory
/// must be locked: a running daemon writes to its log file by whatever name.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() >= ROTATE_AT) {
        rotate(path)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn rotate(path: &Path) -> io::Result<()> {
    let aside = |number: u32| -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    };
    for number in (1..KEPT).rev() {
        match fs::rename(aside(number), aside(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, aside(1))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_large_log_is_put_aside_and_three_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spindled.log");
        for number in 1..=6 {
            let mut file = open_file(&path).unwrap();
            writeln!(file, "{number}").unwrap();
            file.set_len(ROTATE_AT).unwrap();
        }
        let first_line = |name: &str| {
            let bytes = fs::read(directory.path().join(name)).unwrap();
            String::from_utf8(bytes.into_iter().take_while(|byte| *byte != b'\n').collect()).unwrap()
        };
        let names = ["spindled.log", "spindled.log.1", "spindled.log.2", "spindled.log.3"];
        assert_eq!(names.map(first_line), ["6", "5", "4", "3"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), names.len());
    }

    #[test]
    fn a_small_log_is_continued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spindled.log");
        writeln!(open_file(&path).unwrap(), "one").unwrap();
        writeln!(open_file(&path).unwrap(), "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
