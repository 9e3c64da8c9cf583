//! Exports, as those who get them see them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use insight::export::{
    ExportError, ExportFormat, Exported, ExportedSession, OUTPUT_LIMIT, Raw, Redact, export,
};
use insight::signal::{RuleSet, Signal, SignalId, SignalType};
use insight::{FileView, FindingView, SessionView};
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value, json};
use trace::Place;
use trace::record::{ApprovalKind, ChangeKind, TokenCounts};
use trace::session::{
    Approval, ArtifactRow, CallOutcome, CompactionRow, Counts, Format, Row, Rows, Session, Stamp, ToolCall,
    Turn, TurnEnd,
};

const SQLITE: ExportFormat = ExportFormat::Sqlite { output_limit: OUTPUT_LIMIT };

fn stamp(seq: u64) -> Stamp {
    let time: Timestamp = "2026-03-02T08:00:00.014Z".parse().unwrap();
    let time = time + jiff::SignedDuration::from_secs(i64::try_from(seq).unwrap());
    Stamp { seq, time: Some(time), place: Place { file: 0, line: seq, offset: seq * 100, len: 99 } }
}

fn session(id: &str, format: Format) -> Session {
    Session {
        id: id.parse().unwrap(),
        format,
        source: "cli".to_owned(),
        parent: None,
        depth: None,
        children: Vec::new(),
        model: Some("gpt-5.5".to_owned()),
        model_provider: Some("openai".to_owned()),
        approval_policy: Some("on-request".to_owned()),
        sandbox_policy: Some("workspace-write".to_owned()),
        started_at: stamp(1).time,
        ended_at: stamp(9).time,
        cwd: Some("/home/ann/app".to_owned()),
        repo_root: None,
        git_url: Some("https://git.example.org/app.git".to_owned()),
        git_commit: None,
        git_branch: Some("main".to_owned()),
        cli_version: Some("0.93.0".to_owned()),
        originator: Some("codex_cli_rs".to_owned()),
        counts: Counts { records: 9, turns: 1, calls: 2, execs: 2, denials: 1, ..Counts::default() },
        tokens: TokenCounts { input: 100, ..TokenCounts::default() },
        closed: true,
    }
}

fn turn(ordinal: u32) -> Turn {
    Turn {
        ordinal,
        epoch: 0,
        id: ordinal.to_string(),
        started: stamp(2),
        ended: Some(stamp(8)),
        end: TurnEnd::Complete,
        user_message: Some("Fix /home/ann/app, \"quoted\"\nplease".to_owned()),
        user_place: None,
        model: Some("gpt-5.5".to_owned()),
        approval_policy: Some("on-request".to_owned()),
        sandbox_policy: None,
        requests: 2,
        calls: 2,
        context: 0,
        tokens: TokenCounts::default(),
    }
}

fn call(ordinal: u32, id: &str, closed: Option<Stamp>) -> ToolCall {
    ToolCall {
        ordinal,
        epoch: 0,
        call_id: id.to_owned(),
        turn_id: "0".to_owned(),
        turn: Some(0),
        tool: "exec_command".to_owned(),
        arguments: "make".to_owned(),
        cwd: None,
        source: Some("agent".to_owned()),
        opened: stamp(3),
        closed,
        outcome: CallOutcome::Failed,
        exit_code: Some(2),
        duration_ms: Some(1_500),
        message: Some("no rule".to_owned()),
        approvals: vec![0],
        changes: vec![("src/a.rs".to_owned(), ChangeKind::Add)],
    }
}

fn signal(session: &str, number: u32, kind: SignalType, category: &str, evidence: Value) -> Signal {
    Signal {
        id: SignalId(format!("sig_{session}_{number}")),
        kind,
        category: category.to_owned(),
        severity: 0.6,
        confidence: 1.0,
        session_id: session.parse().unwrap(),
        epoch: 0,
        turn_id: Some("0".to_owned()),
        call_id: Some("call_1".to_owned()),
        seq_start: Some(4),
        seq_end: None,
        description: "make ended with 2 in /home/ann/app".to_owned(),
        evidence,
        places: vec![stamp(4).place],
        detector: "mechanical".to_owned(),
        rule_set: RuleSet::V1,
        at: stamp(4).time,
        settled: true,
    }
}

