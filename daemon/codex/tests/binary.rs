//! Finding the program, and asking it for its version.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use codex::{Binary, BinaryKind, LocateError, ProbeError, Version};
use tempfile::TempDir;

/// The target triple of this machine, as npm's packages name it.
fn target() -> String {
    let system = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-musl" };
    format!("{}-{system}", std::env::consts::ARCH)
}

fn program(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// An npm installation: the launcher, and the link to it in `.bin`, the directory for PATH.
struct Npm {
    dir: TempDir,
}

impl Npm {
    fn install() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let npm = Self { dir };
        let package = npm.openai().join("codex");
        program(&package.join("bin/codex.js"), "#!/usr/bin/env node\n");
        fs::write(package.join("package.json"), r#"{"name": "@openai/codex", "type": "module"}"#).unwrap();
        fs::create_dir_all(npm.bin()).unwrap();
        symlink("../@openai/codex/bin/codex.js", npm.bin().join("codex")).unwrap();
        npm
    }

    fn openai(&self) -> PathBuf {
        self.dir.path().join("node_modules/@openai")
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("node_modules/.bin")
    }

    fn locate(&self) -> Binary {
        Binary::locate("codex", Some(self.bin().as_os_str()), Path::new("/")).unwrap()
    }
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap()
}

#[test]
fn the_native_program_is_found_inside_the_package_of_old_releases() {
    let npm = Npm::install();
    let vendor = npm.openai().join("codex/vendor");
    program(&vendor.join("mips-unknown-plan9/codex/codex"), "");
    let native = program(&vendor.join(target()).join("codex/codex"), "");
    fs::create_dir(vendor.join(target()).join("path")).unwrap();

    let binary = npm.locate();

    assert_eq!((binary.program(), binary.kind()), (real(&native).as_path(), BinaryKind::Native));
    let path: Vec<_> = binary.environment().collect();
    let tools = real(&vendor).join(target()).join("path");
    let expected = std::env::join_paths([tools, npm.bin()]).unwrap();
    assert_eq!(path, [("PATH", expected.as_os_str())]);
}

#[test]
fn the_native_program_is_found_in_the_platform_package_beside_it() {
    let npm = Npm::install();
    let native =
        program(&npm.openai().join("codex-some-platform/vendor").join(target()).join("bin/codex"), "");
    let binary = npm.locate();
    assert_eq!((binary.program(), binary.kind()), (real(&native).as_path(), BinaryKind::Native));
    assert_eq!(binary.environment().count(), 0);
}

#[test]
fn the_native_program_is_found_in_a_nested_platform_package() {
    let npm = Npm::install();
    let nested = npm.openai().join("codex/node_modules/@openai/codex-some-platform/vendor");
    let native = program(&nested.join(target()).join("bin/codex"), "");
    assert_eq!(npm.locate().program(), real(&native));
}

#[test]
fn a_launcher_without_its_native_program_is_used_as_it_is() {
    let npm = Npm::install();
    program(&npm.openai().join("codex/vendor/mips-unknown-plan9/codex/codex"), "");
    let binary = npm.locate();
    assert_eq!((binary.program(), binary.kind()), (npm.bin().join("codex").as_path(), BinaryKind::Launcher));
}

#[test]
fn a_wrapper_keeps_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let docker = program(&dir.path().join("docker"), "");
    let spec = "docker run --rm -i 'an image' codex";
    let binary = Binary::locate(spec, Some(dir.path().as_os_str()), Path::new("/")).unwrap();
    assert_eq!((binary.program(), binary.kind()), (docker.as_path(), BinaryKind::AsGiven));
    assert_eq!(binary.leading_words(), ["run", "--rm", "-i", "an image", "codex"]);
}

#[test]
fn a_path_is_relative_to_the_directory_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let script = program(&dir.path().join("tools/codex"), "");
    assert_eq!(
        Binary::locate("./tools/codex", None, dir.path()).unwrap().program(),
        dir.path().join("./tools/codex")
    );
    assert_eq!(real(Binary::locate("tools/codex", None, dir.path()).unwrap().program()), real(&script));
}

#[test]
fn the_first_program_in_path_that_may_be_run_counts() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("one/codex")).unwrap();
    fs::create_dir(dir.path().join("two")).unwrap();
    fs::write(dir.path().join("two/codex"), "not executable").unwrap();
    let third = program(&dir.path().join("three/codex"), "");
    let path = std::env::join_paths(["one", "two", "three"].map(|name| dir.path().join(name))).unwrap();
    assert_eq!(Binary::locate("codex", Some(&path), Path::new("/")).unwrap().program(), third);
}

