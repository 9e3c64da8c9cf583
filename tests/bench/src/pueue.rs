//! pueue, a queue for commands with a daemon of its own: shown beside some rows for information.
//! It keeps its state in a file that it rewrites without syncing, and its tasks end with its daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::programs::{beside_this_one, succeed};

const PATIENCE: Duration = Duration::from_mins(1);

/// The directory with its two programs.
#[derive(Debug, Clone)]
pub(crate) struct Pueue {
    directory: PathBuf,
}

impl Pueue {
    /// Looks below `target/tools`, then on the search path.
    pub(crate) fn find() -> Option<Self> {
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        let both =
            |directory: &PathBuf| ["pueue", "pueued"].iter().all(|name| directory.join(name).is_file());
        let mut directories = std::iter::once(tools().join("bin")).chain(std::env::split_paths(&search_path));
        directories.find(both).map(|directory| Self { directory })
    }

    /// Builds it below `target/tools`, unless it is found.
    pub(crate) fn install() -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut install = Command::new(cargo);
        install.args(["install", "--locked", "pueue", "--root"]).arg(tools());
        ensure!(install.status().context("cannot run cargo")?.success(), "cargo could not install pueue");
        Self::find().context("pueue was installed and is not there")
    }

    /// Starts its daemon, in a directory of its own on the disk that is measured.
    pub(crate) fn start(&self, scratch: &Path) -> Result<Queue> {
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(scratch)?;
        let sockets = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let config = format!(
            "shared:\n  pueue_directory: {}\n  runtime_directory: {}\n  use_unix_socket: true\n",
            home.path().display(),
            sockets.path().display(),
        );
        fs::write(home.path().join("pueue.yml"), config)?;
        let mut queue = Queue { pueue: self.clone(), daemon: None, home, _sockets: sockets };
        let mut daemon = queue.program("pueued");
        queue.daemon = Some(daemon.stderr(Stdio::null()).spawn().context("cannot start pueued")?);
        queue.until("its daemon answers", |queue| Ok(succeed(queue.pueue().arg("status")).is_ok()))?;
        Ok(queue)
    }
}

/// `target/tools`.
fn tools() -> PathBuf {
    beside_this_one().with_file_name("tools")
}

/// A running pueue daemon; killed when it goes out of scope.
pub(crate) struct Queue {
    pueue: Pueue,
    daemon: Option<Child>,
    home: TempDir,
    _sockets: TempDir,
}

impl Queue {
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.pueue.directory.join(name));
        command.env("PUEUE_CONFIG_PATH", self.home.path().join("pueue.yml"));
        command.current_dir(self.home.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Its command-line client.
    pub(crate) fn pueue(&self) -> Command {
        self.program("pueue")
    }

    /// How long one task takes with `add` and `wait`.
    pub(crate) fn add_and_wait(&self) -> Result<Duration> {
        let start = Instant::now();
        succeed(self.pueue().args(["add", "--", "true"]))?;
        succeed(self.pueue().args(["wait", "--quiet"]))?;
        Ok(start.elapsed())
    }

    /// How long `number` tasks that wait in its queue take with so many at the same time.
    pub(crate) fn work_off(&self, number: usize, parallel: usize) -> Result<Duration> {
        succeed(self.pueue().args(["clean"]))?;
        succeed(self.pueue().args(["parallel", &parallel.to_string()]))?;
        succeed(self.pueue().args(["pause"]))?;
        for _ in 0..number {
            succeed(self.pueue().args(["add", "--", "true"]))?;
        }
        let start = Instant::now();
        succeed(self.pueue().args(["start"]))?;
        self.until("its tasks have ended", |queue| {
            let status = queue.pueue().args(["status", "--json"]).stdout(Stdio::piped()).output()?;
            let text = String::from_utf8_lossy(&status.stdout).into_owned();
            Ok(status.status.success() && !text.contains("\"Queued\"") && !text.contains("\"Running\""))
        })?;
        Ok(start.elapsed())
    }

    fn until(&self, what: &str, reached: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !reached(self)? {
            ensure!(Instant::now() < deadline, "pueue: waited {PATIENCE:?} until {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