fn exported(session: Session, files: Vec<FileView>, rows: Rows, signals: Vec<Signal>) -> ExportedSession {
    let finding = FindingView {
        session: session.id.clone(),
        path: PathBuf::from("/home/ann/.codex/segment-000.jsonl"),
        place: stamp(7).place,
        error: true,
        code: "invalid_json".to_owned(),
        message: "the line is no JSON object".to_owned(),
    };
    let view = SessionView {
        session,
        profile: "friction".to_owned(),
        friction: [("exec_failure".to_owned(), 1)].into(),
        delight: [].into(),
        severity: 0.6,
        settled: true,
        gone_at: None,
        home: PathBuf::from("/home/ann/.codex"),
        path: files.first().map_or_else(PathBuf::new, |file| file.path.clone()),
        bytes: 900,
        findings: 1,
    };
    ExportedSession { view, files, rows, signals, findings: vec![finding] }
}

/// Two sessions that have a call of the same id: a spine whose file is there, and a rollout whose file is gone
/// and whose second call belongs to no turn.
fn sessions(directory: &Path) -> Vec<ExportedSession> {
    let path = directory.join("segment-000.jsonl");
    let end = json!({"type": "exec_command_end", "call_id": "call_1", "stdout": "out\n", "stderr": "err /home/ann\n"});
    let record = json!({"type": "event", "payload": {"id": "0", "msg": end}}).to_string();
    fs::write(&path, format!("{}\n{record}\n", "x".repeat(399))).unwrap();
    let mut ended = stamp(4);
    ended.place.offset = 400;
    ended.place.len = record.len().try_into().unwrap();

    let asked = Approval {
        ordinal: 0,
        epoch: 0,
        kind: ApprovalKind::Exec,
        call_id: "call_1".to_owned(),
        turn_id: "0".to_owned(),
        requested: Some(stamp(3)),
        reason: None,
        decided: Some(stamp(5)),
        decision: Some("approved".to_owned()),
        approved: Some(true),
        submission_id: Some("1".to_owned()),
    };
    let compaction =
        CompactionRow { ordinal: 0, epoch: 0, at: stamp(6), turn_id: "0".to_owned(), kind: None };
    let artifact = ArtifactRow {
        ordinal: 0,
        kind: "git_diff".to_owned(),
        at: stamp(2),
        path: Some("artifacts/git_diff.patch".to_owned()),
        sha256: Some("ab".repeat(32)),
        base: None,
    };
    let mut rows = Rows::default();
    let all = [
        Row::Turn(turn(0)),
        Row::Call(call(0, "call_1", Some(ended))),
        Row::Approval(asked),
        Row::Compaction(compaction),
        Row::Artifact(artifact),
    ];
    for row in all {
        rows.put(row);
    }
    let mut first = session("s-1", Format::Spine);
    first.children = vec!["s-2".parse().unwrap()];
    let files = vec![FileView { index: 0, path, size: 900, read: 900 }];
    let failure = signal("s-1", 0, SignalType::Friction, "exec_failure", json!({"exit_code": 2}));
    let delight = signal("s-1", 1, SignalType::Delight, "zero_denial", json!({}));
    let one = exported(first, files, rows, vec![failure, delight]);

    let mut rows = Rows::default();
    rows.put(Row::Turn(turn(0)));
    rows.put(Row::Call(call(0, "call_1", Some(stamp(4)))));
    rows.put(Row::Call(ToolCall { turn: None, approvals: Vec::new(), ..call(1, "call_2", None) }));
    let mut second = session("s-2", Format::Rollout);
    second.parent = Some("s-1".parse().unwrap());
    let gone = vec![FileView { index: 0, path: directory.join("gone.jsonl"), size: 9, read: 9 }];
    vec![one, exported(second, gone, rows, Vec::new())]
}

fn write(directory: &Path, name: &str, format: ExportFormat) -> PathBuf {
    let file = directory.join(name);
    let sessions = sessions(directory).into_iter().map(Ok);
    let done = export(&file, false, format, sessions, &mut Raw).unwrap();
    assert_eq!(done, Exported { sessions: 2, turns: 2, calls: 3, signals: 2 });
    file
}

