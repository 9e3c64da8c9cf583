//! The native program behind the Node script that npm installs as `codex`.
//!
//! The script starts the native program as a child: a kill of the script leaves it running, and
//! its exit code does not tell how the child ended. So the native program is started directly.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::binary::is_executable_file;

/// What was found behind a launcher.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Native {
    pub(crate) program: PathBuf,
    /// A directory of tools (ripgrep) that the launcher would put in front of `PATH`.
    pub(crate) tools: Option<PathBuf>,
}

/// The root of the npm package `@openai/codex`, if this program is its launcher.
pub(crate) fn package_of(program: &Path) -> Option<PathBuf> {
    // On PATH stands a link in `.bin`; only the real path tells the package.
    let script = fs::canonicalize(program).ok()?;
    let is_script = script.extension().is_some_and(|extension| extension == "js");
    let root = script.parent()?.parent()?;
    let manifest: Value = serde_json::from_slice(&fs::read(root.join("package.json")).ok()?).ok()?;
    (is_script && manifest.get("name")?.as_str()? == "@openai/codex").then(|| root.to_owned())
}

/// Finds the native program of this machine's platform.
///
/// Two layouts are known: all platforms inside the package (0.75.0), and one package per platform
/// beside it, which npm may also nest or hoist (0.169.0). Inside, the program stands in `bin` or in
/// `codex` below the target triple. All combinations are looked through, so that a release between
/// the two is found as well.
pub(crate) fn native_behind(package: &Path) -> Option<Native> {
    vendor_directories(package).into_iter().find_map(|vendor| {
        entries(&vendor)
            .into_iter()
            .filter(|target| is_of_this_platform(target))
            .find_map(|target| native_in(&target))
    })
}

fn native_in(target: &Path) -> Option<Native> {
    let program = ["bin", "codex"]
        .into_iter()
        .map(|dir| target.join(dir).join("codex"))
        .find(|path| is_executable_file(path))?;
    // From some release on the program finds its tools by itself, and the directory has another name.
    let tools = Some(target.join("path")).filter(|dir| dir.is_dir());
    Some(Native { program, tools })
}

/// Where native programs may lie: in platform packages first, as the newer launcher looks there
/// first, and in the package itself.
fn vendor_directories(package: &Path) -> Vec<PathBuf> {
    let nested = package.join("node_modules").join("@openai");
    let beside = package.parent().map(Path::to_owned);
    let mut found: Vec<PathBuf> = [Some(nested), beside]
        .into_iter()
        .flatten()
        .flat_map(|scope| entries(&scope))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("codex-")))
        .map(|platform_package| platform_package.join("vendor"))
        .collect();
    found.push(package.join("vendor"));
    found
}

/// Whether a directory is named for a target triple of this machine.
fn is_of_this_platform(target: &Path) -> bool {
    let Some(triple) = target.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let system = if cfg!(target_os = "macos") { "apple-darwin" } else { std::env::consts::OS };
    triple.strip_prefix(std::env::consts::ARCH).is_some_and(|rest| rest.contains(system))
}

/// The entries of a directory in the order of their names; none if it cannot be read.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
