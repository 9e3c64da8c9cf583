//! What was read is what is exported.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use corpus::{Real, real};
use insight::SessionFilter;
use insight::export::{ExportFormat, Exported, OUTPUT_LIMIT};
use rusqlite::Connection;
use trace::redact::Redactor;

use crate::lab::Lab;

fn export(lab: &Lab, name: &str, format: ExportFormat, filter: SessionFilter) -> (PathBuf, Exported) {
    let file = lab.state_dir().join(name);
    let insight = lab.insight();
    let done = insight.export(file.clone(), true, format, filter, Redactor::inactive());
    (file, lab.block_on(done).unwrap().0)
}

#[test]
fn an_export_holds_all_that_was_read_and_is_the_same_after_a_death() {
    let mut lab = Lab::new();
    lab.settings.settle_after = Duration::ZERO;
    fs::remove_dir_all(lab.home()).unwrap();
    let made = real(&lab.home(), &Real { bytes: 3 << 20, sessions: Some(20), seed: 11 }).unwrap();
    lab.start();
    lab.until_settled();
    let read = lab.read_all();
    assert_eq!((read.sessions, read.records), (made.sessions, made.records));

    let all = SessionFilter::default();
    let sqlite = ExportFormat::Sqlite { output_limit: OUTPUT_LIMIT };
    let (file, exported) = export(&lab, "traces.db", sqlite, all.clone());
    assert_eq!((exported.sessions, exported.signals), (read.sessions, read.signals));
    let database = Connection::open(file).unwrap();
    let number = |question: &str| {
        let number: i64 = database.query_row(question, (), |row| row.get(0)).unwrap();
        u64::try_from(number).unwrap()
    };
    assert_eq!(number("SELECT count(*) FROM sessions"), read.sessions);
    assert_eq!(number("SELECT sum(records) FROM session_details"), read.records);
    assert_eq!(number("SELECT count(*) FROM tool_calls"), exported.calls);
    assert_eq!(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    // Every command that ran and said something has its words.
    let (ended, silent) = (
        "SELECT count(*) FROM tool_calls JOIN tool_call_details USING (call_id) \
         WHERE tool_name = 'exec_command' AND outcome IN ('succeeded', 'failed') AND ended_at NOT NULL",
        " AND coalesce(stdout, stderr) IS NULL",
    );
    assert!(number(ended) > 20);
    assert_eq!(number(&format!("{ended}{silent}")), 0);

    let (before, _) = export(&lab, "before.jsonl", ExportFormat::Jsonl, all.clone());
    lab.kill();
    lab.start();
    lab.until_settled();
    let (after, _) = export(&lab, "after.jsonl", ExportFormat::Jsonl, all);
    assert!(fs::read(before).unwrap() == fs::read(after).unwrap(), "the export has changed");

    let some = SessionFilter { source: Some("exec".to_owned()), ..SessionFilter::default() };
    let (file, exported) = export(&lab, "some.jsonl", ExportFormat::Jsonl, some);
    assert!((1..read.sessions).contains(&exported.sessions));
    assert!(!fs::read_to_string(file).unwrap().contains("\"source\":\"vscode\""));
}
