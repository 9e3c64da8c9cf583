//! A fingerprint of the content of a repository, to notice iterations that change nothing.
//!
//! It covers the tree of HEAD and whatever differs from it: staged, unstaged and untracked content,
//! byte for byte. (A list of changed names would call an agent idle that works on a file which was
//! changed before.) The files of the autorunner and the work documents are left out: every iteration
//! writes them, also one that turns on the spot. Ignored files are left out, too.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::{Git, GitError, is_below};
use crate::repo::DIRECTORY;

/// Of larger files only size and time of change are looked at.
const LARGE: u64 = 16 * 1024 * 1024;

impl Git {
    /// The fingerprint, in hexadecimal. `documents` are left out, besides the autorunner's own files.
    pub fn fingerprint(&self, documents: &[PathBuf]) -> Result<String, GitError> {
        let left_out: Vec<PathBuf> = documents
            .iter()
            .map(|path| path.strip_prefix(&self.root).unwrap_or(path).to_path_buf())
            .chain([PathBuf::from(DIRECTORY)])
            .collect();
        let mut hash = Sha256::new();
        if self.head()?.is_some() {
            let tree = self.succeed(&["ls-tree", "-r", "-z", "--full-tree", "HEAD"])?;
            for entry in tree.split(|byte| *byte == 0) {
                let path = entry.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
                if !is_below(path, &left_out) {
                    add(&mut hash, entry);
                }
            }
        }
        let status = self.succeed(&[
            "--no-optional-locks",
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=all",
            "--no-renames",
        ])?;
        for entry in status.split(|byte| *byte == 0) {
            let Some(path) = path_of(entry).filter(|path| !is_below(path, &left_out)) else {
                continue;
            };
            add(&mut hash, entry);
            let file = self.root.join(Path::new(std::ffi::OsStr::from_bytes(path)));
            add(
                &mut hash,
                &content(&file)
                    .map_err(|source| GitError::Io { action: format!("read {}", file.display()), source })?,
            );
        }
        Ok(hex(&hash.finalize()))
    }
}

/// The path in an entry of `git status --porcelain=v2`; entries have a fixed number of fields.
fn path_of(entry: &[u8]) -> Option<&[u8]> {
    let fields_before = match entry.first()? {
        b'1' => 8,
        b'u' => 10,
        b'?' => 1,
        _ => return None,
    };
    entry.splitn(fields_before + 1, |byte| *byte == b' ').nth(fields_before)
}

/// What stands for the content of a file.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // Deleted; the entry says so.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    if found.is_symlink() {
        return Ok(fs::read_link(path)?.as_os_str().as_bytes().to_vec());
    }
    if !found.is_file() {
        // A submodule or a repository inside: git's entry has to do.
        return Ok(Vec::new());
    }
    if found.len() > LARGE {
        let changed = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        return Ok(format!("{} {}", found.len(), changed.as_nanos()).into_bytes());
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Adds a part with its length, so that no two lists of parts look the same.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