/// The answers to a question, as text.
fn ask(file: &Path, question: &str) -> Vec<String> {
    let database = Connection::open(file).unwrap();
    let mut statement = database.prepare(question).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map((), |row| {
        let cell = |column| {
            row.get::<_, rusqlite::types::Value>(column).map(|value| match value {
                rusqlite::types::Value::Null => "null".to_owned(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Real(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Blob(_) => "blob".to_owned(),
            })
        };
        (0..width).map(cell).collect::<Result<Vec<_>, _>>().map(|cells| cells.join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// The columns of the tables that earlier tools made: name, type, `!` where it may not be null, `*` for the key.
const OLD_TABLES: [(&str, &str); 7] = [
    (
        "sessions",
        "id VARCHAR!*, source VARCHAR!, model_provider VARCHAR, model VARCHAR, started_at DATETIME!, ended_at DATETIME, \
         cwd VARCHAR, git_repo_url VARCHAR, git_commit VARCHAR, git_branch VARCHAR, cli_version VARCHAR, \
         originator VARCHAR, compaction_count INTEGER, turn_count INTEGER, tool_call_count INTEGER, facets JSON, \
         signals_computed BOOLEAN, embeddings_computed BOOLEAN, spine_path VARCHAR",
    ),
    (
        "turns",
        "id VARCHAR!*, session_id VARCHAR!, seq_start INTEGER!, seq_end INTEGER, approval_policy VARCHAR, \
         sandbox_policy VARCHAR, model VARCHAR, user_message TEXT, started_at DATETIME, ended_at DATETIME",
    ),
    (
        "tool_calls",
        "call_id VARCHAR!*, turn_id VARCHAR!, tool_name VARCHAR!, arguments TEXT, exit_code INTEGER, \
         duration_ms INTEGER, stdout TEXT, stderr TEXT, approval_requested BOOLEAN, approved BOOLEAN, \
         approval_decision VARCHAR",
    ),
    (
        "signals",
        "id VARCHAR!*, session_id VARCHAR!, turn_id VARCHAR, signal_type VARCHAR!, category VARCHAR!, severity FLOAT!, \
         evidence JSON, embedding_id VARCHAR, cluster_id VARCHAR, detected_at DATETIME, detector VARCHAR",
    ),
    (
        "clusters",
        "id VARCHAR!*, name VARCHAR, description TEXT, signal_type VARCHAR!, centroid_embedding_id VARCHAR, \
         member_count INTEGER, avg_severity FLOAT, created_at DATETIME, updated_at DATETIME, \
         promoted_to_schema BOOLEAN, schema_proposal_id VARCHAR",
    ),
    (
        "schema_proposals",
        "id VARCHAR!*, name VARCHAR!, description TEXT, inclusion_criteria TEXT, severity_rule TEXT, \
         recommended_action TEXT, signal_type VARCHAR!, sample_count INTEGER, created_at DATETIME, status VARCHAR, \
         reviewed_at DATETIME",
    ),
    (
        "eval_runs",
        "id VARCHAR!*, dataset_id VARCHAR!, agent VARCHAR!, model VARCHAR!, codex_version VARCHAR, task_count INTEGER, \
         mean_reward FLOAT, success_rate FLOAT, results_json JSON, started_at DATETIME, completed_at DATETIME, \
         job_dir VARCHAR",
    ),
];

#[test]
fn the_tables_of_earlier_tools_have_exactly_their_columns() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "traces.db", SQLITE);
    for (table, columns) in OLD_TABLES {
        let question = format!(
            "SELECT name || ' ' || type || iif(\"notnull\", '!', '') || iif(pk, '*', '') \
             FROM pragma_table_info('{table}') ORDER BY cid"
        );
        assert_eq!(ask(&file, &question).join(", "), columns, "{table}");
    }
}

#[test]
fn the_tables_of_earlier_tools_have_exactly_their_indexes() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "traces.db", SQLITE);
    let question = "SELECT i.name FROM sqlite_schema AS i WHERE i.type = 'index' AND i.sql NOT NULL AND i.tbl_name IN \
                    ('sessions','turns','tool_calls','signals','clusters','schema_proposals','eval_runs') ORDER BY 1";
    let expected = [
        "ix_clusters_promoted",
        "ix_clusters_signal_type",
        "ix_eval_runs_dataset_id",
        "ix_eval_runs_started_at",
        "ix_schema_proposals_status",
        "ix_sessions_signals_computed",
        "ix_sessions_source",
        "ix_sessions_started_at",
        "ix_signals_category",
        "ix_signals_cluster_id",
        "ix_signals_embedding_id",
        "ix_signals_session_id",
        "ix_signals_signal_type",
        "ix_tool_calls_tool_name",
        "ix_tool_calls_turn_id",
        "ix_turns_session_id",
    ];
    assert_eq!(ask(&file, question), expected);
}

#[test]
fn a_query_of_old_over_signals_gets_its_answer() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "traces.db", SQLITE);
    let question = "SELECT s.source, g.signal_type, g.category, count(*), round(avg(g.severity), 1), \
                    json_extract(g.evidence, '$.raw.exit_code'), json_extract(g.evidence, '$.seq_range'), \
                    date(min(s.started_at)) \
                    FROM signals AS g JOIN sessions AS s ON s.id = g.session_id \
                    WHERE g.detector = 'mechanical' AND s.started_at >= '2026-03-01 00:00:00.000000' \
                    GROUP BY g.category ORDER BY g.category";
    assert_eq!(
        ask(&file, question),
        [
            "cli|friction|exec_failure|1|0.6|2|[4,null]|2026-03-02",
            "cli|delight|zero_denial|1|0.6|null|[4,null]|2026-03-02",
        ]
    );
}

