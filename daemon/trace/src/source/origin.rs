//! Who wrote a spine.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::stat;
use crate::Place;
use crate::decode::spine;
use crate::record::Body;
use crate::recording::ORIGINATOR;

/// How much of a first line is looked at. Its instructions can be long; a line beyond this is not of ours.
const FIRST_LINE_LIMIT: u64 = 1024 * 1024;

/// Who wrote a spine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Codex, or whatever else is not Spindle.
    Codex,
    /// Spindle.
    Spindle,
}

/// Reads who wrote a spine from its first line; none as long as that line is not whole.
pub(crate) fn of_first_line(segment: &Path) -> Option<Origin> {
    let (file, _) = stat::open(segment).ok()?;
    let mut line = Vec::new();
    BufReader::new(file).take(FIRST_LINE_LIMIT).read_until(b'\n', &mut line).ok()?;
    let whole = line.last() == Some(&b'\n') || line.len() as u64 >= FIRST_LINE_LIMIT;
    whole.then(|| originator(&line))
}

fn originator(line: &[u8]) -> Origin {
    match spine(line, Place::default()).map(|record| record.body) {
        Ok(Body::Meta(meta)) if meta.originator.as_deref() == Some(ORIGINATOR) => Origin::Spindle,
        _ => Origin::Codex,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn written(text: &str) -> Option<Origin> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment-000.jsonl");
        std::fs::write(&path, text).unwrap();
        of_first_line(&path)
    }

    #[test]
    fn only_a_session_meta_that_says_so_is_of_spindle() {
        let ours = r#"{"type":"session_meta","payload":{"id":"a","originator":"spindle_recorder"}}"#;
        assert_eq!(written(&format!("{ours}\n{{}}\n")), Some(Origin::Spindle));
        let codex = r#"{"type":"session_meta","payload":{"id":"a","originator":"codex_exec"}}"#;
        assert_eq!(written(&format!("{codex}\n")), Some(Origin::Codex));
        assert_eq!(
            written("{\"type\":\"event\",\"payload\":{\"originator\":\"spindle_recorder\"}}\n"),
            Some(Origin::Codex)
        );
        assert_eq!(written("not json\n"), Some(Origin::Codex));
    }

    #[test]
    fn a_half_written_first_line_says_nothing_yet() {
        assert_eq!(written(""), None);
        assert_eq!(written(r#"{"type":"session_meta","payl"#), None);
    }
}
