//! Directories that are there whole or not at all.
//!
//! Everything is written into a hidden directory beside the one that is wanted, synced, and renamed. What is
//! there already is never written into, unless it is an empty directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

/// A directory that comes into being.
#[derive(Debug)]
pub struct Output {
    wanted: PathBuf,
    staging: PathBuf,
    finished: bool,
}

/// An output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something is there already.
    #[error("{0} is there already and not empty; name another directory, or remove it first")]
    Occupied(PathBuf),
    /// A name would lead out of the directory, or is no name.
    #[error("{0:?} is no name for a file below the output")]
    Name(String),
    /// The system says no.
    #[error("cannot write {path}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Output {
    /// Begins a directory at a path where there is nothing yet.
    pub fn begin(wanted: &Path) -> Result<Self, OutputError> {
        if is_occupied(wanted) {
            return Err(OutputError::Occupied(wanted.to_owned()));
        }
        let name = wanted.file_name().ok_or_else(|| OutputError::Name(wanted.display().to_string()))?;
        let parent =
            wanted.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OutputError::Write { path, source }
        };
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let staging = parent.join(hidden);
        match fs::create_dir(&staging) {
            // Left by a process of our number that has died.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&staging).map_err(failed(&staging))?;
                fs::create_dir(&staging)
            }
            made => made,
        }
        .map_err(failed(&staging))?;
        Ok(Self { wanted: wanted.to_owned(), staging, finished: false })
    }

    /// Writes a file below the directory; its own directories are made.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), OutputError> {
        let mut file = self.create(name)?;
        let failed = |source| OutputError::Write { path: self.wanted.join(name), source };
        file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Writes a program.
    pub fn write_program(&self, name: &str, content: &[u8]) -> Result<(), OutputError> {
        self.write(name, content)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let failed = |source| OutputError::Write { path: self.wanted.join(name), source };
            fs::set_permissions(self.staging.join(name), fs::Permissions::from_mode(0o755))
                .map_err(failed)?;
        }
        Ok(())
    }

    /// A new file below the directory. Whoever writes it syncs it.
    pub fn create(&self, name: &str) -> Result<File, OutputError> {
        let relative = Path::new(name);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !plain || name.contains('\0') {
            return Err(OutputError::Name(name.chars().take(200).collect()));
        }
        let path = self.staging.join(relative);
        let failed = |source| OutputError::Write { path: self.wanted.join(name), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        File::options().write(true).create_new(true).open(&path).map_err(failed)
    }

    /// Makes an empty directory below the directory.
    pub fn directory(&self, name: &str) -> Result<(), OutputError> {
        let failed = |source| OutputError::Write { path: self.wanted.join(name), source };
        fs::create_dir_all(self.staging.join(name)).map_err(failed)
    }

    /// Where files lie until the end.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Puts the directory in its place.
    pub fn finish(mut self) -> Result<PathBuf, OutputError> {
        let failed = |source| OutputError::Write { path: self.wanted.clone(), source };
        sync_directories(&self.staging).map_err(failed)?;
        // An empty directory gives way to a rename; anything else that came meanwhile does not.
        fs::rename(&self.staging, &self.wanted).map_err(|source| {
            if is_occupied(&self.wanted) {
                OutputError::Occupied(self.wanted.clone())
            } else {
                failed(source)
            }
        })?;
        self.finished = true;
        if let Some(parent) = self.wanted.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        Ok(self.wanted.clone())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// The SHA-256 of a content, in lower-case hexadecimal.
pub fn sha256_hex(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn is_occupied(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(meta) if meta.is_dir() => fs::read_dir(path).map_or(true, |mut entries| entries.next().is_some()),
        Ok(_) => true,
    }
}

fn sync_directories(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_directory_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("out");
        let output = Output::begin(&wanted).unwrap();
        output.write("a/b", b"x").unwrap();
        assert!(!wanted.exists());
        drop(output);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        let output = Output::begin(&wanted).unwrap();
        output.write_program("a/b", b"x").unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(wanted.join("a/b")).unwrap(), b"x");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(Output::begin(&wanted), Err(OutputError::Occupied(_))));
    }

    #[test]
    fn an_empty_directory_is_taken_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, file) = (dir.path().join("empty"), dir.path().join("file"));
        fs::create_dir(&empty).unwrap();
        fs::write(&file, "").unwrap();
        let output = Output::begin(&empty).unwrap();
        output.write("x", b"").unwrap();
        output.finish().unwrap();
        assert!(empty.join("x").exists());
        assert!(matches!(Output::begin(&file), Err(OutputError::Occupied(_))));
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::begin(&dir.path().join("out")).unwrap();
        for name in ["", "..", "../x", "/x", "a/../../x", "a\0"] {
            assert!(matches!(output.write(name, b""), Err(OutputError::Name(_))), "{name:?}");
        }
    }
}
