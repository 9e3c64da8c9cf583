//! JSON lines: an object for each session, turn, call, approval, compaction, artifact, signal and finding,
//! those of a session after it and in this order. `record` says which it is, `session_id` whose.

use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use trace::SessionId;

use crate::export::{ExportError, Exported, ExportedSession, Redact};
use crate::view::{FindingView, InsightError, SessionView};

pub(super) fn write(
    out: &mut impl Write,
    path: &Path,
    sessions: impl Iterator<Item = Result<ExportedSession, InsightError>>,
    redact: &mut dyn Redact,
) -> Result<Exported, ExportError> {
    let failed = |cause| ExportError::Write { path: path.to_path_buf(), cause };
    let mut out = BufWriter::new(out);
    let mut exported = Exported::default();
    for session in sessions {
        let session = session?;
        for mut line in lines(&session) {
            redact.value(&mut line);
            serde_json::to_writer(&mut out, &line).map_err(|error| failed(error.into()))?;
            out.write_all(b"\n").map_err(failed)?;
        }
        exported.count(&session);
    }
    out.flush().map_err(failed)?;
    Ok(exported)
}

/// The lines of a session.
fn lines(session: &ExportedSession) -> impl Iterator<Item = Value> + '_ {
    let (view, rows) = (&session.view, &session.rows);
    let id = &view.session.id;
    let tagged = move |record: &str, value: Value| tagged(record, id, value);
    std::iter::once(tagged("session", SessionLine::of(view)))
        .chain(rows.turns.values().map(move |row| tagged("turn", json(row))))
        .chain(rows.calls.values().map(move |row| tagged("call", json(row))))
        .chain(rows.approvals.values().map(move |row| tagged("approval", json(row))))
        .chain(rows.compactions.values().map(move |row| tagged("compaction", json(row))))
        .chain(rows.artifacts.values().map(move |row| tagged("artifact", json(row))))
        .chain(session.signals.iter().map(move |signal| tagged("signal", json(signal))))
        .chain(session.findings.iter().map(move |finding| tagged("finding", FindingLine::of(finding))))
}

/// Members stand in the order of the alphabet, which is the same in every version.
fn tagged(record: &str, id: &SessionId, mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.insert("record".to_owned(), record.into());
        members.insert("session_id".to_owned(), id.as_str().into());
    }
    value
}

#[expect(clippy::expect_used, reason = "rows are plain data with text for keys")]
fn json(row: &impl Serialize) -> Value {
    serde_json::to_value(row).expect("rows are JSON")
}

/// A session as a line has it: nothing of when and where it was read, which is not the session's.
#[derive(Serialize)]
struct SessionLine<'a> {
    #[serde(flatten)]
    session: &'a trace::session::Session,
    profile: &'a str,
    settled: bool,
    gone: bool,
    bytes: u64,
    findings: u64,
}

impl<'a> SessionLine<'a> {
    fn of(view: &'a SessionView) -> Value {
        json(&Self {
            session: &view.session,
            profile: &view.profile,
            settled: view.settled,
            gone: view.gone_at.is_some(),
            bytes: view.bytes,
            findings: view.findings,
        })
    }
}

/// A finding as a line has it: its file by name.
#[derive(Serialize)]
struct FindingLine<'a> {
    file: String,
    line: u64,
    offset: u64,
    error: bool,
    code: &'a str,
    message: &'a str,
}

impl<'a> FindingLine<'a> {
    fn of(finding: &'a FindingView) -> Value {
        json(&Self {
            file: finding.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            line: finding.place.line,
            offset: finding.place.offset,
            error: finding.error,
            code: &finding.code,
            message: &finding.message,
        })
    }
}
