//! The SQLite database: what is in which column. The tables are in `schema.sql`.

mod calls;
mod statements;

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::json;
use trace::session::{Format, Session, Turn, TurnEnd};

use crate::export::output::Files;
use crate::export::sqlite::statements::{Statements, row};
use crate::export::{ExportError, Exported, ExportedSession, Redact};
use crate::signal::{RuleSet, Signal, SignalType};
use crate::view::InsightError;

/// The version of the tables, in `spindle_schema` and in the file's `user_version`.
const VERSION: i64 = 1;

const SCHEMA: &str = include_str!("schema.sql");

pub(super) fn write(
    file: &Path,
    output_limit: usize,
    sessions: impl Iterator<Item = Result<ExportedSession, InsightError>>,
    redact: &mut dyn Redact,
) -> Result<Exported, ExportError> {
    let failed = |what| move |cause| ExportError::Database { what, cause };
    let mut database = Connection::open(file).map_err(failed("nothing yet"))?;
    // Nobody else has the file, and it is worth nothing before it is whole: no journal beside it, and one sync,
    // which is the caller's.
    let settings = "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;";
    database.execute_batch(settings).map_err(failed("its settings"))?;
    let transaction = database.transaction().map_err(failed("anything"))?;
    transaction.execute_batch(SCHEMA).map_err(failed("the tables"))?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed("its version"))?;
    let mut exported = Exported::default();
    {
        let mut writer = Writer { statements: Statements::new(&transaction), redact, output_limit };
        let schema = row![VERSION, writer.redact.is_active()];
        writer.statements.insert("spindle_schema", schema)?;
        for session in sessions {
            let session = session?;
            writer.session(&session)?;
            exported.count(&session);
        }
    }
    transaction.commit().map_err(failed("the end"))?;
    database.close().map_err(|(_, cause)| ExportError::Database { what: "the end", cause })?;
    Ok(exported)
}

struct Writer<'a> {
    statements: Statements<'a>,
    redact: &'a mut dyn Redact,
    output_limit: usize,
}

