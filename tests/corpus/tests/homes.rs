//! Homes as a reader meets them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use corpus::{DEMO, Real, demo, real};
use serde_json::Value;

/// All files below a directory, with their bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// The lines of all files of records; a half-written last one is left out.
fn records(home: &Path) -> Vec<Value> {
    let files =
        files(home).into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"));
    let mut records = Vec::new();
    for (path, bytes) in files {
        let text = String::from_utf8(bytes).unwrap();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            records.push(
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            );
        }
    }
    records
}

const SMALL: Real = Real { bytes: 12_000_000, sessions: Some(40), seed: 7 };

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let homes: Vec<_> = [7, 7, 8]
        .map(|seed| {
            let home = tempfile::tempdir().unwrap();
            real(home.path(), &Real { bytes: 1_000_000, sessions: Some(8), seed }).unwrap();
            files(home.path())
                .into_iter()
                .map(|(path, bytes)| (path.strip_prefix(home.path()).unwrap().to_path_buf(), bytes))
                .collect::<BTreeMap<_, _>>()
        })
        .into();
    assert!(homes[0] == homes[1], "two homes of one seed differ");
    assert!(homes[0] != homes[2], "two seeds make one home");
}

#[test]
fn a_real_home_has_about_the_size_and_line_length_that_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let made = real(home.path(), &SMALL).unwrap();
    assert_eq!(made.records, records(home.path()).len() as u64);
    assert!((11_000_000..14_000_000).contains(&made.bytes), "{made:?}");
    assert!((480..700).contains(&(made.bytes / made.records)), "{made:?}");
    let on_disk: usize = files(home.path())
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "jsonl"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(made.bytes, on_disk as u64);
}

#[test]
fn a_real_home_has_everything_that_is_hard_to_read() {
    let home = tempfile::tempdir().unwrap();
    real(home.path(), &SMALL).unwrap();
    let records = records(home.path());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for record in &records {
        let kind = record["type"].as_str().unwrap();
        let payload = &record["payload"];
        let inner = [&payload["msg"]["type"], &payload["op"]["type"], &payload["type"]];
        let inner = inner.iter().find_map(|value| value.as_str()).unwrap_or_default();
        *kinds.entry(format!("{kind} {inner}").trim_end().to_owned()).or_default() += 1;
    }
    for wanted in [
        "artifact_ref",
        "bridge",
        "compacted",
        "compaction_boundary",
        "event agent_message_delta",
        "event apply_patch_approval_request",
        "event collab_agent_spawn_end",
        "event error",
        "event exec_approval_request",
        "event exec_command_output_delta",
        "event exited_review_mode",
        "event plan_update",
        "event stream_error",
        "event thread_rolled_back",
        "event turn_aborted",
        "event turn_diff",
        "event undo_completed",
        "event_msg item_completed",
        "event_msg user_message",
        "response_item custom_tool_call",
        "session_meta",
        "submission exec_approval",
        "submission interrupt",
        "submission patch_approval",
        "token_usage_record",
        "turn_context",
        "world_state",
    ] {
        assert!(kinds.contains_key(wanted), "no {wanted} in {kinds:?}");
    }
    let deltas: usize =
        kinds.iter().filter(|(kind, _)| kind.contains("_delta")).map(|(_, count)| count).sum();
    assert!(deltas * 2 > records.len(), "deltas are not the bulk: {deltas} of {}", records.len());

    let text = |pointer: &str, wanted: &str| {
        records.iter().any(|record| record.pointer(pointer).is_some_and(|value| value == wanted))
    };
    assert!(text("/payload/op/decision", "abort"), "nobody aborts");
    assert!(text("/payload/msg/reason", "command failed; retry without sandbox?"), "nothing is asked twice");
    let configured =
        records.iter().filter(|record| record["payload"]["msg"]["type"] == "session_configured").count();
    let spines =
        records.iter().filter(|record| record["type"] == "session_meta" && !record["seq"].is_null()).count();
    assert!(configured > spines, "no session is resumed");
}

#[test]
fn meta_files_tell_what_their_segments_hold() {
    use sha2::{Digest as _, Sha256};

    let home = tempfile::tempdir().unwrap();
    real(home.path(), &Real { bytes: 16_000_000, sessions: Some(3), seed: 3 }).unwrap();
    let files = files(home.path());
    let mut closed = 0;
    for (path, meta) in files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(".meta.json")) {
        let meta: Value = serde_json::from_slice(meta).unwrap();
        let bytes = &files[&PathBuf::from(path.to_string_lossy().replace(".meta.json", ".jsonl"))];
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let seq = |line: &[u8]| serde_json::from_slice::<Value>(line).unwrap()["seq"].clone();
        let hash: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(meta["sha256"], hash.concat());
        assert_eq!(meta["bytes"], bytes.len());
        assert_eq!(meta["record_count"], lines.len());
        assert_eq!((&meta["min_seq"], &meta["max_seq"]), (&seq(lines[0]), &seq(lines[lines.len() - 1])));
        // One record may go over either limit, not two.
        assert!(lines.len() <= 5_000 && bytes.len() - lines[lines.len() - 1].len() < 5 << 20);
        closed += 1;
    }
    assert!(closed > 3, "no segment was rotated");
}

#[test]
fn the_demo_has_the_published_numbers_of_records() {
    let home = tempfile::tempdir().unwrap();
    let made = demo(home.path(), 42).unwrap();
    assert_eq!(made.sessions, DEMO.sessions);
    let records = records(home.path());
    let count = |kind: &str| records.iter().filter(|record| record["type"] == kind).count() as u64;
    assert_eq!(count("turn_context"), DEMO.turns);
    assert_eq!(count("compaction_boundary"), DEMO.compactions);
    let event =
        |kind: &str| records.iter().filter(|record| record["payload"]["msg"]["type"] == kind).count() as u64;
    assert_eq!(event("exec_command_begin") + event("patch_apply_begin"), DEMO.calls);
    assert_eq!(event("warning"), DEMO.compactions);
}
