//! What a directory entry is, without reading it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Which file it is, whatever its name: a file that was replaced has another identity under the same path, one
/// that was moved keeps its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileIdentity {
    /// That of an open or listed file.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What tells whether a file may have changed, kept for each file of every session. The time of status change is
/// part of it: it tells when a permission returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) identity: FileIdentity,
    pub(crate) len: u64,
    pub(crate) mtime: SystemTime,
    ctime: (i64, i64),
}

impl FileStat {
    /// Of a file that was heard of and not looked at: unlike any that exists.
    pub(crate) const UNSEEN: Self = Self {
        identity: FileIdentity { device: 0, inode: 0 },
        len: 0,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: (0, 0),
    };

    fn of(metadata: &Metadata) -> Self {
        let ctime = (metadata.ctime(), metadata.ctime_nsec());
        Self { identity: FileIdentity::of(metadata), len: metadata.len(), mtime: mtime(metadata), ctime }
    }

    /// Whether the last change is so long ago that a further one must look different.
    pub(crate) fn is_settled(&self, margin: Duration) -> bool {
        is_before(self.ctime, margin)
    }
}

/// The time of last change; the epoch where the filesystem keeps none.
fn mtime(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What tells whether a directory's list of names can have changed.
///
/// The time of status change is part of it because copying tools set the time of last change back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryStamp {
    identity: FileIdentity,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl DirectoryStamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            identity: FileIdentity::of(metadata),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last change is so long ago that a further one must give another stamp. Clocks of filesystems are
    /// coarse: two changes within a tick look like one.
    pub(crate) fn is_settled(&self, margin: Duration) -> bool {
        is_before(self.ctime, margin) && is_before(self.mtime, margin)
    }
}

/// Whether a time is longer ago than the margin.
fn is_before((secs, nanos): (i64, i64), margin: Duration) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let limit = now.saturating_sub(margin);
    (secs, nanos) < (i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), i64::from(limit.subsec_nanos()))
}

/// A directory that symbolic links found below it must not leave.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    root: PathBuf,
}

/// Why an entry is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A symbolic link that leads out of the root.
    LeavesRoot,
    /// Neither a regular file nor a directory.
    Special,
    /// There is nothing (any more).
    Gone,
    /// It could not be looked at.
    Unreadable(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Gone,
            _ => Self::Unreadable(error),
        }
    }
}

impl Fence {
    /// Around a root, whose own path may lead through symbolic links. It costs nothing until a link is met.
    pub(crate) fn around(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// What the path names, through symbolic links that stay inside. The root itself may be a link to anywhere.
    pub(crate) fn metadata(&self, path: &Path) -> Result<Metadata, Refused> {
        let metadata = path.symlink_metadata()?;
        if !metadata.is_symlink() {
            return Ok(metadata);
        }
        let target = path.canonicalize()?;
        if target.starts_with(self.root.canonicalize()?) {
            Ok(target.symlink_metadata()?)
        } else {
            Err(Refused::LeavesRoot)
        }
    }

    /// As [`Fence::metadata`], for what must be a regular file.
    pub(crate) fn file(&self, path: &Path) -> Result<FileStat, Refused> {
        let metadata = self.metadata(path)?;
        if metadata.is_file() { Ok(FileStat::of(&metadata)) } else { Err(Refused::Special) }
    }
}

/// Opens a file for reading that may have become anything since it was listed; a pipe does not block.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, metadata))
}
