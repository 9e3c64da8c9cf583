//! The script that installs the Codex CLI, as far as it can be tried without the network.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use model_server::Release;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn install(argument: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../codex/install");
    let mut command = Command::new(script);
    command.arg(argument);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn on_path(tool: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    env::split_paths(&path).map(|dir| dir.join(tool)).find(|file| file.exists()).unwrap()
}

#[test]
fn without_node_it_says_so_and_exits_3() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for tool in ["sh", "dirname", "sed"] {
        symlink(on_path(tool), bin.join(tool)).unwrap();
    }
    let cache = dir.path().join("cache");
    let output = install("current").env("PATH", &bin).env("SPINDLE_TEST_CODEX_DIR", &cache).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("node is not on PATH"), "{}", stderr(&output));
    assert!(!cache.exists(), "nothing is left behind");
}

#[test]
fn when_npm_fails_it_says_what_npm_said_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let npm = bin.join("npm");
    std::fs::write(&npm, "#!/bin/sh\necho 'npm error code ECONNREFUSED' >&2\nexit 1\n").unwrap();
    make_executable(&npm);
    std::fs::copy(&npm, bin.join("node")).unwrap();
    let path = env::join_paths([bin.as_os_str(), OsStr::new("/usr/bin"), OsStr::new("/bin")]).unwrap();
    let cache = dir.path().join("cache");
    let output = install("oldest").env("PATH", path).env("SPINDLE_TEST_CODEX_DIR", &cache).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("ECONNREFUSED"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0);
}

#[test]
fn an_unknown_word_is_a_usage_error() {
    let output = install("newest").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage:"));
}

#[test]
fn what_is_installed_is_printed_with_its_path() {
    for release in Release::ALL {
        let Some(binary) = release.binary_or_skip() else {
            return;
        };
        let output = install(release.version()).output().unwrap();
        let expected = format!("{}\t{}\n", release.version(), binary.display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
