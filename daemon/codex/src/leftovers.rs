//! What a killed Codex leaves in the working directory.
//!
//! From some release after 0.75.0 on, the sandbox makes empty directories as mount points, and only a
//! normal end removes them. The `.codex` among them makes later runs complain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The names of the mount points.
const MOUNT_POINTS: [&str; 4] = [".git", ".agents", ".codex", ".aws"];

/// Which mount points were there before a run. Taken before, stored with the run, and used after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    cwd: PathBuf,
    /// The names that were not there: all that may ever be removed.
    absent: Vec<String>,
}

/// What a clean-up did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The directories that were removed.
    pub removed: Vec<PathBuf>,
    /// The directories that could not be looked at or removed, and why. Directories with something in
    /// them are not among these: they are no leftovers.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Snapshot {
    /// Looks at the working directory of a run that is about to start, or at the run's `TMPDIR` if that is
    /// its own: the mount points are made in both. What cannot be looked at
    /// counts as being there.
    pub fn take(cwd: &Path) -> Self {
        let is_absent = |name: &&str| {
            let found = fs::symlink_metadata(cwd.join(name));
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let absent =
            MOUNT_POINTS.iter().filter(|name| is_absent(name)).map(|name| (*name).to_owned()).collect();
        Self { cwd: cwd.to_owned(), absent }
    }

    /// Removes the mount points that were not there before and are empty; to be called when the run was
    /// killed or interrupted and nothing of it lives any more, and no other Codex works in the
    /// directory. Calling it again does no harm.
    pub fn clean(&self) -> Cleaned {
        let mut cleaned = Cleaned::default();
        for name in MOUNT_POINTS.iter().filter(|name| self.absent.iter().any(|absent| absent == *name)) {
            let path = self.cwd.join(name);
            // Removes neither a file nor a link nor a directory that is in use: `rmdir` refuses.
            match fs::remove_dir(&path) {
                Ok(()) => cleaned.removed.push(path),
                Err(error) if is_no_leftover(&error) => (),
                Err(error) => cleaned.failed.push((path, error)),
            }
        }
        cleaned
    }
}

fn is_no_leftover(error: &io::Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | DirectoryNotEmpty | NotADirectory)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn empty_mount_points_that_were_not_there_before_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        let snapshot = Snapshot::take(dir.path());
        for name in [".agents", ".codex", ".aws"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let cleaned = snapshot.clean();
        assert_eq!(names(&cleaned.removed), [".agents", ".codex", ".aws"]);
        assert!(cleaned.failed.is_empty());
        assert!(dir.path().join(".git").is_dir());
    }

    #[test]
    fn what_has_content_or_is_no_directory_stays() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::take(dir.path());
        fs::create_dir_all(dir.path().join(".codex/skills")).unwrap();
        fs::write(dir.path().join(".git"), "gitdir: elsewhere").unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.path().join(".aws")).unwrap();
        let cleaned = snapshot.clean();
        assert!(cleaned.removed.is_empty() && cleaned.failed.is_empty(), "{cleaned:?}");
        assert!(dir.path().join(".codex/skills").is_dir());
        assert!(dir.path().join(".git").is_file());
        assert!(dir.path().join(".aws").is_symlink());
    }

    #[test]
    fn a_snapshot_survives_being_stored() {
        let dir = tempfile::tempdir().unwrap();
        let stored = serde_json::to_string(&Snapshot::take(dir.path())).unwrap();
        fs::create_dir(dir.path().join(".codex")).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&stored).unwrap();
        assert_eq!(names(&snapshot.clean().removed), [".codex"]);
        assert!(snapshot.clean().removed.is_empty());
    }

    #[test]
    fn a_directory_that_vanished_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = Snapshot::take(dir.path());
        dir.close().unwrap();
        let cleaned = snapshot.clean();
        assert!(cleaned.removed.is_empty() && cleaned.failed.is_empty());
    }

    #[test]
    fn a_stored_snapshot_cannot_name_other_directories() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mine")).unwrap();
        let stored = serde_json::json!({"cwd": dir.path(), "absent": ["mine", "../x"]});
        let snapshot: Snapshot = serde_json::from_value(stored).unwrap();
        assert!(snapshot.clean().removed.is_empty());
        assert!(dir.path().join("mine").is_dir());
    }
}
