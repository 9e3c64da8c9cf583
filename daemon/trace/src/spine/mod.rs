//! The files of a trace spine: `segment-NNN.jsonl`, their meta files, and artifacts.

mod artifact;
pub mod meta;
mod name;

use std::io;
use std::path::{Path, PathBuf};

pub use artifact::{ArtifactError, open_artifact};
pub use meta::SegmentMeta;
pub use name::SegmentName;

/// The format's name and version, as every record of a spine says it.
pub const SCHEMA_VERSION: &str = "codex_trace_spine_v1";

/// A segment of a spine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What its file is called.
    pub name: SegmentName,
    /// Its file.
    pub path: PathBuf,
}

impl Segment {
    /// The segment that a file name names.
    pub fn of(path: &Path) -> Option<Self> {
        let name = SegmentName::parse(path.file_name()?.to_str()?)?;
        Some(Self { name, path: path.to_owned() })
    }

    /// Its number.
    pub fn index(&self) -> u32 {
        self.name.index
    }

    /// Where its meta file is, once it is closed.
    pub fn meta_path(&self) -> PathBuf {
        self.path.with_file_name(self.name.meta())
    }
}

/// The segments of a thread's directory, in the order of their numbers, each number once. Links that lead out of the
/// directory, and what is no file, are not among them.
pub fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(SegmentName::parse) else { continue };
        if is_file_within(directory, &entry)? {
            segments.push(Segment { name, path: entry.path() });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.name.order());
    segments.dedup_by_key(|segment| segment.index());
    Ok(segments)
}

fn is_file_within(directory: &Path, entry: &std::fs::DirEntry) -> io::Result<bool> {
    let kind = entry.file_type()?;
    if !kind.is_symlink() {
        return Ok(kind.is_file());
    }
    match entry.path().canonicalize() {
        Ok(target) => Ok(target.starts_with(directory.canonicalize()?) && target.is_file()),
        // A link to nowhere, or one that was removed meanwhile.
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn segments_are_ordered_by_number_however_it_is_padded() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "segment-1000.jsonl",
            "segment-999.jsonl",
            "segment-000.jsonl",
            "segment-10000.jsonl",
            "segment-002.jsonl",
            "segment-3.jsonl",
            "segment-2.jsonl",
        ] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let indexes: Vec<u32> = segments(directory.path()).unwrap().iter().map(Segment::index).collect();
        assert_eq!(indexes, [0, 2, 3, 999, 1000, 10000]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_only_within_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "").unwrap();
        std::fs::write(directory.path().join("kept"), "").unwrap();
        let link =
            |target: &Path, name| std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        link(&outside.path().join("secret"), "segment-000.jsonl");
        link(Path::new("kept"), "segment-001.jsonl");
        link(Path::new("nowhere"), "segment-002.jsonl");
        std::fs::create_dir(directory.path().join("segment-003.jsonl")).unwrap();
        let indexes: Vec<u32> = segments(directory.path()).unwrap().iter().map(Segment::index).collect();
        assert_eq!(indexes, [1]);
    }
}
