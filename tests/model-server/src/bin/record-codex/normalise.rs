//! Replacing what differs from run to run and from machine to machine.

use regex::{Captures, Regex};
use std::env;
use std::path::Path;

/// Replaces paths, ids, ports, and times by fixed ones; the same original always becomes the same
/// replacement, so that two thread ids can still be compared.
pub(crate) struct Normaliser {
    literal: Vec<(String, &'static str)>,
    ids: Vec<String>,
    id: Regex,
    patterns: Vec<(Regex, &'static str)>,
}

impl Normaliser {
    /// For a run below `root` against the server at `url`.
    pub(crate) fn new(root: &Path, url: &str) -> Self {
        let mut literal = vec![(root.to_string_lossy().into_owned(), "/scratch")];
        if let Ok(real) = root.canonicalize() {
            literal.push((real.to_string_lossy().into_owned(), "/scratch"));
        }
        if let Ok(this_program) = env::current_exe() {
            literal.push((this_program.to_string_lossy().into_owned(), "/usr/bin/mcp-echo"));
        }
        literal.push((url.to_owned(), "http://127.0.0.1:18080"));
        Self {
            literal,
            ids: Vec::new(),
            id: pattern(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
            patterns: vec![
                (pattern(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"), "2026-01-01T00:00:00.000000Z"),
                (pattern(r"Chunk ID: [0-9a-f]+"), "Chunk ID: 000000"),
                (pattern(r"Wall time:? \d+\.\d+ seconds"), "Wall time: 0.0 seconds"),
                (pattern(r"session ID \d+"), "session ID 1"),
                (pattern(r"thread '([\w-]+)' \(\d+\)"), "thread '$1' (1)"),
                (pattern(r#"resets_at\\*":\d+"#), r#"resets_at":4070908800"#),
                (pattern(r#"resets_in_seconds\\*":\d+"#), r#"resets_in_seconds":3600"#),
            ],
        }
    }

    /// The text with everything replaced.
    pub(crate) fn apply(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (original, replacement) in &self.literal {
            text = text.replace(original, replacement);
        }
        for (pattern, replacement) in &self.patterns {
            text = pattern.replace_all(&text, *replacement).into_owned();
        }
        let ids = &mut self.ids;
        self.id.replace_all(&text, |found: &Captures<'_>| stable_id(ids, &found[0])).into_owned()
    }
}

/// The n-th different id becomes a `UUIDv7` that ends in n. The nil-like id of a case is kept.
fn stable_id(ids: &mut Vec<String>, id: &str) -> String {
    if id.starts_with("00000000-") {
        return id.to_owned();
    }
    let at = ids.iter().position(|known| known == id).unwrap_or_else(|| {
        ids.push(id.to_owned());
        ids.len() - 1
    });
    format!("01900000-0000-7000-8000-{:012}", at + 1)
}

#[expect(clippy::expect_used, reason = "the patterns are constants, covered by the tests")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normaliser() -> Normaliser {
        Normaliser::new(Path::new("/tmp/run-1"), "http://127.0.0.1:4711")
    }

    #[test]
    fn paths_ports_and_times_become_fixed() {
        let text = "2026-11-20T22:03:07.779966Z ERROR /tmp/run-1/repo http://127.0.0.1:4711/v1";
        let expected = "2026-01-01T00:00:00.000000Z ERROR /scratch/repo http://127.0.0.1:18080/v1";
        assert_eq!(normaliser().apply(text), expected);
    }

    #[test]
    fn equal_ids_stay_equal_and_different_ones_different() {
        let (a, b) = ("01a1fafb-4ea4-7581-92a2-7354e02c0339", "01a1fafc-0ed6-7b61-9dd1-8f68e3f9e437");
        let mut normaliser = normaliser();
        let first = normaliser.apply(&format!("{a} {b} {a}"));
        let words: Vec<&str> = first.split(' ').collect();
        assert_eq!(words[0], words[2]);
        assert_ne!(words[0], words[1]);
        assert_eq!(normaliser.apply(a), words[0], "also in the next text of the same run");
    }

    #[test]
    fn an_id_that_a_case_made_up_is_kept() {
        let id = "00000000-0000-7000-8000-000000000000";
        assert_eq!(normaliser().apply(id), id);
    }
}
