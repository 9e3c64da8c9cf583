//! The programs that are measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context as _, Result, bail, ensure};

/// Where Spindle's two programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) spindled: PathBuf,
    pub(crate) spindle: PathBuf,
}

/// This program, which other processes of a measurement run as well.
pub(crate) static OWN: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")));

/// The directory that this program lies in: `target/release`.
pub(crate) fn beside_this_one() -> &'static Path {
    OWN.parent().unwrap_or(Path::new("."))
}

impl Programs {
    pub(crate) fn given(spindled: &Path, spindle: &Path) -> Result<Self> {
        let found =
            |path: &Path| path.canonicalize().with_context(|| format!("no program {}", path.display()));
        Ok(Self { spindled: found(spindled)?, spindle: found(spindle)? })
    }

    /// Builds both as they are installed, in the target directory that this program was built in.
    pub(crate) fn build() -> Result<Self> {
        let target = beside_this_one().parent().context("this program lies in no target directory")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--locked", "--release", "--package", "spindled", "--bins", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo could not build spindled and spindle");
        let release = target.join("release");
        Self::given(&release.join("spindled"), &release.join("spindle"))
    }
}

/// Runs a command to its end without its output; anything but success is an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