#[test]
fn without_a_path_nothing_is_found_in_the_working_directory() {
    let dir = tempfile::tempdir().unwrap();
    program(&dir.path().join("codex"), "");
    for path in [None, Some(OsStr::new(""))] {
        let error = Binary::locate("codex", path, dir.path()).unwrap_err();
        assert!(matches!(error, LocateError::NotInPath { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_found_is_named_with_the_place_that_was_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), "").unwrap();
    let locate = |spec: &str| Binary::locate(spec, Some(dir.path().as_os_str()), dir.path()).unwrap_err();
    let at = |name: &str| dir.path().join(name);
    assert_eq!(locate("  "), LocateError::Empty);
    assert_eq!(locate("''"), LocateError::Empty);
    assert_eq!(locate("codex 'x"), LocateError::Quoting { spec: "codex 'x".to_owned() });
    let path = dir.path().to_str().unwrap().to_owned();
    assert_eq!(locate("codex"), LocateError::NotInPath { name: "codex".to_owned(), path });
    assert_eq!(locate("plain"), LocateError::NotExecutable { path: at("plain") });
    assert_eq!(locate("./plain"), LocateError::NotExecutable { path: at("./plain") });
    assert_eq!(locate("none/codex"), LocateError::NotFound { path: at("none/codex") });
}

#[test]
fn a_program_survives_being_stored_with_its_run() {
    let npm = Npm::install();
    let vendor = npm.openai().join("codex/vendor").join(target());
    program(&vendor.join("codex/codex"), "");
    fs::create_dir(vendor.join("path")).unwrap();
    let binary = npm.locate();
    let stored = serde_json::to_string(&binary).unwrap();
    assert_eq!(serde_json::from_str::<Binary>(&stored).unwrap(), binary);
}

/// A stand-in for Codex, given as a wrapper so that no file that is being written is executed.
fn script(dir: &TempDir, text: &str) -> Binary {
    let path = dir.path().join("codex.sh");
    fs::write(&path, text).unwrap();
    let spec = format!("sh {}", path.display());
    Binary::locate(&spec, Some(OsStr::new("/usr/bin:/bin")), Path::new("/")).unwrap()
}

fn version(binary: &Binary, limit: Duration) -> Result<Version, ProbeError> {
    binary.version(Path::new("/"), NO_ENVIRONMENT, limit)
}

const NO_ENVIRONMENT: [(&str, &str); 0] = [];

const PLENTY: Duration = Duration::from_secs(30);

#[test]
fn the_version_is_the_programs_own_word() {
    let dir = tempfile::tempdir().unwrap();
    let codex =
        script(&dir, "[ \"$1\" = --version ] && echo pulling an image && echo codex-cli 0.169.0-alpha.2\n");
    assert_eq!(version(&codex, PLENTY).unwrap(), Version::NEWEST_KNOWN);
}

#[test]
fn a_probe_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let note = dir.path().join("note");
    let text = format!(
        "echo litter > \"$CODEX_HOME/x\"; mkdir \"$TMPDIR/y\"; echo \"$CODEX_HOME\" > {}; echo codex-cli 0.75.0\n",
        note.display()
    );
    assert_eq!(version(&script(&dir, &text), PLENTY).unwrap(), Version::OLDEST_KNOWN);
    let home = fs::read_to_string(note).unwrap();
    assert!(!Path::new(home.trim()).exists());
}

#[test]
fn a_program_that_does_not_answer_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let codex = script(&dir, &format!("sleep 1000 & echo $! > {}; wait\n", pid_file.display()));
    // On a busy machine the script may need longer to get as far as its child.
    let pid = (1..8)
        .find_map(|attempt| {
            let error = version(&codex, Duration::from_millis(100 << attempt)).unwrap_err();
            assert!(matches!(error, ProbeError::TimedOut { .. }), "{error}");
            fs::read_to_string(&pid_file).ok().filter(|pid| pid.ends_with('\n'))
        })
        .unwrap();
    let alive = || {
        let status = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    };
    let deadline = Instant::now() + PLENTY;
    while alive() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(!alive());
}

#[test]
fn other_answers_are_no_version() {
    let dir = tempfile::tempdir().unwrap();
    let failed = version(&script(&dir, "exit 3\n"), PLENTY).unwrap_err();
    assert!(matches!(failed, ProbeError::Failed { status, .. } if status.code() == Some(3)), "{failed}");
    let other = version(&script(&dir, "echo git version 2.47.0\n"), PLENTY).unwrap_err();
    assert!(matches!(other, ProbeError::NotCodex { .. }), "{other}");
    fs::remove_file(dir.path().join("codex.sh")).unwrap();
    let vanished = program(&dir.path().join("vanishing"), "#!/bin/sh\n");
    let binary = Binary::locate(vanished.to_str().unwrap(), None, Path::new("/")).unwrap();
    fs::remove_file(vanished).unwrap();
    let gone = version(&binary, PLENTY).unwrap_err();
    assert!(matches!(gone, ProbeError::Io { .. }), "{gone}");
}

#[test]
fn a_wrapper_is_asked_in_the_directory_and_the_environment_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pinned"), "codex-cli 0.75.0\n").unwrap();
    let wrapper = script(&dir, "cat \"$PIN\"\n");
    let version = wrapper.version(dir.path(), [("PIN", "pinned")], PLENTY);
    assert_eq!(version.unwrap(), Version::OLDEST_KNOWN);
}
