#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use super::*;

const THREAD: &str = "01930f5e-77aa-7c01-9b1d-2f0f6a0c4e11";

/// A session's directory to be filled.
struct Spine {
    home: tempfile::TempDir,
}

impl Spine {
    fn new() -> Self {
        let spine = Self { home: tempfile::tempdir().unwrap() };
        std::fs::create_dir(spine.path()).unwrap();
        spine
    }

    fn path(&self) -> PathBuf {
        self.home.path().join(THREAD)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// A segment with the meta file that its writer would give it.
    fn closed(&self, index: u32, text: &str, first: u64, last: u64) -> &Self {
        let meta = serde_json::json!({
            "schema_version": "codex_trace_spine_v1", "thread_id": THREAD, "segment_index": index, "min_seq": first,
            "max_seq": last, "record_count": text.lines().count(), "bytes": text.len(),
            "sha256": hexadecimal(&Sha256::digest(text)), "created_at": "2026-03-02T08:00:00.000Z",
            "closed_at": "2026-03-02T08:00:01.000Z",
        });
        self.file(&format!("segment-{index:03}.jsonl"), text);
        self.file(&format!("segment-{index:03}.meta.json"), meta.to_string())
    }

    fn findings(&self) -> Vec<(Code, Option<u64>)> {
        verify(&self.path()).into_iter().map(|finding| (finding.code, finding.line)).collect()
    }
}

fn record(seq: u64, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"schema_version":"codex_trace_spine_v1","thread_id":"{THREAD}","seq":{seq},"timestamp":"2026-03-02T08:00:00.{seq:03}Z","type":"{kind}","payload":{payload}}}"#
    ) + "\n"
}

fn warning(seq: u64) -> String {
    record(seq, "event", r#"{"id":"1","msg":{"type":"warning","message":"low disk"}}"#)
}

fn records(seqs: impl IntoIterator<Item = u64>) -> String {
    seqs.into_iter().map(warning).collect()
}

#[test]
fn an_orderly_spine_has_no_findings() {
    let spine = Spine::new();
    spine
        .closed(0, &records(1..=3), 1, 3)
        .closed(1, &records(4..=5), 4, 5)
        .file("segment-002.jsonl", records(6..=6));
    assert_eq!(verify(&spine.path()), []);
}

#[test]
fn an_empty_last_segment_is_in_order() {
    let spine = Spine::new();
    spine.closed(0, &records(1..=3), 1, 3).file("segment-001.jsonl", "");
    assert_eq!(spine.findings(), []);
}

#[test]
fn segments_are_read_in_the_order_of_their_numbers() {
    let spine = Spine::new();
    spine.closed(999, &records(1..=3), 1, 3).file("segment-1000.jsonl", records(4..=5));
    assert_eq!(spine.findings(), [(Code::MissingSegment, None)]);
}

#[test]
fn a_segment_that_was_never_closed_is_told_unless_it_is_the_last() {
    let spine = Spine::new();
    spine.file("segment-000.jsonl", records(1..=3)).file("segment-001.jsonl", records(4..=5));
    assert_eq!(spine.findings(), [(Code::MissingMeta, None)]);
}

#[test]
fn a_changed_byte_is_a_hash_mismatch() {
    let spine = Spine::new();
    spine
        .closed(0, &records(1..=3), 1, 3)
        .file("segment-000.jsonl", records(1..=3).replace("low disk", "all fine"));
    assert_eq!(spine.findings(), [(Code::HashMismatch, None)]);
}

#[test]
fn a_lost_line_is_told_by_all_that_the_meta_file_says() {
    let spine = Spine::new();
    spine.closed(0, &records(1..=3), 1, 3).file("segment-000.jsonl", records(1..=2));
    let findings = verify(&spine.path());
    assert!(findings.iter().all(|finding| finding.level == Level::Error), "{findings:?}");
    let messages: Vec<String> = findings.into_iter().map(|finding| finding.message).collect();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages[1].contains("record_count is 2, the meta file says 3"), "{messages:?}");
    assert!(messages[3].contains("max_seq is 2, the meta file says 3"), "{messages:?}");
}

