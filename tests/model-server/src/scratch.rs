//! A throw-away place to run the Codex CLI in.

use crate::config::codex_config;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory with a home, a `CODEX_HOME` that points at a model server, a directory for temporary
/// files, and a git repository with one commit. It is removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    root: tempfile::TempDir,
}

/// Why a scratch directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// A file or directory could not be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// git could not be run, or failed.
    #[error("`git {command}` failed in a scratch repository: {reason}")]
    Git {
        /// The arguments.
        command: String,
        /// What git or the system said.
        reason: String,
    },
}

impl Scratch {
    /// Makes one whose Codex talks to the model server at `url`.
    pub fn new(url: &str) -> Result<Self, ScratchError> {
        let root = tempfile::Builder::new().prefix("spindle-codex-").tempdir();
        let root = root.map_err(|source| ScratchError::Write { path: std::env::temp_dir(), source })?;
        let scratch = Self { root };
        for directory in [scratch.home(), scratch.codex_home(), scratch.tmp(), scratch.repo()] {
            fs::create_dir(&directory).map_err(|source| ScratchError::Write { path: directory, source })?;
        }
        write(&scratch.codex_home().join("config.toml"), &codex_config(url))?;
        write(&scratch.repo().join("README.md"), "# Scratch\n")?;
        scratch.git(&["init", "--quiet", "--initial-branch=main"])?;
        scratch.git(&["config", "user.name", "Test"])?;
        scratch.git(&["config", "user.email", "test@example.invalid"])?;
        scratch.git(&["add", "README.md"])?;
        scratch.git(&["commit", "--quiet", "--message=start"])?;
        Ok(scratch)
    }

    /// Everything is below this directory.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The `HOME` of the commands.
    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// The `CODEX_HOME` of the commands, which holds `config.toml`.
    pub fn codex_home(&self) -> PathBuf {
        self.root().join("codex-home")
    }

    /// The `TMPDIR` of the commands.
    pub fn tmp(&self) -> PathBuf {
        self.root().join("tmp")
    }

    /// The git repository.
    pub fn repo(&self) -> PathBuf {
        self.root().join("repo")
    }

    /// Runs git in the repository and gives its output.
    pub fn git(&self, arguments: &[&str]) -> Result<String, ScratchError> {
        let failed = |reason: String| ScratchError::Git { command: arguments.join(" "), reason };
        let output =
            self.command("git").args(arguments).output().map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command that runs in the repository with an environment of its own: nothing of the caller's
    /// but `PATH`, no input, the time zone UTC.
    ///
    /// `TMPDIR` lies beside `CODEX_HOME`, not above it, because the CLI warns about a home below the
    /// temporary directory.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.home())
            .env("CODEX_HOME", self.codex_home())
            .env("TMPDIR", self.tmp())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.repo())
            .stdin(Stdio::null());
        command
    }
}

fn write(path: &Path, text: &str) -> Result<(), ScratchError> {
    fs::write(path, text).map_err(|source| ScratchError::Write { path: path.to_owned(), source })
}
