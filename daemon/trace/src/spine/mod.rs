//! The files of a trace spine: `segment-NNN.jsonl`, their meta files, and artifacts.

mod artifact;
pub mod meta;

use std::io;
use std::path::{Path, PathBuf};

pub use artifact::{ArtifactError, open_artifact};
pub use meta::SegmentMeta;

/// The format's name and version, as every record of a spine says it.
pub const SCHEMA_VERSION: &str = "codex_trace_spine_v1";

/// A segment of a spine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from its name.
    pub index: u32,
    /// Its file.
    pub path: PathBuf,
}

impl Segment {
    /// The segment that a file name names.
    pub fn of(path: &Path) -> Option<Self> {
        let index = segment_index(path.file_name()?.to_str()?)?;
        Some(Self { index, path: path.to_owned() })
    }

    /// Where its meta file is, once it is closed.
    pub fn meta_path(&self) -> PathBuf {
        self.path.with_file_name(format!("segment-{:03}.meta.json", self.index))
    }
}

/// The number in `segment-NNN.jsonl`: at least three digits, and more only where they are needed.
pub fn segment_index(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".jsonl")?;
    let index = digits.parse().ok()?;
    (segment_name(index) == name).then_some(index)
}

/// The file name of a segment.
pub fn segment_name(index: u32) -> String {
    format!("segment-{index:03}.jsonl")
}

/// The segments of a thread's directory, in the order of their numbers. Links that lead out of the directory,
/// and what is no file, are not among them.
pub fn segments(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        let Some(index) = entry.file_name().to_str().and_then(segment_index) else { continue };
        if is_file_within(directory, &entry)? {
            segments.push(Segment { index, path: entry.path() });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.index);
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
    fn segments_are_ordered_by_number_also_past_999() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "segment-1000.jsonl",
            "segment-999.jsonl",
            "segment-000.jsonl",
            "segment-10000.jsonl",
            "segment-002.jsonl",
        ] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let indexes: Vec<u32> =
            segments(directory.path()).unwrap().iter().map(|segment| segment.index).collect();
        assert_eq!(indexes, [0, 2, 999, 1000, 10000]);
    }

    #[test]
    fn what_is_named_otherwise_is_no_segment() {
        for name in [
            "segment-1.jsonl",
            "segment-0001.jsonl",
            "segment-001.meta.json",
            "segment-001.jsonl.tmp",
            "segment-.jsonl",
            "segment-+01.jsonl",
            "segment--01.jsonl",
            "segment-99999999999.jsonl",
            "Segment-001.jsonl",
            "",
        ] {
            assert_eq!(segment_index(name), None, "{name}");
        }
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
        let indexes: Vec<u32> =
            segments(directory.path()).unwrap().iter().map(|segment| segment.index).collect();
        assert_eq!(indexes, [1]);
    }
}