#[test]
fn local_disorder_is_a_warning_and_agrees_with_the_meta_file() {
    let spine = Spine::new();
    spine.closed(0, &records([2, 1, 4, 3]), 2, 3);
    assert_eq!(spine.findings(), [(Code::Disorder, Some(2)), (Code::Disorder, Some(4))]);
    assert!(verify(&spine.path()).iter().all(|finding| finding.level == Level::Warning));
}

#[test]
fn numbers_that_come_again_after_an_empty_segment_are_duplicates() {
    let spine = Spine::new();
    spine
        .closed(0, &records(1..=2), 1, 2)
        .file("segment-001.jsonl", "")
        .file("segment-002.jsonl", records(1..=3));
    assert_eq!(spine.findings(), [(Code::Duplicate, Some(1)), (Code::Duplicate, Some(2))]);
}

#[test]
fn a_torn_last_line_is_a_warning_with_its_place() {
    let spine = Spine::new();
    let text = records(1..=2);
    let whole = warning(1).len() as u64;
    spine.file("segment-000.jsonl", &text[..text.len() - 20]);
    let [finding] = &verify(&spine.path())[..] else { panic!() };
    assert_eq!((finding.code, finding.level), (Code::TornLine, Level::Warning));
    assert_eq!((finding.line, finding.byte), (Some(2), Some(whole)));
}

#[test]
fn a_line_in_the_middle_that_is_no_json_is_an_error_with_its_byte() {
    let spine = Spine::new();
    let first = warning(1);
    spine.file("segment-000.jsonl", format!("{first}{{\"seq\": nothing}}\n[]\n\n{}", warning(2)));
    let findings = verify(&spine.path());
    let places: Vec<_> = findings.iter().map(|finding| (finding.code, finding.line, finding.byte)).collect();
    let second = first.len() as u64;
    assert_eq!(places[0], (Code::Unparsable, Some(2), Some(second + 9)));
    assert_eq!(places[1], (Code::Unparsable, Some(3), Some(second + 17)));
    assert_eq!(places.len(), 2);
}

#[test]
fn the_envelope_must_be_whole_and_of_this_thread_and_version() {
    let spine = Spine::new();
    let text = warning(1)
        + &warning(2).replace(THREAD, "another")
        + &warning(3).replace("spine_v1", "spine_v2")
        + &warning(4).replace("\"seq\":4", "\"seq\":\"4\"")
        + &warning(5).replace("2026-03-02", "yesterday")
        + "{}\n";
    spine.file("segment-000.jsonl", text);
    assert_eq!(
        spine.findings(),
        [
            (Code::WrongThread, Some(2)),
            (Code::WrongVersion, Some(3)),
            (Code::BadEnvelope, Some(4)),
            (Code::BadTime, Some(5)),
            (Code::BadEnvelope, Some(6)),
        ]
    );
}

#[test]
fn a_segment_that_is_padded_otherwise_is_read_and_told() {
    let spine = Spine::new();
    spine.file("segment-0.jsonl", warning(1));
    assert_eq!(spine.findings(), [(Code::WrongName, None)]);
}

#[test]
fn a_directory_named_after_another_thread_is_told() {
    let spine = Spine::new();
    spine.file("segment-000.jsonl", warning(1).replace(THREAD, "another"));
    assert_eq!(spine.findings(), [(Code::WrongName, None)]);
}