#[test]
fn a_call_has_its_output_from_the_file_and_none_when_the_file_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "traces.db", SQLITE);
    let question = "SELECT call_id, turn_id, stdout, stderr, exit_code, approved, approval_decision FROM tool_calls \
                    ORDER BY call_id";
    assert_eq!(
        ask(&file, question),
        [
            "call_1|s-1_turn_0|out\n|err /home/ann\n|2|1|approved",
            // The id was taken; the details have it.
            "call_1@s-2:0|s-2_turn_0|null|null|2|null|null",
            "call_2|s-2_outside|null|null|2|null|null",
        ]
    );
    let ids = ask(&file, "SELECT DISTINCT codex_call_id FROM tool_call_details ORDER BY 1");
    assert_eq!(ids, ["call_1", "call_2"]);

    let short = write(home.path(), "short.db", ExportFormat::Sqlite { output_limit: 2 });
    assert_eq!(ask(&short, "SELECT stdout, stderr FROM tool_calls WHERE call_id = 'call_1'"), ["ou|er"]);
    let none = write(home.path(), "none.db", ExportFormat::Sqlite { output_limit: 0 });
    assert_eq!(ask(&none, "SELECT count(stdout) + count(stderr) FROM tool_calls"), ["0"]);
}

#[test]
fn a_finished_database_is_whole_and_has_no_companions() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "traces.db", SQLITE);
    assert_eq!(ask(&file, "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(ask(&file, "PRAGMA foreign_key_check"), Vec::<String>::new());
    assert_ne!(ask(&file, "PRAGMA journal_mode"), ["wal"]);
    assert_eq!(ask(&file, "SELECT version FROM spindle_schema"), ask(&file, "PRAGMA user_version"));
    let mut names: Vec<_> =
        fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["segment-000.jsonl", "traces.db"]);
}

#[test]
fn two_exports_of_the_same_state_are_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    for (format, names) in [(SQLITE, ["a.db", "b.db"]), (ExportFormat::Jsonl, ["a.jsonl", "b.jsonl"])] {
        let [one, other] = names.map(|name| fs::read(write(home.path(), name, format)).unwrap());
        assert!(one == other, "{format:?}");
    }
}

