//! Meta files: what a writer says of a segment that it has closed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::Value;

/// No meta file is larger.
const SIZE_LIMIT: u64 = 64 << 10;

/// What `segment-NNN.meta.json` says. One dialect has little more than the number of records, so every member
/// may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentMeta {
    /// The format's name and version.
    pub schema_version: Option<String>,
    /// The thread.
    pub thread_id: Option<String>,
    /// The segment's number.
    pub segment_index: Option<u64>,
    /// `seq` of the first record that was written.
    pub min_seq: Option<u64>,
    /// `seq` of the last record that was written.
    pub max_seq: Option<u64>,
    /// How many lines there are.
    pub record_count: Option<u64>,
    /// How many bytes, newlines included.
    pub bytes: Option<u64>,
    /// SHA-256 of exactly these bytes, in lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// When the segment was begun.
    pub created_at: Option<String>,
    /// When it was closed.
    pub closed_at: Option<String>,
}

/// A meta file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// It cannot be read.
    #[error("the meta file cannot be read")]
    Io(#[from] io::Error),
    /// It is no JSON.
    #[error("the meta file is no JSON")]
    Json(#[from] serde_json::Error),
    /// It is something else than a JSON object.
    #[error("the meta file holds no JSON object")]
    NotAnObject,
    /// It is far larger than any meta file.
    #[error("the meta file is larger than {SIZE_LIMIT} bytes")]
    TooLarge,
}

impl SegmentMeta {
    /// Reads a meta file; none if there is none, as for a segment that is open or was abandoned.
    pub fn read(path: &Path) -> Result<Option<Self>, MetaError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(SIZE_LIMIT + 1).read_to_end(&mut text)?;
        if text.len() as u64 > SIZE_LIMIT {
            return Err(MetaError::TooLarge);
        }
        Self::parse(&text).map(Some)
    }

    /// Reads the text of a meta file. A member of an unexpected type is as good as absent.
    pub fn parse(text: &[u8]) -> Result<Self, MetaError> {
        let Value::Object(members) = serde_json::from_slice(text)? else {
            return Err(MetaError::NotAnObject);
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| members.get(name).and_then(Value::as_u64);
        Ok(Self {
            schema_version: text("schema_version"),
            thread_id: text("thread_id"),
            segment_index: number("segment_index"),
            min_seq: number("min_seq"),
            max_seq: number("max_seq"),
            record_count: number("record_count"),
            bytes: number("bytes"),
            sha256: text("sha256"),
            created_at: text("created_at"),
            closed_at: text("closed_at"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_meta_file_of_the_writer_is_read_whole() {
        let text = br#"{"schema_version": "codex_trace_spine_v1", "thread_id": "t", "segment_index": 3,
            "min_seq": 5, "max_seq": 9, "record_count": 5, "bytes": 4711, "sha256": "ab",
            "created_at": "2026-03-02T08:00:00.012Z", "closed_at": "2026-03-02T08:21:00.001Z", "new": {}}"#;
        let meta = SegmentMeta::parse(text).unwrap();
        assert_eq!((meta.segment_index, meta.min_seq, meta.max_seq), (Some(3), Some(5), Some(9)));
        assert_eq!(
            (meta.record_count, meta.bytes, meta.sha256.as_deref()),
            (Some(5), Some(4711), Some("ab"))
        );
        assert_eq!((meta.thread_id.as_deref(), meta.closed_at.is_some()), (Some("t"), true));
    }

    #[test]
    fn the_smaller_dialect_is_no_error() {
        let text =
            br#"{"segment_id": "segment-000", "thread_id": "t", "record_count": "many", "created_at": "x"}"#;
        let meta = SegmentMeta::parse(text).unwrap();
        assert_eq!((meta.record_count, meta.sha256, meta.segment_index), (None, None, None));
        assert_eq!(meta.thread_id.as_deref(), Some("t"));
    }

    #[test]
    fn a_segment_without_meta_file_is_open() {
        let directory = tempfile::tempdir().unwrap();
        assert!(SegmentMeta::read(&directory.path().join("segment-000.meta.json")).unwrap().is_none());
    }

    #[test]
    fn what_is_no_meta_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("meta.json");
        for text in ["", "[]", "{", &format!("{{\"x\": \"{}\"}}", "y".repeat(70_000))] {
            std::fs::write(&path, text).unwrap();
            SegmentMeta::read(&path).unwrap_err();
        }
    }
}
