//! Tool calls: the one table of earlier tools that fits badly, since it takes a call's id for unique among
//! all sessions, and every call to be one of a turn.

use std::collections::BTreeMap;

use trace::record::ChangeKind;
use trace::session::ToolCall;

use crate::export::output::{Files, Output};
use crate::export::sqlite::statements::row;
use crate::export::sqlite::{Writer, int, moment};
use crate::export::{ExportError, ExportedSession};

impl Writer<'_> {
    pub(super) fn calls(
        &mut self,
        exported: &ExportedSession,
        turns: &BTreeMap<u32, String>,
        files: &mut Files<'_>,
    ) -> Result<(), ExportError> {
        let session = exported.view.session.id.as_str();
        let mut outside = None;
        for call in exported.rows.calls.values() {
            let turn = match call.turn.and_then(|turn| turns.get(&turn)) {
                Some(turn) => turn.clone(),
                None => self.outside(session, call, &mut outside)?,
            };
            let output = files.output(call);
            let key = self.call(exported, call, &turn, &output)?;
            self.call_details(session, call, &key, output.cut)?;
        }
        Ok(())
    }

    /// The row that stands for "no turn", made when the first call needs it.
    fn outside(
        &mut self,
        session: &str,
        call: &ToolCall,
        outside: &mut Option<String>,
    ) -> Result<String, ExportError> {
        if let Some(key) = outside {
            return Ok(key.clone());
        }
        let key = format!("{session}_outside");
        let nothing = None::<String>;
        let values = row![
            key,
            session,
            int(call.opened.seq),
            None::<i64>,
            nothing,
            nothing,
            nothing,
            nothing,
            call.opened.time.map(moment),
            nothing,
        ];
        self.statements.insert("turns", values)?;
        *outside = Some(key.clone());
        Ok(key)
    }

    /// Writes the call under its own id, or, where another one has that, under one with session and number.
    fn call(
        &mut self,
        exported: &ExportedSession,
        call: &ToolCall,
        turn: &str,
        output: &Output,
    ) -> Result<String, ExportError> {
        // The last word counts: a call may have been asked about twice.
        let asked = || call.approvals.iter().filter_map(|ordinal| exported.rows.approvals.get(ordinal));
        let last = asked().next_back();
        let arguments = self.text(&call.arguments);
        let stdout = self.optional(output.stdout.as_deref());
        let stderr = self.optional(output.stderr.as_deref());
        let values = |key: &str| {
            row![
                key,
                turn,
                call.tool,
                arguments,
                call.exit_code,
                call.duration_ms.map(int),
                stdout,
                stderr,
                last.is_some(),
                last.and_then(|asked| asked.approved),
                last.and_then(|asked| asked.decision.clone()),
            ]
        };
        if self.statements.insert_new("tool_calls", values(&call.call_id))? {
            return Ok(call.call_id.clone());
        }
        let key = format!("{}@{}:{}", call.call_id, exported.view.session.id, call.ordinal);
        self.statements.insert("tool_calls", values(&key))?;
        Ok(key)
    }

    fn call_details(
        &mut self,
        session: &str,
        call: &ToolCall,
        key: &str,
        cut: bool,
    ) -> Result<(), ExportError> {
        let cwd = self.optional(call.cwd.as_deref());
        let message = self.optional(call.message.as_deref());
        let place = call.opened.place;
        let values = row![
            key,
            session,
            call.ordinal,
            call.epoch,
            call.call_id,
            call.turn_id,
            cwd,
            call.source,
            call.outcome.word(),
            message,
            int(call.opened.seq),
            call.closed.map(|stamp| int(stamp.seq)),
            call.opened.time.map(moment),
            call.closed.and_then(|stamp| stamp.time).map(moment),
            cut,
            place.file,
            int(place.line),
            int(place.offset),
        ];
        self.statements.insert("tool_call_details", values)?;
        for (number, (path, kind)) in (0_i64..).zip(&call.changes) {
            let path = self.text(path);
            let kind = match kind {
                ChangeKind::Add => "add",
                ChangeKind::Delete => "delete",
                ChangeKind::Update => "update",
            };
            self.statements.insert("tool_call_changes", row![key, number, path, kind])?;
        }
        Ok(())
    }
}