impl Writer<'_> {
    fn session(&mut self, exported: &ExportedSession) -> Result<(), ExportError> {
        let (view, rows) = (&exported.view, &exported.rows);
        let session = &view.session;
        let id = session.id.as_str();
        let path = match session.format {
            Format::Spine => view.path.parent().unwrap_or(&view.path),
            Format::Rollout | Format::Bundle => &view.path,
        };
        let path = self.text(&path.to_string_lossy());
        let cwd = self.optional(session.cwd.as_deref());
        let url = self.optional(session.git_url.as_deref());
        // Old queries rely on a beginning; a session whose records have no time at all began in 1970.
        let started = session.started_at.or(session.ended_at).unwrap_or(Timestamp::UNIX_EPOCH);
        let counts = &session.counts;
        let values = row![
            id,
            session.source,
            session.model_provider,
            session.model,
            moment(started),
            session.ended_at.map(moment),
            cwd,
            url,
            session.git_commit,
            session.git_branch,
            session.cli_version,
            session.originator,
            int(counts.compactions),
            int(counts.turns),
            int(counts.calls),
            facets(session).to_string(),
            view.settled,
            false,
            path,
        ];
        self.statements.insert("sessions", values)?;
        self.session_details(exported)?;
        for (number, child) in session.children.iter().enumerate() {
            if !session.children[..number].contains(child) {
                self.lineage(id, child.as_str())?;
            }
        }
        if let Some(parent) = &session.parent {
            self.lineage(parent.as_str(), id)?;
        }
        let turns = self.turns(id, rows.turns.values())?;
        let mut files = Files::new(&exported.files, self.output_limit);
        self.calls(exported, &turns, &mut files)?;
        self.beside(exported)?;
        for signal in &exported.signals {
            self.signal(signal)?;
        }
        Ok(())
    }

    fn session_details(&mut self, exported: &ExportedSession) -> Result<(), ExportError> {
        let view = &exported.view;
        let session = &view.session;
        let (counts, tokens) = (&session.counts, &session.tokens);
        let root = self.optional(session.repo_root.as_deref());
        let home = self.text(&view.home.to_string_lossy());
        let format = match session.format {
            Format::Spine => "spine",
            Format::Rollout => "rollout",
            Format::Bundle => "bundle",
        };
        let values = row![
            session.id.as_str(),
            format,
            view.profile,
            view.settled,
            session.closed,
            view.gone_at.is_some(),
            session.depth,
            root,
            session.approval_policy,
            session.sandbox_policy,
            int(counts.records),
            int(counts.unknown),
            int(counts.requests),
            int(counts.epochs),
            int(tokens.input),
            int(tokens.cached_input),
            int(tokens.output),
            int(tokens.reasoning),
            home,
            int(view.bytes),
        ];
        self.statements.insert("session_details", values)
    }

    fn lineage(&mut self, parent: &str, child: &str) -> Result<(), ExportError> {
        // Parent and child may both tell of it.
        self.statements.insert_new("lineage", row![parent, child]).map(drop)
    }

    /// Writes the turns, and gives the keys of their rows by ordinal.
    fn turns<'t>(
        &mut self,
        session: &str,
        turns: impl Iterator<Item = &'t Turn>,
    ) -> Result<BTreeMap<u32, String>, ExportError> {
        let mut keys = BTreeMap::new();
        let mut epochs: BTreeMap<u32, (u64, Option<u64>, u64)> = BTreeMap::new();
        for turn in turns {
            let key = format!("{session}_turn_{}", turn.ordinal);
            let said = self.optional(turn.user_message.as_deref());
            let values = row![
                key,
                session,
                int(turn.started.seq),
                turn.ended.map(|stamp| int(stamp.seq)),
                turn.approval_policy,
                turn.sandbox_policy,
                turn.model,
                said,
                turn.started.time.map(moment),
                turn.ended.and_then(|stamp| stamp.time).map(moment),
            ];
            self.statements.insert("turns", values)?;
            self.turn_details(&key, turn)?;
            let epoch = epochs.entry(turn.epoch).or_insert((turn.started.seq, None, 0));
            epoch.1 = epoch.1.max(turn.ended.map(|stamp| stamp.seq));
            epoch.2 += 1;
            keys.insert(turn.ordinal, key);
        }
        for (epoch, (start, end, turns)) in epochs {
            self.statements.insert("epochs", row![session, epoch, int(start), end.map(int), int(turns)])?;
        }
        Ok(keys)
    }

    fn turn_details(&mut self, key: &str, turn: &Turn) -> Result<(), ExportError> {
        let (outcome, reason) = match &turn.end {
            TurnEnd::Open => ("open", None),
            TurnEnd::Complete => ("complete", None),
            TurnEnd::Failed { info } => ("failed", info.as_deref()),
            TurnEnd::Aborted { reason } => ("aborted", Some(reason.as_str())),
            TurnEnd::Cut => ("cut", None),
        };
        let (tokens, place) = (&turn.tokens, turn.started.place);
        let values = row![
            key,
            turn.ordinal,
            turn.epoch,
            turn.id,
            outcome,
            reason,
            turn.requests,
            turn.calls,
            turn.context,
            int(tokens.input),
            int(tokens.cached_input),
            int(tokens.output),
            int(tokens.reasoning),
            place.file,
            int(place.line),
            int(place.offset),
        ];
        self.statements.insert("turn_details", values)
    }

    /// Files, findings, approvals, compactions and artifacts.
    fn beside(&mut self, exported: &ExportedSession) -> Result<(), ExportError> {
        let id = exported.view.session.id.as_str();
        for file in &exported.files {
            let path = self.text(&file.path.to_string_lossy());
            self.statements.insert("segments", row![id, file.index, path, int(file.read)])?;
        }
        for (number, finding) in (0_i64..).zip(&exported.findings) {
            let path = self.text(&finding.path.to_string_lossy());
            let message = self.text(&finding.message);
            let (line, offset) = (int(finding.place.line), int(finding.place.offset));
            let values = row![id, number, path, line, offset, finding.error, finding.code, message];
            self.statements.insert("findings", values)?;
        }
        for asked in exported.rows.approvals.values() {
            let reason = self.optional(asked.reason.as_deref());
            let kind = match asked.kind {
                trace::record::ApprovalKind::Exec => "exec",
                trace::record::ApprovalKind::Patch => "patch",
            };
            let values = row![
                id,
                asked.ordinal,
                asked.epoch,
                kind,
                asked.call_id,
                asked.turn_id,
                reason,
                asked.decision,
                asked.approved,
                asked.submission_id,
                asked.latency_ms(),
                asked.requested.map(|stamp| int(stamp.seq)),
                asked.requested.and_then(|stamp| stamp.time).map(moment),
                asked.decided.map(|stamp| int(stamp.seq)),
                asked.decided.and_then(|stamp| stamp.time).map(moment),
            ];
            self.statements.insert("approvals", values)?;
        }
        for compaction in exported.rows.compactions.values() {
            let (at, time) = (int(compaction.at.seq), compaction.at.time.map(moment));
            let values =
                row![id, compaction.ordinal, compaction.epoch, at, time, compaction.turn_id, compaction.kind];
            self.statements.insert("compactions", values)?;
        }
        for artifact in exported.rows.artifacts.values() {
            let path = self.optional(artifact.path.as_deref());
            let at = int(artifact.at.seq);
            let values = row![id, artifact.ordinal, artifact.kind, at, path, artifact.sha256, artifact.base];
            self.statements.insert("artifacts", values)?;
        }
        Ok(())
    }

    fn signal(&mut self, signal: &Signal) -> Result<(), ExportError> {
        let kind = match signal.kind {
            SignalType::Friction => "friction",
            SignalType::Delight => "delight",
        };
        let rules = match signal.rule_set {
            RuleSet::V1 => "v1",
            RuleSet::Compat => "compat",
        };
        let description = self.text(&signal.description);
        let mut raw = signal.evidence.clone();
        self.redact.value(&mut raw);
        // As earlier tools have it, where a point has no end and a session as a whole no range.
        let evidence = json!({
            "session_id": signal.session_id,
            "turn_id": signal.turn_id,
            "call_id": signal.call_id,
            "seq_range": signal.seq_start.map(|start| (start, signal.seq_end)),
            "description": description,
            "raw": raw,
        });
        let values = row![
            signal.id.0,
            signal.session_id.as_str(),
            signal.turn_id,
            kind,
            signal.category,
            signal.severity,
            evidence.to_string(),
            None::<String>,
            None::<String>,
            signal.at.map(moment),
            signal.detector,
        ];
        self.statements.insert("signals", values)?;
        let values = row![
            signal.id.0,
            rules,
            signal.confidence,
            signal.settled,
            signal.epoch,
            signal.call_id,
            signal.seq_start.map(int),
            signal.seq_end.map(int),
            description,
        ];
        self.statements.insert("signal_details", values)?;
        for (number, place) in (0_i64..).zip(&signal.places) {
            let (line, offset) = (int(place.line), int(place.offset));
            let values = row![signal.id.0, number, place.file, line, offset, place.len];
            self.statements.insert("signal_places", values)?;
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> String {
        self.redact.text(text).into_owned()
    }

    fn optional(&mut self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.text(text))
    }
}

/// The counters that earlier tools keep as JSON.
fn facets(session: &Session) -> serde_json::Value {
    let counts = &session.counts;
    json!({
        "session_source": session.source,
        "model_provider": session.model_provider,
        "compaction_count": counts.compactions,
        "exec_count": counts.execs,
        "patch_count": counts.patches,
        "approval_request_count": counts.approval_requests,
        "denial_count": counts.denials,
        "error_count": counts.errors,
        "warning_count": counts.warnings,
        "stream_error_count": counts.stream_errors,
    })
}

/// A time as `DATETIME` columns have it: UTC without a zone, microseconds.
fn moment(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// A number as SQLite has it; one beyond its range, which no real record has, becomes the greatest.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_microseconds_and_no_zone() {
        let time: Timestamp = "2026-03-02T10:00:00.014+02:00".parse().unwrap();
        assert_eq!(moment(time), "2026-03-02 08:00:00.014000");
    }
}