#[test]
fn every_line_says_what_it_is_and_whose() {
    let home = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(write(home.path(), "traces.jsonl", ExportFormat::Jsonl)).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {}", line["session_id"], line["record"]).replace('"', ""))
        .collect();
    assert_eq!(
        told,
        [
            "s-1 session",
            "s-1 turn",
            "s-1 call",
            "s-1 approval",
            "s-1 compaction",
            "s-1 artifact",
            "s-1 signal",
            "s-1 signal",
            "s-1 finding",
            "s-2 session",
            "s-2 turn",
            "s-2 call",
            "s-2 call",
            "s-2 finding",
        ]
    );
    assert_eq!(lines[6]["evidence"], json!({"exit_code": 2}));
    assert!(!text.contains("/.codex"), "where it was read is not the session's");
}

#[test]
fn what_is_there_is_replaced_only_when_that_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("traces.db");
    fs::write(&file, "precious").unwrap();
    let refused = export(&file, false, SQLITE, sessions(home.path()).into_iter().map(Ok), &mut Raw);
    assert!(matches!(refused, Err(ExportError::Exists(path)) if path == file));
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let failing = [Err(insight::InsightError::Closed)].into_iter();
    assert!(matches!(export(&file, true, SQLITE, failing, &mut Raw), Err(ExportError::Source(_))));
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    export(&file, true, SQLITE, sessions(home.path()).into_iter().map(Ok), &mut Raw).unwrap();
    assert_eq!(ask(&file, "SELECT count(*) FROM sessions"), ["2"]);
}

/// Keeps a home directory back.
struct NoHome;

impl Redact for NoHome {
    fn text<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        text.replace("/home/ann", "~").into()
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text).into_owned(),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.value(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn is_active(&self) -> bool {
        true
    }
}

#[test]
fn what_is_to_stay_is_kept_back_everywhere() {
    let home = tempfile::tempdir().unwrap();
    for (format, name) in [(SQLITE, "traces.db"), (ExportFormat::Jsonl, "traces.jsonl")] {
        let file = home.path().join(name);
        export(&file, false, format, sessions(home.path()).into_iter().map(Ok), &mut NoHome).unwrap();
        let bytes = fs::read(&file).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(has("~/app"), "{name}");
        assert!(!has("/home/ann"), "{name}");
    }
}

/// Runs a judge and gives what it prints.
fn judged(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `tests/setup test`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sqlite3_reads_the_database_and_dumps_of_two_exports_are_equal() {
    let home = tempfile::tempdir().unwrap();
    let files = ["a.db", "b.db"].map(|name| write(home.path(), name, SQLITE));
    let answer = judged(Command::new("sqlite3").arg(&files[0]).arg(
        "PRAGMA integrity_check; SELECT category, json_extract(evidence, '$.raw.exit_code') FROM signals ORDER BY 1;",
    ));
    assert_eq!(answer, "ok\nexec_failure|2\nzero_denial|\n");
    let [one, other] = files.map(|file| judged(Command::new("sqlite3").arg(file).arg(".dump")));
    assert!(one.contains("INSERT INTO tool_calls"), "{one}");
    assert_eq!(one, other);
}

#[test]
fn duckdb_reads_both_forms() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let home = tempfile::tempdir().unwrap();
    let read = |form: &str, file: PathBuf| -> Value {
        let mut command = Command::new(checkout.join("target/judges/duckdb/bin/python"));
        let text = judged(command.arg(checkout.join("tests/judges/duckdb/read.py")).arg(form).arg(file));
        serde_json::from_str(&text).unwrap()
    };
    let found = read("sqlite", write(home.path(), "traces.db", SQLITE));
    assert_eq!(found["first_day"], "2026-03-02");
    assert_eq!(found["codes"], json!([[2]]));
    for (table, rows) in [("sessions", 2), ("turns", 3), ("tool_calls", 3), ("approvals", 1), ("lineage", 1)]
    {
        assert_eq!(found["rows"][table], rows, "{table}");
    }
    let found = read("jsonl", write(home.path(), "traces.jsonl", ExportFormat::Jsonl));
    let expected = json!({
        "session": 2, "turn": 2, "call": 3, "approval": 1, "compaction": 1, "artifact": 1, "signal": 2, "finding": 2,
    });
    assert_eq!(found["records"], expected);
}