#[test]
fn unknown_kinds_are_told_once_each() {
    let spine = Spine::new();
    let strange = |seq| record(seq, "event", r#"{"id":"1","msg":{"type":"brand_new"}}"#);
    spine.file("segment-000.jsonl", strange(1) + &strange(2) + &record(3, "hologram", "{}"));
    assert_eq!(spine.findings(), [(Code::UnknownType, Some(1)), (Code::UnknownType, Some(3))]);
}

#[test]
fn a_boundary_must_carry_both_histories() {
    let spine = Spine::new();
    let without =
        record(1, "compaction_boundary", r#"{"turn_id":"1","kind":"local","pre_compaction_history":[]}"#);
    let with =
        record(2, "compaction_boundary", r#"{"pre_compaction_history":[],"post_compaction_history":[]}"#);
    spine.file("segment-000.jsonl", without + &with);
    assert_eq!(spine.findings(), [(Code::MissingHistories, Some(1))]);
}

#[test]
fn an_artifact_that_was_overwritten_on_resume_is_a_warning() {
    let spine = Spine::new();
    let diff = |seq, content: &str| {
        let sha256 = hexadecimal(&Sha256::digest(content));
        record(
            seq,
            "artifact_ref",
            &format!(
                r#"{{"kind":"git_diff","artifact_path":"artifacts/git_diff.patch","sha256":"{sha256}"}}"#
            ),
        )
    };
    spine
        .file("segment-000.jsonl", diff(1, "before") + &diff(2, "after"))
        .file("artifacts/git_diff.patch", "after");
    assert_eq!(spine.findings(), [(Code::OverwrittenArtifact, Some(1))]);
}

#[test]
fn an_artifact_outside_of_the_directory_is_never_read() {
    let spine = Spine::new();
    let shell = |seq, path: &str| {
        record(
            seq,
            "artifact_ref",
            &format!(r#"{{"kind":"shell_snapshot","artifact_path":"{path}","sha256":"00"}}"#),
        )
    };
    spine.file(
        "segment-000.jsonl",
        shell(1, "../secret") + &shell(2, "/etc/passwd") + &shell(3, "artifacts/gone.sh"),
    );
    assert_eq!(
        spine.findings(),
        [
            (Code::ArtifactOutside, Some(1)),
            (Code::ArtifactOutside, Some(2)),
            (Code::MissingArtifact, Some(3))
        ]
    );
}

#[test]
fn bytes_that_are_no_utf8_are_told_and_the_record_is_read() {
    let spine = Spine::new();
    let mut text = warning(1).into_bytes();
    let at = text.windows(3).position(|window| window == b"low").unwrap();
    text[at] = 0xFF;
    text.extend(warning(1).as_bytes());
    spine.file("segment-000.jsonl", text);
    assert_eq!(spine.findings(), [(Code::InvalidUtf8, Some(1)), (Code::Duplicate, Some(2))]);
}

#[test]
fn many_findings_of_one_kind_are_counted() {
    let spine = Spine::new();
    spine.file("segment-000.jsonl", "nonsense\n".repeat(1000));
    let findings = verify(&spine.path());
    assert_eq!(findings.len(), 51);
    assert_eq!(findings[50].message, "950 more of this kind");
}

#[test]
fn what_is_not_there_or_empty_is_told() {
    let spine = Spine::new();
    assert_eq!(spine.findings(), [(Code::NoSegments, None)]);
    let codes: Vec<Code> = verify(&spine.path().join("nowhere")).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::Unreadable]);
}

#[test]
fn a_single_segment_is_verified_by_itself() {
    let spine = Spine::new();
    spine.closed(4, &records(8..=9), 8, 9).file("copy.txt", records([1, 1]));
    assert_eq!(verify(&spine.path().join("segment-004.jsonl")), []);
    assert_eq!(verify(&spine.path().join("copy.txt"))[0].code, Code::Duplicate);
}

#[test]
fn an_orderly_rollout_has_no_findings_and_a_strange_one_has() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(format!("rollout-2026-03-02T08-00-00-{THREAD}.jsonl"));
    let line = |ordinal: u64, kind: &str, payload: &str| {
        format!(
            r#"{{"timestamp":"2026-03-02T08:00:00.000Z","ordinal":{ordinal},"type":"{kind}","payload":{payload}}}"#
        ) + "\n"
    };
    let meta = line(0, "session_meta", &format!(r#"{{"id":"{THREAD}"}}"#));
    let good = line(1, "event_msg", r#"{"type":"task_started","turn_id":"a"}"#);
    std::fs::write(&path, meta.clone() + &good).unwrap();
    assert_eq!(verify(&path), []);

    let text = good.clone()
        + &line(1, "event_msg", r#"{"type":"brand_new"}"#)
        + &line(0, "world_state", "{}")
        + "{]\n"
        + &good[..30];
    std::fs::write(&path, text).unwrap();
    let codes: Vec<Code> = verify(&path).iter().map(|finding| finding.code).collect();
    assert_eq!(
        codes,
        [
            Code::MissingSessionMeta,
            Code::Duplicate,
            Code::UnknownType,
            Code::Disorder,
            Code::Unparsable,
            Code::TornLine,
        ]
    );

    let other = home.path().join("rollout-2026-03-02T08-00-00-someone-else.jsonl");
    std::fs::write(&other, meta).unwrap();
    assert_eq!(verify(&other)[0].code, Code::WrongName);
}
