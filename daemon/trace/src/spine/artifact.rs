//! Artifacts: files beside the segments that records point to.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

/// An artifact cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The path in the record leads out of the thread's directory.
    #[error("the artifact {path:?} is not below the thread's directory")]
    Outside {
        /// The path as the record has it.
        path: String,
    },
    /// What is there is no file.
    #[error("the artifact {path} is no file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot open the artifact {path}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens the file that a record names by a path relative to the thread's directory, which it must not leave:
/// neither by its words nor through links.
pub fn open_artifact(directory: &Path, path: &str) -> Result<File, ArtifactError> {
    let outside = || ArtifactError::Outside { path: path.chars().take(256).collect() };
    let relative = Path::new(path);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || path.contains('\0') || !plain {
        return Err(outside());
    }
    let path = directory.join(relative);
    let io = |source| ArtifactError::Io { path: path.clone(), source };
    let real = path.canonicalize().map_err(io)?;
    if !real.starts_with(directory.canonicalize().map_err(io)?) {
        return Err(outside());
    }
    // Opening a pipe would wait for its other end.
    if !real.metadata().map_err(io)?.is_file() {
        return Err(ArtifactError::NotAFile { path });
    }
    File::open(&real).map_err(io)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_artifact_below_the_directory_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("artifacts")).unwrap();
        std::fs::write(directory.path().join("artifacts/git_diff.patch"), "+1").unwrap();
        let mut text = String::new();
        open_artifact(directory.path(), "artifacts/git_diff.patch")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "+1");
    }

    #[test]
    fn paths_that_lead_out_of_the_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["", "/etc/passwd", "../x", "artifacts/../../x", "./x", "a\0b", ".."] {
            let error = open_artifact(directory.path(), path).unwrap_err();
            assert!(matches!(error, ArtifactError::Outside { .. }), "{path:?}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_of_the_directory_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("artifacts")).unwrap();
        let error = open_artifact(directory.path(), "artifacts/secret").unwrap_err();
        assert!(matches!(error, ArtifactError::Outside { .. }), "{error}");
    }

    #[test]
    fn a_directory_is_no_artifact() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("artifacts")).unwrap();
        let error = open_artifact(directory.path(), "artifacts").unwrap_err();
        assert!(matches!(error, ArtifactError::NotAFile { .. }), "{error}");
    }
}
