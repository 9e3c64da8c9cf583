//! `spindle daemon logs`: the daemon's own log, with or without a daemon.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::app::App;
use crate::error::CtlError;
use crate::exit::Exit;

const POLL: Duration = Duration::from_millis(250);

/// How far from the end the last lines are looked for, in bytes.
const WINDOW: u64 = 4 * 1024 * 1024;

const AFTER_HELP: &str = "\
Works without a daemon, too: it reads the file. A daemon that runs in the
foreground or under systemd logs to its standard error instead.

Examples:
  spindle daemon logs
  spindle daemon logs -f --lines 20";

#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct LogsArgs {
    /// Go on as it grows
    #[arg(short, long)]
    follow: bool,

    /// How many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200)]
    lines: usize,
}

impl LogsArgs {
    pub(crate) async fn perform(self, app: &App) -> Result<Exit, CtlError> {
        let path = place(app).await?;
        let mut log = Log::open(&path)?;
        app.out.bytes(last_lines(&log.tail()?, self.lines))?;
        if !self.follow {
            return Ok(Exit::DONE);
        }
        loop {
            tokio::select! {
                signal = tokio::signal::ctrl_c() => return signal.map(|()| Exit::INTERRUPTED).map_err(Into::into),
                () = sleep(POLL) => app.out.bytes(&log.more()?)?,
            }
        }
    }
}

/// Where the daemon says that it logs; without a daemon, where it would.
async fn place(app: &App) -> Result<PathBuf, CtlError> {
    let told = match app.client().await {
        Ok(client) => client.info().await.map(|info| info.log).unwrap_or_default(),
        Err(_) => String::new(),
    };
    match told.as_str() {
        "stderr" => Err(CtlError::Missing {
            message: "the daemon logs to its standard error, not to a file".to_owned(),
            hint: "under systemd: journalctl --user -u spindled",
        }),
        "" => Ok(app.paths.log()),
        path => Ok(PathBuf::from(path)),
    }
}

/// A file that grows, and that may be replaced or cut.
struct Log {
    path: PathBuf,
    file: File,
    read: u64,
}

impl Log {
    fn open(path: &Path) -> Result<Self, CtlError> {
        match File::open(path) {
            Ok(file) => Ok(Self { path: path.to_path_buf(), file, read: 0 }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CtlError::Missing {
                message: format!("there is no log at {}", path.display()),
                hint: "a daemon started with `spindle daemon start` writes one",
            }),
            Err(source) => Err(CtlError::File { what: "read", path: path.to_path_buf(), source }),
        }
    }

    fn failed(&self, source: io::Error) -> CtlError {
        CtlError::File { what: "read", path: self.path.clone(), source }
    }

    fn tail(&mut self) -> Result<Vec<u8>, CtlError> {
        let length = self.file.metadata().map_err(|error| self.failed(error))?.len();
        self.read = length.saturating_sub(WINDOW);
        self.read_on()
    }

    fn read_on(&mut self) -> Result<Vec<u8>, CtlError> {
        let mut bytes = Vec::new();
        let result =
            self.file.seek(SeekFrom::Start(self.read)).and_then(|_| self.file.read_to_end(&mut bytes));
        result.map_err(|error| self.failed(error))?;
        self.read += bytes.len() as u64;
        Ok(bytes)
    }

    /// What was added; after a rotation the rest of the old file and the
    /// beginning of the new one.
    fn more(&mut self) -> Result<Vec<u8>, CtlError> {
        let own = self.file.metadata().map_err(|error| self.failed(error))?;
        if own.len() < self.read {
            self.read = 0;
        }
        let mut bytes = self.read_on()?;
        if let Ok(now) = std::fs::metadata(&self.path)
            && (now.dev(), now.ino()) != (own.dev(), own.ino())
        {
            *self = Self::open(&self.path)?;
            bytes.append(&mut self.read_on()?);
        }
        Ok(bytes)
    }
}

/// The last lines of a text; its own last newline ends a line, not begins one.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let begin = match lines {
        0 => text.len(),
        lines => body
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(lines - 1)
            .map_or(0, |(index, _)| index + 1),
    };
    &text[begin..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(last_lines(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last_lines(b"a\nb\n", 0), b"");
        assert_eq!(last_lines(b"", 3), b"");
    }

    #[test]
    fn a_log_is_followed_through_growth_rotation_and_truncation() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("spindled.log");
        fs::write(&path, "one\n").unwrap();
        let mut log = Log::open(&path).unwrap();
        assert_eq!(log.tail().unwrap(), b"one\n");

        File::options().append(true).open(&path).unwrap().write_all(b"two\n").unwrap();
        fs::rename(&path, scratch.path().join("old")).unwrap();
        fs::write(&path, "three\n").unwrap();
        assert_eq!(log.more().unwrap(), b"two\nthree\n");

        fs::write(&path, "4\n").unwrap();
        assert_eq!(log.more().unwrap(), b"4\n");
        assert_eq!(log.more().unwrap(), b"");
    }
}
