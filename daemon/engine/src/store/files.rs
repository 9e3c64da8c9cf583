//! Files that are either there as a whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Writes `path` so that after a crash it holds either its old content or `content`. One writer at a time.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let temporary = temporary_beside(path);
    write_via(&temporary, path, |file| file.write_all(content).map_err(StoreError::io("write", &temporary)))
}

/// A name in the same directory for the time of writing.
pub(super) fn temporary_beside(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    PathBuf::from(temporary)
}

/// Writes `path` by way of `temporary`, which must be on the same disk: the file is written and synced, then
/// renamed, then the directory of `path` is synced.
pub(super) fn write_via<T>(
    temporary: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut file = File::create(temporary).map_err(StoreError::io("create", temporary))?;
    let written = write(&mut file)
        .and_then(|value| file.sync_all().map_err(StoreError::io("sync", temporary)).map(|()| value))
        .and_then(|value| {
            fs::rename(temporary, path).map_err(StoreError::io("rename", temporary)).map(|()| value)
        });
    if written.is_err() {
        // Best effort: on a full disk the half file would only take room.
        let _ = fs::remove_file(temporary);
    } else if let Some(parent) = path.parent() {
        sync_directory(parent)?;
    }
    written
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(shown).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", shown))
}

/// Creates a directory that only this user may enter, and its parents, durably.
pub(super) fn create_private_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    if !parent.as_os_str().is_empty() {
        create_private_directory(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.map_err(StoreError::io("create", path)).and_then(|()| sync_directory(parent)),
    }
}

/// Removes a file that may be missing.
pub(super) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
