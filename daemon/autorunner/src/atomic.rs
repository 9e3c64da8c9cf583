//! Replacing a file in one step: a reader sees the old content or the new one, also after a crash.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Replaces `path` by `content`: temporary twin in the same directory, fsync, rename, fsync of the
/// directory. A symbolic link is followed, so that it stays one; an existing file keeps its mode.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link to a file that does not exist yet cannot be resolved; then the link itself is replaced.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let dir = parent(&target);
    let mode = fs::metadata(&target).map_or(0o666, |found| found.permissions().mode() & 0o7777);
    let existed = target.exists();

    let mut twin = tempfile::Builder::new()
        .prefix(&twin_prefix(&target))
        .suffix(".tmp")
        // For a new file the process's umask applies, as to any file that a person creates.
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)?;
    if existed {
        twin.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    twin.write_all(content)?;
    twin.as_file().sync_all()?;
    twin.persist(&target)?;
    sync_dir(dir)
}

/// Makes a rename, link or unlink in `dir` survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory that holds `path`; a bare file name lies in the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// `state.json` gets twins called `state.json.XXXXXX.tmp`, which `doctor` recognises when a crash
/// leaves one behind.
fn twin_prefix(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_no_twin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("real.md"), dir.path().join("TODO.md"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_alone() {
        let missing = Path::new("/nonexistent-directory/state.json");
        assert!(replace(missing, b"x").is_err());
    }
}
